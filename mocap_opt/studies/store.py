"""Finished runs in one SQLite file: each is there whole or not at all.

SQLite in its default journal mode, because a run that is cut in the middle of a write (a kill, a full
disk, a power cut) is rolled back by whoever opens the file next, and one file is what people copy.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from mocap_opt.errors import InputError, MocapError, Problem
from mocap_opt.files import shown_path
from mocap_opt.studies.execution import Outcome, pack_curve, unpack_curve

APPLICATION_ID = 0x6D6F6361
SCHEMA_VERSION = 1
WAIT_S = 30.0


class StoreError(MocapError):
    """The results file cannot be used or written now; what it holds is as it was."""


class ResultsStore:
    """The results file of a study, opened for adding runs; one process at a time may.

    Use it as a context manager.

    Parameters
    ----------
    path : path
        Made if it does not exist.

    Raises
    ------
    InputError
        If the file is something else, or the place cannot be written.
    StoreError
        If another process is adding to it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._lock = _lock(self.path)
        try:
            self._database = _connect(self.path, writing=True)
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> Self:
        """Hold the file."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the file go."""
        self._database.close()
        self._lock.close()

    def keys(self) -> set[str]:
        """Keys of all finished runs."""
        return {key for (key,) in self._database.execute("SELECT key FROM runs")}

    def append(self, *outcomes: Outcome) -> None:
        """Add finished runs, all or none; when this returns, they are on the disk.

        Raises
        ------
        StoreError
            If they cannot be written (the disk is full) or one is there already.
        """
        records = [
            (
                outcome.key,
                json.dumps(outcome.row, allow_nan=False, separators=(",", ":")),
                pack_curve(outcome.curve),
            )
            for outcome in outcomes
        ]
        try:
            with self._database:
                self._database.executemany("INSERT INTO runs (key, content, curve) VALUES (?, ?, ?)", records)
        except sqlite3.Error as error:
            raise StoreError(
                f"{self.path}: a run could not be added ({error}); the runs before it are safe"
            ) from None

    def forget(self, keys: set[str]) -> None:
        """Remove runs, so that they are done again."""
        with self._database:
            self._database.executemany("DELETE FROM runs WHERE key = ?", [(key,) for key in keys])

    def failed_keys(self) -> set[str]:
        """Keys of the runs that have a reason instead of an answer."""
        query = "SELECT key FROM runs WHERE json_extract(content, '$.outcome') = 'failed'"
        return {key for (key,) in self._database.execute(query)}


def read_outcomes(path: str | os.PathLike[str]) -> list[Outcome]:
    """Read every finished run, oldest first; a study may be adding to the file meanwhile.

    Raises
    ------
    InputError
        If there is no such file or it is something else.
    """
    with contextlib.closing(_connect(Path(path), writing=False)) as database:
        records = database.execute("SELECT key, content, curve FROM runs ORDER BY rowid").fetchall()
    return [Outcome(key, json.loads(content), unpack_curve(curve)) for key, content, curve in records]


def _lock(path: Path) -> sqlite3.Connection:
    """Hold a lock that ends with this process, however it ends; readers are not kept out.

    The lock is that of an empty database beside the results, which works on every system.
    """
    with _explained(path):
        holder = sqlite3.connect(f"{path}.lock", timeout=0, isolation_level=None)
    try:
        holder.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        holder.close()
        if "locked" not in str(error):
            raise InputError([Problem(_shown(path), str(error), "a place that can be written")]) from None
        raise StoreError(
            f"{path}: another process is running this study; wait for it or end it (the lock ends with it)"
        ) from None
    return holder


def _shown(path: Path) -> str:
    return shown_path(path)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        expected = "a results file of `mocap-opt study` that can be used"
        raise InputError([Problem(_shown(path), reason.lower(), expected)]) from None


def _connect(path: Path, *, writing: bool) -> sqlite3.Connection:
    if not writing and not path.is_file():
        raise InputError([Problem(_shown(path), "no such file", "a results file", "run the study first")])
    with _explained(path):
        database = sqlite3.connect(path, timeout=WAIT_S)
    try:
        with _explained(path):
            _check(database, path)
    except BaseException:
        database.close()
        raise
    return database


def _check(database: sqlite3.Connection, path: Path) -> None:
    # On the disk before a run counts as finished, also through a power cut.
    database.execute("PRAGMA synchronous = FULL")
    (identity,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if not tables and identity in (0, APPLICATION_ID):
        # New, or the first process was stopped before its first write was whole.
        with database:
            database.execute("BEGIN IMMEDIATE")
            database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            database.execute("CREATE TABLE runs (key TEXT PRIMARY KEY, content TEXT NOT NULL, curve BLOB)")
        return
    if identity != APPLICATION_ID:
        raise InputError([Problem(_shown(path), "another database", "a results file of `mocap-opt study`")])
    if version != SCHEMA_VERSION:
        expected = f"a results file of format {SCHEMA_VERSION}"
        raise InputError([Problem(_shown(path), f"format {version}", expected, "update mocap-opt")])
