"""Arguments and options that several commands share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from mocap_opt.baselines.registry import built_in_name
from mocap_opt.errors import InputError, Problem
from mocap_opt.files import source_name
from mocap_opt.instance import Instance
from mocap_opt.instance.from_config import load_first
from mocap_opt.instance.objectives import Objective
from mocap_opt.memory_budget import LEAST_BYTES
from mocap_opt.plugins import FORMULATIONS, HEURISTICS, plugins
from mocap_opt.solving import STEPS
from mocap_opt.solving.methods import EVERY_METHOD
from mocap_opt.solving.programs import MOST_SEED, MOST_THREADS
from mocap_opt.units import decimal_bytes, parse_bytes

Command = TypeVar("Command", bound=Callable[..., Any])

file_argument = click.argument("file", type=click.Path(path_type=str))
"""The instance; ``-`` is standard input."""
OBJECTIVE = "mocap_opt.objective"
"""Where a command keeps what --objective says until --set is read."""


def _keep_objective(ctx: click.Context, _option: click.Parameter, asked: str | None) -> None:
    if asked is not None:
        ctx.meta[OBJECTIVE] = asked


def _with_objective(ctx: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    """The overrides, the objective first: what --set says of it counts."""
    asked = ctx.meta.get(OBJECTIVE)
    return given if asked is None else (f"objective={asked}", *given)


override_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="PATH=VALUE",
    callback=_with_objective,
    help="Change a field of the instance, e.g. --set pipeline.stages=28.  May be given several times.",
)


def set_option(command: Command) -> Command:
    """Options that change fields of the instance, its objective apart."""
    objective = click.option(
        "--objective",
        type=click.Choice([str(each) for each in Objective]),
        is_eager=True,
        expose_value=False,
        callback=_keep_objective,
        help="What the instance is about, as --set objective=...",
    )
    return objective(override_option(command))


trace_option = click.option(
    "--trace",
    type=click.Path(path_type=str),
    help="Write the event-driven run of the plan here, for Perfetto or chrome://tracing.",
)
seed_option = click.option("--seed", type=click.IntRange(0, MOST_SEED), default=0, show_default=True)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON alone on standard output.")

gantt_option = click.option("--gantt", is_flag=True, help="Also print the schedule as a chart in letters.")


class _Bytes(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """A size such as "4 GB" or a plain number of bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read a size.

        Parameters
        ----------
        value : object
            Text as typed, or a number of bytes.
        param, ctx
            As click gives them.
        """
        try:
            size = parse_bytes(value if isinstance(value, int) or not value.isdigit() else int(value))
        except ValueError as error:
            self.fail(f"expected {error}, got {value!r}", param, ctx)
        if size < LEAST_BYTES:
            self.fail(f"expected at least {decimal_bytes(LEAST_BYTES)}, got {value!r}", param, ctx)
        return size


memory_budget_option = click.option(
    "--memory-budget",
    "memory_budget_bytes",
    type=_Bytes(),
    metavar="SIZE",
    help='Heuristics, bounds and programs that would take more memory are left out, e.g. "16 GB".  '
    "[default: 4 GiB]",
)


def time_limit_option(what: str, default: float | None = None) -> Callable[[Command], Command]:
    """Make the option of a limit on the wall time.

    Parameters
    ----------
    what : str
        What the seconds are, for the help.
    default : float, optional
        Shown in the help; without one the help has to say it.
    """
    return click.option(
        "--time-limit",
        "time_limit_s",
        type=click.FloatRange(min=0),
        default=default,
        show_default=default is not None,
        help=what,
    )


def solve_options(command: Command) -> Command:
    """Options of the commands that solve."""
    options = [
        click.option(
            "--solver",
            type=click.Choice(["auto", "highs", "cpsat"]),
            default="auto",
            show_default=True,
            help="Solver of the joint method's programs.",
        ),
        time_limit_option(
            "Seconds of wall time, building models included.  "
            "[default: 60, or none with --deterministic-limit]"
        ),
        click.option(
            "--deterministic-limit",
            type=click.FloatRange(min=0),
            help="Effort of each program that does not depend on the machine (CP-SAT's deterministic time "
            "with one worker, or thousands of HiGHS nodes): the same seed and limit give the same plan.",
        ),
        click.option(
            "--gap",
            type=click.FloatRange(min=0, max=1),
            default=1e-4,
            show_default=True,
            help="Stop once (latency - bound) / latency is at most this.",
        ),
        seed_option,
        click.option(
            "--threads",
            type=click.IntRange(1, MOST_THREADS),
            help="Threads of a program's solver.  "
            "[default: 4 for CP-SAT, 1 for HiGHS, 1 with --deterministic-limit]",
        ),
        memory_budget_option,
    ]
    for option in reversed(options):
        command = option(command)
    return command


cores_option = click.option(
    "--cores", type=click.IntRange(min=1), help="Cores to use here; default: all available."
)


def step_options(command: Command) -> Command:
    """Options that choose steps of the joint method."""
    for option, what in (("--only", "Run this step alone"), ("--without", "Leave this step out")):
        command = click.option(
            option,
            multiple=True,
            metavar="STEP",
            shell_complete=complete_steps,
            help=f"{what}; `mocap-opt steps` lists them.  May be given several times.",
        )(command)
    return command


def complete_steps(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
    """Complete the name of a step.

    Parameters
    ----------
    ctx : click.Context
    param : click.Parameter
    begun : str
        What is typed so far.
    """
    return [CompletionItem(step.name) for step in STEPS if step.name.startswith(begun)]


def load_instances(
    files: Sequence[str], overrides: Iterable[str] = (), settings: Mapping[str, object] | None = None
) -> list[Instance]:
    """Read several instance files; problems name theirs.

    Parameters
    ----------
    files : sequence of str
    overrides : iterable of str
        As for `mocap_opt.load_instance`, for each file.
    settings : mapping, optional
        As for `load_first`.

    Raises
    ------
    InputError
        Listing every problem of the first file that has some.
    """
    found = []
    for file in files:
        try:
            found.append(load_first(file, overrides, settings or {}))
        except InputError as error:
            source = source_name(file)
            inner = [(p, p.path.removeprefix(source).removeprefix(": ")) for p in error.problems]
            raise InputError(
                [
                    Problem(f"{source}: {path}" if path else source, p.found, p.expected, p.remedy)
                    for p, path in inner
                ]
            ) from None
    return found


def print_json(value: Any) -> None:
    """Print a value as JSON on standard output; NaN and infinity are defects, not output."""
    click.echo(json.dumps(value, indent=2, allow_nan=False))


class MethodChoice(click.Choice):  # type: ignore[type-arg, unused-ignore]
    """A method by name, built in or of a plugin; metadata of plugins is read when one is asked for.

    Parameters
    ----------
    built_in : iterable of str
        The built-in methods that the option takes.
    groups : tuple of str
        The groups of plugins that it takes.
    """

    def __init__(
        self, built_in: Iterable[str] = EVERY_METHOD, groups: tuple[str, ...] = (HEURISTICS, FORMULATIONS)
    ) -> None:
        super().__init__(list(built_in))
        self.groups = groups

    def brought(self) -> list[str]:
        """Names that plugins bring."""
        return [plugin.name for plugin in plugins(*self.groups)]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Take a built-in name or that of a plugin.

        Parameters
        ----------
        value : object
            As typed.
        param, ctx
            As click gives them.
        """
        if built_in_name(str(value)) not in self.choices:
            return click.Choice([*self.choices, *self.brought()]).convert(value, param, ctx)
        warn_of_hidden([str(value)])
        return value

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Complete a name.

        Parameters
        ----------
        ctx : click.Context
        param : click.Parameter
        incomplete : str
            What is typed so far.
        """
        return _completed(incomplete, "", [*self.choices, *self.brought()])


def complete_methods(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the last name of a list with commas.

    Parameters
    ----------
    ctx : click.Context
    param : click.Parameter
    incomplete : str
        The list as typed so far.
    """
    before, comma, last = incomplete.rpartition(",")
    taken = before.split(",")
    names = [name for name in [*EVERY_METHOD, *MethodChoice().brought()] if name not in taken]
    return _completed(last, before + comma, names)


def _completed(begun: str, before: str, names: Iterable[str]) -> list[CompletionItem]:
    return [CompletionItem(before + name) for name in dict.fromkeys(names) if name.startswith(begun)]


def warn_of_hidden(names: Iterable[str]) -> None:
    """Say on standard error which plugins are not used because a built-in method has their name."""
    for plugin in plugins():
        if plugin.name in EVERY_METHOD and plugin.name in names:
            click.echo(f"mocap-opt: {plugin.name} is the built-in method, not that of {plugin}", err=True)
