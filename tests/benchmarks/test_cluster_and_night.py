import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import night, ray
from benchmarks.figure import Missing

pytestmark = pytest.mark.filterwarnings("ignore")  # of Ray, about its own defaults


def figure_of(module: Any, given: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    module.main([*given, "--backend", "torch", "--runs", "1", "--json"])
    figure: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figure["ours"] > 0
    assert figure["ratio"] == pytest.approx(figure["ours"] / figure["peer"])
    return figure


@pytest.mark.slow
def test_ray_is_held_against_one_process(small_joint: Path, made_up: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--rows", "60", "--rows-per-shard", "10", "--data", str(made_up), "--model", str(small_joint)]
    figure = figure_of(ray, given, capsys)
    assert (figure["name"], figure["also"]["shards"]) == ("ray", 6)
    assert figure["also"]["seconds_to_start_ray"] > 0


def test_too_few_rows_for_two_shards_a_worker_are_refused(small_joint: Path) -> None:
    with pytest.raises(Missing, match="rows-per-shard"):
        ray.measure(rows=30, rows_per_shard=10, runs=1, model=str(small_joint), backend="torch")


@pytest.mark.slow
def test_a_whole_night_is_timed_step_by_step(
    small_joint: Path, made_up: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figure = figure_of(night, ["--rows", "14", "--data", str(made_up), "--model", str(small_joint)], capsys)
    assert (figure["name"], figure["unit"], figure["reach"]) == ("night", "s", "ours <= 45")
    assert 0 < figure["also"]["articles"] <= 14
    assert {f"seconds_of_{step}" for step in night.STEPS} < set(figure["also"])
