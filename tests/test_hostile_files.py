"""Files made to hang a reader or fill the memory: refused by every reader, in a bounded amount of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fuzzing import MODEL, READERS
from malformed import BASE, changed

from mocap_opt.errors import InputError
from mocap_opt.files import MAX_PARTS, parse_json, read_lines
from mocap_opt.instance import load_instance
from mocap_opt.studies import load_study, tasks_of

FILES = [name for name in READERS if name != "override"]
MEGABYTE = 2**20

# Says how much memory a reader took, megabytes.
MEASURE = """
import resource, sys
sys.path.insert(0, {folder!r})
from pathlib import Path
from fuzzing import READERS
from mocap_opt.errors import InputError
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
before = peak()
for name in {names!r}:
    try:
        READERS[name].read(Path(sys.argv[1]))
    except InputError as error:
        print(peak() - before, str(error).splitlines()[0])
"""


def measured(path: Path, *names: str) -> list[tuple[int, str]]:
    """For each reader, the most memory so far (megabytes) and the first line of its refusal."""
    code = MEASURE.format(folder=str(Path(__file__).parent), names=names)
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    lines = [line.split(" ", 1) for line in done.stdout.splitlines()]
    assert len(lines) == len(names), done.stdout
    return [(int(memory), message) for memory, message in lines]


def sparse(path: Path, size: int) -> Path:
    with path.open("wb") as stream:
        stream.truncate(size)
    return path


@pytest.mark.parametrize("name", FILES)
def test_devices_pipes_and_folders_are_not_read(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to("loop")
    read = READERS[name].read
    for path in ("pipe", "link", "/dev/zero", "/dev/stdin"):
        with pytest.raises(InputError, match=r"expected a file, got not a regular file|got a directory"):
            read(tmp_path / path)
    with pytest.raises(InputError, match="symbolic links"):
        read(tmp_path / "loop")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"got a directory|folder/config\.json: expected an existing file"):
        read(tmp_path / "folder")


def test_large_files_take_little_memory(tmp_path: Path) -> None:
    """40 MB of nothing; the readers of plans take as much as that, the others say how much they take."""
    found = measured(sparse(tmp_path / "large", 40 * MEGABYTE), "instance", "study", "timings", "trace")
    assert max(memory for memory, _ in found) < 150
    limits = ("16 MiB", "1 MiB", "16 MiB", "4 MiB in a line")
    for (_, message), limit in zip(found, limits, strict=True):
        assert f"expected at most {limit}, got more (is this the right file?)" in message


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_files_of_100_megabytes(name: str, tmp_path: Path) -> None:
    """Nothing, and the most that JSON of a size can come to in memory."""
    ((memory, _),) = measured(sparse(tmp_path / "large", 100 * MEGABYTE), name)
    assert memory < 1200
    (tmp_path / "parts").write_text('{"a":[' + "{}," * (33 * MEGABYTE) + "{}]}")
    ((memory, _),) = measured(tmp_path / "parts", name)
    assert memory < 1200


def test_json_of_many_parts_is_refused_before_it_is_built() -> None:
    text = "[" + "[]," * MAX_PARTS + "[]]"
    with pytest.raises(InputError, match=r"at most 2,000,000 objects, lists and keys, got 2,000,002"):
        parse_json(text, "x")
    # Brackets within strings are none.
    assert parse_json(json.dumps(["[" * (MAX_PARTS + 1)]), "x") == ["[" * (MAX_PARTS + 1)]


HOSTILE = {
    "nested": b"[" * 100_000 + b"]" * 100_000,
    "unclosed": b'{"a":' * 100_000,
    "digits": b'{"version": ' + b"9" * 10**6 + b"}",
    "exponent": b'{"version": 1e999999999}',
    "utf-16": json.dumps(BASE).encode("utf-16"),
    "latin-1": b'{"name": "\xe9"}',
    "nul": b"\0" * 1000,
    "escapes": b'"' + b"\\u005b" * 100_000,
    "quotes": b'"' * 100_001,
    "commas": b"," * 100_000,
    "lines": b"\n" * 100_000 + b"x",
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", HOSTILE)
def test_hostile_contents(name: str, content: str, tmp_path: Path) -> None:
    path = tmp_path / f"hostile{READERS[name].suffix}"
    path.write_bytes(HOSTILE[content])
    with pytest.raises(InputError, match=r"hostile|model_type|version: expected 1, got Infinity") as caught:
        READERS[name].read(path)
    assert len(str(caught.value)) < 100_000


def test_problems_beyond_those_shown_are_not_looked_for(tmp_path: Path) -> None:
    """A plan of a hundred thousand wrong homes, and as many wrong rows: the readers stop."""
    home = {"stage": 9}
    plan = {"version": 1, "kind": "plan", "boundaries": [0, 4], "homes": [home] * 100_000}
    rows = "chunk_tokens,prefix_tokens,seconds\n" + "x,x,x\n" * 100_000
    for name, text in (("plan", json.dumps(plan)), ("timings", rows), ("progress log", "{}\n" * 100_000)):
        path = tmp_path / "wrong"
        path.write_text(text)
        with pytest.raises(InputError, match="wrong") as caught:
            READERS[name].read(path)
        assert 200 <= len(caught.value.problems) <= 201
    path.write_text(json.dumps({**plan, "homes": [], "boundaries": list(range(100_000))}))
    with pytest.raises(InputError, match=r"boundaries: expected at most 5 boundaries.*got 100,000"):
        READERS["plan"].read(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a." * 500_000 + "b = 1", r"line 1: expected at most 100 dots in a line, got 500,000 \(break"),
        ("a = " + "[" * 100_000, "too large or too deep"),
        ("methods = ['mocap']\nseeds = [" + "0," * 100_000 + "]\n[[instances]]\nfiles = ['x']", "0 twice"),
        (
            "methods = ['mocap']\n[[instances]]\nfiles = ['x.json']\n[instances.grid]\n"
            + "".join(f"a{n} = [1, 2, 3, 4, 5, 6, 7, 8]\n" for n in range(20)),
            r"grid: expected at most 1,000,000 combinations, got 1,152,921,504,606,846,976 \(split",
        ),
        ("methods = ['mocap']\n[[instances]]\nfiles = [\"*\\u0000\"]", "a glob that matches a file"),
    ],
    ids=["dotted key", "nesting", "seeds", "grid", "glob"],
)  # fmt: skip
def test_studies_that_would_not_end(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        tasks_of(load_study(tmp_path / "study.toml"))


def test_long_lines_and_wrong_bytes_of_a_trace_are_named(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_bytes(b"\xef\xbb\xbfone\ntwo\r\n")
    assert list(read_lines(path)) == [(1, "one\n"), (2, "two\r\n")]
    path.write_bytes(b"one\n\xff\n")
    with pytest.raises(InputError, match="trace:2: expected UTF-8 text, got byte 0xff at offset 0"):
        list(read_lines(path))
    path.write_bytes(b"one\n" + b"x" * (4 * MEGABYTE + 1))
    with pytest.raises(InputError, match="trace:2: expected at most 4 MiB in a line, got more"):
        list(read_lines(path))


def test_paths_in_files_are_relative_to_them_and_name_what_they_lead_to(tmp_path: Path) -> None:
    """They may lead anywhere, as a shell's do; what is there is read as what it should be, or refused."""
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "config.json").write_text('{"model_type": "secret"}')
    for path, message in (
        ("../config.json", r'model\.config\.model_type: expected one of llama.*got "secret"'),
        ("../" * 50 + "dev/zero", r"\.\./dev/zero: expected a file, got not a regular file"),
        ("..", r"model\.config\.model_type"),
        ("../missing.json", r"inner/\.\./missing\.json: expected an existing file"),
    ):
        (folder / "instance.json").write_text(json.dumps({**MODEL, "model": {"config": path}}))
        with pytest.raises(InputError, match=message):
            load_instance(folder / "instance.json")
    costs = {"kind": "measured", "file": "../" * 50 + "dev/zero"}
    (folder / "instance.json").write_text(json.dumps(changed(("costs", costs))))
    with pytest.raises(InputError, match=r"\.\./dev/zero: expected a file, got not a regular file"):
        load_instance(folder / "instance.json")
