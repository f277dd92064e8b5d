"""Instances: defaults, overrides, fingerprints, checks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from instance_variants import SMALL, VARIANTS
from malformed import BASE, changed

from mocap_opt.errors import InputError
from mocap_opt.instance import MODELS, Coefficients, Instance, Roofline, load_instance
from mocap_opt.instance.overrides import parse_override
from mocap_opt.wafer.spec import WAFERS

SHIPPED = sorted((Path(__file__).parents[1] / "instances").glob("*.json"))


def test_defaults() -> None:
    instance = Instance.from_dict(SMALL)
    assert instance.to_dict() | {"model": ..., "wafer": ...} == {
        "version": 1,
        "name": "small",
        "description": "",
        "model": ...,
        "precision": {"weights": 2.0, "embedding": None, "kv": 2.0, "activations": 2.0},
        "wafer": ...,
        "pipeline": {
            "stages": 14,
            "dies_per_stage": 4,
            "layers": "balanced",
            "placement": "boustrophedon",
            "degrees": None,
            "spare_dies": "idle",
            "queue_depth": 2,
            "staging_per_die": 2**26,
            "mini_sequence": None,
            "logits": "last",
            "weights": None,
        },
        "workload": {
            "tokens": 131072,
            "cached_prefix": 0,
            "batch": 1,
            "requests": [],
            "order": "given",
            "available": None,
            "pipelines": 1,
            "export": None,
            "prefix_from": None,
        },
        "chunking": {
            "max_chunks": 32,
            "exact": False,
            "quantum": 1024,
            "page": None,
            "shortest": None,
            "longest": None,
        },
        "costs": {
            "kind": "roofline",
            "efficiency": 0.5,
            "overhead": 2e-5,
            "half_efficiency_tokens": 0.0,
            "prefix_cost": 0.0,
            "prefetch_per_die": 0,
            "tile_tokens": None,
        },
        "overlap": 1.0,
        "attention": "causal",
        "objective": "latency",
        "decode": None,
        "tick": None,
    }


def test_values_as_read() -> None:
    instance = Instance.from_dict(BASE)
    wafer, pipeline = instance.wafer, instance.pipeline
    assert (wafer.die.flops, wafer.die.memory_bytes, wafer.link.hop_latency) == (1e12, 10**9, 15e-9)
    assert wafer.dead_dies == ((1, 2),)
    assert wafer.dead_links == (((0, 0), (1, 0)),)
    assert wafer.slow_links[0].between == ((0, 0), (0, 1))
    assert wafer.slow_links[0].bandwidth == 5e10
    assert pipeline.placement == (((0, 0), (0, 1)), ((0, 2),))
    assert (pipeline.dies, pipeline.layers) == ((2, 1), (5, 3))
    assert (instance.precision.weights, instance.precision.kv, instance.precision.activations) == (2, 1, 2)
    assert instance.model.experts is not None
    assert (instance.model.experts.shared, instance.model.latent, instance.model.gated) == (0, None, True)
    assert isinstance(instance.costs, Roofline)


def test_helpers() -> None:
    instance = Instance.from_dict(VARIANTS["each-stage"])
    assert instance.pipeline.dies == (1, 1)
    assert instance.chunking.page_tokens == 1024
    assert instance.chunking.length_limits(131072) == (1, 131072)
    assert Instance.from_dict(BASE).chunking.length_limits(2000) == (1024, 2000)
    costs = instance.costs
    assert isinstance(costs, Coefficients)
    assert (costs.of_stage(0).linear, costs.of_stage(1).quadratic) == (1e-6, 1e-9)
    same = Instance.from_dict(VARIANTS["coefficients"]).costs
    assert isinstance(same, Coefficients)
    assert same.of_stage(13).constant == 1e-3


@pytest.mark.parametrize("name", VARIANTS)
def test_round_trip(name: str) -> None:
    instance = Instance.from_dict(VARIANTS[name])
    plain = instance.to_dict()
    again = Instance.from_dict(json.loads(json.dumps(plain)))
    assert again == instance
    assert again.to_dict() == plain
    assert again.fingerprint == instance.fingerprint


@pytest.mark.parametrize("name", MODELS)
def test_models_are_valid(name: str) -> None:
    instance = Instance.from_dict({**SMALL, "model": name})
    assert instance.model.name == name


@pytest.mark.parametrize("name", WAFERS)
def test_wafers_are_valid(name: str) -> None:
    instance = Instance.from_dict({**SMALL, "wafer": name, "pipeline": {"stages": 1}})
    assert (instance.wafer.name, instance.wafer.description) == (name, WAFERS[name]["description"])


def parameters(instance: Instance) -> float:
    """Weights of a model, embedding and output head included, from first principles."""
    m = instance.model
    if m.latent:
        query = m.hidden * (m.latent.query_rank or 0)
        query += (m.latent.query_rank or m.hidden) * m.heads * (m.latent.nope_dim + m.latent.rope_dim)
        kv = m.hidden * (m.latent.kv_rank + m.latent.rope_dim)
        kv += m.latent.kv_rank * m.heads * (m.latent.nope_dim + m.latent.value_dim)
        attention = query + kv + m.heads * m.latent.value_dim * m.hidden
    else:
        attention = m.hidden * m.head_dim * (2 * m.heads + 2 * m.kv_heads)
    matrices = 3 if m.gated else 2
    plain, mixture, dense = matrices * m.hidden * m.ffn, 0, m.layers
    if m.experts:
        mixture = matrices * m.hidden * m.experts.ffn * (m.experts.count + m.experts.shared)
        dense = m.experts.dense_layers
    return m.layers * attention + dense * plain + (m.layers - dense) * mixture + 2 * m.vocabulary * m.hidden


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("llama-3.1-8b", 8.03),
        ("llama-3.1-70b", 70.6),
        ("llama-3.1-405b", 406),
        ("qwen2.5-72b", 72.7),
        ("qwen3-32b", 32.8),
        ("qwen3-235b-a22b", 235),
        ("mixtral-8x7b", 46.7),
        ("deepseek-v3", 671),
        ("gpt3-175b", 175),
        ("gpt3-44b", 44),
        ("gpt3-13b", 13),
        ("gpt3-1b", 1.3),
    ],
)
def test_models_have_their_published_size(name: str, billions: float) -> None:
    """Norms and biases are left out, and GPT-3's head counts twice here, so to 4 % (the 1B: 11 %)."""
    found = parameters(Instance.from_dict({**SMALL, "model": name})) / 1e9
    assert found == pytest.approx(billions, rel=0.11 if name == "gpt3-1b" else 0.04)


