"""The page about families says what the table of families says."""

from __future__ import annotations

from models_page import PAGE, written

from mocap_opt.instance.hf_families import FAMILIES, FAMILY_ROWS
from mocap_opt.instance.hf_fields import HARMLESS, INEXPRESSIBLE
from mocap_opt.instance.hf_wrappers import REFUSED_FAMILIES, WRAPPERS


def test_the_page_is_the_table() -> None:
    """Else run tests/models_page.py."""
    text = PAGE.read_text(encoding="utf-8")
    assert written(text) == text


def test_every_type_has_one_reading() -> None:
    assert sum(len(row.types) for row in FAMILY_ROWS) == len(FAMILIES)
    assert not {*FAMILIES} & {*WRAPPERS}
    assert not ({*FAMILIES} | {*WRAPPERS}) & {*REFUSED_FAMILIES}
    assert {inner for _, inner in WRAPPERS.values()} <= {*FAMILIES}


def test_fields_that_are_read_are_not_harmless() -> None:
    figures = {name for row in FAMILY_ROWS for name in row.read_fields}
    assert not figures & HARMLESS
    assert not {*INEXPRESSIBLE} & HARMLESS
