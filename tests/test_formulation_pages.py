"""Pages and code hold together: same stems, same family names, and the worked examples come out."""

from __future__ import annotations

import importlib
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import make_tables
from oracle import brute_force, feasible_homes, local_optimum, lockstep_price, partitions

import mocap_opt.formulations as package
from mocap_opt.bounds import BOUNDS
from mocap_opt.formulations import chunk_partition, joint, joint_cpsat, kv_placement
from mocap_opt.formulations.chunk_partition import Memory, solve_chunk_partition
from mocap_opt.formulations.kv_placement import solve_kv_placement
from mocap_opt.instance import Instance
from mocap_opt.solvers.outcome import Status

PAGES = Path(__file__).parent.parent / "formulations"
MODULES = sorted(path.stem for path in Path(package.__file__).parent.glob("*.py"))
MODELS = sorted(stem for stem in MODULES if (PAGES / f"{stem}.md").exists())
SECTIONS = {"mocap_opt", *Instance.model_fields}
ROW = re.compile(r"^\|.*\| `(\w+)` \| `([\w.]+)` \|$", re.MULTILINE)


def page(stem: str) -> str:
    return (PAGES / f"{stem}.md").read_text(encoding="utf-8")


def families(stem: str) -> list[tuple[str, Any]]:
    return list(importlib.import_module(f"mocap_opt.formulations.{stem}").FAMILIES)


