"""Timings: read whatever the file holds, fitted with the coefficients they were made of."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from builders import make_tables
from hypothesis import given, settings
from hypothesis import strategies as st

from mocap_opt.baselines.atom import atom_dynamic, fit_with_prefix, next_chunk
from mocap_opt.baselines.compose import base_candidates
from mocap_opt.baselines.engine_chunks import Setting
from mocap_opt.calibration import (
    NAMES,
    Fit,
    Timings,
    Weighting,
    fit_timings,
    lattice,
    parse_timings,
    read_timings,
)
from mocap_opt.calibration.fit import features
from mocap_opt.calibration.least_squares import nonnegative_least_squares
from mocap_opt.calibration.sample import sample_timings, timings_csv
from mocap_opt.errors import InputError
from mocap_opt.instance import Instance, load_instance

INSTANCES = Path(__file__).parent.parent / "instances"
HEADER = "chunk_tokens,prefix_tokens,seconds\n"


def timings(rows: str, header: str = HEADER) -> Timings:
    return parse_timings(header + rows, "t.csv")


# --- the reader --------------------------------------------------------------------------------


def test_columns_come_in_any_order_with_comments_and_blank_lines() -> None:
    header = "# measured on a Monday\n\n seconds , stage,prefix_tokens,chunk_tokens\n"
    text = header + " 0.5,1,0, 1024\n#0\n1e-3,0,8,2\n"
    read = parse_timings(text, "t.csv")
    assert read.stage is not None
    assert (read.length.tolist(), read.prefix.tolist()) == ([1024, 2], [0, 8])
    assert (read.seconds.tolist(), read.stage.tolist()) == ([0.5, 1e-3], [1, 0])
    assert [(stage, part.length.tolist()) for stage, part in read.by_stage().items()] == [
        (0, [2]),
        (1, [1024]),
    ]


MALFORMED = {
    "empty": ("", "t.csv: expected a line with the names of the columns"),
    "comments-only": ("# nothing\n\n", "t.csv: expected a line with the names of the columns"),
    "header-only": (HEADER, "t.csv: expected timings below the header"),
    "no-column": ("chunk_tokens,seconds\n1,2\n", "line 1: expected one column prefix_tokens, got nothing"),
    "mistyped": ("chunk_token,prefix_tokens,seconds\n", 'did you mean "chunk_tokens"?'),
    "column-twice": ("chunk_tokens,prefix_tokens,seconds,seconds\n", "one column seconds, got twice"),
    "no-header": ("1024,0,0.5\n", "line 1: expected one of chunk_tokens"),
    "too-few-fields": (HEADER + "1,2\n", "line 2: expected 3, as in the header, got 2 fields"),
    "too-many-fields": (HEADER + "1,2,3,4\n", "line 2: expected 3"),
    "nan": (HEADER + "1,2,nan\n", "line 2, seconds: expected seconds above 0"),
    "infinite": (HEADER + "1,2,inf\n", "line 2, seconds"),
    "overflowing": (HEADER + "1,2,1e999\n", "line 2, seconds"),
    "negative": (HEADER + "1,2,-1\n", "line 2, seconds"),
    "zero": (HEADER + "1,2,0.0\n", "line 2, seconds"),
    "no-digits": (HEADER + "1,2,.\n", "line 2, seconds"),
    "unit": (HEADER + "1,2,5 ms\n", "no unit"),
    "length-zero": (HEADER + "0,2,1\n", "line 2, chunk_tokens: expected a whole number from 1"),
    "length-half": (HEADER + "1.5,2,1\n", "line 2, chunk_tokens"),
    "length-huge": (HEADER + "99999999999,2,1\n", "line 2, chunk_tokens"),
    "prefix-negative": (HEADER + "1,-2,1\n", "line 2, prefix_tokens"),
    "prefix-missing": (
        HEADER + "1,,1\n",
        'line 2, prefix_tokens: expected a whole number from 0 to 1,073,741,824, got ""',
    ),
    "stage-huge": ("chunk_tokens,prefix_tokens,seconds,stage\n1,2,3,512\n", "line 2, stage"),
    "other-digits": (HEADER + "１,2,3\n", "line 2, chunk_tokens"),
    "open-quote": (HEADER + '"1,2,3\n', "line 2: expected fields separated by commas"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_files_are_refused_with_the_place(name: str) -> None:
    text, message = MALFORMED[name]
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        parse_timings(text, "t.csv")
    str(caught.value).encode("ascii", errors="strict")


def test_all_problems_at_once() -> None:
    with pytest.raises(InputError, match="line 3, chunk_tokens") as caught:
        timings("1,2,x\n-1,2,-3\n5,5,5\n")
    assert [problem.path for problem in caught.value.problems] == [
        "t.csv, line 2, seconds",
        "t.csv, line 3, chunk_tokens",
        "t.csv, line 3, seconds",
    ]


_FIELD = st.one_of(
    st.sampled_from(["1024", "0", "0.5", "1e-3", "nan", "-1", "", '"', "stage", "seconds", "1e400", "#"]),
    st.text(max_size=6),
)
_TEXT = st.one_of(
    st.text(max_size=200),
    st.lists(st.lists(_FIELD, max_size=5).map(",".join), max_size=6).map("\n".join),
    st.lists(st.lists(_FIELD, max_size=4).map(",".join), max_size=6).map(
        lambda rows: HEADER + "\n".join(rows)
    ),
)


@settings(max_examples=250, deadline=None, derandomize=True)
@given(_TEXT)
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(InputError):
        read = parse_timings(text, "t.csv")
        assert (read.length > 0).all()
        assert (read.prefix >= 0).all()
        assert ((read.seconds > 0) & np.isfinite(read.seconds)).all()
        with suppress(InputError):
            lattice(read)
        fit_timings(read)


def test_a_lattice_averages_and_wants_every_pair() -> None:
    assert lattice(timings("2,0,4\n1,0,1\n1,0,3\n2,8,6\n1,8,5\n")) == {
        "lengths": [1, 2],
        "prefixes": [0, 8],
        "seconds": [[2.0, 5.0], [4.0, 6.0]],
    }
    with pytest.raises(InputError, match="got none of 1 tokens after 8"):
        lattice(timings("1,0,1\n2,0,1\n2,8,1\n"))
    staged = "chunk_tokens,prefix_tokens,seconds,stage\n"
    both = lattice(timings("1,0,1,1\n1,0,2,0\n", staged))
    assert [table["seconds"] for table in both] == [[[2.0]], [[1.0]]]  # type: ignore[index]
    with pytest.raises(InputError, match="every stage from 0 up"):
        lattice(timings("1,0,1,0\n1,0,2,2\n", staged))


# --- the fit -----------------------------------------------------------------------------------

TRUTH = {"constant": 2e-4, "linear": 3e-6, "quadratic": 4e-12, "prefix": 5e-9}


def made(truth: dict[str, float], noise: float = 0.0, seed: int = 0) -> Timings:
    length, prefix = np.meshgrid([256, 512, 1024, 4096, 16384], np.arange(0, 131072, 16384))
    length, prefix = length.ravel(), prefix.ravel()
    seconds = features(length, prefix) @ np.array([truth[name] for name in NAMES])
    seconds = seconds * (1 + noise * np.random.default_rng(seed).standard_normal(seconds.size))
    return Timings("made", length, prefix, seconds, None)


@pytest.mark.parametrize("weighting", Weighting)
@pytest.mark.parametrize("zero", [None, "constant", "linear", "prefix"])
def test_without_noise_the_coefficients_come_back(weighting: Weighting, zero: str | None) -> None:
    truth = {name: 0.0 if name == zero else value for name, value in TRUTH.items()}
    (found,) = fit_timings(made(truth), weighting=weighting)
    assert found.coefficients == pytest.approx(truth, rel=1e-6, abs=1e-14)
    assert np.abs(found.residuals).max() < 1e-9


def test_with_noise_they_come_back_within_their_errors() -> None:
    off = []
    for seed in range(60):
        (found,) = fit_timings(made(TRUTH, 0.02, seed))
        for name, value in found.coefficients.items():
            error = found.standard_errors[name]
            assert error is not None
            off.append(abs(value - TRUTH[name]) / error)
        assert found.to_dict()["rms_relative_residual"] == pytest.approx(0.02, rel=0.35)
    # Of normal errors 68 % are within one standard error, 95 % within two.
    assert np.mean(np.array(off) < 1) == pytest.approx(0.68, abs=0.08)
    assert np.mean(np.array(off) < 2) == pytest.approx(0.95, abs=0.04)


def test_no_coefficient_is_negative_and_the_fit_is_the_least() -> None:
    rng = np.random.default_rng(3)
    pressed = 0
    for _ in range(40):
        columns, target = rng.standard_normal((12, 4)), rng.standard_normal(12)
        found = nonnegative_least_squares(columns, target)
        gradient = columns.T @ (columns @ found - target)
        # The optimality conditions of Karush, Kuhn and Tucker.
        assert (found >= 0).all()
        assert (gradient >= -1e-9).all()
        assert np.abs(gradient[found > 0]).max(initial=0) < 1e-9
        pressed += int((found == 0).sum())
    assert pressed > 20


def test_a_held_coefficient_stays_0_and_has_no_error() -> None:
    (found,) = fit_timings(made(TRUTH), held=["prefix"])
    assert (found.coefficients["prefix"], found.standard_errors["prefix"]) == (0.0, None)


@pytest.mark.parametrize(
    ("rows", "held", "message"),
    [
        ("1,0,1\n2,0,2\n3,1,3\n4,2,4\n", (), "expected more than 4 different chunks"),
        ("1,0,1\n1,0,1\n1,0,1\n1,0,1\n1,0,1\n", (), "got 1 of them"),
        ("1,0,1\n2,0,2\n3,0,4\n4,0,5\n5,0,6\n", (), "3 lengths"),
        ("1,0,1\n2,0,2\n3,0,4\n4,0,5\n5,0,6\n", (), "to tell what prefix is"),
        ("1,5,1\n2,5,2\n3,5,4\n4,5,5\n5,5,6\n", (), "tell constant, linear, quadratic, prefix apart"),
        ("8,0,1\n8,1,2\n8,2,4\n8,3,5\n8,4,6\n", (), "tell constant, linear, quadratic, prefix apart"),
        ("1,0,1\n2,0,2\n3,1,3\n4,2,4\n", NAMES, "at least one coefficient to fit"),
    ],
)
def test_what_cannot_be_told_is_refused(rows: str, held: tuple[str, ...], message: str) -> None:
    message = message.replace("3 lengths", "5 lengths and 1 prefix")
    with pytest.raises(InputError, match=re.escape(message)):
        fit_timings(timings(rows), held=held)


def test_prefix_free_timings_are_fitted_with_prefix_held() -> None:
    rows = "".join(f"{x},0,{1e-3 + 2e-6 * x + 3e-11 * x * x!r}\n" for x in (256, 512, 1024, 2048, 4096))
    (found,) = fit_timings(timings(rows), held=["prefix"])
    wanted = {"constant": 1e-3, "linear": 2e-6, "quadratic": 3e-11, "prefix": 0.0}
    assert found.coefficients == pytest.approx(wanted, rel=1e-6)


def test_the_worst_rows_come_first() -> None:
    off = made(TRUTH)
    seconds = off.seconds.copy()
    seconds[7] *= 1.5
    (found,) = fit_timings(Timings("off", off.length, off.prefix, seconds, None))
    assert isinstance(found, Fit)
    worst = found.to_dict()["worst_rows"][0]
    assert (worst["chunk_tokens"], worst["prefix_tokens"]) == (off.length[7], off.prefix[7])


# --- samples -----------------------------------------------------------------------------------


def small(**changes: object) -> Instance:
    data = {
        "version": 1,
        "name": "small",
        "model": "llama-3.1-8b",
        "wafer": "pjlab-5x4",
        "pipeline": {"stages": 4},
        "workload": {"tokens": "16k"},
        "chunking": {"max_chunks": 16, "quantum": 1024, "shortest": 1024, "longest": 4096},
        "costs": {"kind": "coefficients", "stages": TRUTH},
    }
    return Instance.from_dict(data | changes)


def test_a_sample_is_read_back_and_gives_the_costs_it_came_from() -> None:
    instance = small()
    read = parse_timings(timings_csv(sample_timings(instance), ["of small"]), "sample")
    assert read.stage is None
    (found,) = fit_timings(read)
    # Rounded to whole ticks of 1 ns, times of 3 ms are known to 2e-7.
    assert found.coefficients == pytest.approx(TRUTH, rel=1e-3)
    covers = instance.replace(f'costs={{"kind": "measured", "stages": {to_json(lattice(read))}}}')
    assert covers.costs.kind == "measured"


def to_json(value: object) -> str:
    return str(value).replace("'", '"')


def test_noise_is_seeded_and_stages_that_differ_are_listed() -> None:
    uneven = small(pipeline={"stages": 3, "layers": [10, 10, 12]}, costs={"kind": "roofline"})
    first, again, other = (sample_timings(uneven, noise=0.05, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.seconds, again.seconds)
    assert not np.array_equal(first.seconds, other.seconds)
    assert first.stage is not None
    assert np.unique(first.stage).tolist() == [0, 1, 2]
    exact = sample_timings(uneven)
    assert np.std(np.log(first.seconds / exact.seconds)) == pytest.approx(0.05, rel=0.2)


def test_the_shipped_timings_come_from_the_command_on_the_page() -> None:
    instance = load_instance(INSTANCES / "llama-3.1-70b-pjlab-128k.json")
    shipped = read_timings(INSTANCES / "timings" / "llama-3.1-70b-pjlab.csv")
    made_again = sample_timings(instance, noise=0.02, seed=7)
    assert shipped.seconds == pytest.approx(made_again.seconds, rel=1e-8)


# --- ATOM's rule -------------------------------------------------------------------------------


def test_atom_fits_the_coefficients_of_the_tables() -> None:
    # Phi = 500 x + 3 x^2, c = 70,000, gamma = 40: t(L, x) = 70,000 + 40 L + 500 x + 3 (2 L x + x^2).
    tables = make_tables(2, 64, linear=500, quadratic=3, constant=70_000, prefix_time=40, max_chunks=8)
    assert fit_with_prefix(tables) == pytest.approx((70_000, 500, 3, 40), rel=1e-6)
    cached = make_tables(
        2, 64, linear=500, quadratic=3, constant=70_000, prefix_time=40, max_chunks=8, prefix=32
    )
    assert fit_with_prefix(cached) == pytest.approx((70_000, 500, 3, 40), rel=1e-6)


def test_atom_next_chunk_takes_as_long_as_the_first() -> None:
    fit = (7e4, 500.0, 3.0, 40.0)

    def time(before: float, length: float) -> float:
        return fit[3] * before + fit[1] * length + fit[2] * (2 * before * length + length**2)

    for history in (0, 5_000, 20_000):
        wanted = next_chunk(fit, history, 20_000)
        solved = 20_000 + (wanted - 20_000) / 0.75
        assert wanted > 4096
        assert time(history, solved) == pytest.approx(time(0, 20_000))
    assert next_chunk(fit, 0, 20_000) == pytest.approx(20_000)
    # No length is short enough once the prefix alone takes longer: chunks are of the base size.
    assert next_chunk((0.0, 1.0, 1e-9, 10.0), 10_000, 8192) == 8192
    # The prefix may take a fifth: b x = 4 gamma L gives 5,000, more than the solved 3,000.
    assert next_chunk((0.0, 1.0, 0.0, 0.5), 2_500, 4_500) == pytest.approx(4500)
    assert next_chunk((0.0, 1.0, 0.0, 1.0), 1_250, 6_000) == pytest.approx(5062.5)
    assert next_chunk((0.0, 1.0, 0.0, 1.0), 1_400, 6_000) == pytest.approx(5600)


def test_atom_chunks_shrink_where_attention_matters() -> None:
    tables = make_tables(2, 65_536, quantum=1024, linear=100, quadratic=1, constant=10, max_chunks=16)
    boundaries = [atom_dynamic(tables, Setting(base)) for base in base_candidates(tables)]
    found = [np.diff(tables.grid[indices]) for indices in boundaries if indices is not None]
    assert found
    assert any(lengths[0] > lengths[-2] for lengths in found if lengths.size > 2)
    assert all((lengths[:-1] >= 4096).all() for lengths in found if lengths.size > 1 and lengths[0] >= 4096)
