"""Inputs for every reader of files: valid ones with something changed, and things that never were valid."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from malformed import BASE, changed
from test_calibration import HEADER
from test_hf_config import LLAMA, MIXTRAL, QWEN3_MOE
from test_paper_comparison import BY_HAND
from test_streams_files import STREAM
from toy_instances import TOY, merged

from mocap_opt.calibration import fit_timings, lattice, read_timings
from mocap_opt.cli.outputs import load_progress
from mocap_opt.instance import Instance, load_instance
from mocap_opt.instance.hf_config import read_config
from mocap_opt.instance.mooncake_trace import read_trace
from mocap_opt.schedule.plan_file import load_plan
from mocap_opt.schedule.requests import build_requests
from mocap_opt.schedule.schedule_file import load_schedule, period_from_dict, stream_from_dict
from mocap_opt.studies import load_study, tasks_of
from mocap_opt.studies.paper_comparison.frame import read_csv
from mocap_opt.tables import build_tables
from mocap_opt.tables.tables_file import load_tables, tables_to_dict

INSTANCES = Path(__file__).parent.parent / "instances"
TINY = str(INSTANCES / "tiny-pooled.json")


@dataclass(frozen=True)
class Reader:
    """A reader of files, and what it is tried on.

    Attributes
    ----------
    suffix : str
        Of the file's name.
    seeds : tuple
        Valid contents as JSON values.
    form : callable
        Text of any JSON value in the reader's format.
    read : callable
        Reads a file; raises InputError alone.
    command : callable
        Arguments of a command that reads the file, given the file and a folder to write into.
    """

    suffix: str
    seeds: tuple[Any, ...]
    form: Callable[[Any], str]
    read: Callable[[Path], object]
    command: Callable[[Path, Path], list[str]]


def lines_of_json(value: Any) -> str:
    """A line for every entry of a list."""
    return "\n".join(map(json.dumps, value)) if isinstance(value, list) else json.dumps(value)


def csv_text(value: Any) -> str:
    """Rows of fields; what is no list is a text by itself."""
    if not isinstance(value, list):
        return str(value)
    return "\n".join(",".join(map(str, row)) if isinstance(row, list) else str(row) for row in value)


def toml_text(value: Any) -> str:
    """A line for every key of an object; inner ones are inline tables."""
    if not isinstance(value, dict):
        return json.dumps(value)
    return "\n".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items())


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


def _rows(text: str) -> list[list[str]]:
    return [line.split(",") for line in text.strip().splitlines()]


TABLES = build_tables(load_instance(TINY))
STREAM_INSTANCE = Instance.from_dict(STREAM)
REQUESTS = build_requests(STREAM_INSTANCE)
# One stage, so that reading what is accepted stays cheap.
MODEL = {**TOY, "pipeline": {"stages": 1, "dies_per_stage": 1}}

QWEN_VL = {"model_type": "qwen3_vl_moe", "text_config": {**QWEN3_MOE, "model_type": "qwen3_vl_moe_text"}}

HOME = {"stage": 0, "chunk": 1, "memory": 1, "tokens": 1}
PLAN = {"version": 1, "kind": "plan", "instance": "x", "fingerprint": None, "boundaries": [0, 2, 4]}
SEQUENCE = {
    "version": 1,
    "kind": "sequence",
    "instance": "three requests",
    "requests": [
        {"request": 1, "slot": 0, "boundaries": [0, 2048, 4096], "homes": []},
        {"request": 0, "slot": 2, "boundaries": [0, 8192, 16384], "homes": [{**HOME, "tokens": 2048}]},
        {"request": 2, "slot": 4, "boundaries": [0, 8192], "homes": []},
    ],
}
STUDY = {
    "methods": ["uniform", "joint"],
    "solvers": ["highs"],
    "seeds": [0, 1],
    "time_limits_s": [1, 2.5],
    "gap": 0.01,
    "instances": [{"files": [TINY], "grid": {"workload.batch": [1, 2], "overlap": [0.5]}}],
}
TRACE = [
    {"timestamp": 1000 * n, "input_length": 4096 * (n + 1), "output_length": 5, "hash_ids": [0, n]}
    for n in range(4)
]
TIMINGS = _rows(HEADER + "1024,0,0.1\n1024,4096,0.2\n2048,0,0.2\n2048,4096,0.4\n4096,0,0.45\n4096,4096,0.8")
BY_STAGE = [[*TIMINGS[0], "stage"], *([*row, stage] for row in TIMINGS[1:] for stage in "01")]
PROGRESS = [
    {"elapsed_s": 0.1, "latency_s": None, "bound_s": 2.0, "gap": None, "source": "crossing"},
    {"elapsed_s": 0.2, "latency_s": 2.5, "bound_s": 2.0, "gap": 0.2, "source": "mocap"},
]
TIMES = {"lengths": [1024, 4096], "prefixes": [0, 8192], "seconds": [[0.5, 0.6], ["800 ms", 0.9]]}


def _config(path: Path) -> object:
    return read_config(path.name, path.parent)


def _timings(path: Path) -> None:
    timings = read_timings(path)
    for use in (lattice, fit_timings):
        use(timings)


READERS: dict[str, Reader] = {
    "instance": Reader(
        ".json",
        (
            BASE,
            TOY,
            STREAM,
            changed(
                ("pipeline", {"stages": [1, 2], "dies_per_stage": "auto", "layers": "auto", "degrees": [1]}),
                ("costs.efficiency", {"1": 0.6, "4": 0.5}),
            ),
            changed(("costs", {"kind": "measured", "stages": TIMES})),
            changed(("costs", {"kind": "coefficients", "stages": [{"linear": 1e-6}, {"constant": "1 ms"}]})),
            merged(STREAM, {"model": {"preset": "deepseek-v3"}, "wafer": {"preset": "watos-c3", "cols": 8}}),
        ),
        json.dumps,
        load_instance,
        lambda path, _: ["check", str(path)],
    ),
    "plan": Reader(
        ".json",
        (
            {**PLAN, "homes": [HOME]},
            {**PLAN, "homes": [HOME, {**HOME, "stage": 1, "memory": 0}]},
            {**PLAN, "homes": [HOME], "layout": {"dies": [[[0, 0]], [[0, 1]]], "layers": [1, 1]}},
        ),
        json.dumps,
        lambda path: load_plan(path, TABLES),
        lambda path, _: ["evaluate", TINY, str(path), "--json"],
    ),
    "plan of a period": Reader(
        ".json",
        ({**PLAN, "homes": [HOME], "slots": 3}, {**PLAN, "homes": [], "slots": 2}),
        json.dumps,
        lambda path: load_schedule(path, lambda data: period_from_dict(data, replace(TABLES, queue_depth=2))),
        lambda path, _: ["evaluate", TINY, str(path), "--set", "objective=period", "--json"],
    ),
    "plan of a stream": Reader(
        ".json",
        (SEQUENCE,),
        json.dumps,
        lambda path: load_schedule(path, lambda data: stream_from_dict(data, REQUESTS)),
        lambda path, folder: ["evaluate", str(folder / "stream.json"), str(path)],
    ),
    "study": Reader(
        ".toml",
        (STUDY, {"instances": STUDY["instances"], "methods": ["mocap"]}),
        toml_text,
        lambda path: tasks_of(load_study(path)),
        lambda path, _: ["study", "table", str(path)],
    ),
    "trace": Reader(
        ".jsonl",
        (TRACE, TRACE[1:3]),
        lines_of_json,
        lambda path: list(read_trace(path)),
        lambda path, folder: ["import-trace", str(path), "--take", "2", "--out", str(folder / "made.json")],
    ),
    "timings": Reader(
        ".csv",
        (TIMINGS, BY_STAGE),
        csv_text,
        _timings,
        lambda path, _: ["fit", str(path), "--json"],
    ),
    "config.json": Reader(
        ".json",
        (LLAMA, MIXTRAL, QWEN3_MOE, QWEN_VL),
        json.dumps,
        _config,
        lambda path, folder: [
            "check", str(folder / "model.json"), "--set", f"model={json.dumps({'config': path.name})}"
        ],
    ),
    "tables": Reader(
        ".json",
        (json.loads(json.dumps(tables_to_dict(TABLES))),),
        json.dumps,
        load_tables,
        # No command reads tables; as an instance they are as wrong as any file.
        lambda path, _: ["show", str(path)],
    ),
    "headline": Reader(
        ".csv",
        (_rows(BY_HAND.to_csv(index=False)),),
        csv_text,
        read_csv,
        lambda path, _: ["reproduce", "--table", "--out", str(path)],
    ),
    "progress log": Reader(
        ".jsonl",
        (PROGRESS,),
        lines_of_json,
        load_progress,
        lambda path, folder: [
            "plot", TINY, "--kind", "bounds", "--from", str(path), "--out", str(folder / "drawn.svg")
        ],
    ),
    "override": Reader(
        ".txt",
        (
            "pipeline.stages=2",
            "pipeline.placement=auto",
            "pipeline.degrees=[1, 2]",
            "wafer.die.memory_bytes=20GB",
            "wafer.dead_dies[0]=[1, 2]",
            'costs={"kind": "roofline", "efficiency": 0.5}',
            "chunking.max_chunks=8",
            "model=llama-3.1-8b",
        ),
        str,
        lambda path: load_instance(TINY, [path.read_bytes().decode("utf-8", "surrogateescape")]),
        lambda path, _: ["check", TINY, "--set", path.read_bytes().decode("utf-8", "surrogateescape")],
    ),
}  # fmt: skip

WORDS = (
    "70 GB", "1e999 GB", "-0", "k", "balanced", "nan", "inf", "1_000", "\u0661", "a\0b", "\x1b[31m", "", ".",
    "../../../../etc/passwd", "/dev/zero", "/proc/self/mem", "*", "**/*", "\ud800", "\u202e", '"', "#",
    "9" * 400,
)  # fmt: skip
NUMBERS = (0, -1, 2**31, 2**63, 2**64, -(2**70), 10**400, 1e308, 1e-308, 0.1, 1.5, float("nan"), float("inf"))
KEYS = ("kind", "stages", "preset", "config", "file", "version", "value", "homes", "requests", "\udc80", "")
JUNK: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(WORDS)
    | st.sampled_from(NUMBERS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=5,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in a JSON value, the whole aside."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, item in items for place in ((*path, key), *places(item, (*path, key)))]


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


@st.composite
def mutated(draw: st.DrawFn, seed: Any) -> Any:
    """A JSON value with one to three changes."""
    value = copy.deepcopy(seed)
    for _ in range(draw(st.integers(1, 3))):
        known = places(value)
        if not known:
            return draw(JUNK)
        path = draw(st.sampled_from(known))
        parent, last = _at(value, path[:-1]), path[-1]
        match draw(st.sampled_from(("junk", "junk", "delete", "move", "repeat", "nudge", "rename"))):
            case "junk":
                parent[last] = draw(JUNK)
            case "delete":
                del parent[last]
            case "move":
                parent[last] = copy.deepcopy(_at(value, draw(st.sampled_from(known))))
            case "repeat" if isinstance(parent, list):
                parent[last:last] = [parent[last]] * draw(st.integers(1, 40))
            case "nudge" if isinstance(parent[last], int | float):
                parent[last] = draw(st.sampled_from((-1, 2, 1000, 10**9, 0.5))) * parent[last]
            case "rename" if isinstance(parent, dict):
                parent[draw(st.sampled_from(KEYS) | st.text(max_size=5))] = parent.pop(last)
            case _:
                parent[last] = str(parent[last])
    return value


@st.composite
def damaged(draw: st.DrawFn, text: str) -> bytes:
    """Bytes of a text of which some were cut out, repeated or replaced, or in another encoding."""
    data = text.encode("utf-8", "surrogatepass")
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 20)))
        match draw(st.sampled_from(("cut", "repeat", "replace", "insert", "end", "encode"))):
            case "cut":
                data = data[:start] + data[end:]
            case "repeat":
                data = data[:end] + data[start:end] * draw(st.integers(1, 200)) + data[end:]
            case "replace":
                data = data[:start] + draw(st.binary(max_size=8)) + data[end:]
            case "insert":
                word = draw(
                    st.sampled_from(("[", "{", '"', "\\", ",", "\0", "\n", "e", "=", "\ufeff", "1" * 5000))
                )
                data = data[:start] + word.encode() + data[start:]
            case "end":
                data = data[:start]
            case "encode":
                coding = draw(st.sampled_from(("utf-16", "utf-32", "utf-8-sig", "utf-7")))
                data = data.decode("utf-8", "replace").encode(coding)
    return data


@st.composite
def contents(draw: st.DrawFn, reader: Reader) -> bytes:
    """Content of a file for a reader: mostly nearly valid."""
    kind = draw(
        st.sampled_from(("changed",) * 5 + ("damaged",) * 3 + ("both",) * 2 + ("junk", "text", "bytes"))
    )
    if kind == "bytes":
        return draw(st.binary(max_size=200))
    if kind == "text":
        return draw(st.text(max_size=100)).encode("utf-8", "surrogatepass")
    value = draw(JUNK) if kind == "junk" else draw(st.sampled_from(reader.seeds))
    if kind in ("changed", "both"):
        value = draw(mutated(value))
    text = reader.form(value)
    if kind in ("damaged", "both"):
        return draw(damaged(text))
    return text.encode("utf-8", "surrogatepass")