def test_instances_are_frozen() -> None:
    instance = Instance.from_dict(SMALL)
    with pytest.raises(ValueError, match="frozen"):
        instance.overlap = 0.5  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        instance.wafer.die.flops = 1.0  # type: ignore[misc]


def test_construction_checks_the_rules_too() -> None:
    """No door leads round the checks: not even building the model by hand."""
    sections = {key: getattr(Instance.from_dict(SMALL), key) for key in Instance.model_fields}
    assert Instance(**sections) == Instance.from_dict(SMALL)
    with pytest.raises(InputError, match=r"pipeline\.stages"):
        Instance(**sections | {"wafer": Instance.from_dict(BASE).wafer})


def test_overrides() -> None:
    instance = Instance.from_dict(SMALL)
    changed = instance.replace(
        "pipeline.stages=28",
        "pipeline.dies_per_stage=2",
        "wafer.die.memory_bytes=20GB",
        "workload.tokens = 256k",
        "chunking.exact=true",
        "chunking.page=null",
        "wafer.dead_links=[[[6, 0], [6, 1]]]",
        "costs.overhead=30 us",
        "name=larger",
    )
    assert (changed.pipeline.stages, changed.pipeline.dies_per_stage) == (28, 2)
    assert changed.wafer.die.memory_bytes == 20 * 10**9
    assert changed.wafer.die.flops == instance.wafer.die.flops
    assert (changed.workload.tokens, changed.chunking.exact) == (2**18, True)
    assert changed.wafer.dead_links == (((6, 0), (6, 1)),)
    assert isinstance(changed.costs, Roofline)
    assert (changed.costs.overhead, changed.name) == (3e-5, "larger")
    assert instance == Instance.from_dict(SMALL)
    assert instance.replace() == instance


def test_overrides_reach_into_lists_and_absent_sections(tmp_path: Path) -> None:
    path = tmp_path / "instance.json"
    path.write_text(json.dumps(BASE))
    instance = load_instance(
        path,
        [
            "pipeline.layers.0=4",
            "pipeline.layers[1]=4",
            "precision.kv=fp4",
            "overlap=0",
            "wafer.dead_dies[0]=[1,1]",
        ],
    )
    assert instance.pipeline.layers == (4, 4)
    assert (instance.precision.kv, instance.overlap) == (0.5, 0)
    assert instance.wafer.dead_dies == ((1, 1),)
    path.write_text(json.dumps(SMALL))
    assert load_instance(path, ["costs.efficiency=0.25"]).costs == Roofline(efficiency=0.25)


