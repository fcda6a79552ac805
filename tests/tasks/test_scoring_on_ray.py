"""Scoring on Ray Data: the same rows as in this process, whatever is lost on the way."""

import datetime as dt
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from data_contracts.errors import Fatal
from models.bundle import BundleRefused
from tasks.backends import BackendConfig
from tasks.cluster import ClusterConfig, NoProgress, ScoringJob, WorkersLost, score_on_ray, session
from tasks.cluster.scoring import TRIED, Scorer
from tasks.lake import Lake, Stage
from tasks.score import score
from tasks.shards import Shard
from tests.waiting import until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
]  # Ray warns of its own defaults
NIGHT = dt.date(2026, 3, 2)
NOW = dt.datetime(2026, 3, 3, 4, tzinfo=dt.UTC)
RAY = ClusterConfig(min_rows=1, rows_per_shard=8, workers=2, threads_per_worker=1, no_progress_seconds=600)
Rows = list[tuple[str, str, str | None]]


@pytest.fixture(scope="module")
def ray_running() -> Iterator[None]:
    """One Ray for the tests of one machine."""
    with session(RAY):
        yield


def run(lake: Path, bundle: Path, config: ClusterConfig) -> str:
    done = score.fn(str(lake), night=NIGHT, now=NOW, run_id="r", bundles=[str(bundle)], cluster=config)
    return done.where


def assert_same_scores(one: Path, other: Path) -> None:
    for name in ("scored_articles", "entity_mentions", "daily_entity_sentiment"):
        tables = [Lake.open(str(lake)).stage(NIGHT).read(name) for lake in (one, other)]
        assert tables[0].num_rows == tables[1].num_rows > 0
        for column in tables[0].schema.names:
            left, right = (table[column].to_pylist() for table in tables)
            if isinstance(left[0], float):
                assert left == pytest.approx(right, abs=1e-3), column
            elif column == "entities":
                assert [[e["mention_text"] for e in row] for row in left] == [
                    [e["mention_text"] for e in row] for row in right
                ]
            else:
                assert left == right, column


def test_ray_and_this_process_give_the_same_rows(
    ray_running: None,
    tmp_path: Path,
    tiny_bundle: Path,
    stage_articles: Callable[..., None],
    news: Callable[[int], Rows],
) -> None:
    for folder in ("here", "ray"):
        stage_articles(tmp_path / folder, [*news(50), ("blank", " ", None)])
    assert run(tmp_path / "here", tiny_bundle, replace(RAY, min_rows=1_000, rows_per_shard=1_000)) == "process"
    assert run(tmp_path / "ray", tiny_bundle, RAY) == "ray"
    assert_same_scores(tmp_path / "here", tmp_path / "ray")


@pytest.mark.parametrize(("workers", "most", "rows_per_shard"), [(1, None, 50), (1, 3, 7), (3, None, 13)])
def test_any_number_of_workers_gives_the_same_rows(
    ray_running: None,
    tmp_path: Path,
    tiny_bundle: Path,
    stage_articles: Callable[..., None],
    news: Callable[[int], Rows],
    workers: int,
    most: int | None,
    rows_per_shard: int,
) -> None:
    for folder in ("here", "ray"):
        stage_articles(tmp_path / folder, news(50))
    run(tmp_path / "here", tiny_bundle, replace(RAY, min_rows=1_000, rows_per_shard=1_000))
    config = replace(RAY, workers=workers, max_workers=most, rows_per_shard=rows_per_shard)
    assert run(tmp_path / "ray", tiny_bundle, config) == "ray"
    assert_same_scores(tmp_path / "here", tmp_path / "ray")


