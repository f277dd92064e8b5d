"""The command that shows the product on a tiny instance, step by step, with real output: tour."""

from __future__ import annotations

import importlib.util
import json
import shlex
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

import click

from mocap_opt.cli.live import terminated_like_interrupted
from mocap_opt.errors import ExitCode
from mocap_opt.files import reason_of, refusal, shown_path, write_text_atomically

WIDTH = 78

INSTANCE = {
    "version": 1,
    "name": "tour",
    "description": "Two stages, four tokens; memories hold three of them, and the link between is slow.",
    "model": {
        "name": "tiny",
        "layers": 4,
        "hidden": 1,
        "heads": 1,
        "kv_heads": 1,
        "head_dim": 1,
        "ffn": 1,
        "gated": False,
        "vocabulary": 1,
    },
    "precision": {"weights": "fp8", "kv": "fp8", "activations": "fp8"},
    "wafer": {
        "name": "tiny",
        "topology": "mesh",
        "rows": 1,
        "cols": 2,
        "die": {"flops": "1 TFLOP/s", "memory_bytes": 41, "memory_bandwidth": "1 TB/s"},
        "link": {"bandwidth": "1 MB/s", "hop_latency": 0},
    },
    "pipeline": {"stages": 2, "queue_depth": "unbounded", "staging_per_die": 0},
    "workload": {"tokens": 4},
    "chunking": {"max_chunks": 2, "quantum": 1},
    "costs": {"kind": "coefficients", "stages": {"linear": "1 us"}},
    "tick": "1 us",
}
"""An instance that is understood by hand, written for the tour so that it needs no other file."""

EXAMPLES = """\b
Examples:
  mocap-opt tour
  mocap-opt tour --no-pause --out tour
"""


@dataclass(frozen=True)
class Step:
    """A stop of the tour.

    Attributes
    ----------
    title, before, after : str
        What is shown, what to know first, and what to see in the output.
    commands : tuple of tuple of str
        Arguments of the commands that are shown and run.
    missing : str
        The extra to install where the step cannot be shown; ``""`` where it can.
    """

    title: str
    before: str
    after: str
    commands: tuple[tuple[str, ...], ...]
    missing: str = ""


def steps(folder: Path) -> Iterator[Step]:
    """The stops in order.

    Parameters
    ----------
    folder : Path
        Where files are written.
    """
    file, plan, other = (str(folder / name) for name in ("tour.json", "plan.json", "mocap.json"))
    yield Step(
        "An instance",
        "An instance is a JSON file: a model, a wafer, a prompt, and which chunks are allowed. This one has "
        "two stages and four tokens. check lists everything that is wrong with a file, with a remedy.",
        "",
        (("check", file),),
    )
    yield Step(
        "Solve",
        "solve decides where the prompt is cut and where KV cache lives, replays every plan on a model of "
        "the wafer, and proves how fast any plan could be.",
        "The certificate is in three lines: latency is what the plan takes, lower bound is what no plan "
        "goes below, gap is what is left between them. With a gap of 0 nobody will find a faster plan.",
        (("solve", file, "--out", plan),),
    )
    yield Step(
        "What the proof rests on",
        "Every bound leaves something out; the best one counts. covers says for which executions it holds.",
        "",
        (("bound", file, "--quick"),),
    )
    yield Step(
        "Compare",
        "Methods side by side, all gaps against the same bound: uniform chunks, the MOCAP pair, and joint.",
        "A heuristic may be far from the best and not know it; here the gap says so.",
        (("compare", file, "--methods", "uniform,mocap,joint"),),
    )
    yield Step(
        "Judge a plan of your own",
        "A plan is a small JSON file of decisions. evaluate checks every rule and replays it.",
        "The same instance, a worse plan. evaluate computes quick bounds alone, so the gap is wider than in "
        "the comparison.",
        (("solve", file, "--method", "mocap", "--out", other), ("evaluate", file, other)),
    )
    yield Step(
        "Explain",
        "explain says which chain of chunks and sends makes the latency, which memory is full, and what a "
        "little more of each resource would bring, each solved and proved anew.",
        "",
        (("explain", file, plan, "--each", "5"),),
    )
    has_plots, has_report = (importlib.util.find_spec(name) is not None for name in ("matplotlib", "bokeh"))
    yield Step(
        "A picture",
        "What every stage does over time.",
        "",
        (("plot", file, plan, "--kind", "gantt", "--out", str(folder / "gantt.png")),),
        missing="" if has_plots else "plots",
    )
    yield Step(
        "A report",
        "One HTML file to hand on, with an interactive timeline.",
        "",
        (("report", file, plan, "--out", str(folder / "report.html")),),
        missing="" if has_report else "report",
    )