def test_overrides_below_a_name_expand_the_preset(tmp_path: Path) -> None:
    path = tmp_path / "instance.json"
    path.write_text(json.dumps(SMALL))
    instance = load_instance(path, ["wafer.die.memory_bytes=20GB", "model.layers=40", "model.kv_heads=64"])
    assert (instance.wafer.rows, instance.wafer.die.memory_bytes) == (7, 20 * 10**9)
    assert (instance.model.layers, instance.model.hidden, instance.model.kv_heads) == (40, 8192, 64)
    assert load_instance(path, ["wafer=pjlab-5x4", "pipeline.stages=4"]).wafer.rows == 5


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("pipeline.stages", "expected path=value"),
        ("=3", "expected path=value"),
        ("a..b=3", "expected path=value"),
        ("pipeline.stages=[", "pipeline.stages: expected valid JSON"),
        ("pipeline.stages={'a': 1}", "pipeline.stages: expected valid JSON"),
        ("pipeline.stages=" + "[" * 10_000, "levels of nesting"),
        ("pipeline.stages=two", "pipeline.stages: expected a whole number"),
        ("pipeline.stages=NaN", "pipeline.stages: expected a finite number"),
        ("pipeline.stages=" + "9" * 5000, "digits"),
        ("pipeline.stage=2", 'did you mean "stages"'),
        ("workload.tokens.x=2", "expected an object at workload.tokens"),
        ("wafer.dead_dies.0=[0, 0]", "an index below 0"),
        ("wafer.dead_dies.first=[0, 0]", "an index below 0"),
        ("wafer.die=3", "wafer.die: expected an object"),
        ("wafer.preset=watos", "wafer.preset"),
        ("wafre.rows=3", 'did you mean "wafer"'),
        ("name=", "name"),
    ],
)
def test_bad_overrides_name_their_path(override: str, message: str) -> None:
    with pytest.raises(InputError, match="expected") as caught:
        Instance.from_dict(SMALL).replace(override)
    assert message in str(caught.value)
    assert len(caught.value.problems) == 1


def test_all_bad_overrides_at_once() -> None:
    with pytest.raises(InputError, match="path=value") as caught:
        Instance.from_dict(SMALL).replace("pipeline.stages", "workload.tokens.x=2")
    assert [problem.path for problem in caught.value.problems] == ["override", "workload.tokens.x"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-0.5", -0.5),
        ("1e3", 1000.0),
        ("true", True),
        ("null", None),
        ('"3"', "3"),
        ("20GB", "20GB"),
        ("128k", "128k"),
        ("bf16", "bf16"),
        ("nullable", "nullable"),
        ("a=b", "a=b"),
        ("[1, [2]]", [1, [2]]),
    ],
)
def test_values_of_overrides(text: str, value: Any) -> None:
    assert parse_override(f"a.b[2]={text}") == (("a", "b", 2), value)


def test_changed_presets_are_labelled() -> None:
    """So that no report says the machine was a preset when it was not."""
    instance = Instance.from_dict(SMALL)
    assert (instance.model.name, instance.wafer.name) == ("llama-3.1-70b", "watos-c3")
    other = instance.replace("wafer.die.memory_bytes=20GB")
    assert (other.model.name, other.wafer.name) == ("llama-3.1-70b", "watos-c3 (changed)")
    assert other.replace("wafer.rows=8").wafer.name == "watos-c3 (changed)"
    assert instance.replace("wafer.die.memory_bytes=20GB", "wafer.name=mine").wafer.name == "mine"
    assert instance.replace("wafer.die.memory_bytes=70 GB").wafer.name == "watos-c3"


