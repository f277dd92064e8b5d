"""AIConfigurator's tables of kernels as times of a stage (formulations/advise.md).

The all-reduces are a selection of the rows of campaign_checkpoints/b200_sxm/custom_allreduce_perf.txt of
ai-dynamo/aiconfigurator at 019f1a1ed45c, Apache-2.0, Copyright (c) 2025-2026 NVIDIA CORPORATION &
AFFILIATES.  The other two tables have that repository's columns and made-up times.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import run

from mocap_opt import InputError
from mocap_opt.calibration.logs import Asked, read_log
from mocap_opt.calibration.logs.aiconfigurator import shapes
from mocap_opt.instance.models import MODELS
from mocap_opt.instance.resolve import read_model
from mocap_opt.instance.schema import ModelSpec

REDUCE = """\
framework,version,device,op_name,kernel_source,allreduce_dtype,num_gpus,message_size,latency,backend
vLLM,0.20.0,NVIDIA B200,all_reduce,vLLM_custom_graph,bfloat16,2,4194304,0.044881281852722166,vllm_graph
vLLM,0.20.0,NVIDIA B200,all_reduce,vLLM_custom_eager,bfloat16,2,4194304,0.046918721199035646,vllm_eager
vLLM,0.20.0,NVIDIA B200,all_reduce,vLLM_custom_graph,bfloat16,2,16777216,0.08683744430541993,vllm_graph
vLLM,0.20.0,NVIDIA B200,all_reduce,vLLM_custom_eager,bfloat16,2,16777216,0.09824128150939941,vllm_eager
vLLM,0.20.0,NVIDIA B200,all_reduce,vLLM_custom_graph,bfloat16,4,16777216,0.12348832130432127,vllm_graph
"""
GEMM = "framework,version,device,op_name,kernel_source,gemm_dtype,m,n,k,latency"
ATTENTION = (
    "framework,version,device,op_name,kernel_source,batch_size,isl,num_heads,num_key_value_heads,head_dim,"
    "beam_width,attn_dtype,kv_cache_dtype,step,latency"
)
SHAPES = ((3072, 4096), (4096, 2048), (14336, 4096), (4096, 7168))
"""A die's products of llama-3.1-8b on two: q k v, o, gate up, down."""


