"""Configuration files as published: every family is read, counts its parameters, and is solved or refused."""

from __future__ import annotations

import copy
import json
import random
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import mocap_opt
from mocap_opt.errors import InputError
from mocap_opt.instance import ModelSpec, PrecisionSpec
from mocap_opt.instance.hf_config import model_from_config
from mocap_opt.instance.hf_families import FAMILY_ROWS
from mocap_opt.instance.hf_family import INDEXER_FIELDS, LATENT_FIELDS, Family
from mocap_opt.instance.hf_fields import INEXPRESSIBLE
from mocap_opt.tables import build_tables
from mocap_opt.tables.stage_costs import layer_parameters

DATA = Path(__file__).parent / "data" / "configs"
PUBLISHED: dict[str, dict[str, Any]] = json.loads((DATA / "published.json").read_text(encoding="utf-8"))
REFUSED = {
    "deepseek-v4-flash": "compressed KV",
    "gemma-4-26b-a4b": "heads of unlike sizes",
    "glm-5.2": "indexer_types: expected",
    "mimo-v2-flash": "heads of unlike sizes",
    "minimax-m3": "chosen blocks",
    "nemotron-3-nano-30b-a3b": "state-space layers",
    "qwen3.5-27b": "linear attention",
}


@cache
def text_of(name: str) -> str:
    return (DATA / f"{name}.json").read_text(encoding="utf-8")


def config_of(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(text_of(name))
    return loaded


def spec(config: dict[str, Any]) -> ModelSpec:
    return ModelSpec.model_validate(model_from_config(config)[0])


def billions(model: ModelSpec, *, active: bool = False, tables: int = 2) -> float:
    """Parameters of the layers and of embedding and head, or of one of the two."""
    layers = sum(layer_parameters(model, layer, active=active) for layer in range(model.layers))
    return (layers + tables * model.vocabulary * model.hidden) / 1e9


def test_every_file_is_judged() -> None:
    files = {path.stem for path in DATA.glob("*.json")} - {"published"}
    assert files == {*PUBLISHED, *REFUSED}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_those_that_were_published(name: str) -> None:
    said, model = PUBLISHED[name], spec(config_of(name))
    assert billions(model, tables=1 if said["tied"] else 2) == pytest.approx(said["billions"], rel=0.015)
    if said["active"] is not None:
        # Some count the embedding among them, some the output head, some neither.
        least, most = billions(model, active=True, tables=0), billions(model, active=True)
        assert least * 0.97 <= said["active"] <= most * 1.03


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_expressed_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=REFUSED[name]):
        model_from_config(config_of(name))


@pytest.mark.parametrize("name", ["nemotron-3-nano-30b-a3b", "qwen3.5-27b", "deepseek-v4-flash"])
def test_a_familiar_name_is_not_enough(name: str) -> None:
    """Six attention layers of 52, three linear ones of four: fields tell, whatever the family's name."""
    config = config_of(name)
    for row in FAMILY_ROWS:
        with pytest.raises(InputError):
            model_from_config({**config.get("text_config", config), "model_type": row.types[0]})


@pytest.mark.parametrize("name", PUBLISHED)
def test_it_is_solved(name: str) -> None:
    instance = mocap_opt.instance_from_config(
        config_of(name), name=name, wafer="watos-c3", stages=4, tokens="32k", max_chunks=4, quantum=4096
    )
    answer = mocap_opt.solve(instance, method="uniform")
    report = answer.report
    assert report.latency_s is not None
    assert report.lower_bound_s is not None
    assert 0 < report.lower_bound_s <= report.latency_s
    assert instance.model.name == name


def runs(model: ModelSpec) -> list[tuple[int, int]]:
    return [entry.layers for entry in model.profile]


def test_windows_of_published_models() -> None:
    gemma = spec(config_of("gemma-3-12b"))
    assert runs(gemma) == [(n, n + 4) for n in range(0, 48, 6)]
    assert {(w.kv_heads, w.tokens) for entry in gemma.profile for w in entry.windows} == {(8, 1024)}
    assert (gemma.head_dim, gemma.vocabulary) == (256, 262208)
    llama = spec(config_of("llama-4-maverick"))
    assert runs(llama) == [(n, n + 2) for n in range(0, 48, 4)]
    assert {w.chunk for entry in llama.profile for w in entry.windows} == {8192}
    assert llama.experts is not None
    assert (llama.experts.layers, llama.experts.shared, llama.ffn) == (tuple(range(1, 48, 2)), 1, 16384)
    assert runs(spec(config_of("gpt-oss-120b"))) == [(n, n) for n in range(0, 36, 2)]
    assert runs(spec(config_of("starcoder2-15b"))) == [(0, 39)]
    assert not spec(config_of("starcoder2-15b")).gated