def test_fingerprint_is_of_the_meaning() -> None:
    instance = Instance.from_dict(SMALL)
    assert len(instance.fingerprint) == 16
    assert int(instance.fingerprint, 16) >= 0
    same = [
        {"name": "other", "description": "other"},
        {"chunking": {"max_chunks": 32, "page": 1024}},
        {"pipeline": {"stages": 14, "dies_per_stage": [4] * 14}},
        {"workload": {"tokens": 131072.0, "batch": 1}},
        {"wafer": {**WAFERS["watos-c3"], "description": "", "name": "unnamed"}},
        {"precision": {"kv": 2}},
    ]
    for change in same:
        assert Instance.from_dict({**SMALL, **change}).fingerprint == instance.fingerprint, change
    different = [
        {"overlap": 0.99},
        {"model": "qwen2.5-72b"},
        {"chunking": {"max_chunks": 32, "page": 512}},
        {"workload": {"tokens": 131071}},
        {"tick": "1 ns"},
        {
            "wafer": {"preset": "watos-c3", "dead_dies": [[6, 7]]},
            "pipeline": {"stages": 14, "dies_per_stage": 3},
        },
    ]
    prints = [Instance.from_dict({**SMALL, **change}).fingerprint for change in different]
    assert len({instance.fingerprint, *prints}) == 1 + len(different)


def test_fingerprint_ignores_the_order_of_dead_parts() -> None:
    links = [[[0, 0], [1, 0]], [[0, 1], [1, 1]]]
    dies = [[1, 2], [1, 1]]
    one = Instance.from_dict(changed(("wafer.dead_links", links), ("wafer.dead_dies", dies)))
    turned = [ends[::-1] for ends in links[::-1]]
    other = Instance.from_dict(changed(("wafer.dead_links", turned), ("wafer.dead_dies", dies[::-1])))
    assert one != other
    assert one.fingerprint == other.fingerprint


def test_fingerprint_is_the_same_everywhere() -> None:
    """It stands in files, so it must not change with the version of Python or of pydantic."""
    assert Instance.from_dict(BASE).fingerprint == "24e0b6d8deaea234"


def test_str_shows_the_sizes() -> None:
    assert str(Instance.from_dict(BASE)).splitlines()[1:] == [
        "  model     unnamed: 8 layers, hidden 64, 8 heads on 4 KV heads",
        "  wafer     unnamed: mesh of 2 x 3 dies, 1 TFLOP/s and 1 GB each, links of 100 GB/s",
        "  pipeline  2 stages of 1 to 2 dies",
        "  prompt    8k tokens, batch 1",
        "  chunks    at most 4, 8 steps of 1k tokens, pages of 256",
    ]


@pytest.mark.parametrize(
    ("tokens", "chunking", "possible"),
    [
        (10, {"max_chunks": 3, "quantum": 4, "exact": True}, True),  # 4 4 2
        (10, {"max_chunks": 2, "quantum": 4, "longest": 5}, False),  # the first ends at 4, the last has 6
        (10, {"max_chunks": 2, "quantum": 4, "longest": 6}, True),  # 4 6
        (10, {"max_chunks": 2, "quantum": 4, "shortest": 3, "exact": True}, True),  # 4 6
        (10, {"max_chunks": 2, "quantum": 4, "shortest": 7, "exact": True}, False),  # 8 2 or 4 6
        (10, {"max_chunks": 9, "quantum": 4, "longest": 3}, False),  # nothing ends at a multiple of 4
        (3, {"max_chunks": 9, "quantum": 4, "longest": 3}, True),  # 3
        (9, {"max_chunks": 3, "quantum": 4, "shortest": 2, "longest": 4}, False),  # 4 4 1
        (9, {"max_chunks": 3, "quantum": 4, "shortest": 1, "longest": 4}, True),
    ],
)
def test_prompts_that_cannot_be_divided(tokens: int, chunking: dict[str, Any], possible: bool) -> None:
    data = {**SMALL, "workload": {"tokens": tokens}, "chunking": chunking}
    if possible:
        assert Instance.from_dict(data).workload.tokens == tokens
    else:
        with pytest.raises(InputError, match="chunking: expected limits that divide"):
            Instance.from_dict(data)


def test_torus_links_close_the_ring() -> None:
    torus = changed(("wafer.topology", "torus"), ("wafer.dead_links", [[[0, 2], [0, 0]]]))
    assert Instance.from_dict(torus).wafer.dead_links == (((0, 2), (0, 0)),)
    mesh = changed(("wafer.dead_links", [[[0, 2], [0, 0]]]))
    with pytest.raises(InputError, match="two neighbours of the 2 x 3 mesh"):
        Instance.from_dict(mesh)


def test_import_is_light() -> None:
    code = (
        "import sys, mocap_opt.instance, mocap_opt.files\n"
        "heavy = {'pyomo', 'highspy', 'ortools', 'pandas', 'scipy', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
