"""What an epoch learns from: all of it, changed the same way on every rank, and nothing that the recipe leaves out."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_contracts.labelled import NerExample, SentimentExample
from models.encoder import Encoder
from models.epochs import Epochs, without_entities
from models.heads.sentiment import SentimentHead
from models.items import Item, head_options, make_items, soft_targets
from models.recipe import Recipe, RecipeRefused, TaskData
from models.starting import begin
from models.training import fit

Data = dict[str, TaskData]


def epochs_of(trunk: Path, data: Data, recipe: Recipe) -> tuple[Epochs, dict[str, list[Item]], Encoder]:
    start = begin(str(trunk), tuple(data), head_options(data, recipe), word_shapes=recipe.word_shapes)
    items = {task: make_items(start.network.head(task), start.encoder, parts, recipe) for task, parts in data.items()}
    made = Epochs(items=items, data=data, network=start.network, encoder=start.encoder, recipe=recipe)
    return made, items, start.encoder


def taken(epochs: Epochs, task: str, epoch: int) -> list[int]:
    return sorted(index for step in epochs.steps(epoch) if step.task == task for index in step.items)


def test_by_default_every_epoch_takes_every_item_as_it_is(
    tiny_trunk: Path, tiny_data: Data, tiny_recipe: Recipe
) -> None:
    epochs, items, _ = epochs_of(tiny_trunk, tiny_data, tiny_recipe)
    for epoch in range(3):
        assert epochs.items(epoch) == items
        assert {task: taken(epochs, task, epoch) for task in items} == {task: list(range(10)) for task in items}
    assert epochs.total == 4 * tiny_recipe.epochs


def test_auxiliary_examples_join_the_first_epochs_only(tiny_trunk: Path, tiny_data: Data, tiny_recipe: Recipe) -> None:
    parts = tiny_data["ner"]
    data = {"ner": TaskData(parts.train[:6], parts.dev, parts.train[6:])}
    recipe = dataclasses.replace(tiny_recipe, auxiliary_epochs=2, epochs=3)
    epochs, items, _ = epochs_of(tiny_trunk, data, recipe)
    assert [len(taken(epochs, "ner", epoch)) for epoch in range(3)] == [10, 10, 6]
    assert epochs.total == 2 + 2 + 2
    assert [item.source for item in items["ner"]] == list(range(10))
    without, _, _ = epochs_of(tiny_trunk, data, dataclasses.replace(recipe, auxiliary_epochs=0))
    assert taken(without, "ner", 0) == list(range(6))


def test_of_sentences_without_entities_a_share_is_kept(tiny_trunk: Path, tiny_data: Data, tiny_recipe: Recipe) -> None:
    empty = [NerExample(tokens=("the", "bank"), tags=("O", "O"))] * 300
    data = {"ner": TaskData([*tiny_data["ner"].train[:8], *empty], tiny_data["ner"].dev)}
    recipe = dataclasses.replace(tiny_recipe, negative_share=0.3)
    epochs, _, _ = epochs_of(tiny_trunk, data, recipe)
    each = [taken(epochs, "ner", epoch) for epoch in range(4)]
    assert all(one[:8] == list(range(8)) for one in each)
    assert np.mean([len(one) - 8 for one in each]) == pytest.approx(90, abs=15)
    assert each[0] != each[1]
    assert [taken(epochs_of(tiny_trunk, data, recipe)[0], "ner", epoch) for epoch in range(4)] == each
    assert epochs.total == sum(len(epochs.steps(epoch)) for epoch in range(recipe.epochs))
    nothing = dataclasses.replace(recipe, negative_share=0.0)
    with pytest.raises(RecipeRefused, match="leaves nothing"):
        epochs_of(tiny_trunk, {"ner": TaskData(empty, empty)}, nothing)[0].steps(0)


def test_augmented_items_stand_where_their_originals_do_and_carry_their_own_targets(
    tiny_trunk: Path, tiny_data: Data, tiny_recipe: Recipe
) -> None:
    recipe = dataclasses.replace(tiny_recipe, augment={"insert": 0.6, "entity": 0.6})
    epochs, items, _ = epochs_of(tiny_trunk, tiny_data, recipe)
    first, again = (epochs_of(tiny_trunk, tiny_data, recipe)[0].items(1) for _ in range(2))
    for task, some in items.items():
        mine = epochs.items(1)[task]
        changed = [index for index, (one, other) in enumerate(zip(some, mine, strict=True)) if one is not other]
        assert 2 <= len(changed) <= 9
        for index, (one, other) in enumerate(zip(some, mine, strict=True)):
            assert one.source == other.source == index
            for item in (one, other):
                assert len(item.targets[0]) == (len(item.windows[0].ids) if task == "ner" else 1)
            assert one.windows[0].key == some[index].windows[0].key
        for one, other in zip(first[task], again[task], strict=True):
            assert one.windows[0].key == other.windows[0].key
        assert {one.windows[0].key for one in epochs.items(2)[task]} != {one.windows[0].key for one in mine}


def test_a_long_example_is_not_augmented(tiny_trunk: Path, tiny_data: Data, tiny_recipe: Recipe) -> None:
    long = SentimentExample(text="profit rises " * 40, label="positive")
    data = {"sentiment": TaskData([long, *tiny_data["sentiment"].train], tiny_data["sentiment"].dev)}
    epochs, items, _ = epochs_of(tiny_trunk, data, dataclasses.replace(tiny_recipe, augment={"insert": 1.0}))
    windows = sum(item.source == 0 for item in items["sentiment"])
    assert windows > 1
    assert epochs.items(0)["sentiment"][:windows] == items["sentiment"][:windows]


@pytest.mark.parametrize(
    ("example", "empty"),
    [
        (NerExample(tokens=("a",), tags=("O",)), True),
        (NerExample(tokens=("a",), tags=("B-ORG",)), False),
        (SentimentExample(text="a", label="neutral"), False),
    ],
)
def test_only_examples_that_could_mark_entities_are_without_them(example: Any, empty: bool) -> None:
    assert without_entities(example) is empty


@pytest.mark.parametrize(
    ("label", "agreement", "expected"),
    [
        ("negative", 75, [0.75, 0.25, 0.0]),
        ("neutral", 66, [0.17, 0.66, 0.17]),
        ("positive", 100, [0.0, 0.0, 1.0]),
        ("positive", 30, [0.0, 0.5, 0.5]),
    ],
)
def test_annotators_agreement_is_shared_with_the_neighbours(
    label: str, agreement: int, expected: list[float], tiny_trunk: Path, tiny_data: Data, tiny_recipe: Recipe
) -> None:
    head = SentimentHead(4, head_options({}, tiny_recipe))
    found = head.soft_targets(SentimentExample(text="a", label=label, agreement=agreement))
    assert found is not None
    assert found.tolist() == pytest.approx(expected)
    assert head.soft_targets(SentimentExample(text="a", label=label)) is None


def test_items_without_agreement_learn_their_label_and_those_without_label_nothing(
    tiny_trunk: Path, tiny_data: Data, tiny_recipe: Recipe
) -> None:
    train = [
        SentimentExample(text="profit", label="positive", agreement=80),
        SentimentExample(text="loss", label="negative"),
    ]
    recipe = dataclasses.replace(tiny_recipe, agreement_smoothing=True)
    _, items, _ = epochs_of(tiny_trunk, {"sentiment": TaskData(train, train)}, recipe)
    bare = dataclasses.replace(items["sentiment"][0], targets=(np.array([-100]),), soft=None)
    rows = soft_targets([*items["sentiment"], bare], labels=3)
    assert rows is not None
    assert rows.tolist() == [pytest.approx([0.0, 0.2, 0.8]), [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    assert soft_targets([bare], labels=3) is None


LEVERS: dict[str, dict[str, Any]] = {
    "layer_decay": {"layer_decay": 0.8},
    "agreement_smoothing": {"agreement_smoothing": True},
    "batch_tokens": {"batch_tokens": 48},
    "swa": {"averaging": "swa"},
    "augment": {"augment": {"insert": 0.3, "swap": 0.2, "delete": 0.2, "entity": 0.3}},
    "negative_share": {"negative_share": 0.5},
    "auxiliary": {"auxiliary_epochs": 5},
}


@pytest.mark.parametrize("lever", LEVERS)
def test_ten_examples_are_learnt_by_heart_with_each_lever(
    lever: str, tiny_trunk: Path, tiny_data: Data, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    best: list[float] = []
    sentiment = [dataclasses.replace(one, agreement=75) for one in tiny_data["sentiment"].train]
    data = {
        "sentiment": TaskData(sentiment, sentiment, sentiment[:3]),
        "ner": dataclasses.replace(tiny_data["ner"], auxiliary=tiny_data["ner"].train[:3]),
    }
    fit(
        trunk=str(tiny_trunk),
        data=data,
        recipe=dataclasses.replace(tiny_recipe, epochs=45, **LEVERS[lever]),
        output=tmp_path / "b",
        on_epoch=lambda progress, _: best.append(progress.best),
    )
    assert best[-1] == 1.0
