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
    name: str, small_joint: Path, made_up: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module, given = RUNS[name]
    shared = ["--data", str(made_up), "--home", str(tmp_path), "--model", str(small_joint), "--backend", "torch"]
    module.main([*given, *shared, "--runs", "1", "--json"])
    figure = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figure["name"] == name
    assert figure["ours"] > 0
    assert figure["peer"] > 0
    assert figure["ratio"] == pytest.approx(figure["ours"] / figure["peer"])
    assert figure["unit"]
    assert figure["reach"]


def test_without_the_public_data_a_benchmark_says_so(small_joint: Path, tmp_path: Path) -> None:
    with pytest.raises(Missing, match="--data DIR"):
        headlines.measure(rows=4, runs=1, data=tmp_path, home=tmp_path, model=str(small_joint), backend="torch")


def test_the_sample_has_no_articles_and_the_error_says_what_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        articles.main(["--home", str(tmp_path)])
    assert ended.value.code == 2
    assert "--data DIR" in capsys.readouterr().err


def test_a_model_is_measured_as_a_copy_so_that_nothing_is_settled_beside_it(small_joint: Path, tmp_path: Path) -> None:
    model = shutil.copytree(small_joint, tmp_path / "model")
    (model / "exports" / "old").mkdir(parents=True)
    (copy,) = desk.bundles_of(str(model), tmp_path / "home")
    assert copy.is_relative_to(tmp_path / "home")
    assert load(copy).digest == load(model).digest
    assert not (copy / "exports").exists()
    assert (copy / "heads.safetensors").samefile(model / "heads.safetensors")
    assert desk.bundles_of(str(copy), tmp_path / "home") == [copy]
    given = texts.headlines(None, 8)
    desk.desk([copy], "torch-bf16", texts=given, labelled=texts.labelled(None), home=tmp_path / "home")
    assert list((copy / "exports").glob("*/choice-*.json"))
    assert [path.name for path in (model / "exports").iterdir()] == ["old"]


def test_where_files_cannot_be_linked_they_are_copied(
    small_joint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("another file system")

    monkeypatch.setattr(desk.os, "link", refuse)
    copy = desk.copied(small_joint, tmp_path)
    assert load(copy).digest == load(small_joint).digest
    assert not (copy / "heads.safetensors").samefile(small_joint / "heads.safetensors")


def test_float32_answers_as_its_peer_does_or_better(small_joint: Path, tmp_path: Path) -> None:
    figure = headlines.measure(rows=8, runs=1, data=None, home=tmp_path, model=str(small_joint), backend="torch")
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


def test_the_peer_reads_the_word_shapes_that_the_bundle_learnt(small_joint: Path) -> None:
    bundle = load(small_joint)
    assert bundle.manifest.word_shapes
    tokenizer, encoder = Pipelines([bundle]).tokenizer, bundle.encoder()
    for text in [*(title for title, _ in texts.headlines(None, 40)), "", "the U.S. bank: 12% \U0001f600 株 ABC"]:
        read = tokenizer(text, truncation=True, return_tensors="pt")
        whole = encoder.encode([text])[0].shapes.tolist()
        assert read["shapes"].tolist() == [[0, *whole[: read["input_ids"].shape[1] - 2], 0]]


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
