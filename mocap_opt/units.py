"""Quantities as people write them: ``"70 GB"``, ``"64 MiB"``, ``"128k"``, ``"20 us"``.

Reading is exact (fractions); whoever stores the value rounds.  Decimal prefixes are powers of
1000, ``Ki``, ``Mi``, ... powers of 1024; for tokens alone ``k`` is 1024 and ``m`` 1024 squared,
as context lengths are quoted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from enum import Enum
from fractions import Fraction
from itertools import pairwise

_DECIMAL = {"": 0, "k": 1, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5}
_NUMBER = r"[+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,3})?"


class Unit(Enum):
    """What a number counts; the value is the name shown to people."""

    BYTES = "bytes"
    SECONDS = "s"
    BANDWIDTH = "bytes/s"
    FLOPS = "FLOP/s"
    TOKENS = "tokens"


def _byte_factors(suffix: str) -> dict[str, Fraction]:
    decimal = {f"{prefix}B{suffix}": Fraction(1000) ** power for prefix, power in _DECIMAL.items()}
    binary = {f"{prefix}B{suffix}": Fraction(1024) ** power for prefix, power in _BINARY.items()}
    return decimal | binary


_FACTORS: dict[Unit, dict[str, Fraction]] = {
    Unit.BYTES: _byte_factors(""),
    Unit.BANDWIDTH: _byte_factors("/s"),
    Unit.FLOPS: {f"{p}FLOP{s}": Fraction(1000) ** n for p, n in _DECIMAL.items() for s in ("/s", "S")},
    # The micro sign and the Greek letter mu look alike and are both on keyboards.
    Unit.SECONDS: {"s": Fraction(1), "ms": Fraction(1, 10**3)}
    | {micro: Fraction(1, 10**6) for micro in ("us", "\u00b5s", "\u03bcs")}
    | {"ns": Fraction(1, 10**9), "ps": Fraction(1, 10**12)},
    Unit.TOKENS: {"tokens": Fraction(1)}
    | {f"{k}{word}": Fraction(1024) for k in "kK" for word in ("", " tokens")}
    | {f"{m}{word}": Fraction(1024) ** 2 for m in "mM" for word in ("", " tokens")},
}

EXPECTED: dict[Unit, str] = {
    Unit.BYTES: 'a size, such as 70e9, "70 GB" or "64 GiB"',
    Unit.BANDWIDTH: 'a bandwidth, such as 1e12 or "1 TB/s"',
    Unit.FLOPS: 'a speed, such as 708e12 or "708 TFLOP/s"',
    Unit.SECONDS: 'a time, such as 2e-5, "20 us" or "15 ns"',
    Unit.TOKENS: 'a number of tokens, such as 131072 or "128k"',
}


def pattern(unit: Unit) -> str:
    """Regular expression (ECMA-262) of the strings `parse` reads for a unit."""
    names = "|".join(sorted(map(re.escape, _FACTORS[unit]), key=len, reverse=True))
    return f"^ *{_NUMBER} *(?:{names})? *$".replace(r"\ ", " ")


_PATTERNS = {
    unit: re.compile(rf" *(?P<number>{_NUMBER}) *(?P<name>{'|'.join(map(re.escape, _FACTORS[unit]))})? *")
    for unit in Unit
}

_BITS = re.compile(r"[0-9] *(?:[A-Za-z]*(?i:bits?)\b.*|[kKmMgGtTpPeE]?i?b(?:/s|ps)?) *$")


def exact(value: float) -> Fraction:
    """Read a number as the decimal it prints as: ``exact(1e-9)`` is 1/10**9.

    Raises
    ------
    ValueError
        If it is not finite.
    """
    if isinstance(value, int):
        return Fraction(value)
    if not math.isfinite(value):
        raise ValueError(f"{value} is not finite")
    return Fraction(repr(float(value)))


def parse(value: object, unit: Unit) -> Fraction:
    """Read a quantity.

    Parameters
    ----------
    value : int, float or str
        A plain number (in the unit itself) or a string with an optional unit name.
    unit : Unit

    Returns
    -------
    Fraction
        In bytes, seconds, bytes per second, FLOP per second or tokens; may be negative.

    Raises
    ------
    ValueError
        Saying what was expected.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(EXPECTED[unit])
    if not isinstance(value, str):
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError("a finite number")
        return exact(value)
    found = _PATTERNS[unit].fullmatch(value)
    if found is None:
        if unit in (Unit.BYTES, Unit.BANDWIDTH) and _BITS.search(value):
            raise ValueError(f"{EXPECTED[unit]}, in bytes (B), not bits (b)")
        raise ValueError(EXPECTED[unit])
    factor = _FACTORS[unit][found["name"]] if found["name"] else Fraction(1)
    return Fraction(found["number"]) * factor


def parse_bytes(value: object) -> int:
    """Read a whole number of bytes, exactly; raises ValueError."""
    return _whole(parse(value, Unit.BYTES), "bytes")