def products(n: int, k: int) -> list[str]:
    head = "VLLM,0.20.0,NVIDIA B200,gemm,x,bfloat16"
    return [f"{head},{m},{n},{k},{m * (n + k) / 1e9!r}" for m in (512, 8192)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Products take m (n + k) / 1e9 ms, attention l^2 / 1e9."""
    gemm = [GEMM]
    for n, k in SHAPES:
        gemm += [
            f"VLLM,0.20.0,NVIDIA B200,gemm,x,bfloat16,{m},{n},{k},{m * (n + k) / 1e9!r}" for m in (512, 8192)
        ]
    gemm.append("VLLM,0.20.0,NVIDIA B200,gemm,x,nvfp4,1024,3072,4096,9.5")
    lines = [ATTENTION]
    for isl in (1024, 2048, 4096):
        head = "VLLM,0.20.0,NVIDIA B200,context_attention,x"
        lines.append(f"{head},1,{isl},16,4,128,1,bfloat16,bfloat16,0,{isl**2 / 1e9!r}")
        lines.append(f"{head},1,{isl},16,4,128,1,bfloat16,fp8,0,7.0")
        lines.append(f"{head},2,{isl},16,4,128,1,bfloat16,bfloat16,0,8.0")
    (tmp_path / "gemm_perf.txt").write_text("\n".join(gemm) + "\n")
    (tmp_path / "context_attention_perf.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "custom_allreduce_perf.txt").write_text(REDUCE)
    return tmp_path


ASKED = Asked(layers=4, model=read_model("llama-3.1-8b"), degree=2)


def test_products_of_a_die() -> None:
    assert shapes(read_model("llama-3.1-8b"), 2) == SHAPES
    assert shapes(read_model("llama-3.1-70b"), 8) == ((1280, 8192), (8192, 1024), (7168, 8192), (8192, 3584))
    # More dies than KV heads: replicas.
    assert shapes(read_model("llama-3.1-8b"), 16)[0] == (2 * 128 + 2 * 128, 4096)


def test_a_stage_by_hand(folder: Path) -> None:
    log = read_log(folder, asked=ASKED)
    assert log.form == "aiconfigurator"
    timings = log.timings
    assert timings is not None
    found = dict(
        zip(zip(timings.length.tolist(), timings.prefix.tolist(), strict=True), timings.seconds, strict=True)
    )
    # 1024 tokens are 4,194,304 elements; 4096 are 16,777,216. Measured outside of graphs.
    assert [*found] == [(1024, 0), (1024, 1024), (2048, 0), (2048, 2048), (4096, 0)]
    wide = sum(n + k for n, k in SHAPES) / 1e9
    for (length, prefix), reduce in {(1024, 0): 0.046918721199035646, (4096, 0): 0.09824128150939941}.items():
        layer_ms = length * wide + length**2 / 1e9 + 2 * reduce
        assert found[length, prefix] == pytest.approx(4 * layer_ms / 1e3)
    # What 4096 tokens take less what 2048 take.
    between = found[2048, 2048] - found[2048, 0]
    assert between == pytest.approx(4 * (4096**2 - 2 * 2048**2) / 1e9 / 1e3)


def test_widths_between_measured_ones(folder: Path) -> None:
    text = (folder / "gemm_perf.txt").read_text()
    rows = [line for line in text.splitlines() if ",3072,4096," not in line]
    for n in (2048, 4096):
        rows += [
            f"VLLM,0.20.0,NVIDIA B200,gemm,x,bfloat16,{m},{n},4096,{m * (n + 4096) / 1e9!r}"
            for m in (512, 8192)
        ]
    plain = read_log(folder, asked=ASKED).timings
    (folder / "gemm_perf.txt").write_text("\n".join(rows) + "\n")
    log = read_log(folder, asked=ASKED)
    assert plain is not None
    assert log.timings is not None
    assert log.timings.seconds == pytest.approx(plain.seconds)
    assert any("3072 outputs" in note for note in log.notes)


@pytest.mark.parametrize("name", ["deepseek-v3", "mixtral-8x7b"])
def test_other_models_are_refused(folder: Path, name: str) -> None:
    with pytest.raises(InputError, match="a dense model with grouped heads"):
        read_log(folder, asked=Asked(layers=4, model=read_model(name), degree=2))


def test_windows_and_missing_rows_are_refused(folder: Path) -> None:
    seen = {"profile": [{"layers": [0, 1], "windows": [{"kv_heads": 8, "tokens": 512}]}]}
    model = ModelSpec.model_validate({**MODELS["llama-3.1-8b"], **seen})
    with pytest.raises(InputError, match="windows"):
        read_log(folder, asked=Asked(layers=4, model=model, degree=2))
    with pytest.raises(InputError, match="bfloat16 products of 1536 outputs"):
        read_log(folder, asked=Asked(layers=4, model=ASKED.model, degree=4))
    with pytest.raises(InputError, match="--tp"):
        read_log(folder, asked=Asked(layers=4, model=ASKED.model, degree=3))
    with pytest.raises(InputError, match=r"--model NAME or config\.json"):
        read_log(folder, asked=Asked(layers=4))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        ("a,b\n1,2\n", "columns gemm_dtype"),
        (GEMM + "\nV,0,B,gemm,x,bfloat16,64,x,64,0.1\n", "line 2"),
        (GEMM + "\nV,0,B,gemm,x,bfloat16,64,64\n", "line 2"),
        (GEMM + "\nV,0,B,gemm,x,bfloat16,64,64,64,nan\n", "line 2"),
    ],
)
def test_wrong_tables_are_refused(folder: Path, text: str, match: str) -> None:
    (folder / "gemm_perf.txt").write_text(text)
    with pytest.raises(InputError, match=match):
        read_log(folder, asked=ASKED)


def test_parquet_is_refused_with_the_remedy(folder: Path) -> None:
    (folder / "gemm_perf.txt").rename(folder / "gemm_perf.parquet")
    with pytest.raises(InputError, match="a table as text, got parquet"):
        read_log(folder, asked=ASKED)
    with pytest.raises(InputError, match="name the folder"):
        read_log(folder / "context_attention_perf.txt")


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("--engine", "vllm", "--stages", 4, "--tokens", 4096, "--layers", 8, "--time-limit", 5)
    code, out, said = run("advise", folder, *asked, "--model", "llama-3.1-8b", "--tp", 2, capsys=capsys)
    assert code == 0, said
    assert "8 layers a stage on 2 dies" in out
    code, _, said = run("advise", folder, *asked, "--model", "llama-9", "--tp", 2, capsys=capsys)
    assert code == 2
    assert "--model" in said
