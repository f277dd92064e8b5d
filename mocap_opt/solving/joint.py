"""The joint method: the table of its steps, and how it is run."""

from __future__ import annotations

from collections.abc import Collection

from mocap_opt.solving.bound_steps import (
    boundary_branching,
    infeasibility_proof,
    no_branching,
    no_energetic_traffic,
    no_slot_branching,
    no_state_space,
    no_traffic_branching,
    plan_known,
    quick_bounds,
    slot_branching,
    state_space_bound,
    traffic_branching,
    traffic_proofs,
)
from mocap_opt.solving.boundary_steps import (
    boundary_slp,
    iterated_local_search,
    local_search,
    no_iterated_search,
)
from mocap_opt.solving.enumeration_step import no_enumeration, partition_enumeration
from mocap_opt.solving.incumbent import SearchState
from mocap_opt.solving.ladder_step import blocking_ladder, ladder, no_blocking_ladder, no_ladder
from mocap_opt.solving.link_steps import (
    grouped_home_search,
    home_search,
    link_balanced_homes,
    no_better_homes,
    no_grouped_search,
    no_placed_search,
    no_remote_homes,
    not_congested,
    placed_boundary_search,
    replayed_boundary_search,
)
from mocap_opt.solving.program_steps import not_planned, program_step
from mocap_opt.solving.programs import CONTENTION_FREE_PROGRAM, DECOMPOSED_PROGRAM, LOCKSTEP_PROGRAM
from mocap_opt.solving.search_state import JointSearch
from mocap_opt.solving.start_steps import first_heuristics, other_heuristics
from mocap_opt.solving.steps import Raises, Step, chosen_steps, run_steps
from mocap_opt.solving.strategy import Strategy
from mocap_opt.solving.waiting_step import no_waiting_reduction, waiting_reduction