def parse_tokens(value: object) -> int:
    """Read a whole number of tokens, exactly; raises ValueError."""
    return _whole(parse(value, Unit.TOKENS), "tokens")


def _whole(value: Fraction, what: str) -> int:
    if value.denominator != 1:
        raise ValueError(f"a whole number of {what}")
    return value.numerator


def _with_prefix(value: float | Fraction, unit: str, powers: dict[str, int], digits: int = 4) -> str:
    """Write a value to so many significant digits with the largest prefix that leaves it at least 1."""
    number = Fraction(value)
    for name, power in sorted(powers.items(), key=lambda item: -item[1]):
        scaled = float(number / Fraction(1000) ** power)
        # A little under 1, so that 999.99 rounds up into the next prefix instead of printing 1000.
        if abs(scaled) >= 1 - 0.5 * 10.0**-digits:
            large = abs(scaled) >= 1000
            return f"{scaled:,.0f} {name}{unit}" if large else f"{scaled:.{digits}g} {name}{unit}"
    return f"{float(number):.{digits}g} {unit}"


_LARGE = {"": 0, "k": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}
_SMALL = {"": 0, "m": -1, "u": -2, "n": -3, "p": -4}


def decimal_bytes(size: float | Fraction, digits: int = 4) -> str:
    """Bytes for people, ``"17.18 GB"``, for figures to compare: never some in GB and others in GiB.

    Parameters
    ----------
    size : number
        Bytes.
    digits : int
        Significant ones.
    """
    return _with_prefix(size, "B", _LARGE, digits)


def format_shortage(needed: int, there: int) -> str:
    """Say how far a need is from what is there: ``"71.5 GB needed, 70 GB there, 1.5 GB short"``.

    Parameters
    ----------
    needed, there : int
        Bytes, `needed` the larger one; both are written to as many digits as tell them apart.
    """
    texts = ((decimal_bytes(needed, digits), decimal_bytes(there, digits)) for digits in range(4, 20))
    need, room = next((pair for pair in texts if pair[0] != pair[1]), (f"{needed:,} B", f"{there:,} B"))
    return f"{need} needed, {room} there, {decimal_bytes(needed - there)} short"


def format_bytes(size: float | Fraction) -> str:
    """Bytes for people: ``"70 GB"``; binary multiples as such, ``"64 MiB"``."""
    decimal = decimal_bytes(size)
    for prefix, power in reversed(_BINARY.items()):
        count = Fraction(size) / 1024**power
        if count.denominator == 1 and 1 <= abs(count) < 1024:
            binary = f"{count.numerator} {prefix}B"
            is_exact = parse(decimal, Unit.BYTES) == Fraction(size)
            return decimal if is_exact and len(decimal) <= len(binary) else binary
    return decimal


def format_bandwidth(rate: float | Fraction) -> str:
    """Bytes per second for people: ``"1 TB/s"``."""
    return _with_prefix(rate, "B/s", _LARGE)


def format_flops(speed: float | Fraction) -> str:
    """FLOP per second for people: ``"708 TFLOP/s"``."""
    return _with_prefix(speed, "FLOP/s", _LARGE)


def format_seconds(time: float | Fraction) -> str:
    """Seconds for people: ``"20 us"``, ``"1.234 s"``."""
    return _with_prefix(time, "s", _SMALL)


def format_seconds_aligned(value: float | None) -> str:
    """A time to five digits, trailing zeros kept so that columns align; a dash where it is unknown."""
    if value is None:
        return "-"
    for unit, scale in (("s", 1), ("ms", 1e3), ("us", 1e6)):
        if value * scale >= 1:
            return f"{value * scale:,.0f} {unit}" if value * scale >= 1e4 else f"{value * scale:#.5g} {unit}"
    return f"{value * 1e9:.3g} ns"


def format_percent(part: float | None, digits: int = 2) -> str:
    """A part of a whole for people, ``"3.25 %"``; a dash where it is unknown (None or NaN).

    Parameters
    ----------
    part : float or None
    digits : int
        Decimals.
    """
    if part is None or math.isnan(part):
        return "-"
    return f"{round(100 * part, digits) + 0.0:.{digits}f} %"  # no "-0.00 %"


def format_tokens(tokens: int) -> str:
    """Tokens for people: ``"128k"`` for whole multiples of 1024, otherwise ``"131,073"``."""
    for size, name in ((1024**2, "m"), (1024, "k")):
        if tokens and tokens % size == 0:
            return f"{tokens // size:,}{name}"
    return f"{tokens:,}"


def format_chunks(boundaries: Sequence[int]) -> str:
    """Chunk lengths, runs of equal ones counted: ``4096 x3, 2048``."""
    lengths = [b - a for a, b in pairwise(boundaries)]
    runs: list[list[int]] = []
    for length in lengths:
        if runs and runs[-1][0] == length:
            runs[-1][1] += 1
        else:
            runs.append([length, 1])
    return ", ".join(f"{length} x{times}" if times > 1 else str(length) for length, times in runs)
