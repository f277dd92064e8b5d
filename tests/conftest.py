"""What holds for every test."""

import pytest

from mocap_opt.solving import steps


@pytest.fixture(autouse=True)
def failing_steps_raise(monkeypatch):
    """A step of a solve that fails is a note to users; in tests it is an error, so that no defect hides."""
    monkeypatch.setattr(steps, "failures_surface", True)
