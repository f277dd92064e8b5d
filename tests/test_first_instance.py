"""A first instance of a model's config.json, in Python and by every command that takes one."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from command_line import run
from test_hf_config import DEEPSEEK, LLAMA

import mocap_opt
from mocap_opt.errors import InputError
from mocap_opt.instance import Instance, load_instance
from mocap_opt.instance.from_config import SETTINGS, option_of

TINY = str(Path(__file__).parent.parent / "instances" / "tiny-pooled.json")
SMALL = {**LLAMA, "num_hidden_layers": 8}
SAID = ("--wafer", "watos-c3", "--stages", 4, "--tokens", "8k")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "Small-8L").mkdir()
    path = tmp_path / "Small-8L" / "config.json"
    path.write_text(json.dumps(SMALL))
    return path


def test_what_is_written_is_what_is_solved(config, tmp_path, capsys):
    """The file holds figures, so it may lie anywhere."""
    out, slow = tmp_path / "first.json", ("--set", "costs.efficiency=0.4")
    code, told, _ = run("instance", config, *SAID, *slow, "--out", out, capsys=capsys)
    assert (code, told.startswith(f"{out}: Small-8L ")) == (0, True)
    written = load_instance(out)
    code, text, _ = run("instance", config.parent, *SAID, *slow, capsys=capsys)
    assert (code, Instance.from_dict(json.loads(text))) == (0, written)
    made = mocap_opt.instance_from_config(
        config, wafer="watos-c3", stages=4, tokens="8k", overrides=["costs.efficiency=0.4"]
    )
    assert made == written
    assert list(json.loads(text)) == [key for key in Instance.model_fields if key in json.loads(text)]
    assert (made.name, made.model.name, made.costs.efficiency) == ("Small-8L", "Small-8L", 0.4)
    # 56 dies for 4 stages, of which 64 heads divide by 8.
    assert (made.pipeline.dies_per_stage, made.pipeline.degree_rule) == (14, "divide-heads")
    assert (made.chunking.max_chunks, made.workload.tokens, made.grid_by_rule is None) == (32, 8192, False)


def test_every_setting_is_a_field(config):
    said: dict[str, Any] = {
        "wafer": "watos-c3",
        "stages": 2,
        "tokens": 4096,
        "dies_per_stage": 3,
        "batch": 2,
        "max_chunks": 5,
        "quantum": 512,
        "page": 256,
    }
    assert said.keys() == SETTINGS.keys()
    made = mocap_opt.instance_from_config(SMALL, name="x", **said).to_dict()
    for setting, path in SETTINGS.items():
        section, _, field = path.partition(".")
        value = made[section][field] if field else made[section]["name"]
        assert value == said[setting]
    with pytest.raises(InputError, match=r"^stage: expected one of wafer, stages"):
        mocap_opt.instance_from_config(SMALL, wafer="watos-c3", stages=2, tokens=1, stage=3)


def test_wafers_as_figures_and_stages_left_open():
    wafer = {"preset": "watos-c3", "dead_dies": [[0, 0], [0, 1]]}
    made = mocap_opt.instance_from_config(SMALL, wafer=wafer, stages=4, tokens="8k")
    assert made.pipeline.dies_per_stage == 13
    open_ones = mocap_opt.instance_from_config(SMALL, wafer=wafer, stages="auto", tokens="8k")
    assert open_ones.pipeline.dies_per_stage == "auto"


@pytest.mark.parametrize("command", ["check", "show", "bound", "solve", "compare"])
def test_commands_take_a_config(command, config, capsys):
    more = {"bound": ["--quick"], "compare": ["--methods", "uniform"], "solve": ["--method", "uniform"]}
    said = (*SAID, "--max-chunks", 4, "--quantum", 1024, *more.get(command, []), "--json")
    code, out, _ = run(command, config, *said, capsys=capsys)
    assert code == 0
    answer = json.loads(out)
    first = mocap_opt.instance_from_config(
        config, wafer="watos-c3", stages=4, tokens="8k", max_chunks=4, quantum=1024
    )
    assert first.fingerprint in json.dumps(answer)


def test_a_config_from_standard_input(monkeypatch, capsys):
    text = json.dumps({**DEEPSEEK, "torch_dtype": "bfloat16"}).encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
    code, out, _ = run("instance", "-", *SAID, capsys=capsys)
    assert (code, Instance.from_dict(json.loads(out)).model.latent.kv_rank) == (0, 512)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--wafer: expected a value beside a config.json, got nothing (add --wafer watos-c3)"),
        (("--wafer", "watos-c3", "--stages", 4), "--tokens: expected a value beside a config.json"),
        ((*SAID, "--set", "pipeline.stages=2"), "--stages: expected one of the two"),
        ((*SAID, "--set", "model=llama-3.1-8b"), "model: expected single figures"),
        ((*SAID, "--set", "model.config=x.json"), "model: expected single figures"),
        ((*SAID, "--stages", "no"), 'pipeline.stages: expected a whole number or "auto"'),
        ((*SAID, "--wafer", "{}"), "wafer.rows: expected"),
        ((*SAID, "--set", "model.ignore=[3]"), "model.ignore: expected a list of names"),
        ((*SAID, "--stages", 9), "pipeline.stages: expected at most model.layers (8)"),
    ],
)
def test_what_is_refused(arguments, message, config, tmp_path, capsys):
    out = tmp_path / "never.json"
    code, told, failed = run("instance", config, *arguments, "--out", out, capsys=capsys)
    assert (code, told, out.exists()) == (2, "", False)
    assert message in failed


def test_no_option_is_ignored_in_silence(config, capsys):
    for setting in SETTINGS:
        for command in ("check", "show", "solve", "bound", "compare", "instance"):
            code, _, failed = run(command, TINY, option_of(setting), "4", capsys=capsys)
            assert code == 2
            assert f"{option_of(setting)}: expected a config.json with it" in failed
    code, _, failed = run("solve", config, capsys=capsys)
    assert code == 2
    assert "model_type: expected an instance; this is a model's config.json" in failed
    code, _, failed = run("instance", TINY, *SAID, capsys=capsys)
    assert code == 2
