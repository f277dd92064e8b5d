"""Every notebook runs from top to bottom, at reduced size, and is stored without output."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("*.ipynb"))


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_is_stored_without_output_and_runs(file, monkeypatch):
    monkeypatch.setenv("MOCAP_OPT_QUICK", "1")
    notebook = nbformat.read(file, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)
    NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": file.parent}}
    ).execute()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
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
