"""AIConfigurator's tables of measured kernels: a folder with ``gemm_perf.txt`` and its kin.

Source: ai-dynamo/aiconfigurator, ``systems/data/<system>/<backend>/<version>/``: comma-separated tables with
times in milliseconds; messages of all-reduces are counted in elements.  Newer versions hold the same columns
as parquet.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from mocap_opt.calibration.logs.log import Asked, FloatArray, Log, Row, settled
from mocap_opt.errors import InputError, Problem
from mocap_opt.files import read_text, shown_path
from mocap_opt.instance.models import layer_matrices
from mocap_opt.instance.schema import ModelSpec
from mocap_opt.messages import MOST_PROBLEMS, show

GEMM, ATTENTION, REDUCE = "gemm_perf.txt", "context_attention_perf.txt", "custom_allreduce_perf.txt"

COLUMNS: Mapping[str, tuple[str, ...]] = {
    GEMM: ("gemm_dtype", "m", "n", "k", "latency"),
    ATTENTION: (
        "attn_dtype",
        "kv_cache_dtype",
        "batch_size",
        "isl",
        "num_heads",
        "num_key_value_heads",
        "head_dim",
        "step",
        "latency",
    ),
    REDUCE: ("allreduce_dtype", "num_gpus", "message_size", "latency"),
}
"""Columns that are read; texts end in ``dtype``, ``latency`` is milliseconds, the others whole numbers."""

PRECISION = "bfloat16"

ROWWISE = ("self_attn.o_proj", "mlp.down_proj")
"""Matrices whose inputs are divided over dies; of the others the outputs are."""

MERGED = (("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), ("mlp.gate_proj", "mlp.up_proj"))
"""Matrices that engines multiply at once."""


def found(text: str) -> bool:
    """Whether a text is one of the folder's tables.

    Parameters
    ----------
    text : str
    """
    return text.startswith("framework,version,device,op_name,")


def is_folder(folder: Path) -> bool:
    """Whether a folder is one of AIConfigurator's, in either form."""
    return (folder / GEMM).exists() or (folder / GEMM).with_suffix(".parquet").exists()


def read_folder(folder: Path, source: str, asked: Asked) -> Log:
    """Put the times of a stage together: matrix products, attention and all-reduces of its layers.

    Parameters
    ----------
    folder : Path
    source : str
        For messages.
    asked : Asked
        Model, layers of a stage, tensor-parallel degree.

    Raises
    ------
    InputError
        If something is not said, the model has parts that are not put together, or tables lack its shapes.
    """
    model, layers, degree = asked.model, asked.layers, asked.degree
    if model is None or layers is None or degree is None:
        remedy = "--model NAME or config.json, --layers N of a stage and --tp D"
        raise InputError([Problem(source, "times of kernels", "to know what a stage is", remedy)])
    _require_dense(folder, source, model, degree)
    gemm = _Gemms(folder)
    parts = [gemm.of(*shape) for shape in shapes(model, degree)]
    attention = _attention(folder, model, degree)
    reduce = _reductions(folder, degree)
    rows = []
    for line, length, prefix, seconds in _after_prefixes(attention):
        if all(each[0][0] <= length <= each[0][-1] for each in parts) and _reaches(
            reduce, length * model.hidden
        ):
            layer = seconds + sum(float(np.interp(length, *each)) for each in parts)
            if reduce is not None:
                layer += 2 * float(np.interp(length * model.hidden, *reduce))
            rows.append(Row(line, length, prefix, layers * layer / 1e3))
    timings, notes = settled(rows, shown_path(folder / ATTENTION), in_time=False)
    said = (
        f"{layers} layers a stage on {degree} dies in {PRECISION}, sums of kernels: "
        "without embedding, head, norms, activations, launches"
    )
    derived = "attention after a prefix P is derived: what P + l tokens take less what P take"
    return Log("aiconfigurator", source, timings, notes=(said, derived, *gemm.notes, *notes))


