"""Rules about the layer profile of a model (formulations/profiles.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mocap_opt.errors import Problem
from mocap_opt.instance.layer_profile import kept_tokens, layer_shares, unprofiled
from mocap_opt.instance.pipeline import Pipeline
from mocap_opt.instance.schema import Chunking, ModelSpec, Workload
from mocap_opt.messages import show


def _profile_layers_exist(model: ModelSpec) -> Iterator[Problem]:
    """Require layers that the model has, each in one entry at most."""
    for n, entry in enumerate(model.profile):
        first, last = entry.layers
        path = f"model.profile[{n}].layers"
        if last >= model.layers:
            expected = f"layers from 0 to {model.layers - 1}"
            yield Problem(path, show(list(entry.layers)), expected, "lower the last")
        for m, other in enumerate(model.profile[:n]):
            if first <= other.layers[1] and other.layers[0] <= last:
                expected = f"layers of no other entry; model.profile[{m}] has {show(list(other.layers))}"
                yield Problem(path, show(list(entry.layers)), expected, "divide them")
                break


def _dropped_tokens_stay_dropped(model: ModelSpec) -> Iterator[Problem]:
    """Refuse a share of kept tokens that rises with the layer."""
    entries = sorted(enumerate(model.profile), key=lambda each: each[1].layers)
    kept, after, place = 1.0, -1, ""
    for n, entry in [*entries, (len(entries), None)]:
        first = model.layers if entry is None else entry.layers[0]
        if kept < 1 and first > after + 1:
            expected = f"the layers after {after}, too: tokens that {place} drops do not return"
            yield Problem("model.profile", f"no entry for layer {after + 1}", expected, f"add keep {kept:g}")
            return
        if entry is None:
            return
        if entry.keep > kept:
            expected = f"at most {kept:g}, which {place} keeps: dropped tokens do not return"
            yield Problem(f"model.profile[{n}].keep", f"{entry.keep:g}", expected, "lower it")
            return
        kept, after, place = entry.keep, entry.layers[1], f"model.profile[{n}]"


def _windows_have_heads(model: ModelSpec) -> Iterator[Problem]:
    """Require KV heads for windows, and one width of each."""
    for n, entry in enumerate(model.profile):
        path = f"model.profile[{n}].windows"
        if entry.windows and model.latent is not None:
            expected = "no windows with latent attention (model.latent), whose heads share one latent"
            yield Problem(path, f"{len(entry.windows)} groups", expected, "leave windows out")
            continue
        if entry.windows and model.sparse is not None:
            expected = "no windows where model.sparse chooses the keys"
            yield Problem(path, f"{len(entry.windows)} groups", expected, "leave windows or model.sparse out")
            continue
        heads = sum(group.kv_heads for group in entry.windows)
        if heads > model.kv_heads:
            expected = f"at most model.kv_heads ({model.kv_heads}) together"
            yield Problem(path, f"{heads} KV heads", expected, "lower kv_heads")
        for m, group in enumerate(entry.windows):
            if (group.tokens is None) == (group.chunk is None):
                found = "neither tokens nor chunk" if group.tokens is None else "tokens and chunk"
                yield Problem(f"{path}[{m}]", found, "one of them", "write tokens for a sliding window")


def _profile_needs_a_layout(model: ModelSpec, pipeline: Pipeline) -> Iterator[Problem]:
    """Refuse layers that differ in what they keep or see where the layout is left open."""
    if pipeline.free and not unprofiled(model):
        field = "profile" if model.profile else "sparse"
        expected = f"no profile while the layout is left open ({', '.join(pipeline.open_fields)})"
        yield Problem(f"model.{field}", "given", expected, "give stages, dies and layers, or leave it out")


def _rings_stay(model: ModelSpec, workload: Workload) -> Iterator[Problem]:
    """Refuse to export or load KV that lives in rings, which the messages do not count."""
    if any(True for rule in (_profile_layers_exist, _windows_have_heads) for _ in rule(model)):
        return
    prefixes = [workload.cached_prefix, *(request.prefix for request in workload.requests)]
    shares = layer_shares(model, workload.tokens + max(prefixes))
    if not any(group.ring for share in shares for group in share.groups):
        return
    for field, pool in (("export", workload.export), ("prefix_from", workload.prefix_from)):
        if pool is not None:
            expected = 'no windows whose KV is held in rings (model.profile, hold "window")'
            yield Problem(f"workload.{field}", show(pool), expected, 'write hold "all"')


def _one_selection(model: ModelSpec) -> Iterator[Problem]:
    """Allow one entry that chooses among the whole prompt, behind layers that keep all."""
    chosen = [n for n, entry in enumerate(model.profile) if entry.selection == "prompt"]
    for n in chosen[1:]:
        expected = f'one entry with "prompt"; model.profile[{chosen[0]}] is one'
        yield Problem(f"model.profile[{n}].selection", '"prompt"', expected, "leave it out")
    for n in chosen[:1]:
        first = model.profile[n].layers[0]
        if first == 0:
            expected = "layers before these, which see the whole prompt to choose from it"
            yield Problem(f"model.profile[{n}].layers", show([*model.profile[n].layers]), expected)
        for m, entry in enumerate(model.profile):
            if entry.layers[0] < first and entry.keep < 1:
                expected = f"1 before the layers of model.profile[{n}], which choose among all tokens"
                yield Problem(f"model.profile[{m}].keep", f"{entry.keep:g}", expected, "leave keep out")


def _selection_of_one_prompt(
    model: ModelSpec,
    workload: Workload,
    chunking: Chunking,
    pipeline: Pipeline,
    objective: str,
    decode: object,
) -> Iterator[Problem]:
    """Refuse what two problems in sequence do not know where tokens are chosen among the whole prompt."""
    for n, entry in enumerate(model.profile):
        if entry.selection != "prompt":
            continue
        asked: dict[str, object] = {
            "objective": objective if objective != "latency" else None,
            "workload.requests": f"{len(workload.requests)} requests" if workload.requests else None,
            "workload.cached_prefix": workload.cached_prefix or None,
            "workload.available": "given" if workload.available is not None else None,
            "workload.export": workload.export,
            "chunking.exact": chunking.exact or None,
            "pipeline.weights": "given" if pipeline.weights is not None else None,
            "decode": "given" if decode is not None else None,
        }
        expected = f'one prompt and its latency alone with selection "prompt" (model.profile[{n}])'
        for path, found in asked.items():
            if found is not None:
                yield Problem(path, show(found), expected, 'leave it out, or write selection "chunk"')
        if chunking.shortest is not None and chunking.shortest > kept_tokens(entry.keep, workload.tokens):
            expected = f"at most the tokens that model.profile[{n}] keeps"
            yield Problem("chunking.shortest", str(chunking.shortest), expected, "lower it")
        return


PROFILE_CHECKS: tuple[tuple[tuple[str, ...], Callable[..., Iterator[Problem]]], ...] = (
    (("model",), _profile_layers_exist),
    (("model",), _dropped_tokens_stay_dropped),
    (("model",), _windows_have_heads),
    (("model", "pipeline"), _profile_needs_a_layout),
    (("model", "workload"), _rings_stay),
    (("model",), _one_selection),
    (("model", "workload", "chunking", "pipeline", "objective", "decode"), _selection_of_one_prompt),
)
