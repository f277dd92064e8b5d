"""Every notebook is stored without output and runs from top to bottom: small here, at full size if slow."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from nbclient import NotebookClient
from traitlets.config import Config

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("*.ipynb"))

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem),
]


class Shell(InteractiveShell):
    """IPython without a kernel, whose start takes longer than most notebooks at reduced size."""

    def enable_gui(self, gui=None):
        """Pictures need no event loop."""


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """Of a user without settings; what a notebook changes in matplotlib is put back."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    backend = plt.get_backend()
    with plt.rc_context():
        yield Shell(config=Config(HistoryManager={"enabled": False}))
    plt.switch_backend(backend)


def test_a_notebook_is_stored_without_output_and_runs(file, shell, monkeypatch):
    monkeypatch.setenv("MOCAP_OPT_QUICK", "1")
    monkeypatch.chdir(file.parent)
    cells = [cell for cell in nbformat.read(file, as_version=4).cells if cell.cell_type == "code"]
    assert cells
    for cell in cells:
        assert cell.outputs == []
        assert cell.execution_count is None
        shell.run_cell(cell.source).raise_error()


@pytest.mark.slow
def test_a_notebook_runs_at_full_size(file, monkeypatch):
    monkeypatch.delenv("MOCAP_OPT_QUICK", raising=False)
    notebook = nbformat.read(file, as_version=4)
    # A cell that knows no limit would run into this one; on two quiet cores all cells take three minutes.
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": file.parent}}
    ).execute()
    pictures = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert pictures
