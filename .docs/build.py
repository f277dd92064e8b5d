"""Build the documentation: ``python .docs/build.py --out site``.

Pages come from four places and are laid side by side in a temporary folder for Sphinx: the guides in
``.docs``, the mathematics in ``formulations``, the notebooks, and a page for every public name.  Links
between files of the repository become links between pages; whatever leads nowhere stops the build.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

import mocap_opt

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
GUIDES = ("*.md", "guides", "_static")

PLACES = {"formulations": "mathematics", "notebooks": "gallery", ".pictures": "pictures"}
"""Folders of the repository and the folders of the site they become."""

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
    for name in PLACES.values():
        list_pages(source / name)
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
    """Write a page for every public name, and a list of them.

    Parameters
    ----------
    folder : Path
        Made here.
    """
    folder.mkdir()
    names = sorted(name for name in mocap_opt.__all__ if not name.startswith("_"))
    for name in names:
        thing = getattr(mocap_opt, name)
        if isinstance(thing, type):
            directive, options = "autoclass", "   :members:\n   :inherited-members: BaseModel, Exception\n"
        elif type(thing).__name__ == "module":
            directive, options = "automodule", "   :members:\n   :no-index:\n"
        else:
            directive, options = ("autofunction" if callable(thing) else "autodata"), ""
        body = f"mocap_opt.{name}\n{'=' * (len(name) + 10)}\n\n.. {directive}:: mocap_opt.{name}\n{options}"
        (folder / f"{name}.rst").write_text(body, encoding="utf-8")
    listed = "\n".join(f"   {name}" for name in names)
    (folder / "index.rst").write_text(
        "Python reference\n================\n\nEvery public name of ``mocap_opt``.\n\n"
        f".. toctree::\n   :maxdepth: 1\n\n{listed}\n",
        encoding="utf-8",
    )


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
        NotebookClient(notebook, timeout=600, kernel_name="python3", resources=where).execute()
        nbformat.write(notebook, file)


if __name__ == "__main__":
    main()
