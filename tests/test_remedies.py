"""What helps where no plan exists: every change that is named has a plan."""

from __future__ import annotations

import json
import re
import shlex
from html import unescape

import pytest
from command_line import run

import mocap_opt.solving.remedies as remedies_module
from mocap_opt import METHODS, Instance, build_tables, load_instance, solve, violations
from mocap_opt.bounds import prove_infeasible
from mocap_opt.solving.remedies import FLOOR_S, TIME_S, closest_shortage, infeasible_verdict, remedies
from mocap_opt.stopping import Deadline, never


def overrides_in(reason: str) -> list[str]:
    """The changes that a reason names, as a shell reads them."""
    return [shlex.split(each)[0] for each in re.findall(r"; would fit: .*? \(--set (\S+?)\)(?=;|$)", reason)]


def hopeless() -> Instance:
    return load_instance("instances/gpt3-175b-watos-hopeless.json")


def test_an_infeasible_verdict_names_the_shortage_and_remedies_that_hold() -> None:
    reason = solve(hopeless(), time_limit_s=20).report.reason
    assert "short" in reason or "exceeds" in reason
    assert overrides_in(reason)
    for override in overrides_in(reason):
        assert solve(hopeless().replace(override), time_limit_s=5).plan is not None


VARIANTS = (
    (
        "gpt3-175b-watos-hopeless",
        ("chunking.longest=2k", "workload.tokens=2k", "workload.batch=150"),
        {"pipeline.spare_dies", "precision.kv", "pipeline.dies_per_stage", "pipeline.stages", "wafer.pools"},
    ),
    ("tiny-hopeless", (), {"precision.kv", "wafer.pools", "workload.tokens"}),
    ("llama-3.1-70b-watos-batch", ("workload.batch=64",), {"chunking.max_chunks", "workload.batch"}),
)


@pytest.mark.parametrize(("name", "changed", "expected"), VARIANTS)
def test_every_remedy_is_an_instance_with_a_plan_of_its_own(name, changed, expected) -> None:
    instance = load_instance(f"instances/{name}.json").replace(*changed)
    assert prove_infeasible(build_tables(instance)) is not None
    said = remedies(instance, Deadline(60.0))
    assert all(each.startswith("would fit: ") for each in said)
    overrides = overrides_in("".join(f"; {each}" for each in said))
    assert len(overrides) == len(said)
    assert expected <= {override.partition("=")[0] for override in overrides}
    for override in overrides:
        tables = build_tables(instance.replace(override))
        assert prove_infeasible(tables) is None
        plans = [METHODS[method].propose(tables).plan for method in remedies_module.ASKED]
        assert any(plan is not None and not violations(tables, plan) for plan in plans)


def test_a_remedy_without_a_plan_says_that_it_is_only_not_proved_infeasible(monkeypatch) -> None:
    monkeypatch.setattr(remedies_module, "ASKED", ())
    said = remedies(load_instance("instances/tiny-hopeless.json"), Deadline(30.0))
    assert said
    assert all(each.startswith("may fit: ") and "no plan was found" in each for each in said)


def test_what_leaves_an_instance_infeasible_is_not_named() -> None:
    """Of queues, spare dies, chunks and stages none makes room for four tokens in memories of three."""
    said = "".join(remedies(load_instance("instances/tiny-hopeless.json"), Deadline(30.0)))
    assert "queue" not in said
    assert "stages" not in said


class Clock:
    """Seconds that pass with every question asked of them."""

    def __init__(self, step_s: float) -> None:
        self.now, self.step_s = 0.0, step_s

    def __call__(self) -> float:
        self.now += self.step_s
        return self.now


@pytest.mark.parametrize(("left_s", "most_s"), [(0.0, FLOOR_S), (2.0, 1.0), (600.0, TIME_S)])
def test_a_verdict_takes_a_share_of_the_time_left_a_floor_or_a_ceiling(left_s, most_s, monkeypatch) -> None:
    taken: list[float] = []
    clock = Clock(1e-3)

    def asked(instance, late):
        began = clock.now
        while not late():
            pass
        taken.append(clock.now - began)
        return []

    monkeypatch.setattr(remedies_module, "remedies", asked)
    tables = build_tables(hopeless())
    proof = prove_infeasible(tables)
    infeasible_verdict(hopeless(), tables, proof, Deadline(left_s, clock=clock))
    assert taken == [pytest.approx(most_s, abs=0.02)]


def test_every_command_gives_the_verdict_of_solve(tmp_path, capsys) -> None:
    """Not even one quantum fits, so the longest prompt is none, for the reason that this one is."""
    changes = ("chunking.longest=2k", "workload.tokens=2k", "workload.batch=150")
    given = ["instances/gpt3-175b-watos-hopeless.json", *(f"--set={change}" for change in changes)]

    def answer(command: str) -> dict[str, object]:
        code, out, _ = run(command, *given, "--json", capsys=capsys)
        assert code == 3
        found: dict[str, object] = json.loads(out)
        return found

    said = answer("solve")["reason"]
    assert isinstance(said, str)
    assert "would fit: " in said
    assert answer("bound")["reason"] == said
    stop = answer("max-length")["stopped_by"]
    assert isinstance(stop, dict)
    assert stop["reason"] == said
    page = tmp_path / "page.html"
    run("report", *given, "--methods", "gpipe,uniform", "--out", page, capsys=capsys)
    assert f"<p>gpipe, uniform: {said}</p>" in unescape(page.read_text())


def test_nothing_is_named_once_asked_to_stop() -> None:
    assert remedies(hopeless(), Deadline(0.0)) == []


def test_a_verdict_without_a_memory_of_its_own_says_where_close_plans_are_short() -> None:
    said = closest_shortage(build_tables(hopeless()), never)
    assert "no single memory is short in every plan" in said


@pytest.mark.parametrize("name", ["tiny-hopeless"])
def test_tiny_instances_get_an_answer_too(name: str) -> None:
    report = solve(load_instance(f"instances/{name}.json"), time_limit_s=5).report
    assert report.status.value == "infeasible"
