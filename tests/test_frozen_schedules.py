"""Plans, periods and streams of earlier code come to the same figures, file by file."""

from __future__ import annotations

import json

import pytest
from frozen_schedules import FILE, answer, period_figures, plan_figures, stream_figures

FROZEN = json.loads(FILE.read_text())
FIGURES = {"plan": plan_figures, "period": period_figures, "stream": stream_figures}


@pytest.mark.parametrize("kind", FIGURES)
def test_replays_and_memory_are_as_they_were(kind: str) -> None:
    for number, record in enumerate(FROZEN[kind]):
        found = FIGURES[kind](record["seed"], record["file"])
        assert found == record["figures"], f"{kind} {number}"


def test_saved_plans_evaluate_as_they_did() -> None:
    for record in FROZEN["answer"]:
        found = answer(record["name"], record["objective"], record["file"])
        kept = {key: found.get(key) for key in record["figures"]}
        assert kept == record["figures"], f"{record['name']}, {record['objective']}"
