"""Before a night is scored its backend is settled: looked up, tried, or refused."""

import datetime as dt
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from data_contracts.labelled import read_labelled
from flows.settings import SAMPLE, load
from flows.wiring import backend_of
from models.backends import AUTO, NAMES, BackendRefused, auto
from models.bundle import Bundle
from models.bundle import load as load_bundle
from models.contamination import text_hashes
from tasks import backends
from tasks.backends import BackendConfig, BackendName, settle_backends
from tasks.cluster import ClusterConfig
from tasks.score import score
from tasks.settle import settle_champions

LABELLED = {task: (SAMPLE / "labelled" / f"{task}.dev.jsonl",) for task in ("sentiment", "ner")}
TEXTS = ["profit of the bank rises", "the river falls on monday"]


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy, since a choice lies beside it."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


@pytest.fixture
def torch_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto, "TRIED", ("torch", "torch-bf16"))
    monkeypatch.setattr(backends, "WORTH", 0)


def test_settings_name_every_backend() -> None:
    assert get_args(BackendName) == (AUTO, *NAMES)
    config = backend_of(load())
    assert config.name == "torch"  # the tests' own choice, from the environment
    assert all(path.is_file() for paths in config.labelled.values() for path in paths)


def test_auto_settles_each_bundle_once(bundle: Path, torch_alone: None) -> None:
    config = BackendConfig(name="auto", labelled=LABELLED)
    settle_backends([bundle], config, texts=TEXTS, rows=len(TEXTS), token_budget=2048)
    choice = auto.remembered(load_bundle(bundle))
    assert choice is not None
    assert {trial.backend for trial in choice.trials} == {"torch", "torch-bf16"}
    settle_backends([bundle], config, texts=TEXTS, rows=len(TEXTS), token_budget=2048)
    assert auto.remembered(load_bundle(bundle)) == choice


def test_auto_tries_nothing_for_a_small_night_but_takes_what_was_tried(
    bundle: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = BackendConfig(name="auto", labelled=LABELLED)
    with caplog.at_level(logging.INFO):
        settle_backends([bundle], config, texts=TEXTS, rows=1000, token_budget=2048)
    assert "is scored by torch: no backend has been tried, which pays from 1000000 characters on" in caplog.text
    assert auto.remembered(load_bundle(bundle)) is None
    monkeypatch.setattr(auto, "TRIED", ("torch", "torch-bf16"))
    settle_backends([bundle], config, texts=TEXTS, rows=1_000_000, token_budget=2048)
    assert auto.remembered(load_bundle(bundle)) is not None


def test_without_labelled_examples_auto_takes_the_reference_and_says_so(
    bundle: Path, torch_alone: None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        settle_backends([bundle], BackendConfig(name="auto"), texts=TEXTS, rows=len(TEXTS), token_budget=2048)
    assert "is scored by torch: the check set has no labelled examples of ner, sentiment" in caplog.text
    with pytest.raises(BackendRefused, match="no labelled examples of ner, sentiment"):
        settle_backends([bundle], BackendConfig(name="torch-bf16"), texts=TEXTS, rows=len(TEXTS), token_budget=2048)


def test_examples_that_a_model_has_learnt_are_left_out(
    bundle: Path, torch_alone: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = load_bundle(bundle)
    own = [one.text for one in _sentiment_examples()][:3]
    monkeypatch.setattr(Bundle, "learnt", lambda self: text_hashes(own))
    settle_backends(
        [bundle], BackendConfig(name="torch-bf16", labelled=LABELLED), texts=TEXTS, rows=len(TEXTS), token_budget=2048
    )
    choice = auto.remembered(given)
    assert choice is not None
    trial = choice.trial("torch-bf16")
    assert trial is not None
    assert trial.agreement is not None
    assert trial.agreement.tasks["sentiment"].examples == len(_sentiment_examples()) - 3


def test_champions_are_settled_on_the_dev_files_that_chose_them(
    bundle: Path, tmp_path: Path, torch_alone: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    dev = tmp_path / "dev.jsonl"
    dev.write_text("".join(path.read_text(encoding="utf-8") for path in LABELLED["sentiment"] * 2), encoding="utf-8")
    seconds = {"torch": 0.05, "torch-bf16": 0.02}
    monkeypatch.setattr(auto, "_seconds", lambda backend, batches: seconds[backend.name])
    config = backend_of(load(), "auto", dev={"sentiment": [str(dev)]})
    train = {"sentiment": [str(SAMPLE / "labelled" / "sentiment.train.jsonl")]}
    settled = settle_champions.fn([bundle], config, train=train, token_budget=2048)
    choice = auto.remembered(load_bundle(bundle))
    assert choice is not None
    assert choice.backend == settled
    trial = choice.trial("torch-bf16")
    assert trial is not None
    assert trial.agreement is not None
    assert trial.agreement.tasks["sentiment"].examples == 2 * len(_sentiment_examples())


def test_a_night_is_scored_by_the_backend_of_the_settings(
    tmp_path: Path,
    bundle: Path,
    stage_articles: Callable[..., None],
    news: Callable[[int], list[tuple[str, str, str | None]]],
) -> None:
    stage_articles(tmp_path / "lake", news(12))
    done = score.fn(
        str(tmp_path / "lake"),
        night=dt.date(2026, 3, 2),
        now=dt.datetime(2026, 3, 3, 4, tzinfo=dt.UTC),
        run_id="r1",
        bundles=[str(bundle)],
        cluster=ClusterConfig(),
        backend=BackendConfig(name="torch-bf16", labelled=LABELLED),
    )
    assert done.new == 12
    choice = auto.remembered(load_bundle(bundle))
    assert choice is not None
    assert choice.trial("torch-bf16") is not None


def _sentiment_examples() -> list[Any]:
    return list(read_labelled(LABELLED["sentiment"][0], "sentiment").examples)
