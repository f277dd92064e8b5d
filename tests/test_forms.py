"""Forms of chunk times: each finds what was made of it, the chosen one predicts what was left out."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from mocap_opt.calibration import FORMS, FormFit, Timings, choose_form, fit_forms, read_timings, to_measured
from mocap_opt.calibration.cross_validation import held_out_residuals, left_out
from mocap_opt.calibration.form_columns import overlaps, ramps, windowed_pairs
from mocap_opt.errors import InputError
from mocap_opt.instance.costs import MeasuredTimes

ROOT = Path(__file__).parent.parent
SHIPPED = ROOT / "instances" / "timings" / "llama-3.1-70b-pjlab.csv"
LENGTHS = (256, 512, 1024, 2048, 4096, 8192)
PREFIXES = (0, 1024, 2048, 4096, 8192, 16384, 32768, 65536)


def made(formula: object, noise: float = 0.0) -> Timings:
    length, prefix = (part.ravel() for part in np.meshgrid(LENGTHS, PREFIXES, indexing="ij"))
    seconds = np.array([formula(float(x), float(h)) for x, h in zip(length, prefix, strict=True)])  # type: ignore[operator]
    seconds = seconds * np.exp(noise * np.random.default_rng(5).standard_normal(seconds.size))
    return Timings("made", length, prefix, seconds, None)


def engine(x: float, h: float) -> float:
    return 2e-3 + 5e-9 * h + 3e-6 * x + 4e-11 * (2 * h * x + x * x)


def stairs(x: float) -> float:
    return 1e-3 * {256: 1, 512: 1.1, 1024: 3, 2048: 4, 4096: 11, 8192: 20}[x]


def pairs(x: float, h: float, w: float) -> float:
    return 2 * sum(min(u + 0.5, w) for u in np.arange(h, h + x))


MADE = {
    "engine": engine,
    "tiles": lambda x, h: 1e-3 + 5e-9 * h + 4e-6 * 512 * np.ceil(x / 512) + 3e-11 * (2 * h * x + x * x),
    "floor": lambda x, h: max(9e-3, engine(x, h)),
    "length": lambda x, h: stairs(x) + 6e-9 * h + 2e-11 * (2 * h * x + x * x),
    "length-slope": lambda x, h: stairs(x) + 2e-7 * stairs(x) / 1e-3 * h,
    "position": lambda x, h: stairs(x) + 3e-6 * max(0.0, min(h + x, 16384) - max(h, 4096)),
    "length-floor": lambda x, h: stairs(x) + max(3e-3, 3e-8 * h + 1e-11 * (2 * h * x + x * x)),
    "sparse": lambda x, h: stairs(x) + 1e-9 * h + 8e-11 * pairs(x, h, 2048),
    "switched": lambda x, h: stairs(x) + (0 if x + h <= 4096 else 5e-3 + 4e-8 * h),
}
"""Times that a form describes exactly; `sparse-floor` and `switched-floor` are tried on measured tables."""


@pytest.mark.parametrize("name", MADE)
def test_a_form_finds_the_times_made_of_it(name: str) -> None:
    (fit,) = fit_forms(made(MADE[name]), names=[name])
    assert fit.largest < 2e-6
    assert min(fit.parameters.values()) >= 0
    searched = {"tiles": ("tile", 512), "sparse": ("window", 2048), "switched": ("break_1", 4096)}
    if name in searched:
        assert fit.parameters[searched[name][0]] == searched[name][1]


@pytest.mark.parametrize("name", ["engine", "length", "sparse", "switched"])
def test_the_form_the_times_were_made_of_is_chosen(name: str) -> None:
    fits = fit_forms(made(MADE[name], noise=0.005))
    chosen = choose_form(fits)
    assert chosen.name == name
    assert chosen.held_out_rms is not None
    # Noise is half a percent; rows that were left out are hardly off by more, but for those beside a break.
    assert chosen.rms < 0.006
    if name != "switched":
        assert chosen.held_out_by_kind["rows"] == pytest.approx(0.006, abs=0.003)


def test_columns_by_hand() -> None:
    x = np.array([1.0, 2.0, 3.0, 4.0, 9.0])
    assert ramps(x, np.array([2.0, 4.0, 5.0])).tolist() == [
        [1, 0, 0],
        [1, 0, 0],
        [1, 0.5, 0],
        [1, 1, 0],
        [1, 1, 5],
    ]
    # Twice the pairs: up to a window of 4, positions see 0.5, 1.5, 2.5, 3.5, then 4 each.
    assert windowed_pairs(np.array([2.0, 3.0, 2.0]), np.array([0.0, 2.0, 6.0]), 4).tolist() == [4, 20, 16]
    assert overlaps(np.array([3.0, 5.0]), np.array([1.0, 6.0]), np.array([0.0, 2.0, np.inf])).tolist() == [
        [1, 2],
        [0, 5],
    ]


def test_whole_inner_lengths_and_prefixes_are_left_out() -> None:
    timings = made(engine)
    kinds: dict[str, list[set[int]]] = {"lengths": [], "prefixes": []}
    rows = np.zeros(timings.length.size, dtype=int)
    for kind, out in left_out(timings):
        if kind == "rows":
            rows += out
            continue
        values = timings.length if kind == "lengths" else timings.prefix
        gone = set(values[out].tolist())
        assert not gone & set(values[~out].tolist())
        kinds[kind].append(gone)
    assert (rows == 1).all()
    assert set().union(*kinds["lengths"]) == set(LENGTHS[1:-1])
    assert set().union(*kinds["prefixes"]) == set(PREFIXES[1:-1])


def test_what_is_left_out_is_not_seen() -> None:
    timings = made(engine)
    seen: list[int] = []

    def fit(kept: Timings):  # type: ignore[no-untyped-def]
        seen.append(kept.length.size)
        return lambda length, prefix: np.zeros(length.size)

    found = held_out_residuals(timings, fit)
    assert all(count < timings.length.size for count in seen)
    assert all((off == 1).all() for off in found.values())


def test_fits_rise_with_the_length_whatever_the_noise() -> None:
    for fit in fit_forms(made(engine, noise=0.2)):
        grid = fit.predict(np.arange(256, 9000, 64)[:, None], np.array(PREFIXES))
        if fit.form.switched:
            continue
        assert (np.diff(grid, axis=0) >= -1e-12).all(), fit.name
        # A token late in the prompt may be cheaper than an early one, if the times say so.
        assert fit.form.by_position or (np.diff(grid, axis=1) >= -1e-12).all(), fit.name


def test_a_lattice_of_a_form_is_what_it_predicts() -> None:
    (fit,) = fit_forms(made(MADE["length"]), names=["length"])
    lengths, prefixes = [256, 300, 8192], [0, 5000]
    table = to_measured(fit, lengths, prefixes)
    assert isinstance(table, MeasuredTimes)
    assert np.array(table.seconds) == pytest.approx(
        fit.predict(np.array(lengths)[:, None], np.array(prefixes))
    )
    with pytest.raises(InputError, match="lengths: expected within the measured 256 to 8192 tokens"):
        to_measured(fit, [128, 256], prefixes)
    assert isinstance(to_measured(fit, [128, 256], prefixes, extrapolate=True), MeasuredTimes)


def staged() -> Timings:
    one = made(engine)
    two = made(MADE["length"])
    stage = np.repeat([0, 1], one.length.size)
    both = [np.concatenate(pair) for pair in ((one.length, two.length), (one.prefix, two.prefix))]
    return Timings("staged", *both, np.concatenate([one.seconds, two.seconds]), stage)


def test_stages_are_fitted_each() -> None:
    (fit,) = fit_forms(staged(), names=["length"])
    assert fit.largest < 1e-6
    assert fit.predict(512, 2048, 0) == pytest.approx(engine(512, 2048))
    assert fit.predict(512, 2048, 1) == pytest.approx(MADE["length"](512, 2048))
    tables = to_measured(fit, [256, 512], [0, 1024])
    assert isinstance(tables, tuple)
    assert len(tables) == 2
    assert all(name.startswith(("stage 0: ", "stage 1: ")) for name in fit.parameters)


def test_a_break_may_be_given() -> None:
    (fit,) = fit_forms(made(MADE["switched"]), names=["switched"], breaks=[2048, 4096])
    assert (fit.parameters["break_1"], fit.parameters["break_2"]) == (2048, 4096)
    assert fit.largest < 2e-6


def test_too_few_timings_are_refused_and_large_forms_left_out() -> None:
    whole = made(engine)
    free = whole.prefix == 0
    alone = Timings("free", whole.length[free], whole.prefix[free], whole.seconds[free], None)
    with pytest.raises(InputError, match="expected three lengths and two prefixes at least"):
        fit_forms(alone)
    few = whole.prefix <= 1024
    names = [
        fit.name
        for fit in fit_forms(Timings("few", whole.length[few], whole.prefix[few], whole.seconds[few], None))
    ]
    assert "engine" in names
    assert "switched" not in names
    with pytest.raises(InputError, match="form: expected one of engine, tiles"):
        fit_forms(whole, names=["cubic"])


def test_the_shipped_synthetic_timings() -> None:
    fits = fit_forms(read_timings(SHIPPED))
    assert [fit.name for fit in fits] == list(FORMS)
    chosen = choose_form(fits)
    assert isinstance(chosen, FormFit)
    assert chosen.name == "length"
    engine_fit = fits[0]
    # The first form is what `fit_timings` fits: 6.40 % and 2.68 % on the page.
    assert (engine_fit.largest, engine_fit.rms) == pytest.approx((0.0640, 0.0268), abs=5e-5)


def test_whatever_was_measured_is_fitted_or_refused() -> None:
    rng = np.random.default_rng(7)
    fitted = 0
    for _ in range(12):
        rows = int(rng.integers(3, 40))
        length = rng.choice(rng.integers(1, 2 ** int(rng.integers(3, 31)), size=6), rows)
        prefix = rng.choice(rng.integers(0, 2 ** int(rng.integers(2, 31)), size=5), rows)
        seconds = np.exp(rng.uniform(-22, 6, size=rows))
        with suppress(InputError):
            for fit in fit_forms(Timings("any", length, prefix, seconds, None)):
                assert np.isfinite([fit.rms, fit.largest, *fit.parameters.values()]).all()
                assert min(fit.parameters.values()) >= 0
                fitted += 1
    assert fitted > 20


def test_times_no_clock_tells_are_refused() -> None:
    whole = made(engine)
    with pytest.raises(InputError, match="expected times of 1e-09 s or more, got"):
        fit_forms(Timings("wrong unit", whole.length, whole.prefix, 1e-9 * whole.seconds, None))


def test_many_rows_are_thinned_out_and_all_are_judged() -> None:
    rng = np.random.default_rng(3)
    length, prefix = rng.integers(1, 8193, 3000), rng.integers(0, 65536, 3000)
    seconds = np.array([engine(x, h) for x, h in zip(length.tolist(), prefix.tolist(), strict=True)])
    (fit,) = fit_forms(Timings("log", length, prefix, seconds, None), names=["engine"])
    assert fit.residuals.size == 3000
    assert fit.largest < 1e-6
