"""The glossary: one table, shown on the first page and by the command."""

from __future__ import annotations

import json
import re
from pathlib import Path

from command_line import run

from mocap_opt.glossary import TERMS

ROOT = Path(__file__).parent.parent
PAGE, PACKAGE = ROOT / "formulations" / "README.md", ROOT / "mocap_opt"


def test_the_page_shows_the_table_of_the_package():
    text = PAGE.read_text(encoding="utf-8")
    rows = text.partition("## Glossary")[2].splitlines()
    shown = [tuple(cell.strip() for cell in row.strip("|").split("|")) for row in rows if row.startswith("|")]
    assert shown[2:] == [(term.name, term.field, term.meaning) for term in TERMS]


def test_every_word_is_used_on_other_pages_and_in_the_package():
    pages = [path for path in PAGE.parent.glob("*.md") if path != PAGE]
    modules = [path for path in PACKAGE.rglob("*.py") if path.name != "glossary.py"]
    for files in (pages, modules):
        text = "\n".join(path.read_text(encoding="utf-8").lower() for path in files).replace("_", " ")
        stems = {term.name: re.escape(term.name.removesuffix("y").removesuffix("s")) for term in TERMS}
        assert [name for name, stem in stems.items() if not re.search(rf"\b{stem}(y|ies|s)?\b", text)] == []


def test_no_word_is_explained_twice():
    assert len({term.name for term in TERMS}) == len(TERMS)


def test_the_command_prints_every_word(capsys):
    told = json.loads(run("glossary", "--json", capsys=capsys)[1])
    assert [entry["name"] for entry in told] == [term.name for term in TERMS]
    text = run("glossary", capsys=capsys)[1]
    assert all(term.name in text for term in TERMS)
