"""The question about virtual stages: answers that hold together, what is refused, the command."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

import mocap_opt
from mocap_opt.cli.main import cli
from mocap_opt.errors import InputError
from mocap_opt.questions.virtual_stages import virtual_pipeline, virtual_stages
from mocap_opt.replay.virtual import replay_virtual
from mocap_opt.schedule.virtual_plan import virtual_violations
from mocap_opt.tables import build_tables

SLACK = "instances/llama-3.1-70b-watos-slack.json"
FEW = ["chunking.max_chunks=4", "chunking.quantum=16384"]


def small(*overrides: str) -> mocap_opt.Instance:
    return mocap_opt.load_instance(SLACK).replace(*FEW, *overrides)


@pytest.mark.parametrize("shape", ["v", "interleaved"])
def test_answers_hold_together(shape):
    found = virtual_stages(small(), shape, time_limit_s=20.0)
    assert found.best is not None
    assert virtual_violations(found.pipeline, found.best.plan) == []
    assert replay_virtual(found.pipeline, found.best.plan).latency == found.best.latency
    assert found.alike.ticks <= found.bound.ticks <= found.best.latency
    assert found.alike.ticks <= found.pipeline.tables.tick_s**-1 * found.ordinary.report.latency_s * 1.000001
    assert found.sizes
    for row in found.sizes:
        assert row.bound <= row.virtual
        assert found.best.latency <= row.virtual
    assert len(found.verdicts) == 2
    assert all("on virtual stages: " in text for text in found.verdicts)


def test_a_fixed_overhead_makes_virtual_stages_slower():
    without, with_it = (virtual_stages(small(), time_limit_s=20.0, overhead_s=s) for s in (0.0, 1.0))
    assert with_it.fixed.virtual > without.fixed.virtual
    assert "proved: in no order of the devices faster" in with_it.verdicts[0]
    assert with_it.alike.ticks == without.alike.ticks


def test_embedding_and_head_go_with_the_first_and_last_stage():
    instance = small()
    tables = build_tables(instance)
    head = 128256 * 8192 * 2
    folded = virtual_pipeline(instance, tables, "v", 2)
    moved = folded.static - tables.static[: tables.stages]
    assert moved.tolist() == [head] + [0] * (tables.stages - 2) + [-head]
    round_and_round = virtual_pipeline(instance, tables, "interleaved", 2)
    assert (round_and_round.static == tables.static[: tables.stages]).all()


@pytest.mark.parametrize(
    ("overrides", "options", "place"),
    [
        (["objective=period"], {}, "objective"),
        (["workload.available=[[0, 0.0], [4096, 0.08]]"], {}, "available"),
        (['model.profile=[{"layers": [40, 79], "keep": 0.5}]'], {}, "profile"),
        (["pipeline.stages=auto"], {}, "pipeline.stages"),
        ([], {"runs": 1}, "runs"),
        ([], {"runs": 100}, "runs"),
        ([], {"shape": "w"}, "shape"),
        ([], {"overhead_s": -1.0}, "overhead"),
    ],
)
def test_what_virtual_stages_do_not_know_is_refused(overrides, options, place):
    with pytest.raises(InputError, match=place):
        virtual_stages(small(*overrides), **options)


def test_the_command():
    arguments = ["virtual", SLACK, "--time-limit", "20"]
    arguments += [part for each in FEW for part in ("--set", each)]
    shown = CliRunner().invoke(cli, arguments)
    assert shown.exit_code == 0, shown.output
    assert "verdict" in shown.output
    answer = json.loads(CliRunner().invoke(cli, [*arguments, "--json"]).stdout)
    assert answer["shape"] == "v"
    assert answer["lower_bound_s"] <= answer["best"]["latency_s"]
    assert answer["any_arrangement_lower_bound_s"] <= answer["ordinary"]["latency_s"]
    assert {row["size"] % 16384 for row in answer["sizes"]} == {0}


def test_memory_that_is_short_is_named():
    crowded = mocap_opt.load_instance("instances/gpt3-175b-pjlab-tight.json").replace(*FEW)
    found = virtual_stages(crowded, time_limit_s=20.0)
    assert found.best is None
    assert found.short is not None
    assert "no plan to compare (memory of device" in found.verdicts[1]
