"""A one-file report written by the command line, for tests of the page and of the page in a browser."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from test_cli import INSTANCES

from mocap_opt import METHODS, build_tables, load_instance, load_plan
from mocap_opt.pictures.run_view import RunView, view_run
from mocap_opt.replay.evaluation import Execution
from mocap_opt.schedule.plan_file import save_plan

EVIL = '</script><img src=x onerror="window.hacked=1">&amp;'

# A second stage whose memory overflows slightly: waits, remote reads and writes all occur.
CHANGES = ("pipeline.queue_depth=1", "wafer.link.bandwidth=0.5GB/s")


@dataclass(frozen=True)
class Written:
    """A report, and what it was written from."""

    page: Path
    answer: dict[str, Any]
    view: RunView
    slots: RunView


def write_report(folder: Path) -> Written:
    """A report on a plan of ten stages and up to twenty chunks; hostile texts in the instance."""
    content = json.loads((INSTANCES / "gpt3-175b-pjlab-tight.json").read_text())
    file, plan, page = folder / "instance.json", folder / "plan.json", folder / "report.html"
    file.write_text(json.dumps({**content, "description": EVIL}))
    instance = load_instance(file, CHANGES)
    tables = build_tables(instance)
    proposed = METHODS["search-greedy"].propose(tables).plan
    assert proposed is not None
    save_plan(plan, replace(proposed, fingerprint=instance.fingerprint), instance.name, tables)
    overrides = [part for change in CHANGES for part in ("--set", change)]
    with pytest.MonkeyPatch.context() as patch:
        said: list[str] = []
        patch.setattr("click.echo", lambda text, **_: said.append(str(text)))
        for arguments in (["evaluate", file, plan, "--json"], ["report", file, plan, "--out", page]):
            _call([*arguments, *overrides])
    read = load_plan(plan, tables)
    views = [view_run(tables, read, execution) for execution in (Execution.EVENT, Execution.LOCKSTEP)]
    return Written(page, json.loads(said[0]), *views)


def _call(arguments: list[Any]) -> None:
    from mocap_opt.cli import main  # noqa: PLC0415 - after click.echo has been replaced

    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    assert not stopped.value.code
