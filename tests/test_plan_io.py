from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import make_tables
from hypothesis import given, settings
from hypothesis import strategies as st

from mocap_opt.errors import InputError
from mocap_opt.schedule.plan import Home, Plan
from mocap_opt.schedule.plan_file import load_plan, plan_from_dict, plan_to_dict, save_plan

# Three stages, grid 0 4 8 10, pages of 2 tokens.
TABLES = make_tables(3, 10, quantum=4, page=2)
# Seven tokens in pages of 2: the last page is half empty and counts as a whole one.
ODD = make_tables(2, 7, quantum=2, page=2)
PLAN = Plan((0, 4, 10), (Home(0, 1, 2, 2), Home(1, 1, 2, 3)), "0123456789abcdef")
DATA: dict[str, Any] = {
    "version": 1,
    "kind": "plan",
    "instance": "an instance",
    "fingerprint": "0123456789abcdef",
    "boundaries": [0, 4, 10],
    "homes": [
        {"stage": 0, "chunk": 1, "memory": 2, "tokens": 4},
        {"stage": 1, "chunk": 1, "memory": 2, "tokens": 6},
    ],
}


def test_tokens_are_pages_times_the_page() -> None:
    assert plan_to_dict(PLAN, "an instance", TABLES) == DATA
    assert plan_from_dict(DATA, TABLES) == PLAN


def test_partial_page_counts_whole() -> None:
    plan = Plan((0, 4, 7), (Home(0, 1, 1, 2),))
    data = plan_to_dict(plan, "odd", ODD)
    assert data["homes"] == [{"stage": 0, "chunk": 1, "memory": 1, "tokens": 4}]
    assert plan_from_dict(data, ODD) == plan


def test_file_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    save_plan(path, PLAN, "an instance", TABLES)
    assert json.loads(path.read_text()) == DATA
    assert load_plan(path, TABLES) == PLAN
    # Two homes, two lines: plans are compared with diff.
    assert len(path.read_text().splitlines()) == len(DATA) + 3 + len(PLAN.homes)
    bare = Plan((0, 10))
    save_plan(path, bare, "an instance", TABLES)
    assert load_plan(path, TABLES) == bare


@settings(max_examples=60)
@given(st.data())
def test_any_plan_survives(data: st.DataObject) -> None:
    cuts = data.draw(st.sets(st.sampled_from([1, 2, 3])))
    indices = [0, *sorted(cuts), ODD.steps]
    produced = np.diff(ODD.pages[indices])
    pages = np.zeros((2, len(produced), 2), dtype=np.int64)
    for i, j in np.ndindex(2, len(produced)):
        pages[i, j, 1 - i] = data.draw(st.integers(0, int(produced[j])))
    plan = Plan.from_arrays(ODD, indices, pages, None)
    again = plan_from_dict(json.loads(json.dumps(plan_to_dict(plan, "odd", ODD))), ODD)
    assert again == plan
    assert np.array_equal(again.remote_pages(ODD), pages)


def test_homes_may_come_in_any_order_and_tokens_as_text() -> None:
    data = {**DATA, "homes": DATA["homes"][::-1], "boundaries": ["0", 4.0, "10 tokens"]}
    assert plan_from_dict(data, TABLES) == PLAN


def test_what_the_verifier_judges_is_read() -> None:
    """Too many chunks, chunks out of limits and full memories are verdicts about plans, not about files."""
    strict = make_tables(2, 8, max_chunks=1, min_length=3, max_length=5, capacity=1)
    assert plan_from_dict({"version": 1, "kind": "plan", "boundaries": [0, 1, 8]}, strict) == Plan((0, 1, 8))


def home(**changes: Any) -> dict[str, Any]:
    return {"homes": [DATA["homes"][1], {**DATA["homes"][0], **changes}]}