def example(stem: str) -> dict[str, Any]:
    found = re.search(r"```json\n(.*?)```", page(stem), re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def back_ends(stem: str) -> list[str]:
    return [module for module in (stem, f"{stem}_cpsat") if module in MODULES]


def test_the_models_are_the_ones_with_pages() -> None:
    assert {"chunk_partition", "decomposition", "joint", "kv_placement"} <= set(MODELS)
    with_families = {
        stem for stem in MODULES if hasattr(importlib.import_module(f"{package.__name__}.{stem}"), "FAMILIES")
    }
    assert {stem.removesuffix("_cpsat") for stem in with_families} == set(MODELS)


@pytest.mark.parametrize(
    "stem", ["joint", "joint_layers", "kv_placement", "chunk_partition", "decomposition"]
)
def test_page_lists_the_families_of_the_code_in_order(stem: str) -> None:
    listed = ROW.findall(page(stem))
    in_code = [
        (name, f"{function.__module__.rpartition('.')[2]}.{function.__name__}")
        for module in back_ends(stem)
        for name, function in families(module)
    ]
    assert listed == in_code


@pytest.mark.parametrize("stem", MODELS)
def test_every_family_is_named_on_the_page(stem: str) -> None:
    text = page(stem)
    for module in back_ends(stem):
        for name, function in families(module):
            assert f"`{name}`" in text or "families of boundaries, homes and memory" in text, name
            assert function.__doc__, name


@pytest.mark.parametrize("stem", ["joint", "joint_layers", "kv_placement", "chunk_partition"])
def test_families_are_named_after_their_functions(stem: str) -> None:
    assert [name for name, _ in families(stem)] == [function.__name__ for _, function in families(stem)]


def test_built_models_have_components_of_these_names() -> None:
    tables = make_tables(**example("joint")["tables"])
    built = {
        "joint": joint.build(tables),
        "kv_placement": kv_placement.build(tables, np.array([0, 1, 3])),
        "chunk_partition": chunk_partition.build(tables, Memory.POOLED),
    }
    for stem, model in built.items():
        components = [c.name for c in model.component_objects(joint.pyo.Constraint)]
        assert components == [name for name, _ in families(stem)]


@pytest.mark.parametrize("stem", ["joint", "kv_placement", "chunk_partition"])
def test_variables_are_named_on_the_page(stem: str) -> None:
    tables = make_tables(**example(stem)["tables"])
    model = kv_placement.build(tables, np.array([0, 1, 3])) if stem == "kv_placement" else joint.build(tables)
    for variable in model.component_objects(joint.pyo.Var):
        assert f"`{variable.name}`" in page("joint" if stem == "chunk_partition" else stem)


@pytest.mark.parametrize("solve", [joint.solve_joint, joint_cpsat.solve_joint], ids=["highs", "cpsat"])
def test_worked_example_of_the_joint_program(solve: Any) -> None:
    case = example("joint")
    tables = make_tables(**case["tables"])
    result = solve(tables, None, time_limit_s=60.0)
    assert result.outcome.status is Status.OPTIMAL
    assert result.outcome.objective == case["optimum"]
    assert list(result.plan.boundaries) in case["best_boundaries"]
    best = brute_force(tables)
    assert best is not None
    assert best.value == case["optimum"]


def test_prices_on_the_joint_page() -> None:
    tables = make_tables(**example("joint")["tables"])
    best = {m: min(map(lockstep_price(tables, m), feasible_homes(tables, m))) for m in partitions(tables)}
    assert best == {(0, 3): 68, (0, 1, 3): 64, (0, 2, 3): 64, (0, 1, 2, 3): 68}
    roomy = make_tables(**{**example("joint")["tables"], "capacity": 1000})
    free = brute_force(roomy)
    assert free is not None
    assert free.value == 56


def test_worked_example_of_kv_placement() -> None:
    case = example("kv_placement")
    tables = make_tables(**case["tables"])
    result = solve_kv_placement(tables, np.array(case["boundaries"]), gap=0.0)
    assert result.outcome.status is Status.OPTIMAL
    assert result.outcome.objective == case["optimum"]
    assert result.plan is not None
    assert [[h.stage, h.chunk, h.memory, h.pages] for h in result.plan.homes] == case["homes"]
    price = lockstep_price(tables, tuple(case["boundaries"]))
    assert [price({(0, j, 1): 1}) for j in (2, 1, 0)] == [68, 80, 92]


def test_worked_example_of_chunk_partition() -> None:
    case = example("chunk_partition")
    tables = make_tables(**case["tables"])
    result = solve_chunk_partition(tables, Memory.POOLED)
    assert result.outcome.status is Status.OPTIMAL
    assert result.outcome.objective == case["optimum"]
    assert result.indices is not None
    assert list(result.indices) in case["best_boundaries"]
    local = solve_chunk_partition(tables, Memory.LOCAL)
    assert local.outcome.status.value == case["local"]
    assert local_optimum(tables) is None


def test_links_between_pages_lead_somewhere() -> None:
    for path in PAGES.glob("*.md"):
        text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([\w./-]+\.md)", text):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


def test_the_page_on_bounds_lists_those_of_the_registry_in_order() -> None:
    assert re.findall(r"^\| `(\w+)` \|", page("bounds").split("## ")[0], re.MULTILINE) == list(BOUNDS)


@cache
def code_of_the_package() -> dict[str, str]:
    """Text of every module by its name, and of the package of tables; of those of one name all texts."""
    texts: dict[str, str] = {}
    for file in Path(package.__file__).parent.parent.rglob("[a-z]*.py"):
        for name in {file.stem, file.parent.name} & {file.stem, "tables"}:
            texts[name] = texts.get(name, "") + file.read_text(encoding="utf-8")
    return texts


@pytest.mark.parametrize("path", sorted(PAGES.glob("*.md")), ids=lambda path: path.stem)
def test_functions_and_files_named_on_a_page_exist(path: Path) -> None:
    text, modules = path.read_text(encoding="utf-8"), code_of_the_package()
    for module, name in re.findall(r"`(?:[\w.]+\.)?([a-z_]+)\.(\w+)`", text):
        if module in modules and name not in modules and name not in ("py", "json"):
            known = rf"(def|class) {name}\b|^ *{name}\b *[:=]"
            assert re.search(known, modules[module], re.MULTILINE), f"{module}.{name}"
        elif module not in modules and module not in SECTIONS and f"`{module}.py`" not in text:
            homes = [
                stem
                for stem, code in modules.items()
                if re.search(rf"^(def|class) {name}\b", code, re.MULTILINE)
            ]
            assert not homes, f"{module}.{name} stands in {homes}"
    written = set(re.findall(r"^`([\w./-]+)`:\n\n```", text, re.MULTILINE))
    for file in set(re.findall(r"`((?:mocap_opt|tests|instances)/[\w./-]+)`", text)) - written:
        moved = file.rpartition("/")[2] in {name.rpartition("/")[2] for name in written}
        assert moved or (PAGES.parent / file).exists(), file


def test_readme_lists_every_page() -> None:
    readme = page("README")
    missing = [path.name for path in PAGES.glob("*.md") if path.stem != "README" and path.name not in readme]
    assert missing == []
