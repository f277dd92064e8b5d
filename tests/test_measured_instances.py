"""Measured tables that are shipped: notices kept, instances that take them, forms that describe them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mocap_opt.calibration import Timings, choose_form, fit_forms, read_timings
from mocap_opt.instance import load_instance
from mocap_opt.studies import load_study, tasks_of
from mocap_opt.tables import build_tables

PLACE = Path(__file__).parent.parent / "instances" / "measured"
TABLES = sorted(PLACE.glob("*.csv"))
INSTANCES = sorted(PLACE.glob("*.json"))

CHOSEN = {
    "deepseek-v3.2-h200-sglang-tp4": ("switched-floor", 0.06),
    "deepseek-v3.2-h200-sglang-tp8": ("switched-floor", 0.06),
    "llama-3.1-70b-h200-sglang-tp2": ("position", 0.012),
    "llama-3.1-70b-h200-sglang-tp4": ("length", 0.012),
    "llama-3.1-70b-h200-sglang-tp8": ("position", 0.012),
    "llama-3.1-8b-rtxpro6000-vllm-tp1": ("length-slope", 0.012),
    "llama-3.1-8b-rtxpro6000-vllm-tp2": ("length-slope", 0.012),
    "minimax-m3-h200-sglang-tp4": ("sparse-floor", 0.03),
    "minimax-m3-h200-sglang-tp8": ("sparse-floor", 0.03),
    "qwen3-32b-rtxpro6000-vllm-tp1": ("length-slope", 0.012),
    "qwen3-32b-rtxpro6000-vllm-tp2": ("length-slope", 0.012),
}
"""Form that cross-validation chooses, and the most RMS residual it may leave."""


def test_every_table_has_an_instance_and_every_kind_is_there() -> None:
    names = {path.stem for path in TABLES}
    assert names == {path.stem for path in INSTANCES}
    assert names - set(CHOSEN) == {
        "alternating-full-latent-h200",
        "alternating-full-sparse-h200",
        "alternating-full-window-h200",
        "alternating-full-window-rtxpro6000",
    }


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_source_and_licence_stay_with_the_table(path: Path) -> None:
    notice = (PLACE / "NOTICE").read_text(encoding="utf-8")
    comments = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    assert any(line.startswith("# source: ") for line in comments)
    for line in comments:
        if line.startswith("# source: "):
            owner = line.split()[2]
            assert owner in notice
            assert (
                "Apache-2.0, Copyright (c) 2025-2026 NVIDIA" in line
                or "MIT, Copyright (c) 2024 CASYS" in line
            )
    kind = path.stem.partition("-sglang")[0].partition("-vllm")[0]
    assert kind in notice
    assert kind in (PLACE / "README.md").read_text(encoding="utf-8")
    read_timings(path)


@pytest.mark.parametrize("path", INSTANCES, ids=lambda path: path.stem)
def test_an_instance_takes_its_table_and_says_what_is_assumed(path: Path) -> None:
    data = json.loads(path.read_text(encoding="utf-8"))
    assert data["name"] == path.stem
    assert data["costs"] == {"kind": "measured", "file": f"{path.stem}.csv"}
    assert "assum" in data["description"]
    instance = load_instance(path)
    # Every chunk that limits and prompt allow was measured, or lies between what was.
    tables = build_tables(instance)
    assert tables.residual is not None
    assert 100 <= tables.steps <= 256


def by_stage(name: str) -> dict[tuple[int, int, int], float]:
    read = read_timings(PLACE / f"{name}.csv")
    stage = np.zeros(read.length.size, dtype=int) if read.stage is None else read.stage
    keys = zip(stage.tolist(), read.length.tolist(), read.prefix.tolist(), strict=True)
    return dict(zip(keys, read.seconds.tolist(), strict=True))


def test_made_tables_are_made_of_measured_ones() -> None:
    full, sparse = by_stage("llama-3.1-70b-h200-sglang-tp8"), by_stage("minimax-m3-h200-sglang-tp8")
    for (stage, length, prefix), seconds in by_stage("alternating-full-sparse-h200").items():
        assert seconds == pytest.approx((sparse if stage % 2 else full)[0, length, prefix], abs=1e-9)
    full, latent = by_stage("llama-3.1-70b-h200-sglang-tp4"), by_stage("deepseek-v3.2-h200-sglang-tp4")
    for (stage, length, prefix), seconds in by_stage("alternating-full-latent-h200").items():
        wanted = latent[1, length, prefix] if stage % 2 else full[0, length, prefix]
        assert seconds == pytest.approx(wanted, abs=1e-9)
    dense = by_stage("qwen3-32b-rtxpro6000-vllm-tp1")
    for (stage, length, prefix), seconds in by_stage("alternating-full-window-rtxpro6000").items():
        wanted = (
            9 / 8 * dense[0, length, min(prefix, 1024)] if stage % 2 else 7 / 8 * dense[0, length, prefix]
        )
        assert seconds == pytest.approx(wanted, abs=1e-9)


def one_stage(name: str) -> Timings:
    read = read_timings(PLACE / f"{name}.csv")
    return next(iter(read.by_stage().values()))


@pytest.mark.parametrize("name", CHOSEN)
def test_a_form_describes_the_table(name: str) -> None:
    form, most = CHOSEN[name]
    (fit,) = fit_forms(one_stage(name), names=[form])
    assert fit.rms <= most
    assert fit.held_out_rms is not None
    assert fit.held_out_rms <= 0.045


@pytest.mark.slow
@pytest.mark.parametrize("name", CHOSEN)
def test_cross_validation_chooses_that_form(name: str) -> None:
    chosen = choose_form(fit_forms(read_timings(PLACE / f"{name}.csv")))
    assert (chosen.name, chosen.rms <= CHOSEN[name][1]) == (CHOSEN[name][0], True)


def test_the_study_runs_rules_and_joint_on_every_instance() -> None:
    tasks = tasks_of(load_study(PLACE.parent / "studies" / "measured.toml"))
    methods = {"uniform-best", "fixed-size:8192", "sglang-dynamic:8192", "terapipe", "mocap", "joint"}
    for name in {path.stem for path in INSTANCES}:
        assert methods <= {task.settings.method for task in tasks if task.instance["name"] == name}
