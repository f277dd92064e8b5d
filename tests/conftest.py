"""What holds for every test."""

from pathlib import Path

import pytest

from mocap_opt import errors

PROCESSES = 2
"""Of a run of all tests; more would compete for the cores with the threads of solvers."""


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """Share out folders of tests over processes (pytest-xdist); single files start sooner in one.

    ``-n`` decides otherwise.  Worksteal keeps neighbours together, and so what a file has prepared.
    """
    of_folders = all(Path(argument).is_dir() for argument in config.args)
    worker = hasattr(config, "workerinput")
    options = config.option
    if of_folders and not worker and not options.usepdb and getattr(options, "numprocesses", 0) is None:
        options.numprocesses, options.dist = PROCESSES, "worksteal"


@pytest.fixture(autouse=True)
def failures_surface(monkeypatch):
    """A step or heuristic that fails is a note to users; in tests it is an error, so that none hides."""
    monkeypatch.setattr(errors, "raise_unexpected", True)


@pytest.fixture
def shared_configs() -> Path:
    """Configurations in the published form, where they lie beside the package."""
    for parent in Path(__file__).resolve().parents:
        if (folder := parent / "shared" / "cases" / "configs").is_dir():
            return folder
    pytest.skip("the configurations are not here")
