"""The programs by name, those of plugins included, and the models of them that users add to and solve.

No program is loaded before it is used.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from mocap_opt.errors import ExitCode, InputError, MocapError, Problem
from mocap_opt.instance.objectives import require_supported
from mocap_opt.lower_bound import Scope
from mocap_opt.messages import show
from mocap_opt.plugins import FORMULATIONS, Plugin, plugin_named
from mocap_opt.schedule.inputs import as_instance, as_tables
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.tables.cost_tables import Tables

if TYPE_CHECKING:
    import pyomo.environ as pyo
    from ortools.sat.python import cp_model

    from mocap_opt.instance import Instance
    from mocap_opt.schedule.inputs import GivenTables
    from mocap_opt.solvers.integer_program import IntegerProgram
    from mocap_opt.solvers.outcome import ProgramResult


@dataclass(frozen=True)
class Formulation:
    """A program.

    Attributes
    ----------
    summary : str
        What it asks, in a line.
    build : callable or None
        `Tables`, and options of its own, to a Pyomo model; None without a model to hand out.
    solve : callable or None
        ``(tables, start, *, time_limit_s, gap, seed, callback)`` to a
        `mocap_opt.solvers.outcome.ProgramResult` in ticks; what ``solve --method NAME`` runs.  `start`
        is a feasible plan or None; `callback` takes a `mocap_opt.solvers.outcome.Progress` and returns
        whether to stop.
    scope : Scope or None
        What the outcome's bound covers; None: nothing, and it enters no gap.
    of_instance : bool
        Whether `build` takes the `mocap_opt.Instance` itself, which may leave its layout open, in place of
        its tables.

    Examples
    --------
    >>> from mocap_opt import Formulation
    >>> Formulation("as a plugin brings one", build=lambda tables: None).scope is None
    True
    """

    summary: str
    build: Callable[..., Any] | None = None
    solve: Callable[..., ProgramResult] | None = None
    scope: Scope | None = None
    of_instance: bool = False


def _builder(stem: str) -> Callable[..., Any]:
    def build(*arguments: Any, **options: Any) -> Any:
        return importlib.import_module(f"mocap_opt.formulations.{stem}").build(*arguments, **options)

    return build


def _chunk_partition(tables: Tables, memory: str = "pooled") -> Any:
    # Pyomo takes a second to load.
    from mocap_opt.formulations.chunk_partition import Memory, build  # noqa: PLC0415

    return build(tables, Memory(memory))


def _kv_placement(tables: Tables, boundaries: Sequence[int]) -> Any:
    given = Plan(tuple(int(point) for point in boundaries))
    broken = [v for v in violations(tables, given) if v.rule != "capacity"]
    if broken:
        raise InputError([Problem("boundaries", "", "tokens that a plan may have", str(v)) for v in broken])
    return _builder("kv_placement")(tables, given.grid_indices(tables))


def _joint_layers(instance: Instance, **options: Any) -> Any:
    from mocap_opt.formulations.joint_layers import build  # noqa: PLC0415
    from mocap_opt.formulations.layer_tables import layer_tables  # noqa: PLC0415

    return build(layer_tables(instance), **options)


CP_SAT = ("joint", "contention_free", "joint_layers")
"""The programs that CP-SAT is given too."""

BUILT_IN: Mapping[str, Formulation] = {
    "joint": Formulation("boundaries and homes of least lockstep latency", _builder("joint")),
    "joint_layers": Formulation(
        'the same with the layers of each stage as decisions, of an instance with pipeline.layers "auto"',
        _joint_layers,
        of_instance=True,
    ),
    "contention_free": Formulation(
        "a lower bound on every execution of every feasible plan", _builder("contention_free")
    ),
    "decomposition": Formulation(
        "the master of the decomposed joint program: boundaries, memory pooled, levels in place of slots",
        _builder("decomposition"),
    ),
    "kv_placement": Formulation(
        "homes of least lockstep latency for given boundaries (option boundaries, tokens)", _kv_placement
    ),
    "chunk_partition": Formulation(
        'boundaries alone, memory pooled or own (option memory="pooled" or "local")', _chunk_partition
    ),
}
"""The programs of this package; a page each in ``formulations/``."""


def find_formulation(name: str) -> Formulation:
    """A program by name, built in or brought by a plugin.

    Raises
    ------
    InputError
        If there is none.
    PluginError
        If the plugin cannot be loaded, or several have this name.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    return load_formulation(plugin_named(name, FORMULATIONS, place="formulation", built_in=BUILT_IN))


