"""Build the documentation: ``python .docs/build.py --out site``.

Pages come from four places and are laid side by side in a temporary folder for Sphinx: the guides in
``.docs``, the mathematics in ``formulations``, the notebooks, and a page for every public name.  Links
between files of the repository become links between pages; whatever leads nowhere stops the build.
"""

from __future__ import annotations

import argparse
import base64
import inspect
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import nbformat
from nbclient import NotebookClient

import mocap_opt
from mocap_opt.glossary import TERMS

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
GUIDES = ("*.md", "guides", "_static")

PLACES = {"formulations": "mathematics", "notebooks": "gallery", ".pictures": "pictures"}
"""Folders of the repository and the folders of the site they become."""

THEMES = {
    "Instances": "load_instance Instance instance_from_config fit FormChoice",
    "Answers": "solve bound evaluate compare Solution Report",
    "Further questions": "explain Explanation advise Advice max_length LongestAnswer repair Repair "
    "prompt_selection tradeoff virtual_stages",
    "Plans and tables": "Plan Home load_plan save_plan plan_from_dict plan_to_dict build_tables Tables "
    "violations replay_lockstep replay_event",
    "Programs": "build_model build_cp_model CpModel read_plan Formulation",
    "Heuristics": "METHODS Method Proposal",
    "DataFrames and pictures": "frames plot_gantt plot_memory plot_mesh plot_bounds plot_compare "
    "plot_tradeoff plot_residuals",
    "Studies": "load_study Study run_study studies",
    "Errors": "MocapError InputError PluginError",
}
"""Public names as the reference groups them; one that is missing stops the build."""

ALONE = {
    "violations": "Everything that makes a plan infeasible; an empty list means feasible.",
    "replay_lockstep": "Run a plan with a barrier after every slot.",
    "replay_event": "Run a plan without barriers.",
    "Formulation": "A program with a name: what it asks, how it is built and solved, what its bound covers.",
    "Study": "A study as its file has it: instances, methods, solvers, seeds, limits.",
}
"""Summaries of docstrings that say little out of their place."""

SHORT = 60
"""Characters of a sentence that says little without the next."""

_CODE = re.compile(r"(^```.*?^```$|^    [^\n]*$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(\]\()([^)#\s]+)(#[^)\s]*)?(\))")


