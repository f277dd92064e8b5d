"""What a quantised checkpoint stores, matrix by matrix, by the ``quantization_config`` of its config.json.

A format says how many bits a number takes and how many numbers share scales and zeros.  It holds for the
matrices of the layers that are not left out by name; the embedding, the output head and the router of the
experts keep the type that the checkpoint names.  Where a file can be read in two ways, more bytes count.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from mocap_opt.instance.hf_reader import REMEDY, ConfigReader, Names, full_names
from mocap_opt.instance.models import ROUTER, Matrix, layer_matrices
from mocap_opt.instance.schema import ModelSpec

LEFT_OUT = ("modules_to_not_convert", "ignored_layers", "ignore", "llm_int8_skip_modules", "exclude_modules")
"""Keys under which methods list what they leave alone."""

_COUNTED_APART = re.compile(r"lm_head|embed|norm|bias|rotary|vision|visual")
"""Modules that are no matrices of a layer; that they are left alone needs no word."""

_NAMES_SHOWN = 6


@dataclass(frozen=True)
class Format:
    """How the numbers of a quantised matrix are stored.

    Attributes
    ----------
    bits : int
        Of a number.
    shared_bytes : Fraction
        Scale and zero of a group of numbers, bytes.
    group : tuple of (int or None)
        Inputs and outputs over which a group extends; None: all of them.
    input_bytes : int
        Stored beside for every input, bytes.
    """

    bits: int
    shared_bytes: Fraction
    group: tuple[int | None, int | None]
    input_bytes: int = 0

    def stored(self, matrix: Matrix) -> Fraction:
        """Bytes of a matrix with its scales and zeros."""
        groups = math.prod(
            1 if size is None else -(-side // size)
            for side, size in zip((matrix.inputs, matrix.outputs), self.group, strict=True)
        )
        beside = groups * self.shared_bytes + matrix.inputs * self.input_bytes
        return Fraction(matrix.size * self.bits, 8) + beside


@dataclass(frozen=True)
class Quantization:
    """A checkpoint's quantisation.

    Attributes
    ----------
    method : str
    formats : tuple of (Names or None, Format or None)
        The first that names a matrix holds; no names mean all, no format the checkpoint's type.
    left_out : Names
        Matrices that keep the checkpoint's type.
    kept_bytes : float
        Bytes of a number of that type.
    """

    method: str
    formats: tuple[tuple[Names | None, Format | None], ...]
    left_out: Names
    kept_bytes: float

    def format_of(self, layer: int, matrix: Matrix) -> Format | None:
        """How a matrix is stored; None: in the checkpoint's type.

        Parameters
        ----------
        layer : int
            From 0.
        matrix : Matrix
        """
        names = full_names(layer, matrix)
        if matrix.name == ROUTER or self.left_out.have(names):
            return None
        holding = (each for listed, each in self.formats if listed is None or listed.have(names))
        return next(holding, None)

    def bytes_per_weight(self, model: ModelSpec) -> tuple[list[float], str]:
        """Mean bytes of a weight in every layer, scales and zeros included, rounded up.

        Parameters
        ----------
        model : ModelSpec

        Returns
        -------
        list of float
            One per layer.
        str
            Which matrices keep the checkpoint's type, and which names mean nothing here, in words.
        """
        means: list[float] = []
        kept: dict[str, int] = {}
        for layer in range(model.layers):
            stored, parameters = Fraction(0), 0
            for matrix in layer_matrices(model, layer):
                held = self.format_of(layer, matrix)
                size = Fraction(self.kept_bytes) * matrix.size if held is None else held.stored(matrix)
                stored += size * matrix.copies
                parameters += matrix.size * matrix.copies
                if held is None and matrix.copies:
                    kept[matrix.name] = kept.get(matrix.name, 0) + 1
            means.append(_at_least(stored / parameters))
        return means, self._account(kept, model.layers)

    def _account(self, kept: dict[str, int], layers: int) -> str:
        named = [f"{name} of {count} layers" if count < layers else name for name, count in kept.items()]
        words = f"{self.kept_bytes:g} bytes for " + ", ".join(["embedding", "head", *_shortened(named)])
        listed = {*self.left_out.plain.values(), *self.left_out.patterns} - self.left_out.seen
        unknown = sorted({re.sub(r"\d+", "N", key) for key in listed if not _COUNTED_APART.search(key)})
        return words + (f"; no matrix is called {', '.join(_shortened(unknown))}" if unknown else "")


def _shortened(names: list[str]) -> list[str]:
    return names if len(names) <= _NAMES_SHOWN else [*names[:_NAMES_SHOWN], "..."]


def _at_least(value: Fraction) -> float:
    """The least float that is not below a fraction."""
    near = float(value)
    return near if Fraction(near) >= value else math.nextafter(near, math.inf)


Formats = Iterator[tuple[Names | None, Format | None]]


def _fp8(read: ConfigReader, kept_bytes: float) -> Formats:
    """Blocks with a scale of 32 bits (DeepSeek-V3, README_WEIGHTS.md), or one scale for the matrix."""
    block = _block(read, "weight_block_size")
    if block is None and read.config.get("weight_block_size") is not None:
        read.refuse("weight_block_size", "two whole numbers >= 1, or null", REMEDY)
    yield None, Format(8, Fraction(4), block or (None, None))


def _block(read: ConfigReader, key: str) -> tuple[int, int] | None:
    """Inputs and outputs of a block, which files give the other way round; None unless they are given."""
    block = read.config.get(key)
    if isinstance(block, list) and len(block) == 2 and all(type(n) is int and n > 0 for n in block):
        return block[1], block[0]
    return None


def _fbgemm(read: ConfigReader, kept_bytes: float) -> Formats:
    """A scale of 32 bits for every output."""
    yield None, Format(8, Fraction(4), (None, 1))


def _group(read: ConfigReader, default: int) -> int | None:
    """Inputs that share a scale; -1 means all of them."""
    if read.config.get("group_size") == -1:
        return None
    return read.whole("group_size", default)


def _gptq(read: ConfigReader, kept_bytes: float) -> Formats:
    """A 16-bit scale and a packed zero for every group and output, and the group of every input."""
    if read.config.get("dynamic"):
        read.refuse("dynamic", "none: other bits for some modules cannot be read", REMEDY)
    bits = read.whole("bits", most=16)
    only = read.names("modules_in_block_to_quantize")
    held = Format(bits, 2 + Fraction(bits, 8), (_group(read, 128), 1), input_bytes=4)
    yield (Names.read(read, "modules_in_block_to_quantize", only) if only else None), held


def _awq(read: ConfigReader, kept_bytes: float) -> Formats:
    """A 16-bit scale and a packed zero for every group and output."""
    bits = read.whole("bits", most=16)
    yield None, Format(bits, 2 + Fraction(bits, 8), (_group(read, 128), 1))


def _mxfp4(read: ConfigReader, kept_bytes: float) -> Formats:
    """Of the experts alone (gpt-oss): 32 numbers of 4 bits share a scale of 8 bits."""
    yield Names(["experts"]), Format(4, Fraction(1), (32, 1))


def _bitsandbytes(read: ConfigReader, kept_bytes: float) -> Formats:
    """8 bits with a 32-bit scale per output; or 4 bits (QLoRA, arXiv 2305.14314), 64 numbers sharing a scale.

    That scale has 32 bits, or, quantised itself, 8 and a 256th of 32.
    """
    four, eight = (bool(read.config.get(key)) for key in ("load_in_4bit", "load_in_8bit"))
    if four == eight:
        read.refuse("load_in_4bit", "either load_in_4bit or load_in_8bit to be true", REMEDY)
    elif eight:
        yield None, Format(8, Fraction(4), (None, 1))
    else:
        nested = read.config.get("bnb_4bit_use_double_quant")
        yield None, Format(4, 1 + Fraction(4, 256) if nested else Fraction(4), (64, 1))


def _compressed_tensors(read: ConfigReader, kept_bytes: float) -> Formats:
    """Groups of modules, each with a scheme of its own; those named come before all linear modules."""
    groups = read.under("config_groups")
    if not groups.config and not read.config.get("kv_cache_scheme"):
        read.refuse("config_groups", "groups of modules and how their weights are stored", REMEDY)
    by_class: list[tuple[None, Format | None]] = []
    for key in groups.config:
        group = groups.under(key)
        form = group.config.get("format") or read.config.get("format")
        held = None if form == "dense" else _scheme(group.under("weights"), kept_bytes)
        targets = group.names("targets") or ["Linear"]
        if "Linear" in targets:
            by_class.append((None, held))
        yield Names.read(group, "targets", [name for name in targets if name != "Linear"]), held
    yield from by_class


def _scheme(weights: ConfigReader, kept_bytes: float) -> Format | None:
    """Weights of one group of compressed-tensors; None if they are not quantised.

    Scales have the checkpoint's type, those of 4-bit floats (NVFP4, MXFP4) 8 bits.
    """
    if not weights.config:
        return None
    bits = weights.whole("num_bits", most=16)
    size = _group(weights, 0)
    strategy = weights.config.get("strategy") or (
        "group" if size else "channel" if size is None else "tensor"
    )
    narrow = bits == 4 and weights.config.get("type") == "float"
    scale = Fraction(1 if narrow else kept_bytes) + (weights.config.get("symmetric") is False)
    block = _block(weights, "block_structure")
    if strategy in ("group", "tensor_group") and size:
        return Format(bits, scale, (size, 1))
    if strategy == "block" and block is not None:
        return Format(bits, scale, block)
    if strategy in ("tensor", "channel"):
        return Format(bits, scale, (None, None if strategy == "tensor" else 1))
    weights.refuse(
        "strategy", "tensor, channel, group with group_size, or block with block_structure", REMEDY
    )
    return None


def _modelopt(read: ConfigReader, kept_bytes: float) -> Formats:
    """NVIDIA Model Optimizer: groups as those of compressed-tensors, or one algorithm for all.

    FP8 has a 32-bit scale for the matrix; in NVFP4, 16 numbers of 4 bits share a scale of 8 bits.
    """
    if read.config.get("config_groups"):
        yield from _compressed_tensors(read, kept_bytes)
        return
    algorithm = read.config.get("quant_algo")
    if algorithm == "FP8":
        yield None, Format(8, Fraction(4), (None, None))
    elif algorithm == "NVFP4":
        yield None, Format(4, Fraction(1), (_group(read, 16), 1))
    else:
        read.refuse("quant_algo", "FP8 or NVFP4, or config_groups", REMEDY)


METHODS: dict[str, Callable[[ConfigReader, float], Formats]] = {
    "fp8": _fp8,
    "fbgemm_fp8": _fbgemm,
    "gptq": _gptq,
    "awq": _awq,
    "mxfp4": _mxfp4,
    "bitsandbytes": _bitsandbytes,
    "compressed-tensors": _compressed_tensors,
    "modelopt": _modelopt,
}
"""How matrices are stored, by ``quant_method``."""


def read_quantization(read: ConfigReader, kept_bytes: float) -> Quantization | None:
    """Read a ``quantization_config``.

    Parameters
    ----------
    read : ConfigReader
        Of the whole configuration; gathers the problems.
    kept_bytes : float
        Bytes of a number that is not quantised.

    Returns
    -------
    Quantization or None
        None if it cannot be read; then there is a problem.
    """
    if not isinstance(read.config["quantization_config"], dict):
        read.refuse("quantization_config", f"a quant_method out of {', '.join(METHODS)}", REMEDY)
        return None
    found = read.under("quantization_config")
    method: Any = found.config.get("quant_method")
    if not isinstance(method, str) or method not in METHODS:
        found.refuse("quant_method", f"one of {', '.join(METHODS)}", REMEDY)
        return None
    left_out = [name for key in LEFT_OUT for name in found.names(key)]
    return Quantization(
        method, tuple(METHODS[method](found, kept_bytes)), Names.read(found, "ignore", left_out), kept_bytes
    )


def kv_bytes(read: ConfigReader) -> float | None:
    """Bytes of an element of the KV cache by ``kv_cache_scheme``; None if it says nothing.

    Parameters
    ----------
    read : ConfigReader
        Of the whole configuration, whose ``quantization_config`` can be read.
    """
    found = read.under("quantization_config")
    if not isinstance(found.config.get("kv_cache_scheme"), dict):
        return None
    return found.under("kv_cache_scheme").whole("num_bits", most=16) / 8