def test_windows_save_memory_and_time() -> None:
    """Half of gpt-oss sees 128 tokens."""
    config = config_of("gpt-oss-120b")
    full = {**config, "layer_types": ["full_attention"] * 36}
    said: dict[str, Any] = {"wafer": "watos-c3", "stages": 4, "tokens": "128k", "quantum": 1024}
    slides, sees_all = (build_tables(mocap_opt.instance_from_config(each, **said)) for each in (config, full))
    assert slides.page_bytes.sum() * 2 == sees_all.page_bytes.sum()
    assert (slides.phi[:, -1] < sees_all.phi[:, -1]).all()


def test_sparse_attention_has_an_indexer() -> None:
    model = spec(config_of("deepseek-v3.2"))
    assert model.sparse is not None
    assert (model.sparse.top_k, model.sparse.index_heads, model.sparse.index_dim) == (2048, 64, 128)
    # The indexer of a layer: 1536 x 64 x 128 + 7168 x 128 + 7168 x 64 parameters.
    plain = model.model_copy(update={"sparse": None})
    assert layer_parameters(model, 0, active=True) - layer_parameters(plain, 0, active=True) == 13_959_168


def weights(name: str) -> PrecisionSpec:
    return PrecisionSpec.model_validate(model_from_config(config_of(name))[1])


def test_quantised_checkpoints() -> None:
    """Experts of gpt-oss in 4.25 bits (MXFP4), of Kimi K2.5 and MiniMax in 4.5 (int4 and NVFP4)."""
    gpt = weights("gpt-oss-120b")
    assert isinstance(gpt.weights, float)
    assert 0.53125 < gpt.weights < 0.55
    kimi = weights("kimi-k2.5")
    assert isinstance(kimi.weights, tuple)
    # The first layer has no experts and is left as it is.
    assert kimi.weights[0] == 2
    assert 0.5625 < kimi.weights[1] < 0.6
    mini = weights("minimax-m2.5-nvfp4")
    assert isinstance(mini.weights, float)
    assert 0.5625 < mini.weights < 0.6
    assert (mini.kv, mini.embedding, weights("glm-5-fp8").embedding) == (1, 2, 2)


def test_the_shared_configurations(shared_configs) -> None:
    """Five files in the published form; figures of the fifth in 32 bits."""
    found = {path.stem: spec(json.loads(path.read_text())) for path in sorted(shared_configs.glob("*.json"))}
    counts = {name: round(billions(model), 1) for name, model in found.items()}
    assert counts == {"dsv3": 671.0, "gemma2": 28.4, "gptoss": 116.8, "llama4": 107.8, "qwen2vl": 72.7}
    assert billions(found["gemma2"], tables=1) == pytest.approx(27.2, rel=0.01)
    for path in sorted(shared_configs.glob("*.json")):
        instance = mocap_opt.instance_from_config(
            path, wafer="watos-c3", stages=4, tokens="32k", max_chunks=4, quantum=4096
        )
        assert mocap_opt.solve(instance, method="uniform").report.latency_s is not None


def test_falcon_groups_heads_or_shares_one() -> None:
    falcon = {
        "model_type": "falcon",
        "hidden_size": 14848,
        "num_hidden_layers": 80,
        "num_attention_heads": 232,
        "num_kv_heads": 8,
        "new_decoder_architecture": True,
        "multi_query": True,
        "vocab_size": 65024,
    }
    assert billions(spec(falcon), tables=1) == pytest.approx(180, rel=0.01)
    assert (spec(falcon).kv_heads, spec(falcon).ffn, spec(falcon).gated) == (8, 4 * 14848, False)
    assert spec({**falcon, "new_decoder_architecture": False}).kv_heads == 1
    assert spec({**falcon, "new_decoder_architecture": False, "multi_query": False}).kv_heads == 232


def test_outer_fields_agree_with_the_language_model() -> None:
    config = config_of("qwen3-vl-30b-a3b")
    assert spec({**config, "hidden_size": 2048}) == spec(config)
    with pytest.raises(InputError, match=r"model\.config\.hidden_size: expected 2048, as in text_config"):
        model_from_config({**config, "hidden_size": 4096})
    with pytest.raises(InputError, match=r"model\.config\.num_experts_extra: expected no field"):
        model_from_config({**config, "num_experts_extra": 1})
    with pytest.raises(InputError, match=r"model\.config\.text_config\.mamba_num_heads: expected none"):
        model_from_config({**config, "text_config": {**config["text_config"], "mamba_num_heads": 4}})