def load_formulation(plugin: Plugin) -> Formulation:
    """Load a plugin's program.

    Raises
    ------
    PluginError
        If it cannot be loaded or is no `Formulation`.
    """
    loaded = plugin.load()
    if not isinstance(loaded, Formulation):
        raise plugin.mistaken("is", loaded, "a mocap_opt.Formulation")
    return loaded


class NoModelError(MocapError):
    """There is nothing to model, because no boundaries keep to the limits and fit in memory."""

    exit_code = ExitCode.INFEASIBLE


def build_model(given: GivenTables, name: str = "joint", **options: Any) -> pyo.ConcreteModel:
    """Build a program as a Pyomo model, for users to add to and to solve as they like.

    Parameters
    ----------
    given : Tables, Instance or mapping
        An instance, a dict that describes one, or tables.
    name : str
        A program: ``"joint"``, ``"joint_layers"`` (of an instance with `pipeline.layers` ``"auto"``),
        ``"contention_free"``, ``"kv_placement"``, ``"chunk_partition"``, or that of a plugin.  Its page is
        ``formulations/<name>.md``; components have the names listed there.
    **options
        Of the program: ``boundaries`` (tokens) of ``"kv_placement"``; ``memory`` (``"pooled"`` or
        ``"local"``) of ``"chunk_partition"``; ``no_worse_than`` (ticks) of the others.

    Returns
    -------
    pyomo.environ.ConcreteModel
        As it is built.  A unit of its times is ``model.data.time_unit.ticks`` ticks.  Once its variables
        have values, `read_plan` gives the plan they stand for.  Presolve of HiGHS 1.10 to 1.15 calls
        wrong optima of such programs optimal, or feasible ones infeasible: solve with
        ``presolve="off"``.

    Raises
    ------
    NoModelError
        If no boundaries keep to the limits and fit in memory.
    InputError
        If there is no such program, or the instance is malformed.
    PluginError
        If a plugin fails.

    Examples
    --------
    The lockstep program of four tokens, with a rule of one's own (the first chunk is one token), solved
    by Pyomo's own means:

    >>> import mocap_opt, pyomo.environ as pyo
    >>> instance = mocap_opt.load_instance("instances/tiny-slack.json").replace("chunking.max_chunks=2")
    >>> model = mocap_opt.build_model(instance, "joint")
    >>> model.first_is_short = pyo.Constraint(expr=model.boundary[1, 1] == 1)
    >>> status = pyo.SolverFactory("appsi_highs").solve(model, options={"presolve": "off"})
    >>> mocap_opt.read_plan(model, instance).boundaries
    (0, 1, 4)
    """
    formulation = find_formulation(name)
    if formulation.build is None:
        raise InputError([Problem("name", show(name), "a program with a Pyomo model")])
    source = _as_open(given) if formulation.of_instance else as_tables(given, "build_model")
    try:
        model = formulation.build(source, **options)
    except (KeyboardInterrupt, MocapError):
        raise
    except BaseException as error:
        if name in BUILT_IN:
            raise
        plugin = plugin_named(name, FORMULATIONS, place="formulation", built_in=BUILT_IN)
        raise plugin.failed("failed to build its model", error) from error
    if model is None:
        raise NoModelError(f"{source.name}: no boundaries keep to the limits and fit in memory: no program")
    return model


def _as_open(given: GivenTables) -> Instance:
    """The instance as it is, whatever it leaves open."""
    if isinstance(given, Tables):
        expected = "the instance that leaves them open, as tables are those of given layers"
        raise InputError([Problem("pipeline.layers", "tables", expected)])
    instance = as_instance(given)
    require_supported(instance, "build_model")
    return instance


