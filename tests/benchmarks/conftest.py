"""A bundle small enough to measure with, and public data made up."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from benchmarks.desk import joint_bundle
from benchmarks.texts import LABELLED, SAMPLE
from tests.models.conftest import tiny_trunk  # noqa: F401

HEADLINES = [
    "profit rises sharply",
    "Acme Bank of Oslo said shares falls",
    "loss of the bank",
    "Ada Lund said on monday",
    "the north of the city",
]


@pytest.fixture(scope="session")
def small_joint(tiny_trunk: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    home = tmp_path_factory.mktemp("benchmarks")
    return joint_bundle(home, str(tiny_trunk), epochs=1, max_length=64, overlap=16, precision="float32")


@pytest.fixture(scope="session")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    (data / "news").mkdir()
    for paper in ("reuters", "guardian", "cnbc"):
        with (data / "news" / f"{paper}_headlines.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(("2026-03-02", line) for line in HEADLINES * 20)
    articles = [{"title": line, "content": f"{line}. " * (10 * number)} for number, line in enumerate(HEADLINES * 2)]
    (data / "news" / "crypto_news.json").write_text(json.dumps(articles), encoding="utf-8")
    for task, name in LABELLED.items():
        (data / "labelled" / task).mkdir(parents=True)
        shutil.copy(SAMPLE / "labelled" / f"{task}.dev.jsonl", data / "labelled" / task / f"{name}.dev.jsonl")
    return data
