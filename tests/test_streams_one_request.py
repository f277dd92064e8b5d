"""A stream of one request is a prompt: the same plan, bound and gap, all times from its release on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mocap_opt
from mocap_opt.instance import Instance
from mocap_opt.solving import solve
from mocap_opt.solving.incumbent import Progress

TIGHT = Path(__file__).parent / "data" / "stream-one-request.json"

SIZES = [6, pytest.param(100, marks=pytest.mark.slow)]

GAP = 0.1
"""Where both stop: long before a time limit could tell them apart."""


def random_prompt(rng: np.random.Generator) -> dict[str, Any]:
    """Two to four like stages, memories about as large as the KV of a prompt and its reserve need."""
    stages, tokens = int(rng.integers(2, 5)), int(rng.integers(6, 19))
    data: dict[str, Any] = json.loads(TIGHT.read_text())
    data["model"]["layers"] = stages
    data["wafer"]["cols"] = stages
    data["pipeline"]["stages"] = stages
    data["pipeline"]["queue_depth"] = int(rng.integers(1, 3))
    data["chunking"]["max_chunks"] = int(rng.integers(3, 9))
    data["wafer"]["link"]["bandwidth"] = f"{int(rng.integers(1, 9))} MB/s"
    data["overlap"] = float(rng.choice([1.0, 0.5]))
    # A token takes 4 bytes of KV and 4 of activations on a stage.
    data["wafer"]["die"]["memory_bytes"] = int(rng.integers(4 * tokens, 10 * tokens))
    data["workload"] = {"tokens": tokens}
    return data


@pytest.mark.parametrize("count", SIZES)
def test_it_is_answered_as_the_prompt_is(count: int) -> None:
    rng = np.random.default_rng(12)
    found = tight = 0
    for _ in range(count):
        prompt = random_prompt(rng)
        release = int(rng.choice([0, 70]))
        requests = [{"tokens": prompt["workload"]["tokens"], "release": f"{release} us"}]
        alone = mocap_opt.solve(prompt, time_limit_s=20.0, gap=GAP).report
        stream = solve(
            Instance.from_dict({**prompt, "workload": {"requests": requests}}), time_limit_s=20.0, gap=GAP
        )
        report, later = stream.report, release * 1e-6
        if alone.latency_s is None:
            assert report.status is alone.status
            assert report.reason == alone.reason
            continue
        found += 1
        tight += bool(alone.homes)
        assert alone.lower_bound_s is not None
        assert report.makespan_s == pytest.approx(alone.latency_s + later, rel=1e-12)
        assert report.lower_bound_s == pytest.approx(alone.lower_bound_s + later, rel=1e-12)
        assert report.mean_completion_s == pytest.approx(alone.latency_s, rel=1e-12)
        assert alone.gap is not None
        assert report.mean_gap is not None
        # A solve stops once its gap is reached; a report asks a few more bounds.
        assert report.mean_gap <= alone.gap + 1e-12
        assert report.p99_gap == pytest.approx(report.mean_gap, abs=1e-12)
        assert stream.schedule is not None
        assert list(stream.schedule.requests[0].plan.boundaries) == alone.boundaries
    assert found >= 0.5 * count
    assert tight >= 0.2 * count


def test_long_first_chunks_whose_reserve_does_not_fit_are_no_obstacle() -> None:
    # Even times begin with long chunks; equal chunks of the 18 tokens fit.
    report = solve(mocap_opt.load_instance(TIGHT), time_limit_s=20.0).report
    assert report.makespan_s == pytest.approx(447e-6)
    assert report.gap is not None
    assert report.gap < 0.03


def test_its_progress_begins_at_its_release() -> None:
    data = json.loads(TIGHT.read_text())
    data["workload"]["requests"][0]["release"] = "1 ms"
    news: list[Progress] = []
    report = solve(Instance.from_dict(data), time_limit_s=20.0, callback=news.append).report
    assert news
    assert all(each.bound_s is None or each.bound_s >= 1e-3 for each in news)
    latencies = [each.latency_s for each in news if each.latency_s is not None]
    assert latencies == sorted(latencies, reverse=True)
    assert latencies[-1] == pytest.approx(report.makespan_s, rel=1e-12)
