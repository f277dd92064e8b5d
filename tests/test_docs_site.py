"""The documentation's sources: what is laid out for Sphinx, and what stops that."""

from __future__ import annotations

import base64
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import nbformat
import pytest

import mocap_opt
from mocap_opt.cli.main import cli
from mocap_opt.glossary import TERMS

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_build", ROOT / ".docs" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_word_and_public_name_is_laid_out(build, tmp_path):
    source = tmp_path / "source"
    build.gather(source)
    pages = {path.stem for path in (source / "mathematics").glob("*.md")}
    assert pages >= {path.stem for path in (ROOT / "formulations").glob("*.md")} - {"README"}
    assert {path.stem for path in (source / "gallery").glob("*.ipynb")} == {
        path.stem for path in (ROOT / "notebooks").glob("*.ipynb")
    }
    reference = (source / "reference" / "index.rst").read_text(encoding="utf-8")
    for name in {*mocap_opt.__all__} - {"__version__"}:
        assert f":doc:`{name}`" in reference
        assert (source / "reference" / f"{name}.rst").exists()
        assert build.summary(name).endswith("."), name
    glossary = (source / "guides" / "glossary.md").read_text(encoding="utf-8")
    assert all(f"\n{term.name}\n  " in glossary for term in TERMS)
    assert not [path for path in source.rglob("*.md") if "](path:" in path.read_text(encoding="utf-8")]


def test_a_link_that_leads_nowhere_stops_the_build(build, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("`[code](is/left.alone)`, [gone](no/such/page.md)", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"page\.md: the link no/such/page\.md leads nowhere"):
        build.copy_page(page, tmp_path / "site" / "page.md", tmp_path / "site")


def test_a_public_name_without_a_theme_stops_the_build(build, tmp_path, monkeypatch):
    monkeypatch.setitem(build.THEMES, "Errors", "MocapError InputError")
    with pytest.raises(SystemExit, match="PluginError"):
        build.write_reference(tmp_path / "reference")


def test_the_gallery_shows_the_question_and_the_first_picture_of_a_notebook(build, tmp_path):
    output = nbformat.v4.new_output("display_data", {"image/png": base64.b64encode(b"picture").decode()})
    cells = [
        nbformat.v4.new_markdown_cell("# What wins?\n\nTwo methods meet. A second sentence. A third."),
        nbformat.v4.new_code_cell("draw()", outputs=[output]),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "wins.ipynb")
    build.write_gallery(tmp_path)
    text = (tmp_path / "index.md").read_text(encoding="utf-8")
    assert "{grid-item-card} What wins?" in text
    assert "\nTwo methods meet. A second sentence.\n" in text
    assert (tmp_path / "wins.thumb.png").read_bytes() == b"picture"


def test_the_page_of_commands_names_every_command():
    page = (ROOT / ".docs" / "guides" / "commands.md").read_text(encoding="utf-8")
    table = page[: page.index("## What all")]
    assert [name for name in cli.commands if not re.search(rf"`(mocap-opt )?{name}\b", table)] == []