STEPS: tuple[Step, ...] = (
    Step(
        "first_heuristics",
        "plans of search-greedy, uniform-greedy and mocap",
        Raises.PLAN,
        0.5,
        first_heuristics,
        owes_a_plan=True,
    ),
    Step(
        "infeasibility_proof",
        "proof that memory or the limits on chunks allow no plan",
        Raises.PROOF,
        0.5,
        infeasibility_proof,
        "if no plan is known",
        plan_known,
        owes_a_plan=True,
    ),
    Step("quick_bounds", "stage work and crossings, memories pooled", Raises.BOUND, 0.3, quick_bounds),
    Step(
        "ladder",
        "bounds static plans chunk by chunk, and seeks homes for the partitions that are left",
        Raises.BOTH,
        0.3,
        ladder,
        "where stages are alike",
        no_ladder,
        rounds=True,
        closes_lockstep=True,
    ),
    Step(
        "blocking_ladder",
        "the same for plans in any execution",
        Raises.BOTH,
        0.3,
        blocking_ladder,
        "where stages are alike and queues hold one chunk",
        no_blocking_ladder,
        rounds=True,
    ),
    Step(
        "partition_enumeration",
        "lists the partitions of the least paths, and seeks homes that meet these paths",
        Raises.BOTH,
        0.3,
        partition_enumeration,
        "for small instances where traffic costs the first plans no latency",
        no_enumeration,
    ),
    Step(
        "other_heuristics",
        "plans of search-spread and terapipe, and of all other heuristics while no plan is known",
        Raises.PLAN,
        0.15,
        other_heuristics,
    ),
    Step(
        "local_search", "shifts, drops and halves chunks of the best plans", Raises.PLAN, 0.15, local_search
    ),
    Step(
        "boundary_slp",
        "moves all boundaries at once by sequential linear programming, then local search",
        Raises.PLAN,
        0.15,
        boundary_slp,
    ),
    Step(
        "iterated_local_search",
        "perturbs the boundaries of the best plan and improves them again, judged in lockstep",
        Raises.PLAN,
        0.2,
        iterated_local_search,
        "if lockstep counts",
        no_iterated_search,
        rounds=True,
    ),
    Step(
        "link_balanced_homes",
        "homes by a linear program that balances the links",
        Raises.PLAN,
        0.25,
        link_balanced_homes,
        "if some KV lives away from its stage",
        no_remote_homes,
        rounds=True,
    ),
    Step(
        "replayed_boundary_search",
        "local search on boundaries with link-balanced homes, judged by the replays",
        Raises.PLAN,
        0.15,
        replayed_boundary_search,
        "if traffic costs the best plan latency",
        not_congested,
        rounds=True,
    ),
    Step(
        "traffic_branching",
        "branch and bound on the boundaries around mixtures of times, traffic and homes",
        Raises.BOUND,
        0.3,
        traffic_branching,
        "for small and medium instances where traffic costs latency, or in lockstep if KV lives away",
        no_traffic_branching,
    ),
    Step(
        "placed_boundary_search",
        "local search on boundaries with homes by the placement program, judged by the replays",
        Raises.PLAN,
        0.4,
        placed_boundary_search,
        "for small and medium instances where traffic costs latency, or in lockstep if KV lives away",
        no_placed_search,
        rounds=True,
    ),
    Step(
        "waiting_reduction",
        "homes and boundaries with which chunks wait less for memory",
        Raises.PLAN,
        0.3,
        waiting_reduction,
        "unless lockstep counts; first where waiting costs more than traffic",
        no_waiting_reduction,
        rounds=True,
    ),
    Step(
        "grouped_home_search",
        "moves all that a stage keeps in a memory, judged by the replays",
        Raises.PLAN,
        0.3,
        grouped_home_search,
        "for large instances where traffic costs latency",
        no_grouped_search,
        rounds=True,
    ),
    Step(
        "home_search",
        "moves single homes, judged by the replays",
        Raises.PLAN,
        0.1,
        home_search,
        "if some KV lives away from its stage and that costs latency",
        no_better_homes,
        rounds=True,
    ),
    Step(
        "traffic_proofs",
        "proof that traffic of the partitions that could be faster does not fit in time",
        Raises.BOUND,
        0.7,
        traffic_proofs,
        "for small instances where traffic costs latency",
        no_energetic_traffic,
    ),
    Step(
        "state_space",
        "the recursion over boundaries, least stage by stage; seeks homes for the partitions it likes",
        Raises.BOTH,
        0.5,
        state_space_bound,
        "for small and medium instances",
        no_state_space,
        rounds=True,
    ),
    Step(
        "boundary_branching",
        "branch and bound on the boundaries around the path relaxation",
        Raises.BOUND,
        0.25,
        boundary_branching,
        "where programs do not come first",
        no_branching,
        share_without_programs=0.8,
        rounds=True,
    ),
    Step(
        "slot_branching",
        "branch and bound on the boundaries around mixtures of slots",
        Raises.BOUND,
        0.4,
        slot_branching,
        "for unlike stages; aside, and not if large, unless lockstep counts",
        no_slot_branching,
        share_without_programs=0.8,
        rounds=True,
    ),
    Step(
        "contention_free_program",
        "the contention-free program",
        Raises.BOTH,
        0.75,
        program_step(CONTENTION_FREE_PROGRAM),
        "for small and medium instances",
        not_planned(CONTENTION_FREE_PROGRAM),
    ),
    Step(
        "decomposed_program",
        "the lockstep program, boundaries first and homes after them",
        Raises.BOTH,
        0.75,
        program_step(DECOMPOSED_PROGRAM),
        "for small instances, or if lockstep counts",
        not_planned(DECOMPOSED_PROGRAM),
    ),
    Step(
        "lockstep_program",
        "the lockstep program",
        Raises.BOTH,
        0.9,
        program_step(LOCKSTEP_PROGRAM),
        "for small instances, or if lockstep counts",
        not_planned(LOCKSTEP_PROGRAM),
    ),
)
"""In the order in which they run; those marked for rounds run again while there is time and it helps."""


def solve_jointly(
    state: SearchState,
    strategy: Strategy,
    *,
    seed: int,
    without: Collection[str] = (),
    only: Collection[str] = (),
) -> tuple[str | None, str | None]:
    """Run the steps until the gap is reached or time is up.

    Parameters
    ----------
    state : SearchState
        Receives what is found, and in `steps` what each step cost and gained.
    strategy : Strategy
        The programs to run when searches and bounds leave a gap.
    seed : int
    without, only : collection of str
        Steps to leave out; if `only` is not empty, all others.

    Returns
    -------
    reason : str or None
        Why there is no plan, if there is none.
    solver : str or None
        The solver that was used, if any.

    Raises
    ------
    InputError
        If a step is unknown, or none is left.
    """
    table = chosen_steps(STEPS, without, only)
    search = JointSearch(state, strategy, seed)
    run_steps(table, search)
    if state.best is None and state.infeasible_reason is None:
        return "; ".join(["no plan found", *search.reasons]), search.solver
    return None, search.solver
