import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import night, ray
from benchmarks.figure import Missing

pytestmark = pytest.mark.filterwarnings("ignore")  # of Ray, about its own defaults


def figure_of(module: Any, given: list[str], home: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    module.main([*given, "--home", str(home), "--backend", "torch", "--runs", "1", "--json"])
    figure: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figure["ours"] > 0
    assert figure["ratio"] == pytest.approx(figure["ours"] / figure["peer"])
    return figure


@pytest.mark.slow
def test_ray_is_held_against_one_process(
    small_joint: Path, made_up: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--rows", "4000", "--rows-per-shard", "100", "--data", str(made_up), "--model", str(small_joint)]
    figure = figure_of(ray, given, tmp_path, capsys)
    assert (figure["name"], figure["also"]["shards"]) == ("ray", 40)
    assert figure["also"]["seconds_to_start_ray"] > 0


def test_too_few_rows_for_two_shards_a_worker_are_refused(small_joint: Path, tmp_path: Path) -> None:
    with pytest.raises(Missing, match="rows-per-shard"):
        ray.measure(rows=30, rows_per_shard=10, runs=1, home=tmp_path, model=str(small_joint), backend="torch")


def spans(*given: tuple[float, float]) -> list[ray.Span]:
    return [ray.Span(begun=begun, finished=finished, rows=100) for begun, finished in given]


def test_the_clock_starts_when_each_worker_has_finished_its_first_shard() -> None:
    slow, quick = [(2, 10), (10, 12)], [(1, 3), (3, 5), (5, 7), (7, 9), (9, 11), (11, 13)]
    found = ray.paced(spans(*slow, *quick), 0.0, 2)
    assert found.first == 10
    assert found.rate == pytest.approx(
        (100 + 50 + 100) / 3
    )  # of the shard from 9 to 11 the half that was done after 10


def test_one_worker_is_timed_from_its_first_shard_on() -> None:
    assert ray.paced(spans((0, 5), (5, 6), (6, 7)), 0.0, 1) == ray.Pass(first=5, rate=100)


def test_where_no_shard_is_left_to_time_it_says_so() -> None:
    with pytest.raises(Missing, match="more --rows"):
        ray.paced(spans((0, 5), (1, 4)), 0.0, 2)


@pytest.mark.slow
def test_a_whole_night_is_timed_step_by_step(
    small_joint: Path, made_up: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--rows", "14", "--data", str(made_up), "--model", str(small_joint)]
    figure = figure_of(night, given, tmp_path, capsys)
    assert (figure["name"], figure["unit"], figure["reach"]) == ("night", "s", "ours <= 45")
    assert 0 < figure["also"]["articles"] <= 14
    assert {f"seconds_of_{step}" for step in night.STEPS} < set(figure["also"])
