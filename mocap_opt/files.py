"""Reading JSON that somebody else wrote, and writing files whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from mocap_opt.errors import InputError, Problem
from mocap_opt.messages import capped, join_path, show
from mocap_opt.units import format_bytes

MAX_BYTES = 16 * 2**20
MAX_DEPTH = 64
MAX_PARTS = 2_000_000
"""Objects, lists and keys of a JSON text together: each takes a hundred times its size in memory."""

MAX_LINE = 4 * 2**20
"""Bytes of a line, where a file is read line by line."""

STALE_S = 3600.0
"""Age from which an unfinished file of a writer that was killed is removed; no write takes that long."""

STANDARD_INPUT = "standard input"
"""What messages call the file ``"-"``."""

_UNFINISHED = ".unfinished"

# Possessive, and the closing quote optional: one pass over whatever the file holds.
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)


def refusal(source: str, found: str, expected: str, remedy: str = "") -> InputError:
    """Make the error of one problem.

    Parameters
    ----------
    source : str
        Where it is.
    found, expected, remedy : str
        As of `Problem`.
    """
    return InputError([Problem(source, found, expected, remedy)])


def shown_path(path: str | os.PathLike[str]) -> str:
    """A path in printable ASCII, for messages."""
    return ascii(os.fspath(path))[1:-1]


def source_name(path: str | os.PathLike[str]) -> str:
    """What messages call a file that is read: its path, or "standard input"."""
    return STANDARD_INPUT if os.fspath(path) == "-" else shown_path(path)


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    if os.fspath(path) != "-":
        with open(path, "rb") as stream:
            yield stream
        return
    # A process may have been started without one.
    if sys.stdin is None:
        raise refusal(STANDARD_INPUT, "nothing", "the text of a file", "name a file instead of -")
    yield sys.stdin.buffer


def read_text(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> str:
    """Read a regular UTF-8 file of limited size, or standard input.

    Parameters
    ----------
    path : path
        ``"-"`` is standard input; ``"./-"`` is a file of that name.
    max_bytes : int

    Raises
    ------
    InputError
        If it is missing, unreadable, not a regular file, too large or not UTF-8, or if standard input
        is empty, as it is when read a second time.
    """
    source = source_name(path)
    with _reading(path, source), _opened(path) as stream:
        data = stream.read(max_bytes + 1)
    if not data and source == STANDARD_INPUT:
        raise refusal(source, "nothing", "the text of a file", "it can be read once only")
    if len(data) > max_bytes:
        raise refusal(source, "more", f"at most {format_bytes(max_bytes)}", "is this the right file?")
    return _decoded(data, source)


def read_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, str]]:
    """Read the lines of a regular UTF-8 file of any size, or of standard input, one at a time.

    Parameters
    ----------
    path : path
        As for `read_text`.

    Yields
    ------
    int, str
        The number of the line, from 1, and the line.

    Raises
    ------
    InputError
        If the file is missing, unreadable, not a regular file or not UTF-8, or a line is too long.
    """
    source = source_name(path)
    with _reading(path, source), _opened(path) as stream:
        for number, line in enumerate(iter(lambda: stream.readline(MAX_LINE + 1), b""), start=1):
            place = f"{source}:{number}"
            if len(line) > MAX_LINE:
                raise refusal(
                    place, "more", f"at most {format_bytes(MAX_LINE)} in a line", "is this the right file?"
                )
            yield number, _decoded(line, place)


def _decoded(data: bytes, place: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte = f"byte 0x{data[error.start]:02x} at offset {error.start}"
        raise refusal(place, byte, "UTF-8 text", "save the file as UTF-8") from None


@contextmanager
def _reading(path: str | os.PathLike[str], source: str) -> Iterator[None]:
    """Refuse what is no regular file, and say why one cannot be read."""
    try:
        # Opening a pipe nobody writes to would wait for ever, so look before opening.
        if source != STANDARD_INPUT and not stat.S_ISREG(os.stat(path).st_mode):
            kind = "a directory" if os.path.isdir(path) else "not a regular file"
            remedy = "" if kind == "a directory" else "save what it gives in a file first"
            raise refusal(source, kind, "a file", remedy)
        yield
    except FileNotFoundError:
        raise refusal(source, "", "an existing file, there is none of this name", "check the path") from None
    except (OSError, ValueError) as error:
        raise refusal(source, reason_of(error), "a readable file") from None


def reason_of(error: Exception) -> str:
    """Why the system refused something, in its words and without the path."""
    return str(getattr(error, "strerror", None) or error).lower()


class _Object(dict[str, Any]):
    """A JSON object that remembers which of its keys were given twice."""

    repeated: tuple[str, ...] = ()


def _object(pairs: list[tuple[str, Any]]) -> _Object:
    made = _Object(pairs)
    if len(made) < len(pairs):
        times = Counter(key for key, _ in pairs)
        made.repeated = tuple(key for key, count in times.items() if count > 1)
    return made


def _refuse_vast(text: str, source: str) -> None:
    """Refuse what would exhaust the stack or the memory of a reader that takes everything in."""
    bare = _STRING.sub("", text)
    parts = sum(map(bare.count, "[{:"))
    if parts > MAX_PARTS:
        expected = f"at most {MAX_PARTS:,} objects, lists and keys"
        raise refusal(source, f"{parts:,}", expected, "is this the right file?")
    depth = 0
    for bracket in re.findall(r"[\[\]{}]", bare):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_DEPTH:
            raise refusal(source, "more", f"at most {MAX_DEPTH} levels of nesting", "is this the right file?")


def _plain(value: Any, path: tuple[object, ...], source: str, problems: list[Problem]) -> Any:
    """Return `value` with plain dicts; keys that are repeated or half characters go to `problems`."""
    if isinstance(value, _Object):
        for key in value.repeated:
            place = f"{source}: {join_path(*path, key)}"
            problems.append(Problem(place, "it twice", "this key once", "remove one of them"))
        for key in value:
            if not key.isascii() and any("\ud800" <= char <= "\udfff" for char in key):
                place = f"{source}: {join_path(*path, key)}"
                problems.append(Problem(place, "half a character", "a key of whole characters", "remove it"))
        return {key: _plain(item, (*path, key), source, problems) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, (*path, index), source, problems) for index, item in enumerate(value)]
    return value


def parse_json(text: str, source: str) -> Any:
    """Read JSON text.

    NaN and infinities pass: the check of the field they stand in can name it.

    Parameters
    ----------
    text : str
    source : str
        Where it comes from, for messages.

    Raises
    ------
    InputError
        On bad syntax, repeated keys (all of them), numbers of thousands of digits, nesting deeper
        than `MAX_DEPTH` or more than `MAX_PARTS`.
    """
    _refuse_vast(text, source)
    try:
        value = json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        found = f"{error.msg.lower()} at line {error.lineno}, column {error.colno}"
        raise refusal(source, found, "valid JSON") from None
    except (ValueError, RecursionError):
        raise refusal(source, "one of thousands of digits", "numbers of reasonable length") from None
    problems: list[Problem] = []
    plain = _plain(value, (), source, problems)
    if problems:
        raise InputError(capped(problems, source))
    return plain


def read_json(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Parameters
    ----------
    path : path
        As for `read_text`.
    max_bytes : int

    Raises
    ------
    InputError
        As `read_text` and `parse_json`, or if the top level is not an object.
    """
    source = source_name(path)
    value = parse_json(read_text(path, max_bytes=max_bytes), source)
    if not isinstance(value, dict):
        raise refusal(source, show(value), "a JSON object at the top level", "start the file with {")
    return value


