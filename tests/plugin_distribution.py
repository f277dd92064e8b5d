"""A tiny distribution in a folder, as pip leaves it: a module and its metadata with entry points."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

MODULE = '''
"""Two heuristics and a program that a user might write."""

import mocap_opt
from mocap_opt.bounds import Scope
from mocap_opt.baselines import METHODS, Proposal


def halves(tables):
    """Two chunks of about the same length.

    Nothing else.
    """
    middle = tables.steps // 2
    return Proposal(mocap_opt.Plan.from_arrays(tables, [0, middle, tables.steps]))


def greedy_with_a_clock(tables, asked_to_stop):
    """Ask whether to stop."""
    return METHODS["uniform-greedy"].propose(tables, asked_to_stop)


def build(tables, **options):
    return mocap_opt.build_model(tables, "joint", **options)


def solve(tables, start, *, time_limit_s, gap, seed, callback):
    from mocap_opt.formulations.joint import solve_joint

    return solve_joint(tables, start, time_limit_s=time_limit_s, gap=gap, seed=seed, callback=callback)


PROGRAM = mocap_opt.Formulation("the lockstep program again", build, solve, Scope.LOCKSTEP)
'''

ENTRY_POINTS = """
[mocap_opt.heuristics]
halves = tiny_plugin:halves
patient = tiny_plugin:greedy_with_a_clock

[mocap_opt.formulations]
again = tiny_plugin:PROGRAM
"""


def install(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    *,
    name: str = "tiny-plugin",
    module: str = MODULE,
    entry_points: str = ENTRY_POINTS,
) -> Path:
    """Put a distribution of that name into a folder and the folder on the path, also of child processes."""
    stem = describe(folder, name, "1.5", entry_points)
    (folder / f"{stem}.py").write_text(module)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=":")
    # The module of an earlier test must not stand in for this one.
    monkeypatch.delitem(sys.modules, stem, raising=False)
    return folder


def describe(folder: Path, name: str, version: str, entry_points: str) -> str:
    """Write the metadata of a distribution, and return its name as files have it."""
    stem = name.replace("-", "_")
    metadata = folder / f"{stem}-{version}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (metadata / "entry_points.txt").write_text(entry_points)
    return stem
