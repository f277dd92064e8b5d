"""Reading JSON that somebody else wrote, and writing files whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from mocap_opt.errors import InputError, Problem
from mocap_opt.messages import capped, join_path, show

MAX_BYTES = 16 * 2**20
MAX_DEPTH = 64

# Possessive, and the closing quote optional: one pass over whatever the file holds.
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)


def _fail(source: str, found: str, expected: str, remedy: str = "") -> InputError:
    return InputError([Problem(source, found, expected, remedy)])


def read_text(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> str:
    """Read a regular UTF-8 file of limited size.

    Raises
    ------
    InputError
        If it is missing, unreadable, not a regular file, too large or not UTF-8.
    """
    source = ascii(os.fspath(path))[1:-1]
    try:
        # Opening a pipe nobody writes to would wait for ever, so look before opening.
        if not stat.S_ISREG(os.stat(path).st_mode):
            kind = "a directory" if os.path.isdir(path) else "not a regular file"
            raise _fail(source, kind, "a file")
        with open(path, "rb") as stream:
            data = stream.read(max_bytes + 1)
    except FileNotFoundError:
        raise _fail(source, "", "an existing file, there is none of this name", "check the path") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise _fail(source, reason, "a readable file") from None
    if len(data) > max_bytes:
        raise _fail(source, "more", f"at most {max_bytes:,} bytes", "is this the right file?")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte = f"byte 0x{data[error.start]:02x} at offset {error.start}"
        raise _fail(source, byte, "UTF-8 text", "save the file as UTF-8") from None


class _Object(dict[str, Any]):
    """A JSON object that remembers which of its keys were given twice."""

    repeated: tuple[str, ...] = ()


def _object(pairs: list[tuple[str, Any]]) -> _Object:
    made = _Object(pairs)
    if len(made) < len(pairs):
        times = Counter(key for key, _ in pairs)
        made.repeated = tuple(key for key, count in times.items() if count > 1)
    return made


def _depth(text: str) -> int:
    depth = deepest = 0
    for bracket in re.findall(r"[\[\]{}]", _STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _plain(value: Any, path: tuple[object, ...], source: str, problems: list[Problem]) -> Any:
    """Return `value` with plain dicts; keys that are repeated or half characters go to `problems`."""
    if isinstance(value, _Object):
        for key in value.repeated:
            place = f"{source}: {join_path(*path, key)}"
            problems.append(Problem(place, "it twice", "this key once", "remove one of them"))
        for key in value:
            if any("\ud800" <= char <= "\udfff" for char in key):
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
        On bad syntax, repeated keys (all of them), numbers of thousands of digits or nesting
        deeper than `MAX_DEPTH`.
    """
    # The reader below recurses, so refuse before it can exhaust the stack.
    if _depth(text) > MAX_DEPTH:
        raise _fail(source, "more", f"at most {MAX_DEPTH} levels of nesting")
    try:
        value = json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        found = f"{error.msg.lower()} at line {error.lineno}, column {error.colno}"
        raise _fail(source, found, "valid JSON") from None
    except (ValueError, RecursionError):
        raise _fail(source, "one of thousands of digits", "numbers of reasonable length") from None
    problems: list[Problem] = []
    plain = _plain(value, (), source, problems)
    if problems:
        raise InputError(capped(problems, source))
    return plain


def read_json(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Raises
    ------
    InputError
        As `read_text` and `parse_json`, or if the top level is not an object.
    """
    source = ascii(os.fspath(path))[1:-1]
    value = parse_json(read_text(path, max_bytes=max_bytes), source)
    if not isinstance(value, dict):
        raise _fail(source, show(value), "a JSON object at the top level", "start the file with {")
    return value


def write_text_atomically(path: str | os.PathLike[str], text: str) -> None:
    """Write a UTF-8 file as `write_bytes_atomically` does.

    Raises
    ------
    InputError
        If the place cannot be written; then an older file of the name is left as it was.
    """
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError:
        source = ascii(os.fspath(path))[1:-1]
        raise _fail(source, "half a character (a lone surrogate)", "text that UTF-8 can hold") from None
    write_bytes_atomically(path, data)


def write_bytes_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file beside its final place and rename it, so that nobody sees half of it.

    Raises
    ------
    InputError
        If the place cannot be written; then an older file of the name is left as it was.
    """
    target = Path(path)
    source = ascii(os.fspath(path))[1:-1]
    temporary: str | None = None
    try:
        if target.is_dir():
            raise IsADirectoryError(0, "it is a directory")
        # Follow a link, so that the file it points to is replaced and not the link.
        target = target.resolve()
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o666 & ~_umask()
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name[:100]}.", dir=target.parent)
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        os.chmod(temporary, mode)
        os.replace(temporary, target)
        temporary = None
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        remedy = "" if target.parent.is_dir() else "create the directory first"
        raise _fail(source, reason.lower(), "a place that can be written", remedy) from None
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def require_writable(path: str | os.PathLike[str]) -> None:
    """Refuse a place for a result before long work is done for it.

    Parameters
    ----------
    path : str or path-like
        A file to be written later by `write_text_atomically`.

    Raises
    ------
    InputError
        If its folder is missing or cannot be written, or if it is a folder itself.
    """
    target = Path(path)
    source = ascii(os.fspath(path))[1:-1]
    if target.is_dir():
        raise _fail(source, "a directory", "the name of a file")
    folder = target.resolve().parent
    if not folder.is_dir():
        raise _fail(source, "no such directory", "a place that can be written", "create the directory first")
    if not os.access(folder, os.W_OK):
        raise _fail(source, "permission denied", "a place that can be written")


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