def write_text_atomically(path: str | os.PathLike[str], text: str) -> None:
    """Write a UTF-8 file as `write_bytes_atomically` does.

    Parameters
    ----------
    path : path
    text : str

    Raises
    ------
    InputError
        If the place cannot be written; then an older file of the name is left as it was.
    """
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError:
        source = shown_path(path)
        raise refusal(source, "half a character (a lone surrogate)", "text that UTF-8 can hold") from None
    write_bytes_atomically(path, data)


def write_bytes_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file beside its final place and rename it, so that nobody sees half of it.

    Parameters
    ----------
    path : path
    data : bytes

    Raises
    ------
    InputError
        If the place cannot be written; then an older file of the name is left as it was.
    """
    target = Path(path)
    source = shown_path(path)
    temporary: str | None = None
    try:
        refuse_special(target)
        # Follow a link, so that the file it points to is replaced and not the link.
        target = target.resolve()
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o666 & ~_umask()
        prefix = f".{target.name[:100]}."
        _remove_stale(target.parent, prefix)
        handle, temporary = tempfile.mkstemp(prefix=prefix, suffix=_UNFINISHED, dir=target.parent)
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            # Renamed before its bytes are on the disk, it could be empty after a power cut.
            os.fsync(handle)
        os.chmod(temporary, mode)
        os.replace(temporary, target)
        temporary = None
    except (OSError, ValueError, RuntimeError) as error:
        remedy = "" if target.parent.is_dir() else "create the directory first"
        raise refusal(source, reason_of(error), "a place that can be written", remedy) from None
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _remove_stale(folder: Path, prefix: str) -> None:
    """Remove what writers that were killed left of the same file."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            ours = entry.name.startswith(prefix) and entry.name.endswith(_UNFINISHED)
            if ours and time.time() - entry.stat(follow_symlinks=False).st_mtime > STALE_S:
                os.unlink(entry)


def refuse_special(target: Path) -> None:
    """Refuse a directory as the place of a file, and a device or pipe, which writing would replace.

    Raises
    ------
    InputError
    """
    source = shown_path(target)
    if target.is_dir():
        raise refusal(source, "a directory", "the name of a file")
    if target.exists() and not target.is_file():
        raise refusal(source, "not a regular file", "the name of a file", "write a file and copy it there")


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
