"""How the package is built: what may import what, how long modules are, which docstrings name parameters."""

from __future__ import annotations

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MOST_LINES = 400

GROUND = frozenset(
    "errors arrays messages units files stopping optional_dependencies memory_budget plugins "
    "lower_bound quantities glossary".split()
)
FLOORS = (
    "ground wafer instance tables calibration flow_shop schedule replay solvers formulations bounds layouts "
    "homes chunking baselines search solving questions studies pictures frames cli __main__"
).split()
"""Everything imports only what stands before it here."""

UNDESCRIBED: frozenset[str] = frozenset()
"""Floors on which some function of two or more parameters still lacks a section about them."""


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


SOURCES = {module_of(path): path for path in sorted((ROOT / "mocap_opt").rglob("*.py"))}


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(SOURCES[module].read_text(encoding="utf-8"))


def floor_of(module: str) -> str:
    place = (module.split(".") + ["", ""])[1]
    return "ground" if place in GROUND else place


def imported(module: str) -> set[str]:
    """Modules of the package that one imports when it runs, wherever the import stands."""
    found: set[str] = set()
    pending: list[ast.AST] = [tree_of(module)]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            pending += node.orelse
            continue
        pending += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}:{node.lineno} imports relatively"
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & SOURCES.keys()
            found |= inner or {node.module or ""}
    return found & SOURCES.keys()


def undescribed() -> list[str]:
    """Public functions and methods of two or more parameters whose docstring has no section about them."""
    found = []
    for module in SOURCES:
        tree = tree_of(module)
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
                continue
            every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            given = [each for each in every if each.arg not in ("self", "cls")]
            if len(given) >= 2 and "Parameters\n-----" not in (ast.get_docstring(node) or ""):
                found.append(f"{module}:{node.lineno} {node.name}")
    return found


def test_every_module_stands_on_a_floor():
    assert {floor_of(module) for module in SOURCES} == {*FLOORS, ""}


@pytest.mark.parametrize("floor", FLOORS)
def test_imports_run_downwards(floor):
    below = {*FLOORS[: FLOORS.index(floor) + 1], ""}
    upwards = [
        f"{module} imports {other}"
        for module in SOURCES
        if floor_of(module) == floor
        for other in sorted(imported(module))
        if floor_of(other) not in below
    ]
    assert not upwards


def test_no_module_needs_itself():
    # A package's own file may name what stands in it: loops are looked for between its modules.
    packages = {module for module, path in SOURCES.items() if path.name == "__init__.py"}
    graph = {module: imported(module) - packages for module in SOURCES}
    assert list(TopologicalSorter(graph).static_order())


def test_no_module_is_long():
    lengths = {module: len(path.read_text(encoding="utf-8").splitlines()) for module, path in SOURCES.items()}
    assert {module for module, length in lengths.items() if length > MOST_LINES} == set()


def test_public_functions_describe_their_parameters():
    assert [place for place in undescribed() if floor_of(place.partition(":")[0]) not in UNDESCRIBED] == []
