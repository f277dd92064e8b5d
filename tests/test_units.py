from __future__ import annotations

import json
import math
import re
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mocap_opt import units
from mocap_opt.units import Unit, exact, parse


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("70 GB", Unit.BYTES, 70 * 10**9),
        ("70GB", Unit.BYTES, 70 * 10**9),
        (" 70  GB ", Unit.BYTES, 70 * 10**9),
        ("64 GiB", Unit.BYTES, 2**36),
        ("0.44 GB", Unit.BYTES, 440_000_000),
        ("1e3 B", Unit.BYTES, 1000),
        ("12", Unit.BYTES, 12),
        (70e9, Unit.BYTES, 70 * 10**9),
        ("1 TB/s", Unit.BANDWIDTH, 10**12),
        ("0.5 GiB/s", Unit.BANDWIDTH, 2**29),
        ("708 TFLOP/s", Unit.FLOPS, 708 * 10**12),
        ("1.5 PFLOPS", Unit.FLOPS, 15 * 10**14),
        ("128k", Unit.TOKENS, 131072),
        ("128 K", Unit.TOKENS, 131072),
        ("0.5k tokens", Unit.TOKENS, 512),
        ("2m", Unit.TOKENS, 2 * 1024**2),
        ("7 tokens", Unit.TOKENS, 7),
        ("20 us", Unit.SECONDS, Fraction(1, 50_000)),
        ("20 \u00b5s", Unit.SECONDS, Fraction(1, 50_000)),
        ("20 \u03bcs", Unit.SECONDS, Fraction(1, 50_000)),
        ("15 ns", Unit.SECONDS, Fraction(15, 10**9)),
        (1e-9, Unit.SECONDS, Fraction(1, 10**9)),
        (".5ms", Unit.SECONDS, Fraction(1, 2000)),
        ("-1 s", Unit.SECONDS, -1),
    ],
)
def test_parse_is_exact(text: Any, unit: Unit, value: Any) -> None:
    assert parse(text, unit) == value


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (True, Unit.BYTES, "a size"),
        (None, Unit.SECONDS, "a time"),
        ([1], Unit.TOKENS, "a number of tokens"),
        ("", Unit.BYTES, "a size"),
        ("GB", Unit.BYTES, "a size"),
        ("70 GB/s", Unit.BYTES, "a size"),
        ("70 gb", Unit.BYTES, "bits"),
        ("1 Tbps", Unit.BANDWIDTH, "bits"),
        ("800 Gb/s", Unit.BANDWIDTH, "not bits"),
        ("800 Gbit/s", Unit.BANDWIDTH, "not bits"),
        ("800 Gigabits per second", Unit.BANDWIDTH, "not bits"),
        ("64 Mibit", Unit.BYTES, "not bits"),
        ("1 TB", Unit.BANDWIDTH, "a bandwidth"),
        ("1 minute", Unit.SECONDS, "a time"),
        ("1 MS", Unit.SECONDS, "a time"),
        ("1,000", Unit.TOKENS, "a number of tokens"),
        ("\u0661\u0662", Unit.TOKENS, "a number of tokens"),
        ("1\n", Unit.TOKENS, "a number of tokens"),
        ("nan", Unit.FLOPS, "a speed"),
        (math.nan, Unit.FLOPS, "finite"),
        (-math.inf, Unit.FLOPS, "finite"),
        ("9" * 5000, Unit.BYTES, "a size"),
    ],
)
def test_parse_refuses(value: Any, unit: Unit, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        parse(value, unit)


def test_whole_numbers() -> None:
    assert units.parse_bytes("1.5 KiB") == 1536
    assert units.parse_tokens("128k") == 131072
    with pytest.raises(ValueError, match="whole number of bytes"):
        units.parse_bytes("1.0001 kB")
    with pytest.raises(ValueError, match="whole number of tokens"):
        units.parse_tokens(0.5)


@given(st.integers(0, 10**15 - 1), st.integers(-30, 0))
def test_exact_reads_the_decimal(digits: int, power: int) -> None:
    """Any decimal of 15 digits, so that 1e-9 is 1/10**9 and not the binary fraction next to it."""
    assert exact(float(f"{digits}e{power}")) == Fraction(digits) * Fraction(10) ** power


def test_exact_refuses_what_is_not_finite() -> None:
    with pytest.raises(ValueError, match="finite"):
        exact(math.nan)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (units.format_bytes(70 * 10**9), "70 GB"),
        (units.format_bytes(64 * 2**20), "64 MiB"),
        (units.format_bytes(2**36), "64 GiB"),
        (units.decimal_bytes(2**36), "68.72 GB"),
        (units.format_bytes(440_000_000), "440 MB"),
        (units.format_bytes(1_023_999), "1.024 MB"),
        (units.format_bytes(999_999_999), "1 GB"),
        (units.format_bytes(999), "999 B"),
        (units.format_bytes(0), "0 B"),
        (units.format_bytes(-1500), "-1.5 kB"),
        (units.format_bytes(Fraction(1, 3)), "0.3333 B"),
        (units.format_bytes(5 * 10**22), "50,000 EB"),
        (units.format_bandwidth(4.5e12), "4.5 TB/s"),
        (units.format_flops(708e12), "708 TFLOP/s"),
        (units.format_flops(125e15), "125 PFLOP/s"),
        (units.format_seconds(20e-6), "20 us"),
        (units.format_seconds(Fraction(3, 2)), "1.5 s"),
        (units.format_seconds(1.23456), "1.235 s"),
        (units.format_seconds(12345.0), "12,345 s"),
        (units.format_seconds(0.99999), "1 s"),
        (units.format_seconds(1e-15), "1e-15 s"),
        (units.format_seconds(0), "0 s"),
        (units.format_tokens(131072), "128k"),
        (units.format_tokens(1024**2), "1m"),
        (units.format_tokens(1536 * 1024), "1,536k"),
        (units.format_tokens(131073), "131,073"),
        (units.format_tokens(0), "0"),
    ],
)
def test_format(text: str, shown: str) -> None:
    assert text == shown