NEXT = (
    ("a model and a wafer of your own", "mocap-opt instance --help"),
    ("an engine's log and its one setting", "mocap-opt advise --help"),
    ("which layout to build", "mocap-opt tradeoff --help"),
    ("the longest prompt that fits", "mocap-opt max-length --help"),
    ("after a fault", "mocap-opt repair --help"),
    ("everything else", "mocap-opt --help"),
)


@click.command("tour", short_help="five minutes through all this, on a tiny instance", epilog=EXAMPLES)
@click.option("--no-pause", is_flag=True, help="Do not wait for Enter between steps; only a terminal waits.")
@click.option(
    "--out", type=click.Path(path_type=str), help="Folder for the files; by default a temporary one, kept."
)
@click.pass_context
def _tour(context: click.Context, no_pause: bool, out: str | None) -> ExitCode:
    """Show what the commands do, one after the other, with the output they really have.

    Every step shows what you would type and runs it.  Ctrl-C ends the tour.
    """
    folder = _folder(out)
    write_text_atomically(folder / "tour.json", json.dumps(INSTANCE, indent=2) + "\n")
    root = context.find_root()
    pausing = _pausing(no_pause)
    try:
        for number, step in enumerate(steps(folder), 1):
            _show(number, step, root)
            pausing = pausing and _go_on()
        click.secho("\nWhere to go next", bold=True)
        for what, command in NEXT:
            click.echo(f"  {what:38}{command}")
        click.echo(f"Files of the tour are in {shown_path(str(folder))}")
    except KeyboardInterrupt:
        click.echo(f"\nThe tour ends here; its files are in {shown_path(str(folder))}")
    return ExitCode.ANSWERED


def _show(number: int, step: Step, root: click.Context) -> None:
    """Say what a step is about, then type and run its commands."""
    click.secho(f"\n{number}. {step.title}", bold=True)
    click.echo(fill(step.before, WIDTH))
    if step.missing:
        click.echo(fill(f'Not shown: it needs an extra, pip install "mocap-opt[{step.missing}]".', WIDTH))
        return
    for arguments in step.commands:
        click.echo()
        click.secho("\n".join(typed(arguments)), fg="green")
        # Every command of the tour is one of the group that the tour stands in.
        assert isinstance(root.command, click.Group)
        with terminated_like_interrupted():
            root.command.main(list(arguments), prog_name="mocap-opt", standalone_mode=False, obj=root.obj)
    if step.after:
        click.echo(fill(step.after, WIDTH))


def typed(arguments: tuple[str, ...]) -> list[str]:
    """A command as people type it, in lines that fit.

    Parameters
    ----------
    arguments : tuple of str
    """
    lines = ["$ mocap-opt"]
    for word in map(shlex.quote, arguments):
        if len(lines[-1]) + len(word) + 3 > WIDTH:
            lines[-1] += " \\"
            lines.append("   ")
        lines[-1] += f" {word}"
    return lines


def _pausing(no_pause: bool) -> bool:
    """Whether somebody is there to press Enter."""
    return not no_pause and sys.stdin.isatty() and sys.stdout.isatty()


def _go_on() -> bool:
    """Wait for Enter; False once nobody can press it."""
    try:
        input("Enter to go on, Ctrl-C to end: ")
    except EOFError:
        return False
    return True


def _folder(out: str | None) -> Path:
    """Where files go; raises `InputError` if it cannot be made."""
    if out is None:
        return Path(tempfile.mkdtemp(prefix="mocap-opt-tour-"))
    try:
        Path(out).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise refusal(shown_path(out), reason_of(error), "a folder that can be made") from None
    return Path(out)


COMMANDS = (_tour,)
