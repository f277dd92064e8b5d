"""Pictures: what stands on the axes, and the command that writes them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from builders import make_tables
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from test_cli import run, run_json
from toy_instances import toy

from mocap_opt.instance import load_instance
from mocap_opt.pictures import plots
from mocap_opt.pictures.palette import (
    ACTIVITY_COLOURS,
    MEMORY_COLOURS,
    READ_COLOUR,
    WRITE_COLOUR,
    byte_unit,
    time_unit,
)
from mocap_opt.pictures.run_view import RunView, view_run, view_schedule
from mocap_opt.pictures.wafer_geometry import draw_wafer
from mocap_opt.replay.activity import WAITS, Activity
from mocap_opt.replay.evaluation import Execution
from mocap_opt.schedule.plan import Home, Plan
from mocap_opt.schedule.schedule import Schedule, ScheduledRequest
from mocap_opt.solving import Progress
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.tables.layout import layout

INSTANCES = Path(__file__).resolve().parent.parent / "instances"
# The worked example of formulations/replay.md: 8 ticks of a nanosecond.
EXAMPLE = make_tables(3, 3, linear=1, link_rate={"1>2": 1}, capacity=10, static=2, staging=1)
EXAMPLE_PLAN = Plan((0, 1, 3), (Home(0, 1, 2, 2), Home(1, 0, 2, 1)))


def example(execution: Execution = Execution.EVENT) -> RunView:
    return view_run(EXAMPLE, EXAMPLE_PLAN, execution)


def axes() -> Axes:
    return Figure().add_subplot()


def boxes_of(ax: Axes, colour: str) -> list[list[float]]:
    """[left, right, top, bottom] of every rectangle of a colour, rounded."""
    found = []
    for collection in ax.collections:
        if isinstance(collection, PolyCollection):
            colours = [to_hex(c).upper() for c in collection.get_facecolor()]
            for n, path in enumerate(collection.get_paths()):
                if colours[n % len(colours)] == colour:
                    low, high = path.vertices.min(axis=0), path.vertices.max(axis=0)
                    found.append([round(float(v), 6) for v in (low[0], high[0], low[1], high[1])])
    return sorted(found)


def test_gantt_draws_every_wait_where_it_is():
    ax = axes()
    assert plots.gantt(ax, example()) is ax
    half = 0.16
    assert boxes_of(ax, ACTIVITY_COLOURS[Activity.KV]) == [[2, 3, 1 - half, 1 + half], [3, 4, -half, half]]
    assert boxes_of(ax, ACTIVITY_COLOURS[Activity.ADMISSION]) == [[3, 4, 2 - half, 2 + half]]
    assert [box[:2] for box in boxes_of(ax, ACTIVITY_COLOURS[Activity.ACTIVATIONS])] == [[3, 4], [5, 6]]
    # Six chunks of two colours, as many as stages times chunks.
    bars = next(c for c in ax.collections if len(c.get_paths()) == 6)
    assert len({tuple(c) for c in bars.get_facecolor().tolist()}) == 2
    assert ax.get_xlabel() == "time, ns"
    assert ax.get_xlim() == (0, 8)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["0", "1", "2"]
    assert {text.get_text() for text in ax.texts} == {"0", "1"}


def test_gantt_shows_remote_reads_and_writes():
    ax = plots.gantt(axes(), example())
    assert [box[:2] for box in boxes_of(ax, WRITE_COLOUR)] == [[1, 3], [1, 4]]
    # A read over an ample link takes no time, and is drawn as long as can just be seen.
    ((left, right, _, _),) = boxes_of(ax, READ_COLOUR)
    assert (left, right) == (4, pytest.approx(4 + 0.003 * 8))
    shown = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "remote KV read (below)" in shown
    assert "waiting for admission" in shown


def test_memory_is_stacked_up_to_what_the_replay_holds():
    view = example(Execution.LOCKSTEP)
    ax = plots.memory(axes(), view)
    for name, colour in MEMORY_COLOURS.items():
        assert bool(boxes_of(ax, colour)) == bool(getattr(view.memory, name).any())
    # Lanes are 0.86 high for 10 bytes and stand on stage + 0.43; hosted KV is on top of everything.
    tops = [box[2] for box in boxes_of(ax, MEMORY_COLOURS["hosted"])]
    assert tops[2] == pytest.approx(2.43 - 0.86 * view.memory.peak[2] / 10)
    assert ax.get_xlabel() == "time, ns"
    peaks = [label.get_text() for other in ax.figure.axes for label in other.get_yticklabels()]
    assert f"{view.memory.peak[2]} of 10  ({10 * view.memory.peak[2]}.00 %)" in peaks


def test_the_wafer_shows_dead_parts_and_the_load_of_each_link():
    instance = toy(wafer={"dead_dies": [[1, 3]], "dead_links": [[[0, 2], [0, 3]]]}, pipeline={"stages": 3})
    tables = build_tables(instance)
    view = view_run(tables, Plan((0, 4, 10)))
    drawing = draw_wafer(layout(instance))
    assert [link.name for link in drawing.links] == list(tables.links)
    assert [die.die for die in drawing.dies if die.dead] == [(1, 3)]
    assert drawing.cuts == ((2.5, 0.0),)
    assert drawing.labels == ((0.0, 0.0), (1.0, 0.0), (2.0, 0.0))
    # Eastward traffic runs below the middle of the row, on the right of its direction of travel.
    east = next(link for link in drawing.links if link.name == "0,0>0,1")
    assert (east.y0, east.y1) == (pytest.approx(0.12), pytest.approx(0.12))
    ax = axes()
    assert plots.mesh(ax, layout(instance), view) is ax
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("column of dies", "row of dies")
    labels = [other.get_ylabel() for other in ax.figure.axes[1:]]
    assert all(label.endswith("% of its bandwidth") for label in labels)
    lines = next(c for c in ax.collections if len(c.get_paths()) == len(tables.links))
    idle = [to_hex(colour) == "#dddddd" for colour in lines.get_colors()]
    assert idle == (view.load.overall().link[:, 0] == 0).tolist()
    assert not all(idle)


@pytest.mark.parametrize(("topology", "rows", "cols"), [("switch", 1, 8), ("torus", 2, 4)])
def test_other_topologies_are_drawn_too(topology, rows, cols):
    instance = toy(wafer={"topology": topology, "rows": rows, "cols": cols}, pipeline={"stages": 3})
    tables = build_tables(instance)
    drawing = draw_wafer(layout(instance))
    assert len(drawing.links) == len(tables.links)
    assert len({(die.x, die.y) for die in drawing.dies}) == rows * cols
    figure = plots.mesh_figure(layout(instance), view_run(tables, Plan((0, 10))))
    figure.canvas.draw()


def test_bounds_step_from_news_to_news():
    news = [
        Progress(0.5, None, 2.0, None, "stage_work"),
        Progress(1.0, 9.0, 2.0, 7 / 9, "gpipe"),
        Progress(2.0, 3.0, 2.0, 1 / 3, "mocap"),
        Progress(3.0, 3.0, 2.4, 0.2, "joint"),
    ]
    ax = axes()
    assert plots.bounds(ax, news, end_s=4.0) is ax
    plan, bound = (line for line in ax.lines if line.get_drawstyle() == "steps-post")
    assert plan.get_xydata().tolist() == [[1, 9], [2, 3], [3, 3], [4, 3]]
    assert bound.get_xydata().tolist() == [[0.5, 2], [1, 2], [2, 2], [3, 2.4], [4, 2.4]]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("solve time, s", "latency, s")
    shown = [text.get_text() for text in ax.texts]
    assert shown == ["1 slower plan before, from 9 s", "gap 20.00 %"]
    with pytest.raises(ValueError, match="no plan and no bound"):
        plots.bounds(axes(), [Progress(0.5, None, None, None, "x")])


@pytest.mark.parametrize("gap", [0, 1e-8, 1e-5])
@pytest.mark.parametrize("latency", [30.577, 4.47e-4])
def test_bounds_are_readable_where_the_gap_is_tiny(gap, latency):
    figure = plots.bounds_figure("x", [Progress(0.4, latency, latency * (1 - gap), gap, "joint")], end_s=1.0)
    figure.canvas.draw()
    ax = figure.axes[0]
    low, high = ax.get_ylim()
    assert (high - low) / high >= 0.9e-3
    assert ax.yaxis.get_offset_text().get_text() == ""
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert len(set(labels)) == len(labels) >= 4
    assert max(map(len, labels)) <= 8
    assert [text.get_text() for text in ax.texts] == ["gap 0.00 %"]


def test_methods_stand_side_by_side_with_their_gaps():
    known = {"lockstep_latency_s": 3e-3, "event_latency_s": 2e-3, "lower_bound_s": 1e-3, "status": "feasible"}
    none = dict.fromkeys(("latency_s", "lockstep_latency_s", "event_latency_s", "gap"))
    rows = [
        {"method": "mocap", "latency_s": 2e-3, "gap": 0.5, **known},
        {"method": "gpipe", "lower_bound_s": 1e-3, "status": "unknown", **none},
    ]
    ax = plots.compare(axes(), rows)
    assert [patch.get_width() for patch in ax.patches] == pytest.approx([2.0])
    assert [text.get_text() for text in ax.texts] == ["2 ms   gap 50.00 %", "  no plan"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["mocap", "gpipe"]
    assert ax.get_xlabel() == "latency, ms"


def luminance(colour: str) -> float:
    return float(np.dot([int(colour[n : n + 2], 16) for n in (1, 3, 5)], (0.299, 0.587, 0.114)))


def test_waits_have_colours_of_their_own_within_an_execution():
    event = [a for a in WAITS if a not in (Activity.SEND, Activity.BARRIER)]
    lockstep = [Activity.KV, Activity.SEND, Activity.BARRIER]
    for group in (event, lockstep):
        # Apart in lightness as well: for readers without any colour.
        light = sorted(luminance(ACTIVITY_COLOURS[activity]) for activity in group)
        assert min(np.diff(light)) > 10


@pytest.mark.parametrize(
    ("value", "expected"), [(2.0, (1.0, "s")), (2e-3, (1e3, "ms")), (2e-6, (1e6, "us")), (2e-9, (1e9, "ns"))]
)
def test_times_are_written_in_a_fitting_unit(value, expected):
    assert time_unit(value) == expected


def test_sizes_are_written_in_a_fitting_unit():
    assert [byte_unit(size)[1] for size in (5, 5e3, 5e6, 5e9, 5e12)] == ["B", "kB", "MB", "GB", "TB"]


def small_tables() -> Tables:
    return make_tables(64, 70, linear=10, max_chunks=70)


def test_sixty_four_stages_name_every_fourth():
    view = view_run(small_tables(), Plan(tuple(range(0, 71, 10))))
    ax = plots.gantt(axes(), view)
    assert [label.get_text() for label in ax.get_yticklabels()] == [str(i) for i in range(0, 64, 4)]


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_the_same_picture_is_the_same_file(kind, tmp_path):
    files = [tmp_path / f"{n}.{kind}" for n in range(2)]
    for file in files:
        plots.save_figure(plots.gantt_figure(example()), file)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert files[0].read_bytes()[:4] in (b"\x89PNG", b"<?xm", b"%PDF")
    with pytest.raises(ValueError, match=r"picture\.jpg"):
        plots.save_figure(plots.gantt_figure(example()), tmp_path / "picture.jpg")


@pytest.fixture
def solved(tmp_path, capsys) -> tuple[Path, Path, Path]:
    """An instance, a plan of it and the log of the solve that found it."""
    file, plan, log = INSTANCES / "tiny-pooled.json", tmp_path / "plan.json", tmp_path / "log.jsonl"
    assert run("solve", file, "--out", plan, "--log", log, capsys=capsys)[0] == 0
    return file, plan, log


@pytest.mark.parametrize("kind", ["gantt", "memory", "mesh", "compare"])
def test_plot_writes_every_kind(kind, solved, tmp_path, capsys):
    file, plan, _ = solved
    out = tmp_path / "picture.svg"
    code, said, _ = run("plot", file, plan, "--kind", kind, "--out", out, capsys=capsys)
    assert (code, said.strip()) == (0, str(out))
    assert out.read_text().startswith("<?xml")


@pytest.fixture(params=["period", "stream", "mean-completion"])
def of_several(request, tmp_path) -> Path:
    """An instance of several requests."""
    data = load_instance(INSTANCES / "tiny-slack.json").replace("pipeline.queue_depth=2").to_dict()
    requests = {"requests": [{"tokens": 4, "name": "$a$"}, {"tokens": 3}]}
    changes = {"objective": request.param} | ({} if request.param == "period" else {"workload": requests})
    file = tmp_path / "several.json"
    file.write_text(json.dumps({**data, **changes}))
    return file


def test_plot_draws_streams_and_periods(of_several, tmp_path, capsys):
    plan = tmp_path / "plan.json"
    assert run("solve", of_several, "--time-limit", "1", "--out", plan, capsys=capsys)[0] == 0
    for kind in ("gantt", "memory", "mesh"):
        pictures = []
        for execution in ("lockstep", "event-driven"):
            out = tmp_path / f"{kind}-{execution}.svg"
            arguments = (of_several, plan, "--kind", kind, "--out", out, "--execution", execution)
            code, said, err = run("plot", *arguments, capsys=capsys)
            assert (code, said.strip()) == (0, str(out)), err
            pictures.append(out.read_text())
        assert pictures[0] != pictures[1], kind
    arguments = (of_several, "--kind", "gantt", "--time-limit", "0.5", "--out", tmp_path / "solved.svg")
    code, _, err = run("plot", *arguments, capsys=capsys)
    assert code == 0, err


def test_a_broken_schedule_is_not_drawn(of_several, tmp_path, capsys):
    plan, out = tmp_path / "plan.json", tmp_path / "x.png"
    assert run("solve", of_several, "--method", "uniform", "--out", plan, capsys=capsys)[0] == 0
    data = json.loads(plan.read_text())
    if "slots" in data:
        data["slots"] = 1
    else:
        data["requests"][1]["slot"] = 0
    plan.write_text(json.dumps(data))
    code, said, err = run("plot", of_several, plan, "--kind", "gantt", "--out", out, capsys=capsys)
    assert (code, said) == (3, "")
    assert "slots apart" in err or "needs the first stage" in err
    assert not out.exists()


def test_a_stream_in_another_order_than_the_one_given_is_not_drawn(tmp_path, capsys):
    data = load_instance(INSTANCES / "tiny-slack.json").to_dict()
    data["workload"] = {"requests": [{"tokens": 4}, {"tokens": 3}]}
    file, plan, out = (tmp_path / name for name in ("stream.json", "plan.json", "x.png"))
    file.write_text(json.dumps(data))
    assert run("solve", file, "--method", "gpipe", "--out", plan, capsys=capsys)[0] == 0
    runs = [entry["request"] for entry in json.loads(plan.read_text())["requests"]]
    data["workload"] |= {"order": "given", "requests": [data["workload"]["requests"][n] for n in (1, 0)]}
    file.write_text(json.dumps(data))
    swapped = json.loads(plan.read_text())
    for entry, number in zip(swapped["requests"], runs, strict=True):
        entry["request"] = 1 - number
    plan.write_text(json.dumps({key: value for key, value in swapped.items() if key != "fingerprint"}))
    code, _, err = run("plot", file, plan, "--kind", "gantt", "--out", out, capsys=capsys)
    assert (code, out.exists()) == (3, False)
    assert "do not run in the order given" in err


def test_bars_of_several_requests_are_coloured_and_named_by_request():
    tables = make_tables(2, 4, linear=10, queue_depth=2)
    requests = tuple(
        ScheduledRequest(tables, Plan((0, 2, 4)), 2 * n, name=name)
        for n, name in enumerate(("$a$", "b" * 40))
    )
    view = view_schedule(Schedule(requests), Execution.LOCKSTEP)
    ax = plots.gantt(axes(), view)
    bars = next(c for c in ax.collections if len(c.get_paths()) == 8)
    assert len({tuple(c) for c in bars.get_facecolor().tolist()}) == 2
    assert sorted(text.get_text() for text in ax.texts) == ["0"] * 4 + ["1"] * 4
    bar = next(other for other in ax.figure.axes if other is not ax)
    assert [label.get_text() for label in bar.get_yticklabels()] == ["$a$", "b" * 13 + "…"]
    named = plots.memory(axes(), view).texts
    assert [text.get_text() for text in named] == ["$a$ has left ", "b" * 13 + "… has left "]
    title = plots.gantt_figure(view).get_suptitle()
    assert "2 requests, 4 chunks" in title
    period = view_schedule(Schedule.of(tables, Plan((0, 2, 4)), 2), Execution.LOCKSTEP)
    assert "period 40 ns lockstep, the first 4 requests" in plots.gantt_figure(period).get_suptitle()


def test_plot_reads_logs_and_comparisons(solved, tmp_path, capsys):
    file, _, log = solved
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert lines[-1]["gap"] <= 1e-4
    assert [line["elapsed_s"] for line in lines] == sorted(line["elapsed_s"] for line in lines)
    out = tmp_path / "picture.png"
    assert run("plot", file, "--kind", "bounds", "--from", log, "--out", out, capsys=capsys)[0] == 0
    _, rows = run_json("compare", file, "--methods", "gpipe,joint", capsys=capsys)
    saved = tmp_path / "rows.json"
    saved.write_text(json.dumps(rows))
    assert run("plot", file, "--kind", "compare", "--from", saved, "--out", out, capsys=capsys)[0] == 0
    assert run("plot", file, "--kind", "bounds", "--out", out, "--time-limit", "5", capsys=capsys)[0] == 0


def test_what_cannot_be_drawn_is_refused(solved, tmp_path, capsys):
    file, plan, log = solved
    out = tmp_path / "picture.png"
    cases = [
        (["--kind", "gantt", "--out", tmp_path / "picture.jpg"], 2, ".png, .svg or .pdf"),
        ([plan, plan, "--kind", "gantt", "--out", out], 2, "at most one"),
        ([plan, "--kind", "mesh", "--from", log, "--out", out], 2, "--from"),
        (["--kind", "bounds", "--from", plan, "--out", out], 2, "line 1"),
        (["--kind", "compare", "--from", plan, "--out", out], 2, "compare --json"),
        (["--kind", "compare", "--methods", "magic", "--out", out], 2, "magic"),
        (["--kind", "gantt", "--method", "x", "--out", out], 2, "--method"),
    ]
    for arguments, expected, message in cases:
        code, said, err = run("plot", file, *arguments, capsys=capsys)
        assert (code, said) == (expected, ""), arguments
        assert message in err
    broken = json.loads(plan.read_text()) | {"homes": []}
    plan.write_text(json.dumps(broken))
    code, _, err = run("plot", file, plan, "--kind", "gantt", "--out", out, capsys=capsys)
    assert code == 3
    assert "2 B short" in err
    hopeless = INSTANCES / "tiny-hopeless.json"
    code, _, err = run("plot", hopeless, "--kind", "gantt", "--out", out, capsys=capsys)
    assert code == 4
    assert "short" in err
    assert not out.exists()


@pytest.mark.parametrize(
    ("command", "module", "extra"),
    [(["plot", "--kind", "gantt"], "matplotlib", "plots"), (["report"], "bokeh", "report")],
)
def test_a_missing_library_is_named_with_its_extra(command, module, extra, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    file = INSTANCES / "tiny-pooled.json"
    code, out, err = run(command[0], file, *command[1:], "--out", tmp_path / "x.png", capsys=capsys)
    assert (code, out) == (2, "")
    assert f"pip install 'mocap-opt[{extra}]'" in err
    assert "Traceback" not in err


def test_the_command_line_loads_no_drawing_library_before_it_draws():
    code = "import sys, mocap_opt.cli; print([m for m in ('matplotlib', 'bokeh') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
