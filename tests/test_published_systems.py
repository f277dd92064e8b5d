"""The page on other systems says what is computed, for every system."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from published_figures import FIGURES
from published_systems import row, rows_of_page, systems

ROOT = Path(__file__).parent.parent
SYSTEMS = systems()


def marked(system: dict[str, Any]) -> Any:
    marks = [pytest.mark.slow] if system.get("slow") else []
    return pytest.param(system, marks=marks, id=system["name"])


@pytest.mark.parametrize("system", [marked(each) for each in SYSTEMS])
def test_a_row_of_the_page_says_what_is_computed(system: dict[str, Any]):
    # python tests/published_systems.py --write
    assert row(system) in rows_of_page()


def test_the_page_has_these_rows_and_no_others():
    shown = [line.split("**")[1] for line in rows_of_page()]
    assert shown == [each["name"] for each in SYSTEMS]
    assert set(FIGURES) == {each["figures"] for each in SYSTEMS}


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda each: each["name"])
def test_what_a_row_points_to_exists(system: dict[str, Any]):
    assert (ROOT / "tests" / system["test"]).exists()
    if "instance" in system:
        assert (ROOT / "instances" / f"{system['instance']}.json").exists()
