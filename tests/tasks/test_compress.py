"""Bundles and labelled files in, smaller or combined bundles out."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from data_contracts.errors import Fatal
from data_contracts.labelled import SentimentExample
from models.bundle import load
from models.compress.magnitude import sparsity
from models.engine import Predictor
from models.evaluation import evaluate
from models.plans import Plan
from models.training import Recipe, TaskData, fit
from tasks.cluster import ClusterConfig
from tasks.combine import combine
from tasks.compress import Compression, compress
from tasks.distil import Teaching, distil
from tasks.narrow import narrowed
from tasks.train import LabelledFiles

RECIPE = Recipe(epochs=2, precision="float32", max_length=64, overlap=16, learning_rate=1e-2)


@pytest.fixture
def files(tmp_path: Path, sentiment_examples: list[SentimentExample]) -> dict[str, LabelledFiles]:
    """The task's examples, and others to choose by."""
    unseen = [replace(one, text=f"{one.text} quarter") for one in sentiment_examples[:9]]

    def write(name: str, some: Sequence[SentimentExample]) -> tuple[str, ...]:
        lines = [json.dumps({key: value for key, value in asdict(one).items() if value is not None}) for one in some]
        (tmp_path / name).write_text("\n".join(lines))
        return (str(tmp_path / name),)

    return {"sentiment": LabelledFiles(train=write("t.jsonl", sentiment_examples), dev=write("d.jsonl", unseen))}


def test_a_student_is_taught_by_a_joint_model_with_texts_that_stand_in_no_dev_part(
    tmp_path: Path, tiny_trunk: Path, tiny_bundle: Path, files: dict[str, LabelledFiles]
) -> None:
    dev = [json.loads(line)["text"] for line in Path(files["sentiment"].dev[0]).read_text().splitlines()]
    (tmp_path / "texts.txt").write_text("\n".join(["record growth today", dev[0], "record growth today", "fraud fell"]))
    teaching = Teaching(teachers=(str(tiny_bundle),), unlabelled=(str(tmp_path / "texts.txt"),), alpha=0.3)
    given = {"student": f"bilstm@{tiny_trunk}", "plan": Plan(recipe=RECIPE), "storage": str(tmp_path / "store")}
    done = distil.fn(files, teaching=teaching, cluster=ClusterConfig(), workers=0, **given)  # type: ignore[arg-type]
    student = load(done.bundle)
    assert student.manifest.trunk_kind == "bilstm"
    assert student.manifest.recipe["distillation"]["unlabelled"] == 2
    assert student.heads == ("sentiment",)
    assert distil.fn(files, teaching=teaching, cluster=ClusterConfig(), workers=0, **given) == done  # type: ignore[arg-type]
    other = replace(teaching, alpha=0.9)
    assert distil.fn(files, teaching=other, cluster=ClusterConfig(), workers=0, **given).bundle != done.bundle  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("compression", "changed"),
    [
        (Compression(method="int8"), "size_share"),
        (Compression(method="magnitude", share=0.4), "nonzero"),
        (Compression(method="structured", share=0.4, taught=True), "parameters"),
    ],
    ids=lambda one: getattr(one, "method", None),
)
def test_each_method_leaves_a_model_that_scores_and_says_what_it_weighs(
    compression: Compression, changed: str, tmp_path: Path, tiny_bundle: Path, files: dict[str, LabelledFiles]
) -> None:
    done = compress.fn(
        str(tiny_bundle),
        files,
        compression=compression,
        plan=Plan(recipe=replace(RECIPE, epochs=4, word_shapes=True)),
        storage=str(tmp_path / "store"),
        cluster=ClusterConfig(),
        workers=0,
    )
    report, small = done.report, load(done.bundle)
    assert small.heads == ("sentiment",)
    assert not small.manifest.word_shapes  # its own, not the plan's
    saved = {
        "size_share": report.size_share < 0.9,
        "nonzero": sparsity(small.network().trunk.encoder) == pytest.approx(0.4, abs=0.01),
        "parameters": report.after.parameters < report.before.parameters,
    }
    assert saved[changed]
    assert report.f1_change["sentiment"] > -0.2
    assert Predictor([small]).tasks == ("sentiment",)
    assert bool(small.manifest.teachers) == compression.taught


def test_models_are_combined_once_whatever_their_order(
    tmp_path: Path,
    tiny_trunk: Path,
    tiny_bundle: Path,
    sentiment_examples: list[SentimentExample],
    files: dict[str, LabelledFiles],
) -> None:
    data = {"sentiment": TaskData(sentiment_examples, sentiment_examples)}
    other = str(fit(trunk=str(tiny_trunk), data=data, recipe=replace(RECIPE, seed=5), output=tmp_path / "other"))
    dev = files["sentiment"].dev
    for how in ("ensemble", "soup"):
        done = [
            combine.fn(models, how=how, task="sentiment", dev=dev, storage=str(tmp_path))  # type: ignore[arg-type]
            for models in ([str(tiny_bundle), other], [other, str(tiny_bundle)])
        ]
        assert done[0] == done[1]
        assert load(done[0]).heads == ("sentiment",)
    with pytest.raises(Fatal, match="allowed: ensemble, soup"):
        combine.fn([other], how="stew", task="sentiment", dev=dev, storage=str(tmp_path))  # type: ignore[arg-type]


def test_a_joint_ensemble_is_narrowed_member_by_member(
    tmp_path: Path,
    tiny_trunk: Path,
    tiny_bundle: Path,
    sentiment_examples: list[SentimentExample],
    ner_examples: list[object],
) -> None:
    from models.ensemble import build

    data = {"sentiment": TaskData(sentiment_examples, sentiment_examples), "ner": TaskData(ner_examples, ner_examples)}
    other = fit(trunk=str(tiny_trunk), data=data, recipe=replace(RECIPE, seed=5), output=tmp_path / "other")
    dev = {  # not learnt: an accent, which the tokenizer drops, makes each another text
        "sentiment": [replace(one, text=f"{one.text}\u0301") for one in sentiment_examples],
        "ner": [replace(one, tokens=(*one.tokens[:-1], f"{one.tokens[-1]}\u0301")) for one in ner_examples],
    }
    whole = build([tiny_bundle, other], tmp_path / "whole", dev)
    small = narrowed(whole, ["ner"], tmp_path / "narrow")
    assert load(small).heads == ("ner",)
    figures = [evaluate(path, "ner", ner_examples, allow_overlap=True).f1 for path in (whole, small)]
    assert figures[0] == figures[1]
    assert narrowed(whole, ["ner"], tmp_path / "narrow") == small


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(Fatal, match="allowed: int8, magnitude, structured"):
        Compression(method="zip")  # type: ignore[arg-type]
