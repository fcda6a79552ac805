import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from benchmarks import articles, desk, engine, headlines, memory, one_head, parquet, texts
from benchmarks.figure import Missing
from benchmarks.pipelines import Pipelines
from models.bundle import load

pytestmark = pytest.mark.filterwarnings("ignore")  # of exporters and pipelines, about what is to go

RUNS = {
    "headlines": (headlines, ["--rows", "24"]),
    "articles": (articles, ["--rows", "8", "--peer-rows", "4"]),
    "one_head": (one_head, ["--rows", "24"]),
    "engine": (engine, ["--rows", "24"]),
    "memory": (memory, ["--sizes", "10,20"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_benchmark_ends_with_its_figure(
    name: str, small_joint: Path, made_up: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module, given = RUNS[name]
    shared = ["--data", str(made_up), "--model", str(small_joint), "--backend", "torch", "--runs", "1", "--json"]
    module.main([*given, *shared])
    figure = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figure["name"] == name
    assert figure["ours"] > 0
    assert figure["peer"] > 0
    assert figure["ratio"] == pytest.approx(figure["ours"] / figure["peer"])
    assert figure["unit"]
    assert figure["reach"]


def test_without_the_public_data_a_benchmark_says_so(small_joint: Path, tmp_path: Path) -> None:
    with pytest.raises(Missing, match="--data DIR"):
        headlines.measure(rows=4, runs=1, data=tmp_path, model=str(small_joint), backend="torch")


def test_float32_answers_as_its_peer_does_or_better(small_joint: Path) -> None:
    figure = headlines.measure(rows=8, runs=1, data=None, model=str(small_joint), backend="torch")
    f1 = figure.also["f1"]
    assert set(f1) == {"sentiment", "ner", "entity_sentiment"}
    assert f1["sentiment"]["peer"] == pytest.approx(f1["sentiment"]["float32"], abs=0.02)  # sentences are read apart
    assert all(one["ours"] == one["float32"] for one in f1.values())


def test_a_pipeline_answers_with_the_weights_of_the_bundle(small_joint: Path) -> None:
    bundle = load(small_joint)
    text = texts.headlines(None, 1)[0][0]
    peer = Pipelines([bundle])
    said = {one["label"]: one["score"] for one in peer.ask("sentiment", [text])[0]}
    held = desk.desk([small_joint], "torch", texts=[(text, None)], labelled=texts.labelled(None), home=small_joint)
    row = held.predictor.predict(parquet.table([(text, None)])).articles.to_pylist()[0]
    assert [row[f"p_{label}"] for label in said] == pytest.approx(list(said.values()), abs=1e-4)


def test_texts_are_scored_from_file_to_files_by_batches(small_joint: Path, tmp_path: Path) -> None:
    given = texts.headlines(None, 30)
    held = desk.desk([small_joint], "torch", texts=given, labelled=texts.labelled(None), home=tmp_path)
    done = parquet.score(held.predictor, parquet.write(given, tmp_path / "texts.parquet"), tmp_path)
    scored = pq.read_table(tmp_path / "articles.parquet")
    assert scored["id"].to_pylist() == [str(row) for row in range(30)]
    assert done == (30, sum(scored["tokens_scored"].to_pylist()))


def test_varied_headlines_are_as_many_as_asked_for_and_no_two_are_equal(made_up: Path) -> None:
    drawn = [title for title, _ in texts.varied(made_up, 500)]
    assert len(set(drawn)) == 500
    assert drawn == [title for title, _ in texts.varied(made_up, 500)]


def test_the_benchmarks_own_model_is_trained_once(small_joint: Path, tmp_path: Path) -> None:
    shutil.copytree(small_joint, tmp_path / "joint")
    assert desk.joint_bundle(tmp_path, "no such trunk") == tmp_path / "joint"