def shapes(model: ModelSpec, degree: int) -> tuple[tuple[int, int], ...]:
    """Outputs and inputs (n, k) of a die's matrix products in a layer, those that engines merge as one.

    Parameters
    ----------
    model : ModelSpec
        Without experts and latent attention.
    degree : int
        Divides its heads.
    """
    matrices = {each.name: each for each in layer_matrices(model, 0)}
    found = []
    for name, each in matrices.items():
        group = next((group for group in MERGED if name in group), (name,))
        if name == group[0]:
            outputs = sum(
                _outputs(model, matrices[part].outputs, part, degree) for part in group if part in matrices
            )
            split = degree if name in ROWWISE else 1
            found.append((each.outputs if name in ROWWISE else outputs, -(-each.inputs // split)))
        elif group[0] not in matrices:
            found.append((_outputs(model, each.outputs, name, degree), each.inputs))
    return tuple(found)


def _outputs(model: ModelSpec, outputs: int, name: str, degree: int) -> int:
    """Outputs on a die; KV heads are whole."""
    if name in ("self_attn.k_proj", "self_attn.v_proj"):
        return -(-model.kv_heads // degree) * model.head_dim
    return -(-outputs // degree)


def _require_dense(folder: Path, source: str, model: ModelSpec, degree: int) -> None:
    """Refuse what kernels are not put together for."""
    expected = "a dense model with grouped heads: other kernels are not put together"
    problems = [
        Problem(f"--model: {name}", "given", expected)
        for name in ("experts", "latent", "sparse")
        if getattr(model, name) is not None
    ]
    if model.profile:
        problems.append(Problem("--model: profile", "windows", expected))
    if model.heads % degree:
        problems.append(Problem("--tp", str(degree), f"a divisor of the model's {model.heads} heads"))
    for name in (GEMM, ATTENTION, *([REDUCE] if degree > 1 else [])):
        if not (folder / name).exists():
            parquet = (folder / name).with_suffix(".parquet").exists()
            found = "parquet" if parquet else "no such file"
            remedy = f"write its columns as comma-separated text into {name}" if parquet else None
            problems.append(
                Problem(
                    f"{source}, {name}", found, "a table as text", remedy or "name the folder of a version"
                )
            )
    if problems:
        raise InputError(problems)


class _Gemms:
    """Times of matrix products, ms: by tokens for each n and k; between widths bilinear."""

    def __init__(self, folder: Path) -> None:
        self.where = shown_path(folder / GEMM)
        self.times: dict[tuple[int, int], dict[int, float]] = {}
        self.notes: list[str] = []
        for _, row in _table(folder / GEMM):
            if row["gemm_dtype"] == PRECISION:
                self.times.setdefault((int(row["n"]), int(row["k"])), {})[int(row["m"])] = float(
                    row["latency"]
                )

    def of(self, n: int, k: int) -> tuple[FloatArray, FloatArray]:
        """Tokens that are measured, and their times.

        Parameters
        ----------
        n, k : int
            Outputs and inputs.
        """
        corners = [
            (a, b, wide * deep)
            for a, wide in _between(n, sorted({each for each, _ in self.times}))
            for b, deep in _between(k, sorted({each for _, each in self.times}))
        ]
        known = [self.times[a, b] for a, b, _ in corners if (a, b) in self.times]
        shared = sorted(set.intersection(*map(set, known))) if known and len(known) == len(corners) else []
        if not shared:
            expected = f"{PRECISION} products of {n} outputs and {k} inputs, or of widths around them"
            raise InputError([Problem(self.where, "none", expected)])
        if len(corners) > 1:
            self.notes.append(f"products of {n} outputs and {k} inputs: interpolated between measured widths")
        times = [sum(part * self.times[a, b][m] for a, b, part in corners) for m in shared]
        return np.array(shared, dtype=np.float64), np.array(times)


def _between(value: int, known: list[int]) -> list[tuple[int, float]]:
    """The values around one and their weights; itself where it is known; nothing outside."""
    if value in known:
        return [(value, 1.0)]
    below = [each for each in known if each < value]
    above = [each for each in known if each > value]
    if not below or not above:
        return []
    low, high = below[-1], above[0]
    part = (value - low) / (high - low)
    return [(low, 1 - part), (high, part)]


def _attention(folder: Path, model: ModelSpec, degree: int) -> list[tuple[int, int, float]]:
    """Lines, lengths and times, ms, of attention of one prompt without a prefix on a die."""
    heads, kv_heads = model.heads // degree, -(-model.kv_heads // degree)
    wanted = (PRECISION, PRECISION, 1, heads, kv_heads, model.head_dim)
    found = []
    for line, row in _table(folder / ATTENTION):
        numbers = (int(row[name]) for name in ("batch_size", "num_heads", "num_key_value_heads", "head_dim"))
        if (row["attn_dtype"], row["kv_cache_dtype"], *numbers) == wanted and int(row["step"]) == 0:
            found.append((line, int(row["isl"]), float(row["latency"])))
    if not found:
        expected = f"{PRECISION} rows of one prompt with {heads} heads on {kv_heads} of size {model.head_dim}"
        raise InputError([Problem(shown_path(folder / ATTENTION), "none", expected)])
    return found


def _after_prefixes(measured: list[tuple[int, int, float]]) -> Iterator[tuple[int, int, int, float]]:
    """Lines, lengths, tokens before them and times: A(P + l) - A(P) where both are measured."""
    times: dict[int, list[float]] = {}
    for _, length, taken in measured:
        times.setdefault(length, []).append(taken)
    at = {length: float(np.median(taken)) for length, taken in times.items()}
    lines = {length: line for line, length, _ in measured}
    for end in sorted(at):
        for prefix in (0, *sorted(at)):
            length, before = end - prefix, at.get(prefix, 0.0)
            if length in at and at[end] > before:
                yield lines[end], length, prefix, at[end] - before


def _reductions(folder: Path, degree: int) -> tuple[FloatArray, FloatArray] | None:
    """Elements and times, ms, of all-reduces; those outside of CUDA graphs where both were measured."""
    if degree == 1:
        return None
    times: dict[int, float] = {}
    for _, row in _table(folder / REDUCE):
        graph = row.get("backend", "").endswith("graph")
        size = int(row["message_size"])
        ours = int(row["num_gpus"]) == degree and row["allreduce_dtype"] in (PRECISION, "half")
        if ours and (not graph or size not in times):
            times[size] = float(row["latency"])
    if not times:
        raise InputError([Problem(shown_path(folder / REDUCE), "none", f"rows of {degree} dies")])
    sizes = sorted(times)
    return np.array(sizes, dtype=np.float64), np.array([times[size] for size in sizes])


def _reaches(reduce: tuple[FloatArray, FloatArray] | None, elements: int) -> bool:
    """Whether all-reduces of so many elements lie between measured ones."""
    return reduce is None or bool(reduce[0][0] <= elements <= reduce[0][-1])


def _table(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows with their lines.

    Raises
    ------
    InputError
        If a column is missing, or a cell is no number.
    """
    where, text = shown_path(path), read_text(path)
    if text.startswith("version https://git-lfs"):
        expected = "the table itself"
        raise InputError([Problem(where, "a pointer of Git LFS", expected, "fetch it with git lfs pull")])
    reader = csv.DictReader(text.splitlines())
    missing = [name for name in COLUMNS[path.name] if name not in (reader.fieldnames or ())]
    if missing:
        raise InputError([Problem(where, show(reader.fieldnames), f"columns {', '.join(missing)}")])
    rows = [(reader.line_num, row) for row in reader]
    wrong = [line for line, row in rows if not all(_right(name, row[name]) for name in COLUMNS[path.name])]
    if wrong:
        expected = "whole numbers, and a time above 0 in milliseconds"
        raise InputError(
            [Problem(f"{where}, line {line}", "something else", expected) for line in wrong[:MOST_PROBLEMS]]
        )
    return iter(rows)


def _right(name: str, cell: str | None) -> bool:
    if cell is None:
        return False
    if name.endswith("dtype"):
        return bool(cell)
    if name != "latency":
        return cell.isascii() and cell.isdigit() and len(cell) < 16
    try:
        return 0 < float(cell) < 1e9
    except ValueError:
        return False
