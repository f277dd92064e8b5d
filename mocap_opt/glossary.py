"""The words used here and what the field calls them; ``formulations/README.md`` shows the same table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """A word and its meaning.

    Attributes
    ----------
    name : str
    field : str
        The standard term of scheduling, optimisation or serving.
    meaning : str
    """

    name: str
    field: str
    meaning: str


_TABLE = """
stage | machine of a flow shop | consecutive layers on neighbouring dies; stages run in a fixed order
chunk | sublot of a job (lot streaming) | consecutive tokens of a prompt that pass the stages as one
boundary | sublot size decision | the token at which a chunk begins or ends; a multiple of the quantum
quantum | grid step | tokens between neighbouring places where a chunk may end
partition | lot sizing | all boundaries of a prompt
home | storage assignment | the memory in which KV cache of a chunk on a stage lives until it is freed
plan | solution | boundaries and homes: decisions, never times
schedule | permutation schedule | plans of one request or several in slots, once or without end
slot | position in the permutation | in slot t stage i works on chunk t - i; an order, not yet a time
lockstep | synchronous flow shop | an execution with a barrier after every slot
event-driven | semi-active schedule | an execution without barriers: whatever can start does
queue depth | limited buffer (blocking) | chunks that may be sent to a stage and not yet started there
admission | resource-induced precedence | KV waits until all that slot order frees before it has been freed
reserve | fixed resource demand | memory kept for activations and staging, the same in all slots
tables | integer data | times in ticks, sizes in bytes and pages: rounded once, read by everything
ticks | time unit | the integer unit of time of an instance, 1 ns unless rates ask for another
interval | initiation interval | slots from one of endless identical requests to the next (W)
period | cycle time | seconds from one of endless identical requests to the next
family | constraint set | rows of one kind in a program, of one name on its page, in the code and in the model
scope | coverage of a bound | which executions a lower bound holds for: lockstep, or any
evidence | certificate | what a bound rests on: closed form, search, safe arithmetic, a solver's word
gap | relative optimality gap | (value - bound) / value, the bound covering the execution of that value
optimal | within tolerance | a gap of at most 1e-4 unless --gap says otherwise
step | search phase | a part of a solve with a share of the time, which raises the plan or the bound
"""

TERMS = tuple(Term(*(cell.strip() for cell in row.split("|"))) for row in _TABLE.strip().splitlines())
"""In the order in which a newcomer meets them."""
