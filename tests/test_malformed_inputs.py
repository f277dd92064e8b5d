"""Whatever stands in an instance file, the answer is an instance or a list of problems with their places."""

from __future__ import annotations

import copy
import json
import os
import re
from pathlib import Path
from typing import Any

import malformed
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from malformed import BASE, BROKEN_FILES, MALFORMED, changed

from mocap_opt.errors import InputError, Problem
from mocap_opt.instance import Instance, checks, load_instance
from mocap_opt.instance.checks import CHECKS
from mocap_opt.schedule.plan_file import plan_from_dict
from mocap_opt.tables import build_tables


def test_base_is_well_formed() -> None:
    """So that what a malformed file is refused for is its change."""
    instance = Instance.from_dict(BASE)
    assert (instance.pipeline.stages, instance.workload.tokens) == (2, 8192)


def test_names_are_unique() -> None:
    names = [name for name, _, _ in MALFORMED]
    assert len(set(names)) == len(names) >= 45


# Changes that break more than one rule; any other is answered by exactly one problem.
PROBLEMS = {
    "latent-incomplete": 3,
    "all-dies-dead": 5,
    "stages-above-layers": 2,
    "dies-too-many": 3,
    "placement-flat": 4,
}


@pytest.mark.parametrize(("name", "content", "place"), MALFORMED, ids=[m[0] for m in MALFORMED])
def test_message_names_the_place(tmp_path: Path, name: str, content: bytes, place: str) -> None:
    path = tmp_path / "instance.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(place)) as caught:
        load_instance(path)
    assert len(caught.value.problems) == PROBLEMS.get(name, 1)
    # Any terminal can print it.
    assert all(char.isprintable() or char == "\n" for char in str(caught.value))
    str(caught.value).encode("ascii", errors="strict")


def test_all_problems_at_once() -> None:
    """Fields, unknown keys, names and rules across the sections that are valid by themselves."""
    data = changed(
        ("model", "unheard-of"),
        ("precision.kv", "fp7"),
        ("wafer.die.flops", -1),
        ("wafer.die.speed", 3),
        ("wafer.dead_dies.0", [0]),
        ("pipeline.dies_per_stage", [2]),
        ("chunking.page", 300),
        ("overlap", "all"),
        ("extra", None),
    )
    with pytest.raises(InputError, match="unheard-of") as caught:
        Instance.from_dict(data)
    assert [problem.path for problem in caught.value.problems] == [
        "model",
        "precision.kv",
        "wafer.die.flops",
        "wafer.die.speed",
        "wafer.dead_dies[0]",
        "overlap",
        "extra",
        "chunking.page",
        "pipeline.dies_per_stage",
    ]


def test_one_kind_of_file_in_the_place_of_another_is_one_problem() -> None:
    with pytest.raises(InputError, match=r'kind: expected an instance, got "plan"') as caught:
        Instance.from_dict({"version": 1, "kind": "plan", "boundaries": [0, 4]})
    assert len(caught.value.problems) == 1
    instance = Instance.from_dict(BASE)
    with pytest.raises(InputError, match=r'kind: expected "plan", got an instance \(`mocap-opt solve'):
        plan_from_dict(instance.to_dict(), build_tables(instance))


def test_a_wrong_file_of_many_keys_is_cut_short() -> None:
    data = {**BASE, **{f"key{n}": n for n in range(5000)}}
    with pytest.raises(InputError, match="key0") as caught:
        Instance.from_dict(data)
    assert len(caught.value.problems) == 201
    assert caught.value.problems[-1].found.endswith(" more problems")


def test_a_rule_broken_many_times_is_cut_short() -> None:
    with pytest.raises(InputError, match="each die once") as caught:
        Instance.from_dict(changed(("wafer.dead_dies", [[1, 2]] * 100_000)))
    assert len(caught.value.problems) == 201


@pytest.mark.parametrize("rule", CHECKS, ids=lambda rule: rule[1].__name__)
def test_every_rule_is_necessary(rule: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, some malformed file is accepted or its place not named."""
    monkeypatch.setattr(checks, "CHECKS", tuple(other for other in CHECKS if other is not rule))
    missed = []
    for name, content, place in MALFORMED:
        if name in BROKEN_FILES:
            continue
        try:
            Instance.from_dict(json.loads(content), "/nonexistent")
        except InputError as error:
            if place in str(error):
                continue
        missed.append(name)
    assert missed


def test_every_repeated_key_is_listed(tmp_path: Path) -> None:
    path = tmp_path / "instance.json"
    path.write_text('{"a": 1, "b": [{"c": 1, "c": 2, "c": 3}], "a": 2}')
    with pytest.raises(InputError, match="twice") as caught:
        load_instance(path)
    assert [problem.path.rsplit(": ")[-1] for problem in caught.value.problems] == ["a", "b[0].c"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("absent.json", "existing file"), (".", "a directory"), ("a\0b", "readable"), ("x" * 300, "readable")],
)
def test_unreadable_files(tmp_path: Path, name: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        load_instance(f"{tmp_path}/{name}")


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="not a regular file"):
        load_instance(tmp_path / "pipe")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_forbidden_file(tmp_path: Path) -> None:
    path = tmp_path / "instance.json"
    path.write_text("{}")
    path.chmod(0)
    with pytest.raises(InputError, match="readable"):
        load_instance(path)


def test_byte_order_mark_is_harmless(tmp_path: Path) -> None:
    path = tmp_path / "instance.json"
    path.write_text(json.dumps(BASE), encoding="utf-8-sig")
    assert load_instance(path) == Instance.from_dict(BASE)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in items for place in _places(item, (*path, key)))]


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["70 GB", "1e999 GB", "-0", "k", 10**400, -(2**70), 1e308, "balanced"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["kind", "stages", "preset", "config", "\udc80", ""]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(_places(BASE)[1:]), JUNK)
def test_junk_anywhere_is_refused_or_understood(place: tuple[Any, ...], junk: Any) -> None:
    """No exception but InputError; what is accepted survives a round trip."""
    data = copy.deepcopy(malformed.BASE)
    here: Any = data
    for step in place[:-1]:
        here = here[step]
    here[place[-1]] = junk
    problems: tuple[Problem, ...] = ()
    try:
        instance = Instance.from_dict(data, "/nonexistent")
    except InputError as error:
        problems = error.problems
    else:
        assert Instance.from_dict(instance.to_dict()) == instance
    assert all(problem.path and problem.expected for problem in problems)
    assert "\n".join(map(str, problems)).isascii()
