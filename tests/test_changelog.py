"""The changelog: what it says to write instead exists, and what it replaces does not."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from mocap_opt.bounds.registry import BOUNDS

PAGE = Path(__file__).parent.parent / ".github" / "CHANGELOG.md"
ROWS = re.findall(r"^\| (`.*) \| (`.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
MODULES = [row for row in ROWS if row[1].startswith("`mocap_opt.")]


def named(cell: str) -> list[str]:
    """Modules of a cell; those after the first may leave out the package."""
    names: list[str] = re.findall(r"`([\w.]+)`", cell)
    package = names[0].rpartition(".")[0]
    modules = [name if name.startswith("mocap_opt.") else f"{package}.{name}" for name in names]
    return [name for name in modules if name.rpartition(".")[2].islower()]


def exists(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.parametrize(("before", "now"), MODULES, ids=lambda cell: cell.replace("`", ""))
def test_modules_to_write_exist_and_moved_ones_do_not(before, now):
    assert [module for module in named(now) if not exists(module)] == []
    # Those with words beside their name are still there, with something else in them.
    moved = [module for module in named(before) if "(" not in before and exists(module)]
    assert moved == []


def test_bounds_have_the_names_to_write():
    renamed = dict(row for row in ROWS if row[1].strip("`") in BOUNDS)
    assert len(renamed) == 5
    assert not {name.strip("`") for name in renamed} & BOUNDS.keys()


def test_the_form_is_that_of_keep_a_changelog():
    text = PAGE.read_text(encoding="utf-8")
    assert re.findall(r"^## \[(.*)\]", text, re.MULTILINE) == ["Unreleased", "0.1.0"]
    kinds = re.findall(r"^### (.*)$", text, re.MULTILINE)
    assert kinds == sorted(set(kinds), key=["Added", "Changed", "Deprecated", "Removed", "Fixed"].index)