@pytest.mark.parametrize(
    ("changes", "place", "expected"),
    [
        ({"version": 2}, "version", "1"),
        ({"version": True}, "version", "1"),
        ({"kind": "instance"}, "kind", '"plan"'),
        ({"instance": "\x1b"}, "instance", "printable"),
        ({"fingerprint": 3}, "fingerprint", "text"),
        ({"boundary": [0, 10]}, "boundary", "no such key"),
        ({"boundaries": 3}, "boundaries", "a list"),
        ({"boundaries": [0]}, "boundaries", "a list"),
        ({"boundaries": [0, 10.5]}, "boundaries[1]", "a whole number"),
        ({"boundaries": [0, True]}, "boundaries[1]", "a number of tokens"),
        ({"boundaries": [0, float("nan")]}, "boundaries[1]", "finite"),
        ({"boundaries": [4, 10]}, "boundaries[0]", "0, the start"),
        ({"boundaries": [0, 8]}, "boundaries[1]", "10, the end"),
        ({"boundaries": [0, 8, 4, 10]}, "boundaries[2]", "more than"),
        ({"boundaries": [0, 0, 10]}, "boundaries[1]", "more than"),
        ({"boundaries": [0, 6, 10]}, "boundaries[1]", "multiple of the quantum (4)"),
        ({"boundaries": [0, 10**30, 10]}, "boundaries[2]", "more than"),
        ({"homes": {}}, "homes", "a list"),
        ({"homes": [3]}, "homes[0]", "an object"),
        (home(stage=3), "homes[1].stage", "from 0 to 2"),
        (home(stage=-1), "homes[1].stage", "from 0 to 2"),
        (home(stage=True), "homes[1].stage", "from 0 to 2"),
        (home(stage=0.0), "homes[1].stage", "from 0 to 2"),
        (home(chunk=2), "homes[1].chunk", "from 0 to 1"),
        (home(memory=3), "homes[1].memory", "from 0 to 2"),
        (home(memory=0), "homes[1].memory", "another memory"),
        (home(tokens=3), "homes[1].tokens", "multiple of the page (2)"),
        (home(tokens=0), "homes[1].tokens", "> 0"),
        (home(tokens=-2), "homes[1].tokens", "> 0"),
        (home(tokens="two"), "homes[1].tokens", "a number of tokens"),
        (home(token=2), "homes[1].token", "no such key"),
        (home(tokens=8), "homes", "at most 6 tokens of stage 0, chunk 1"),
        (home(stage=1, tokens=2), "homes[1]", "what homes[0] does not place"),
    ],
)
def test_malformed_plans(changes: dict[str, Any], place: str, expected: str) -> None:
    homes = [] if "boundaries" in changes else DATA["homes"]
    with pytest.raises(InputError, match="expected") as caught:
        plan_from_dict({**DATA, "homes": homes, **changes}, TABLES)
    assert caught.value.problems[0].path == place
    assert expected in caught.value.problems[0].expected


def test_missing_keys() -> None:
    with pytest.raises(InputError, match="required") as caught:
        plan_from_dict({"homes": [{"stage": 0}]}, TABLES)
    assert [problem.path for problem in caught.value.problems] == [
        "version",
        "kind",
        "boundaries",
        "homes[0].chunk",
        "homes[0].memory",
        "homes[0].tokens",
    ]


def test_all_problems_at_once_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    bad = {**DATA, "kind": None, "boundaries": [1, 9], "homes": [{**DATA["homes"][0], "memory": 9}]}
    path.write_text(json.dumps(bad))
    with pytest.raises(InputError, match=r"plan\.json: kind") as caught:
        load_plan(path, TABLES)
    found = [problem.path.removeprefix(f"{path}: ") for problem in caught.value.problems]
    assert found == ["kind", "boundaries[0]", "boundaries[1]", "homes[0].memory"]


def test_a_wrong_file_is_cut_short() -> None:
    with pytest.raises(InputError, match="more problems") as caught:
        plan_from_dict({**DATA, "homes": [None] * 100_000}, TABLES)
    assert len(caught.value.problems) == 201


@pytest.mark.parametrize("text", ["[]", "{", '{"kind": "plan", "kind": "plan"}', ""])
def test_files_that_are_no_plans(tmp_path: Path, text: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"plan\.json"):
        load_plan(path, TABLES)


def test_unwritable_place(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="create the directory first"):
        save_plan(tmp_path / "absent" / "plan.json", PLAN, "an instance", TABLES)