def read_plan(model: pyo.ConcreteModel, given: GivenTables) -> Plan:
    """The plan that the values of a Pyomo model's variables stand for.

    Parameters
    ----------
    model : pyomo.environ.ConcreteModel
        From `build_model`, a program of this package, with values of its variables; any solver that
        Pyomo knows loads them.
    given : Tables, Instance or mapping
        What the model was built from.

    Returns
    -------
    Plan
        Not verified: values within a solver's tolerance may break a rule, see `mocap_opt.violations`.

    Raises
    ------
    ValueError
        If the variables have no values yet.

    Examples
    --------
    >>> import mocap_opt, pyomo.environ as pyo
    >>> instance = mocap_opt.load_instance("instances/tiny-slack.json").replace("chunking.max_chunks=2")
    >>> model = mocap_opt.build_model(instance)
    >>> _ = pyo.SolverFactory("appsi_highs").solve(model, options={"presolve": "off"})
    >>> mocap_opt.read_plan(model, instance).boundaries
    (0, 2, 4)
    """
    # Pyomo takes a second to load.
    from mocap_opt.formulations.pyomo_solution import read_plan as read  # noqa: PLC0415

    decided = [*model.home.values(), *(model.boundary.values() if hasattr(model, "boundary") else ())]
    if any(variable.value is None for variable in decided):
        raise ValueError("the model's variables have no values yet: solve it first")
    return read(model, as_tables(given) if model.data.layers is None else model.data.tables)


@dataclass(frozen=True)
class CpModel:
    """A program as CP-SAT takes it.

    Attributes
    ----------
    model : ortools.sat.python.cp_model.CpModel
        To add to and to solve; ``model.proto`` is the protocol buffer.  It minimises ticks, less `offset`.
    variables : dict of str to IntVar
        By name, as on the program's page: ``boundary[1]`` (a grid index), ``home[0,2,1]``.
    offset : int
        Ticks that every plan takes, left out of the model's objective.

    Examples
    --------
    >>> import mocap_opt
    >>> instance = mocap_opt.load_instance("instances/tiny-slack.json")
    >>> built = mocap_opt.build_cp_model(instance.replace("chunking.max_chunks=2"))
    >>> "boundary[1]" in built.variables
    True
    """

    model: cp_model.CpModel
    variables: dict[str, cp_model.IntVar]
    offset: int
    _read: Callable[[list[int]], Plan]

    def read_plan(self, solver: cp_model.CpSolver) -> Plan:
        """The plan that a solver has found; as `read_plan`."""
        return self._read([solver.value(variable) for variable in self.variables.values()])


def build_cp_model(given: GivenTables, name: str = "joint") -> CpModel:
    """Build a program as a CP-SAT model, in exact integers.

    Parameters
    ----------
    given : Tables, Instance or mapping
    name : str
        ``"joint"``, ``"contention_free"`` or ``"joint_layers"``.

    Raises
    ------
    NoModelError
        If no boundaries keep to the limits, in ``"joint_layers"``.
    InputError
        If there is no such program, or the instance is malformed.

    Examples
    --------
    >>> import mocap_opt
    >>> from ortools.sat.python import cp_model
    >>> instance = mocap_opt.load_instance("instances/tiny-slack.json").replace("chunking.max_chunks=2")
    >>> built = mocap_opt.build_cp_model(instance, "joint")
    >>> _ = built.model.add(built.variables["boundary[1]"] == 1)
    >>> solver = cp_model.CpSolver()
    >>> _ = solver.solve(built.model)
    >>> built.read_plan(solver).boundaries
    (0, 1, 4)
    """
    if name not in CP_SAT:
        raise InputError([Problem("name", show(name), "one of " + ", ".join(CP_SAT))])
    # CP-SAT takes a second to load.
    from mocap_opt.formulations import plan_cpsat  # noqa: PLC0415
    from mocap_opt.solvers.cpsat_model import build_model as write  # noqa: PLC0415

    if BUILT_IN[name].of_instance:
        program, read = _layers_in_integers(_as_open(given))
    else:
        module = importlib.import_module(f"mocap_opt.formulations.{name}_cpsat")
        plan = module.build(as_tables(given, "build_cp_model"))
        program, read = plan.program, partial(plan_cpsat.read_plan, plan)
    built = write(program)
    variables = dict(zip(program.names, built.variables, strict=True))
    return CpModel(built.model, variables, program.objective.constant, read)


def _layers_in_integers(instance: Instance) -> tuple[IntegerProgram, Callable[[list[int]], Plan]]:
    from mocap_opt.formulations.joint_layers import integer_program  # noqa: PLC0415
    from mocap_opt.formulations.layer_tables import layer_tables  # noqa: PLC0415

    found = integer_program(layer_tables(instance))
    if found is None:
        raise NoModelError(f"{instance.name}: no boundaries keep to the limits: no program")
    return found
