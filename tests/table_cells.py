"""Cells of the tables that studies write, read back."""

from __future__ import annotations

import re


def cells_of_markdown(text: str) -> list[list[str]]:
    """Cells row by row, as a Markdown reader splits them; the rule below the header aside."""
    rows = [re.split(r"(?<!\\)\|", line.strip()) for line in text.splitlines()]
    assert all(row[0] == row[-1] == "" for row in rows)
    cut = [[cell.strip().replace("\\|", "|") for cell in row[1:-1]] for row in rows]
    assert len({len(row) for row in cut}) == 1
    assert all(re.fullmatch(r"-+|-+:", cell) for cell in cut[1])
    return [cut[0], *cut[2:]]


def cells_of_latex(text: str) -> list[list[str]]:
    """Cells row by row, as LaTeX splits them, with every special character escaped."""
    body = (
        text.split("\\midrule", maxsplit=1)[0].split("\\toprule")[1]
        + text.split("\\midrule")[1].split("\\bottomrule", maxsplit=1)[0]
    )
    rows = [row for row in body.replace("\n", "").split(r"\\") if row]
    cut = [[cell.strip() for cell in re.split(r"(?<!\\)&", row)] for row in rows]
    for cell in (cell for row in cut for cell in row):
        assert not re.search(r"(?<!\\)[%$#_&]", cell)
    columns = re.search(r"\\begin\{tabular\}\{(\w+)\}", text)
    assert columns is not None
    assert {len(row) for row in cut} == {len(columns[1])}
    return [[re.sub(r"\\([%$#_&{}])", r"\1", cell) for cell in row] for row in cut]