def test_a_killed_actor_loses_and_doubles_nothing(
    ray_running: None,
    tmp_path: Path,
    tiny_bundle: Path,
    stage_articles: Callable[..., None],
    news: Callable[[int], Rows],
    children: Callable[[str], list[int]],
) -> None:
    for folder in ("here", "ray"):
        stage_articles(tmp_path / folder, news(400))
    run(tmp_path / "here", tiny_bundle, replace(RAY, min_rows=1_000, rows_per_shard=1_000))
    stage, killed = Lake.open(str(tmp_path / "ray")).stage(NIGHT), []

    def kill() -> None:
        until(lambda: any(name.endswith("-articles") for name in stage.names()), pause=0.02)
        killed.append(children("ray::MapWorker")[0])
        os.kill(killed[0], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    assert run(tmp_path / "ray", tiny_bundle, RAY) == "ray"
    thread.join()
    assert killed
    assert_same_scores(tmp_path / "here", tmp_path / "ray")


def test_finished_shards_are_not_scored_again_on_ray(
    ray_running: None,
    tmp_path: Path,
    tiny_bundle: Path,
    stage_articles: Callable[..., None],
    news: Callable[[int], Rows],
) -> None:
    stage_articles(tmp_path, news(40))
    run(tmp_path, tiny_bundle, RAY)
    stage = Lake.open(str(tmp_path)).stage(NIGHT)
    marks = [Path(stage.path(name)) for name in stage.names() if name.endswith("-articles")]
    times = {path: path.stat().st_mtime_ns for path in marks}
    marks[0].unlink()
    run(tmp_path, tiny_bundle, RAY)
    assert [path for path in marks if path.stat().st_mtime_ns != times[path]] == [marks[0]]
    assert len(marks) == 5


def job(lake: Path, bundle: Path, config: ClusterConfig = RAY) -> ScoringJob:
    return ScoringJob(bundles=(str(bundle),), lake_url=str(lake), model="m", cluster=config)


def stopped_within_a_shard(actors: list[int], stage: Stage) -> list[int]:
    """Stop these actors; gives them back if one is at a shard, else none, and lets them go on."""
    for pid in actors:
        os.kill(pid, signal.SIGSTOP)
    until(lambda: all(psutil.Process(pid).status() == psutil.STATUS_STOPPED for pid in actors), pause=0.01)
    names = stage.names()
    begun = {name.split("-")[-2] for name in names if name.startswith(TRIED)}
    if begun - {name.split("-")[-2] for name in names if name.endswith("-articles")}:
        return actors
    for pid in actors:
        os.kill(pid, signal.SIGCONT)
    return []


def test_a_shard_whose_actors_die_too_often_is_given_up_and_the_rest_is_kept(
    ray_running: None,
    tmp_path: Path,
    tiny_bundle: Path,
    stage_articles: Callable[..., None],
    news: Callable[[int], Rows],
    children: Callable[[str], list[int]],
) -> None:
    stage_articles(tmp_path, news(400))
    stage = Lake.open(str(tmp_path)).stage(NIGHT)

    def kill() -> None:
        # the last that a shard writes
        until(lambda: any(name.endswith("-articles") for name in stage.names()), pause=0.02)
        for pid in until(lambda: stopped_within_a_shard(children("ray::MapWorker"), stage), pause=0.02):
            os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    with pytest.raises(WorkersLost, match="were given to 1 workers, and each died"):
        run(tmp_path, tiny_bundle, replace(RAY, shard_tries=0))
    thread.join()
    done = [name for name in stage.names() if name.endswith("-articles")]
    assert 0 < len(done) < 50
    assert run(tmp_path, tiny_bundle, replace(RAY, min_rows=1_000)) == "process"
    assert stage.read("scored_articles").num_rows == 400


def test_an_error_in_a_shard_comes_out_as_itself(ray_running: None, tmp_path: Path, tiny_bundle: Path) -> None:
    with pytest.raises(Fatal, match="nothing is staged"):
        list(score_on_ray([Shard(night=NIGHT, key="0" * 24, rows=1)], job(tmp_path, tiny_bundle)))


def test_a_model_that_cannot_be_opened_is_refused_as_in_this_process(ray_running: None, tmp_path: Path) -> None:
    with pytest.raises(BundleRefused, match="is no bundle"):
        list(score_on_ray([Shard(night=NIGHT, key="0" * 24, rows=1)], job(tmp_path, tmp_path)))


def test_a_worker_takes_a_named_backend_only_if_it_agreed_on_a_machine_like_its_own(
    tmp_path: Path, tiny_bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing has been tried here, as on a worker of another kind than the driver's."""
    for name, taken in (("torch-bf16", "torch"), ("torch", "torch"), ("auto", "auto")):
        scorer = Scorer(replace(job(tmp_path, tiny_bundle), backend=BackendConfig(name=name)))
        assert scorer._backend() == taken
    assert "torch-bf16 has not been held against float32 on this kind of machine" in caplog.text


def test_scoring_that_stands_still_is_given_up(ray_running: None, tmp_path: Path, tiny_bundle: Path) -> None:
    with pytest.raises(NoProgress, match="no shard was finished"):
        list(
            score_on_ray(
                [Shard(night=NIGHT, key="0" * 24, rows=1)],
                job(tmp_path, tiny_bundle, replace(RAY, no_progress_seconds=0.01)),
            )
        )
