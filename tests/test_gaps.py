"""The gaps of the benchmark family do not grow.  Deterministic limits, so that no clock decides."""

from __future__ import annotations

from pathlib import Path

import pytest

from mocap_opt import load_instance, solve

FOLDER = Path(__file__).parent.parent / "instances" / "bench"
LIMIT = 0.2
"""Of every program, in CP-SAT's units or thousands of HiGHS's nodes; searches run to their end."""

CLOSED = ("slack", "tight", "tighter", "prefix")

OPEN = {"S-links": 0.0230, "M-links": 0.0092, "M-unequal": 0.0027}
"""What is left of the others."""

GROWTH = 5e-4
"""What may be lost to another version of a solver."""


@pytest.mark.parametrize("name", [*(f"{size}-{variant}" for size in "SM" for variant in CLOSED), "S-unequal"])
def test_a_closed_gap_stays_closed(name: str) -> None:
    report = solve(load_instance(FOLDER / f"{name}.json"), deterministic_limit=LIMIT).report
    assert report.gap is not None
    assert report.gap <= 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", OPEN)
def test_an_open_gap_does_not_grow(name: str) -> None:
    report = solve(load_instance(FOLDER / f"{name}.json"), deterministic_limit=LIMIT).report
    assert report.gap is not None
    assert report.gap <= OPEN[name] + GROWTH
