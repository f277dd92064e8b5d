"""The glossary: one table, shown on the first page and by the command."""

from __future__ import annotations

import json
from pathlib import Path

from command_line import run

from mocap_opt.glossary import TERMS

PAGE = Path(__file__).parent.parent / "formulations" / "README.md"


def test_the_page_shows_the_table_of_the_package():
    text = PAGE.read_text(encoding="utf-8")
    rows = text.partition("## Glossary")[2].splitlines()
    shown = [tuple(cell.strip() for cell in row.strip("|").split("|")) for row in rows if row.startswith("|")]
    assert shown[2:] == [(term.name, term.field, term.meaning) for term in TERMS]


def test_no_word_is_explained_twice():
    assert len({term.name for term in TERMS}) == len(TERMS)


def test_the_command_prints_every_word(capsys):
    told = json.loads(run("glossary", "--json", capsys=capsys)[1])
    assert [entry["name"] for entry in told] == [term.name for term in TERMS]
    text = run("glossary", capsys=capsys)[1]
    assert all(term.name in text for term in TERMS)
