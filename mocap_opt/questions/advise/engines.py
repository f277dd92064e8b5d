"""Serving engines: the rule each cuts prompts by, its usual setting, and the options that set it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from mocap_opt.baselines.engine_chunks import EngineRule, Setting
from mocap_opt.baselines.registry import ENGINE_RULES

FIXED = "fixed-size"
"""The rule of engines that do not size chunks, and of all others with their rule switched off."""


@dataclass(frozen=True)
class Engine:
    """A serving engine.

    Attributes
    ----------
    name, title : str
        As on the command line, and as it writes itself.
    rule : str
        Its rule, one of `ENGINE_RULES`.
    usual : int
        Base size of its page or default, tokens.
    source : str
        Where options and the usual size are from.
    sized, fixed : callable
        Options that set a setting: with its own rule, and for chunks of one size.
    """

    name: str
    title: str
    rule: str
    usual: int
    source: str
    sized: Callable[[Setting], tuple[str, ...]]
    fixed: Callable[[Setting], tuple[str, ...]]

    @property
    def sizes_chunks(self) -> bool:
        """Whether it has a rule of its own."""
        return self.rule != FIXED

    @property
    def engine_rule(self) -> EngineRule:
        """How it cuts."""
        return ENGINE_RULES[self.rule]

    def flags(self, rule: str, setting: Setting) -> tuple[str, ...]:
        """Options that make the engine cut by a rule.

        Parameters
        ----------
        rule : str
            Its own, or `FIXED`.
        setting : Setting
        """
        return self.fixed(setting) if rule == FIXED else self.sized(setting)


def _sglang(setting: Setting) -> tuple[str, ...]:
    smoothing = ENGINE_RULES["sglang-dynamic"].smoothed(setting)
    return (
        f"SGLANG_DYNAMIC_CHUNKING_SMOOTH_FACTOR={smoothing:g}",
        f"--chunked-prefill-size {setting.base}",
        *(() if setting.base <= SGLANG_PREFILL else (f"--max-prefill-tokens {setting.base}",)),
        "--enable-dynamic-chunking",
    )


SGLANG_PREFILL = 16384
"""SGLang's default of ``--max-prefill-tokens``, which no chunk exceeds."""


def _sglang_fixed(setting: Setting) -> tuple[str, ...]:
    return (f"--chunked-prefill-size {setting.base}",)


def _ascend(setting: Setting) -> tuple[str, ...]:
    smoothing = ENGINE_RULES["vllm-ascend-dynamic"].smoothed(setting)
    config = {"scheduler_config": {"profiling_chunk_config": {"enabled": True, "smooth_factor": smoothing}}}
    return f"--max-num-batched-tokens {setting.base}", f"--additional-config '{json.dumps(config)}'"


def _vllm(setting: Setting) -> tuple[str, ...]:
    return "--enable-chunked-prefill", f"--max-num-batched-tokens {setting.base}"


def _atom(setting: Setting) -> tuple[str, ...]:
    smoothing = ENGINE_RULES["atom-dynamic"].smoothed(setting)
    return (
        f"--max-num-batched-tokens {setting.base}",
        "--enable-dynamic-chunking",
        f"--dynamic-chunking-smooth-factor {smoothing:g}",
    )


def _atom_fixed(setting: Setting) -> tuple[str, ...]:
    return (f"--max-num-batched-tokens {setting.base}",)


def _trtllm(setting: Setting) -> tuple[str, ...]:
    return "--enable_chunked_prefill", f"--max_num_tokens {setting.base}"


_ENGINES = (
    Engine(
        "sglang",
        "SGLang",
        "sglang-dynamic",
        8192,
        "sgl-project/sglang, pipeline parallelism for long context; environ.py",
        _sglang,
        _sglang_fixed,
    ),
    Engine("vllm", "vLLM", FIXED, 8192, "vllm-project/vllm, engine arguments", _vllm, _vllm),
    Engine(
        "vllm-ascend",
        "vLLM-Ascend",
        "vllm-ascend-dynamic",
        32768,
        "vllm-project/vllm-ascend, dynamic chunked pipeline parallel: 32768 for prompts of 128k",
        _ascend,
        _vllm,
    ),
    Engine(
        "atom",
        "ATOM",
        "atom-dynamic",
        32768,
        "ROCm/ATOM, dynamic chunking guide: 32768 in its example",
        _atom,
        _atom_fixed,
    ),
    Engine(
        "trtllm", "TensorRT-LLM", FIXED, 8192, "NVIDIA/TensorRT-LLM, trtllm-serve; LlmArgs", _trtllm, _trtllm
    ),
)

ENGINES: dict[str, Engine] = {engine.name: engine for engine in _ENGINES}
"""By name."""
