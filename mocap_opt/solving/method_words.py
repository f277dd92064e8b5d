"""Methods and steps in plain words, for reports and for people who do not know their names."""

from __future__ import annotations

from mocap_opt.baselines import METHODS
from mocap_opt.baselines.compose import split_setting
from mocap_opt.solving.joint import STEPS
from mocap_opt.solving.methods import ASSIGNMENT_RULES, REJECTION_RULES

_WORDS = {
    "auto": "the search over chunks and places for KV, with the programs that pay at this size",
    "joint": "the search over chunks and places for KV, with all programs",
    "gpipe": "the whole prompt as one chunk",
    "uniform": "equal chunks, as many as allowed",
    "uniform-best": "equal chunks, the best count of them",
    "flops-balanced": "chunks of equal work",
    "fixed-size": "chunks of one size, as an engine without a rule cuts them, at the best size",
    "sglang-dynamic": "the rule of SGLang's dynamic chunking at its best base size",
    "vllm-ascend-dynamic": "the rule of vLLM-Ascend's dynamic chunking at its best base size",
    "atom-dynamic": "the rule of ATOM's dynamic chunking at its best base size",
    "terapipe": "the chunks of TeraPipe's dynamic program, which does not look at memory",
    "uniform-greedy": "equal chunks; KV that does not fit goes to the nearest memory with room",
    "terapipe-greedy": "TeraPipe's chunks; KV that does not fit goes to the nearest memory with room",
    "mocap": "the two heuristics of the MOCAP paper, one for chunks and one for places of KV",
    "search-mirror": "searched chunks; a full stage keeps its KV in the stage that mirrors it",
    "search-greedy": "searched chunks; KV that does not fit goes to the nearest memory with room",
    "search-spread": "searched chunks; KV that does not fit is spread so that links share the traffic",
    "search-program": "searched chunks; a program decides where KV that does not fit goes",
    "plain-highs": "the whole program as it stands, by HiGHS, for comparison",
    "plain-cpsat": "the whole program as it stands, by CP-SAT, for comparison",
    "plain-pyjobshop": "another modeller's program of the same problem, for comparison",
}

METHOD_WORDS = {**_WORDS, **ASSIGNMENT_RULES, **REJECTION_RULES}
"""What every method does, by its name."""

STEP_WORDS = {step.name: step.summary for step in STEPS}
"""What every step of the joint method does, by its name."""


def method_words(name: str) -> str | None:
    """What a method or a step does, in plain words; None where nothing is said of that name.

    Parameters
    ----------
    name : str
        As reports give it, with or without an engine's setting behind it; steps may be written with spaces.
    """
    rule, setting = split_setting(name)
    if setting is not None and rule in METHODS:
        return f"{METHOD_WORDS[rule].removesuffix(' at its best base size')}, set to {setting}"
    return METHOD_WORDS.get(name) or STEP_WORDS.get(name.replace(" ", "_"))
