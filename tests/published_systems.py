"""The table of published systems in .docs/guides/systems.md, made of its data and of what is computed here.

`python tests/published_systems.py` prints it, or the rows of the systems named; ``--write`` puts them there.
"""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path
from typing import Any

from published_figures import FIGURES

HERE = Path(__file__).parent
PAGE = HERE.parent / ".docs" / "guides" / "systems.md"
HEAD = (
    "| system | published | here | why they differ | test, instance |",
    "|---|---|---|---|---|",
)


def systems() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = tomllib.loads(
        (HERE / "data" / "published_systems.toml").read_text(encoding="utf-8")
    )["system"]
    return rows


def row(system: dict[str, Any]) -> str:
    """A system's line, with its figures computed now."""
    ours = system["ours"].format(**FIGURES[system["figures"]]())
    shown = f"[`{system['test']}`](../../tests/{system['test']})"
    if "instance" in system:
        name = system["instance"]
        shown += f", [`{name}`](../../instances/{name}.json)"
    what = f"**{system['name']}** ({system['source']}): {system['brings']} ({system['field']})"
    return f"| {what} | {system['published']} | {ours} | {system['why']} | {shown} |"


def rows_of_page() -> list[str]:
    """The lines of the table as they stand on the page."""
    return [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| **")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("systems", nargs="*", help="names; all if none is given")
    parser.add_argument("--write", action="store_true", help="put the rows into the page")
    given = parser.parse_args()
    shown = {line.split("**")[1]: line for line in rows_of_page()}
    asked = [each for each in systems() if not given.systems or each["name"] in given.systems]
    for each in asked:
        shown[each["name"]] = row(each)
        print(shown[each["name"]], flush=True)
    if given.write:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(HEAD[0])
        table = [*HEAD, *(shown[each["name"]] for each in systems() if each["name"] in shown)]
        after = rest.partition("\n\n")[2]
        PAGE.write_text(before + "\n".join(table) + "\n\n" + after, encoding="utf-8")


if __name__ == "__main__":
    main()
