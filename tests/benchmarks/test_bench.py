"""`nightdesk bench`: it ends with one object, and says in words what limits a machine."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.figure import Figure
from flows.benching import Benched, limits_of
from flows.commands.bench import show_benched
from models.backends.auto import Choice, Trial

ROOT = Path(__file__).parents[2]
ENGINE = Figure(
    name="engine",
    unit="headlines/s",
    ours=950.0,
    peer=1000.0,
    also={"texts_read_per_second": 9000.0},
    reach="ratio >= 0.9",
)


def choice(backend: str, *trials: Trial) -> Choice:
    return Choice(backend=backend, machine={}, trials=trials)


def said(choices: list[Choice], wanted: str = "auto", **figures: Figure) -> dict[str, tuple[str, str]]:
    return {limit.what: (limit.found, limit.change) for limit in limits_of(choices, wanted, figures)}


@pytest.mark.slow
def test_it_measures_a_model_and_ends_with_one_object(small_joint: Path, tmp_path: Path) -> None:
    model = shutil.copytree(small_joint, tmp_path / "model")
    done = subprocess.run(
        [sys.executable, "-m", "flows", "bench", "--model", str(model), "--backend", "torch", "--json"],
        cwd=ROOT,
        env=os.environ | {"NIGHTDESK_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert {figure["name"] for figure in found["figures"]} == {"headlines", "engine", "memory"}
    assert {"torch", "onnx", "openvino"} <= {trial["backend"] for trial in found["trials"]}
    assert {"backend", "threads", "arithmetic", "memory"} <= {limit["what"] for limit in found["limits"]}
    assert not (model / "exports").exists()  # what a night is scored by stays as it is


def test_the_network_limits_where_the_engine_keeps_its_speed() -> None:
    assert "the network" in said([choice("torch")], engine=ENGINE)


def test_the_tokenizer_limits_where_texts_are_not_read_fast_enough() -> None:
    slow = dataclasses.replace(ENGINE, also={"texts_read_per_second": 1100.0})
    assert "the tokenizer" in said([choice("torch")], engine=slow)


def test_a_slower_backend_than_could_serve_is_named_with_the_setting_to_change() -> None:
    found, change = said([choice("openvino")], "torch")["backend"]
    assert "openvino is faster" in found
    assert change == '[scoring] backend = "auto"'


def test_a_missing_extra_is_named_with_the_command_that_installs_it() -> None:
    refused = Trial(backend="openvino", refused="needs openvino: install the extra, pip install 'nightdesk[openvino]'")
    assert said([choice("torch", refused)])["a missing extra"][1] == "pip install 'nightdesk[openvino]'"


def test_a_backend_that_does_not_agree_is_named() -> None:
    refused = Trial(backend="onnx-int8", refused="onnx-int8 does not agree with float32: F1 by -1.53 points")
    assert said([choice("torch", refused)])["refused"][0].startswith("onnx-int8:")


def test_two_trunks_are_two_passes() -> None:
    assert "2 trunks" in said([choice("torch"), choice("torch")])["passes"][0]


def test_the_tables_show_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    trials = [Trial(backend="torch", tokens_per_second=1234.0)]
    limits = list(limits_of([choice("torch", *trials)], "auto", {"engine": ENGINE}))
    show_benched(Benched(figures=[ENGINE], trials=trials, limits=limits, missing=["memory: not Linux"]))
    shown = "".join(capsys.readouterr())
    assert all(part in shown for part in ("950 headlines/s", "1,234", "the network", "memory: not Linux"))
