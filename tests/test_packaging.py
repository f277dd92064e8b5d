"""What `pip install` brings: every file of the package, nothing else."""

from __future__ import annotations

import subprocess
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from mocap_opt.__main__ import run

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "mocap_opt"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FILES = [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


def test_every_folder_with_modules_is_a_package():
    folders = {path.parent for path in FILES if path.suffix == ".py"}
    assert not [folder for folder in folders if not (folder / "__init__.py").exists()]


def test_no_test_or_instance_is_within_the_package():
    assert not [path for path in FILES if path.name.startswith("test_") or path.suffix in (".json", ".ipynb")]


def test_the_source_distribution_names_every_folder_under_version_control():
    try:
        listed = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True, stderr=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no working copy of the repository")
    folders = {name.partition("/")[0] for name in listed.splitlines() if "/" in name}
    included = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert folders - {path.strip("/") for path in included} == {".ci"}


def test_the_top_level_holds_what_was_agreed_on():
    try:
        listed = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True, stderr=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no working copy of the repository")
    top = {name.partition("/")[0] for name in listed.splitlines() if not name.startswith(".")}
    folders = {"mocap_opt", "formulations", "tests", "notebooks", "instances"}
    assert top == {"pyproject.toml", "README.md", "LICENSE"} | folders


def test_the_command_is_the_one_installed():
    (script,) = (s for s in entry_points(group="console_scripts") if s.name == "mocap-opt")
    assert script.load() is run


def test_extras_that_messages_name_exist():
    extras = set(PROJECT["project"]["optional-dependencies"])
    assert {"plots", "report", "study", "cluster", "test", "dev"} <= extras