@given(st.integers(1, 10**16))
def test_formatted_sizes_read_back(size: int) -> None:
    """To the four digits that are shown."""
    back = parse(units.format_bytes(size).replace(",", ""), Unit.BYTES)
    assert abs(back - size) <= Fraction(size, 1999)


TEXTS = st.one_of(
    st.text(alphabet="0123456789.eE+- kKMGTPiBbs/unFLOPtokens", max_size=14),
    st.builds(
        "{}{}{}".format,
        st.sampled_from(["1", "0.5", "-3", "1e3", ".5", "1.", "e3"]),
        st.sampled_from(["", " ", "  "]),
        st.sampled_from(
            ["", "B", "GB", "GiB", "GB/s", "us", "s", "k", "m tokens", "TFLOP/s", "TFLOPS", "Gb"]
        ),
    ),
)


@pytest.mark.parametrize("unit", list(Unit))
@given(text=TEXTS)
def test_pattern_of_the_schema_accepts_what_parse_reads(unit: Unit, text: str) -> None:
    try:
        parse(text, unit)
        readable = True
    except ValueError as error:
        readable = False
        assert error.args  # noqa: PT017
    assert (re.search(units.pattern(unit), text) is not None) == readable


def test_every_unit_says_what_it_expects() -> None:
    """The examples in the messages are themselves readable."""
    for unit, expected in units.EXPECTED.items():
        examples = re.findall(r'"[^"]+"|[0-9][0-9e.-]*(?=,| or)', expected)
        assert len(examples) >= 2
        for example in examples:
            assert parse(json.loads(example), unit) > 0


@pytest.mark.parametrize(
    ("needed", "there", "text"),
    [
        (71_500_000_000, 70_000_000_000, "71.5 GB needed, 70 GB there, 1.5 GB short"),
        (70_000_123_456, 70_000_000_000, "70.0001 GB needed, 70 GB there, 123.5 kB short"),
        (3, 2, "3 B needed, 2 B there, 1 B short"),
        (
            10**18 + 1,
            10**18,
            "1,000,000,000,000,000,001 B needed, 1,000,000,000,000,000,000 B there, 1 B short",
        ),
    ],
)
def test_what_is_needed_and_what_is_there_read_apart(needed, there, text):
    assert units.format_shortage(needed, there) == text


def test_parts_are_percentages_of_one_form():
    parts = (1e-8, 0.00456, 1, 12.5, 0, None, math.nan)
    texts = ["0.00 %", "0.46 %", "100.00 %", "1250.00 %", "0.00 %", "-", "-"]
    assert [units.format_percent(part) for part in parts] == texts