def main() -> None:
    """Gather the sources and run Sphinx."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the pages")
    parser.add_argument("--quick", action="store_true", help="notebooks at reduced size")
    parser.add_argument("--no-notebooks", action="store_true", help="notebooks without output")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        source = Path(place) / "source"
        gather(source)
        if not asked.no_notebooks:
            execute(source / "gallery", quick=asked.quick)
        write_gallery(source / "gallery")
        for name in PLACES.values():
            list_pages(source / name)
        command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"]
        command += ["-d", str(Path(place) / "doctrees"), str(source), str(asked.out)]
        raise SystemExit(subprocess.call(command))


def gather(source: Path) -> None:
    """Lay out all sources under one folder.

    Parameters
    ----------
    source : Path
        Made anew.
    """
    source.mkdir(parents=True)
    shutil.copy(HERE / "conf.py", source)
    shutil.copytree(HERE / "_static", source / "_static")
    for page in sorted(HERE.rglob("*.md")):
        copy_page(page, source / page.relative_to(HERE), source)
    for folder, name in PLACES.items():
        (source / name).mkdir(exist_ok=True)
        for file in sorted((ROOT / folder).iterdir()):
            if file.suffix == ".md":
                target = "index.md" if file.name == "README.md" else file.name
                copy_page(file, source / name / target, source)
            elif file.suffix in (".ipynb", ".png", ".svg", ".csv"):
                shutil.copy(file, source / name)
    write_glossary(source / "guides" / "glossary.md")
    write_reference(source / "reference")


def list_pages(folder: Path) -> None:
    """Add all pages of a folder to the navigation, behind its index.

    Parameters
    ----------
    folder : Path
    """
    pages = sorted(page.stem for page in folder.iterdir() if page.suffix in (".md", ".ipynb"))
    if not pages:
        return
    index = folder / "index.md"
    text = index.read_text(encoding="utf-8") if index.exists() else f"# {folder.name.capitalize()}\n"
    others = "\n".join(page for page in pages if page != "index")
    index.write_text(f"{text}\n```{{toctree}}\n:maxdepth: 1\n:hidden:\n\n{others}\n```\n", encoding="utf-8")


def copy_page(page: Path, target: Path, source: Path) -> None:
    """Copy a page; its links to files of the repository become links within the site.

    Parameters
    ----------
    page : Path
        Within the repository.
    target : Path
        Within `source`.
    source : Path
        The site's root.
    """

    def relinked(found: re.Match[str]) -> str:
        link, anchor = found[2], found[3] or ""
        if "://" in link or link.startswith(("mailto:", "/")):
            return found[0]
        place = (page.parent / link).resolve()
        if not place.exists():
            if HERE in page.parents:
                # A guide names pages of the site, which Sphinx checks.
                return found[0]
            raise SystemExit(f"{page.relative_to(ROOT)}: the link {link} leads nowhere")
        inside = on_site(place)
        if inside is None:
            return found[0].replace(f"]({link}", f"](path:{link}")
        return f"]({os.path.relpath(source / inside, target.parent)}{anchor})"

    parts = _CODE.split(page.read_text(encoding="utf-8"))
    # Odd parts are code, which is left alone.
    parts[::2] = [_LINK.sub(relinked, part) for part in parts[::2]]
    # What has no page on the site, code and instances, is named without a link.
    text = re.sub(r"\[([^\]]+)\]\(path:[^)]+\)", r"\1", "".join(parts))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")


def on_site(place: Path) -> Path | None:
    """Where a file of the repository stands on the site; None if it does not.

    Parameters
    ----------
    place : Path
        Absolute.
    """
    if HERE in place.parents:
        return place.relative_to(HERE)
    for folder, name in PLACES.items():
        if ROOT / folder == place.parent:
            return Path(name) / ("index.md" if place.name == "README.md" else place.name)
    return None


def write_reference(folder: Path) -> None:
    """Write a page for every public name, and a list of them by theme with a line on each.

    Parameters
    ----------
    folder : Path
        Made here.
    """
    folder.mkdir()
    names = {name for name in mocap_opt.__all__ if not name.startswith("_")}
    listed = [name for group in THEMES.values() for name in group.split()]
    if sorted(listed) != sorted(names):
        raise SystemExit(f"themes of the reference and mocap_opt.__all__ differ in {names ^ {*listed}}")
    for name in listed:
        (folder / f"{name}.rst").write_text(reference_page(name), encoding="utf-8")
    text = "Python reference\n================\n\nEvery public name of ``mocap_opt``, each with an example.\n"
    for theme, group in THEMES.items():
        rows = "".join(f"   * - :doc:`{name}`\n     - {summary(name)}\n" for name in group.split())
        table = f".. list-table::\n   :widths: 25 75\n\n{rows}"
        text += f"\n{theme}\n{'-' * len(theme)}\n\n{table}"
    tree = "\n".join(f"   {name}" for name in listed)
    text += f"\n.. toctree::\n   :hidden:\n   :maxdepth: 1\n\n{tree}\n"
    (folder / "index.rst").write_text(text, encoding="utf-8")


def reference_page(name: str) -> str:
    """The page of a public name.

    Parameters
    ----------
    name : str
        In ``mocap_opt``.
    """
    thing = getattr(mocap_opt, name)
    body = f"{name}\n{'=' * len(name)}\n\n"
    if isinstance(thing, type):
        return f"{body}.. autoclass:: mocap_opt.{name}\n   :members:\n"
    if isinstance(thing, ModuleType):
        return f"{body}.. automodule:: mocap_opt.{name}\n   :members:\n   :no-index:\n"
    if callable(thing):
        return f"{body}.. autofunction:: mocap_opt.{name}\n"
    rows = "".join(f"   * - ``{key}``\n     - {each.summary}\n" for key, each in thing.items())
    table = f".. list-table::\n   :header-rows: 1\n\n   * - name\n     - what it is\n{rows}"
    return f"{body}``mocap_opt.{name}``: {summary(name)}\n\n{table}"


def summary(name: str) -> str:
    """What a public name is, in a line.

    Parameters
    ----------
    name : str
        In ``mocap_opt``.
    """
    thing = getattr(mocap_opt, name)
    if isinstance(thing, dict):
        return "The heuristics by name, each a `Method`."
    line = (inspect.getdoc(thing) or "").split("\n")[0]
    return ALONE.get(name, line)


def write_glossary(page: Path) -> None:
    """Write the words of ``mocap-opt glossary`` as a page.

    Parameters
    ----------
    page : Path
    """
    entries = "\n\n".join(f"{term.name}\n  *{term.field}*: {term.meaning}." for term in TERMS)
    head = (
        "The words used here, *what the field calls them*, and what they mean, in the order in which one "
        "meets them; `mocap-opt glossary` prints them."
    )
    page.write_text(f"# Glossary\n\n{head}\n\n:::{{glossary}}\n{entries}\n:::\n", encoding="utf-8")


def write_gallery(folder: Path) -> None:
    """Write the index of the notebooks: of each its question, what it does, and its first picture.

    Parameters
    ----------
    folder : Path
        Of the notebooks, executed or not.
    """
    cards = []
    for file in sorted(folder.glob("*.ipynb")):
        notebook = nbformat.read(file, as_version=4)
        title, text = question(notebook)
        picture = first_picture(notebook)
        lines = [f":::{{grid-item-card}} {title}", f":link: {file.stem}", ":link-type: doc"]
        if picture is not None:
            (folder / f"{file.stem}.thumb.png").write_bytes(picture)
            lines.append(f":img-bottom: {file.stem}.thumb.png")
        cards.append("\n".join([*lines, "", text, ":::"]))
    grid = "\n\n".join(["::::{grid} 1 1 2 2\n:gutter: 3", *cards, "::::"])
    head = "Questions answered with pictures. Each page is a notebook, executed as these pages were built."
    (folder / "index.md").write_text(f"# Gallery\n\n{head}\n\n{grid}\n", encoding="utf-8")


def question(notebook: nbformat.NotebookNode) -> tuple[str, str]:
    """Title of a notebook, and the first sentence below it; two if the first is short.

    Parameters
    ----------
    notebook : NotebookNode
    """
    title, _, rest = notebook.cells[0].source.partition("\n")
    first, *others = re.split(r"(?<=[.?])\s+", rest.strip())
    said = first if len(first) >= SHORT or not others else f"{first} {others[0]}"
    return title.lstrip("# "), said


def first_picture(notebook: nbformat.NotebookNode) -> bytes | None:
    """The first picture that a notebook shows; None if it was not executed.

    Parameters
    ----------
    notebook : NotebookNode
    """
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                return base64.b64decode(output["data"]["image/png"])
    return None


def execute(folder: Path, *, quick: bool) -> None:
    """Run every notebook in place, in the repository's folder of notebooks.

    Parameters
    ----------
    folder : Path
        Copies of the notebooks.
    quick : bool
        At reduced size, as the tests do.
    """
    if quick:
        os.environ["MOCAP_OPT_QUICK"] = "1"
    for file in sorted(folder.glob("*.ipynb")):
        notebook = nbformat.read(file, as_version=4)
        where = {"metadata": {"path": str(ROOT / "notebooks")}}
        # The kernel's log says that it listens on this machine, once for every notebook.
        quiet = ["--log-level=ERROR"]
        NotebookClient(
            notebook, timeout=600, kernel_name="python3", resources=where, extra_arguments=quiet
        ).execute()
        nbformat.write(notebook, file)


if __name__ == "__main__":
    main()
