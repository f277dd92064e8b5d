"""Places for results, refused before long work is done for them, and files written line by line."""

from __future__ import annotations

import contextlib
import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from mocap_opt.files import reason_of, refusal, refuse_special, shown_path


def require_writable(path: str | os.PathLike[str]) -> None:
    """Refuse a place for a result before long work is done for it.

    Parameters
    ----------
    path : str or path-like
        A file to be written later by `write_text_atomically`.

    Raises
    ------
    InputError
        If its folder is missing or cannot be written, or if it is a folder or a device itself.
    """
    source = shown_path(path)
    if source == "-":
        raise refusal(source, "standard output", "the name of a file", "./- is a file of this name")
    try:
        refuse_special(Path(path))
        folder = Path(path).resolve().parent
        exists, writable = folder.is_dir(), os.access(folder, os.W_OK)
    except (OSError, ValueError, RuntimeError) as error:
        raise refusal(source, reason_of(error), "a place that can be written") from None
    if not exists:
        remedy = "create the directory first"
        raise refusal(source, "no such directory", "a place that can be written", remedy)
    if not writable:
        raise refusal(source, "permission denied", "a place that can be written")


def _has_place(path: str | os.PathLike[str]) -> bool:
    return os.fspath(path) != "-" and "\0" not in os.fspath(path)


def require_outputs(
    outputs: Iterable[str | os.PathLike[str] | None], inputs: Iterable[str | os.PathLike[str]] = ()
) -> None:
    """Refuse places for results that cannot be written, are one another's, or hold what is read.

    Parameters
    ----------
    outputs : iterable of path or None
        None: not wanted.
    inputs : iterable of path

    Raises
    ------
    InputError
        As `require_writable`, or if a file is there twice.
    """
    taken = {os.path.realpath(path): "is read" for path in inputs if _has_place(path)}
    for path in outputs:
        if path is None:
            continue
        require_writable(path)
        source, place = shown_path(path), os.path.realpath(path)
        if place in taken:
            raise refusal(
                source, f"a file that {taken[place]} too", "a file of its own", "choose another name"
            )
        taken[place] = "is written"


@contextmanager
def line_writer(
    path: str | os.PathLike[str], failed: Callable[[str], None]
) -> Iterator[Callable[[str], None]]:
    """Write a file line by line, so that work that is cut short leaves what it had.

    Lines that cannot be written (the disk is full) cost the rest of the file, not the work.

    Parameters
    ----------
    path : path
    failed : callable
        Told why, once, if a line cannot be written.

    Yields
    ------
    callable
        To be given each line, with its end.

    Raises
    ------
    InputError
        If the file cannot be opened.
    """
    require_writable(path)
    source = shown_path(path)
    try:
        # Without a buffer: what failed once must not be tried again at the end.
        stream = open(path, "wb", buffering=0)  # noqa: SIM115 - closed below
    except OSError as error:
        raise refusal(source, reason_of(error), "a place that can be written") from None
    broken = False

    def write(line: str) -> None:
        nonlocal broken
        if broken:
            return
        whole = stream.tell()
        try:
            data = line.encode()
            while data:
                data = data[stream.write(data) or 0 :]
        except OSError as error:
            broken = True
            with contextlib.suppress(OSError):
                stream.truncate(whole)
            failed(f"{source}: {reason_of(error)}; the file ends there, the work goes on")

    with stream:
        yield write


def csv_text(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Rows as CSV under a header.

    Parameters
    ----------
    rows : iterable of mapping
        Their keys are `columns`.
    columns : sequence of str
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def tell_failure(reason: str) -> None:
    """Say on standard error what could not be written."""
    click.echo(f"mocap-opt: {reason}", err=True)
