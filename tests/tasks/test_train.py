"""Labelled files to a bundle: what is left out, what is refused, what is resumed."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from data_contracts.errors import ContractBroken, Fatal
from data_contracts.labelled import NerExample, SentimentExample
from models.bundle import load
from models.plans import Plan
from models.training import Recipe
from tasks.cluster import ClusterConfig
from tasks.evaluate import evaluate
from tasks.train import LabelledFiles, Trained, aligned, example_text, read_files, train

RECIPE = Recipe(epochs=2, precision="float32", max_length=64, overlap=16, learning_rate=1e-2)
Writer = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Writer:
    """Write examples and raw lines to a JSONL file."""

    def to_file(name: str, examples: Sequence[SentimentExample | NerExample], *raw: str) -> str:
        lines = [json.dumps({k: v for k, v in asdict(example).items() if v is not None}) for example in examples]
        (tmp_path / name).write_text("\n".join([*lines, *raw]) + "\n", encoding="utf-8")
        return str(tmp_path / name)

    return to_file


def run(files: dict[str, LabelledFiles], trunk: Path, storage: Path, recipe: Recipe = RECIPE) -> Trained:
    return train.fn(
        files, trunk=str(trunk), plan=Plan(recipe=recipe), storage=str(storage), cluster=ClusterConfig(), workers=0
    )


def steps(storage: Path) -> list[tuple[int, int]]:
    (file,) = storage.glob("*/progress.jsonl")
    return [(line["started_at_epoch"], line["step"]) for line in map(json.loads, file.read_text().splitlines())]


def test_both_tasks_together_give_one_bundle_and_a_second_run_trains_no_more(
    tmp_path: Path,
    tiny_trunk: Path,
    write: Writer,
    sentiment_examples: list[SentimentExample],
    ner_examples: list[NerExample],
) -> None:
    files = {
        "sentiment": LabelledFiles(
            train=(write("s.jsonl", sentiment_examples[9:]),), dev=(write("sd.jsonl", sentiment_examples[:9]),)
        ),
        "ner": LabelledFiles(train=(write("n.jsonl", ner_examples[6:]),), dev=(write("nd.jsonl", ner_examples[:6]),)),
    }
    done = run(files, tiny_trunk, tmp_path / "store")
    assert done.tasks == load(done.bundle).heads == ("ner", "sentiment")
    assert len(done.epochs) == RECIPE.epochs
    assert all(epoch.throughput.figures()["tokens_per_second"] > 0 for epoch in done.epochs)
    before = steps(tmp_path / "store")
    assert run(files, tiny_trunk, tmp_path / "store") == done
    assert steps(tmp_path / "store") == before


def test_texts_of_the_dev_part_are_kept_out_of_training(
    tmp_path: Path, tiny_trunk: Path, write: Writer, sentiment_examples: list[SentimentExample]
) -> None:
    dev = [SentimentExample(text="  " + sentiment_examples[0].text.upper(), label="negative"), *sentiment_examples[3:6]]
    files = {"sentiment": LabelledFiles(train=(write("t.jsonl", sentiment_examples),), dev=(write("d.jsonl", dev),))}
    done = run(files, tiny_trunk, tmp_path / "store")
    assert done.in_dev_too["sentiment"] >= 4
    assert done.examples["sentiment"] == len(sentiment_examples) - done.in_dev_too["sentiment"]
    assert evaluate.fn(done.bundle, task="sentiment", dev=files["sentiment"].dev, storage=str(tmp_path)).overlap == 0


def test_texts_of_one_tasks_dev_part_are_kept_out_of_every_tasks_training(
    tmp_path: Path, write: Writer, sentiment_examples: list[SentimentExample], ner_examples: list[NerExample]
) -> None:
    """A shared trunk that learns a sentence with its entities has learnt it for its sentiment too."""
    quoted = [SentimentExample(text=" ".join(one.tokens), label="neutral") for one in ner_examples[:2]]
    files = {
        "sentiment": LabelledFiles(
            train=(write("s.jsonl", sentiment_examples[6:]),),
            dev=(write("sd.jsonl", [*sentiment_examples[:6], *quoted]),),
        ),
        "ner": LabelledFiles(train=(write("n.jsonl", ner_examples),), dev=(write("nd.jsonl", ner_examples[30:33]),)),
    }
    read = read_files(files, storage=str(tmp_path / "store"))
    dev = {example_text(one) for parts in read.data.values() for one in parts.dev}
    learnt = [example_text(one) for parts in read.data.values() for one in parts.train]
    assert learnt
    assert not dev & set(learnt)
    alone = read_files({"ner": files["ner"]}, storage=str(tmp_path / "store"))
    assert read.in_dev_too["ner"] >= alone.in_dev_too["ner"] + 2
    files["ner"] = LabelledFiles(train=(write("n2.jsonl", ner_examples[:2]),), dev=files["ner"].dev)
    with pytest.raises(Fatal, match="all 2 ner training texts stand in dev parts"):
        read_files(files, storage=str(tmp_path / "store"))


def test_a_line_that_is_no_example_is_left_out_and_kept_with_its_reason(
    tmp_path: Path, tiny_trunk: Path, write: Writer, sentiment_examples: list[SentimentExample]
) -> None:
    bad = '{"text": "so-so", "label": "mixed"}'
    files = {
        "sentiment": LabelledFiles(
            train=(write("t.jsonl", sentiment_examples[6:], bad),), dev=(write("d.jsonl", sentiment_examples[:6]),)
        )
    }
    done = run(files, tiny_trunk, tmp_path / "store")
    (rejects,) = (tmp_path / "store" / "rejected").iterdir()
    (line,) = map(json.loads, rejects.read_text().splitlines())
    assert done.rejected == {"sentiment": 1}
    assert line["line"] == len(sentiment_examples) - 5
    assert line["text"] == bad
    assert "mixed" in line["reason"]


def test_too_many_bad_lines_train_nothing(
    tmp_path: Path, tiny_trunk: Path, write: Writer, sentiment_examples: list[SentimentExample]
) -> None:
    train_file = write("t.jsonl", sentiment_examples[:20], *['{"text": "x"}'] * 5)
    files = {"sentiment": LabelledFiles(train=(train_file,), dev=(write("d.jsonl", sentiment_examples[20:]),))}
    with pytest.raises(ContractBroken, match=r"5 of 25 lines .* allowed is a share of 5%.* Line 21"):
        run(files, tiny_trunk, tmp_path / "store")
    assert not list((tmp_path / "store").glob("*/progress.jsonl"))


@pytest.mark.parametrize(("content", "match"), [(None, "no labelled file"), ("", "no sentiment example")])
def test_missing_and_empty_files_are_refused(tmp_path: Path, tiny_trunk: Path, content: str | None, match: str) -> None:
    path = tmp_path / "t.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(Fatal, match=match):
        run({"sentiment": LabelledFiles(train=(str(path),), dev=(str(path),))}, tiny_trunk, tmp_path / "store")


def test_a_stopped_training_goes_on_at_its_last_epoch(
    tmp_path: Path,
    tiny_trunk: Path,
    write: Writer,
    sentiment_examples: list[SentimentExample],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from models.fitting import Fitting

    files = {
        "sentiment": LabelledFiles(
            train=(write("t.jsonl", sentiment_examples[9:]),), dev=(write("d.jsonl", sentiment_examples[:9]),)
        )
    }
    recipe, epoch = replace(RECIPE, epochs=4, patience=0), Fitting.epoch

    def stopped_in_the_third(fitting: Fitting) -> dict[str, float]:
        if fitting.epochs_done == 2:
            raise KeyboardInterrupt
        return epoch(fitting)

    monkeypatch.setattr(Fitting, "epoch", stopped_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        run(files, tiny_trunk, tmp_path / "store", recipe)
    monkeypatch.setattr(Fitting, "epoch", epoch)
    run(files, tiny_trunk, tmp_path / "store", recipe)
    each = steps(tmp_path / "store")
    assert each[0][1] > 0
    assert each == [(0, each[0][1]), (0, 2 * each[0][1]), (2, 3 * each[0][1]), (2, 4 * each[0][1])]


def test_several_seeds_become_one_model_of_the_same_size(
    write: Writer, tiny_trunk: Path, tmp_path: Path, sentiment_examples: list[SentimentExample]
) -> None:
    files = {
        "sentiment": LabelledFiles(
            train=(write("t.jsonl", sentiment_examples),), dev=(write("d.jsonl", sentiment_examples[:9]),)
        )
    }
    trained = train.fn(
        files, trunk=str(tiny_trunk), plan=Plan(recipe=RECIPE, seeds=2), storage=str(tmp_path / "store"), cluster=ClusterConfig(), workers=0
    )  # fmt: skip
    mean = load(trained.bundle)
    assert Path(trained.bundle).name == "soup-of-2"
    assert mean.heads == ("sentiment",)
    assert mean.manifest.metrics["sentiment"]["n"] == 9


def test_auxiliary_files_that_no_epoch_would_read_are_refused(
    tmp_path: Path, tiny_trunk: Path, write: Writer, sentiment_examples: list[SentimentExample]
) -> None:
    train_file, dev = write("t.jsonl", sentiment_examples[9:]), write("d.jsonl", sentiment_examples[:9])
    files = {"sentiment": LabelledFiles(train=(train_file,), dev=(dev,), auxiliary=(train_file,))}
    with pytest.raises(Fatal, match="auxiliary_epochs is 0; allowed with them: 1 or more"):
        run(files, tiny_trunk, tmp_path / "store")


def test_auxiliary_words_of_types_that_home_lacks_are_o() -> None:
    home = [NerExample(tokens=("Acme",), tags=("B-ORG",))]
    other = NerExample(tokens=("Acme", "Open", "Cup"), tags=("B-ORG", "B-MISC", "I-MISC"))
    assert aligned([other], home) == [NerExample(tokens=other.tokens, tags=("B-ORG", "O", "O"))]