def smallest(row: Family) -> dict[str, Any]:
    """A configuration of a family with every field that it reads and the class does not have."""
    sizes = {
        "layers": 4,
        "hidden": 64,
        "heads": 8,
        "kv_heads": 2,
        "head_dim": 8,
        "ffn": 96,
        "vocabulary": 100,
    }
    config: dict[str, Any] = {"model_type": row.types[0]}
    config |= {row.name_of(figure): size for figure, size in sizes.items() if figure != "kv_heads"}
    parts: list[str] = [*LATENT_FIELDS] if row.latent else []
    parts += [*INDEXER_FIELDS] if row.indexer else []
    config |= dict.fromkeys(parts, 16)
    if row.experts is not None:
        named = [row.experts.count, row.experts.active, row.experts.ffn, row.experts.shared_width]
        config |= dict(zip(named, (4, 2, 24, 40), strict=True))
        config |= {row.experts.shared: 1} if isinstance(row.experts.shared, str) else {}
        config.pop("", None)
        config |= {"first_k_dense_replace": 1} if "first_k_dense_replace" in row.experts.fields else {}
    return config


@pytest.mark.parametrize("row", FAMILY_ROWS, ids=lambda row: row.types[0])
def test_every_family_reads_its_smallest_file(row: Family) -> None:
    model = spec(smallest(row))
    assert (model.layers, model.hidden, model.vocabulary, model.gated) == (4, 64, 100, row.gated)
    assert (model.experts is None, model.latent is None) == (row.experts is None, not row.latent)
    if row.experts is not None:
        assert model.experts is not None
        assert (model.experts.count, model.experts.active) == (4, 2)
        assert model.experts.shared == (1 if row.experts.shared or row.experts.shared_width else 0)
        assert model.experts.shared_ffn == (40 if row.experts.shared_width else None)
    if row.windows is not None and not row.windows.switch:
        windowed = spec({**smallest(row), row.windows.size: 16})
        assert sum(b - a + 1 for a, b in runs(windowed)) in (2, 3, 4)
        assert not spec({**smallest(row), row.windows.size: None}).profile
    for harmless in (*row.harmless.split(), "rope_theta", "attention_dropout", "num_nextn_predict_layers"):
        if harmless not in row.read_fields:
            other = spec({**smallest(row), harmless: 1})
            assert other.model_copy(update={"description": model.description}) == model
    with pytest.raises(InputError, match="expected no field that this family is not known to have"):
        spec({**smallest(row), "number_of_secret_layers": 1})


ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 7, 64, 4096, 10**7, 10**30, 0.5, float("inf"), "", "x", "silu"),
    *("full_attention", "LLLG", [], [0], [1, 0], [[1]], [None], {}, {"a": 1}, {"num_hidden_layers": 2}),
    *(["full_attention"] * 4, ["sliding_attention"] * 4, [1] * 4, [0, 1, 2, 3], ["sparse"] * 4),
)
"""What fields are changed to."""


def changed(config: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """A configuration with some fields changed, added or taken away, in it or in the language model's."""
    made = copy.deepcopy(config)
    for _ in range(chance.randint(1, 3)):
        inner = made.get("text_config")
        target = inner if isinstance(inner, dict) and inner and chance.random() < 0.7 else made
        known = [*target, *chance.choice(FAMILY_ROWS).understood, *INEXPRESSIBLE]
        key = chance.choice(known)
        if chance.random() < 0.15:
            target.pop(key, None)
        else:
            target[key] = copy.deepcopy(chance.choice(ODD))
    return made


def test_thousands_of_changed_files_are_read_or_refused() -> None:
    """What is read is a valid model, or one that an instance refuses; nothing else is ever raised."""
    chance = random.Random(11)
    seeds = [smallest(row) for row in FAMILY_ROWS]
    seeds += [{**config_of(name), "quantization_config": None} for name in PUBLISHED]
    read = refused = 0
    for n in range(4000):
        config = changed(seeds[n % len(seeds)], chance)
        try:
            model_from_config(config)
            if n % 8 == 0:
                mocap_opt.instance_from_config(config, wafer="watos-c3", stages=1, tokens="4k")
            read += 1
        except InputError:
            refused += 1
    assert min(read, refused) > 500
