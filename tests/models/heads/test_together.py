"""Every head in one trunk: each learns, every parameter takes part, the same seed gives the same bundle."""

import dataclasses
from pathlib import Path

import pytest

from data_contracts.labelled import EntitySentimentExample, SummaryExample, TopicsExample
from data_contracts.labels import TASKS
from models.bundle import load
from models.fitting import Fitting
from models.scoring import Scorer
from models.stepping import loss_of
from models.training import Recipe, TaskData, fit, identity

Data = dict[str, TaskData]


@pytest.fixture
def data(
    tiny_data: Data,
    topics: list[TopicsExample],
    opinions: list[EntitySentimentExample],
    summaries: list[SummaryExample],
) -> Data:
    others = {"topics": topics, "entity_sentiment": opinions, "summary": summaries}
    return tiny_data | {task: TaskData(examples, examples) for task, examples in others.items()}


@pytest.fixture
def recipe(tiny_recipe: Recipe) -> Recipe:
    return dataclasses.replace(
        tiny_recipe, epochs=1, dropout=0.1, crf=True, label_features=("affix", "company_form", "shape")
    )


def test_every_parameter_of_every_head_takes_part_in_every_step(
    data: Data, recipe: Recipe, tiny_trunk: Path, tmp_path: Path
) -> None:
    fitting = Fitting.start(
        trunk=str(tiny_trunk),
        data=data,
        recipe=recipe,
        output=tmp_path,
        rank=0,
        world=1,
        wrap=identity,
        allow_hub=False,
    )
    for task in TASKS:
        fitting.network.zero_grad(set_to_none=True)
        loss_of(fitting, task, fitting.items[task][:2]).backward()
        assert [name for name, parameter in fitting.network.named_parameters() if parameter.grad is None] == []


def test_the_same_seed_gives_the_same_bundle_and_it_answers_all_tasks(
    data: Data, recipe: Recipe, tiny_trunk: Path, tmp_path: Path
) -> None:
    one, two = (fit(trunk=str(tiny_trunk), data=data, recipe=recipe, output=tmp_path / name) for name in ("a", "b"))
    bundle = load(one)
    assert bundle.digest == load(two).digest
    assert bundle.heads == tuple(sorted(TASKS))
    scorer = Scorer(bundle, token_budget=512, max_windows=None)
    texts = ["Acme Holdings said profit rises. Bolt falls on monday.", "\u200d", "shares\nof U.S. bank"]
    first, _, last = scorer.score(texts)
    assert set(first.probabilities) == {"sentiment", "topics"}
    assert first.extract
    assert [first.text[one.start : one.end] for one in first.extract] == [
        "Acme Holdings said profit rises.",
        "Bolt falls on monday.",
    ]
    [alone] = scorer.score(texts[2:])
    assert [(one.start, one.end) for one in alone.extract] == [(one.start, one.end) for one in last.extract]
    assert [one.score for one in alone.extract] == pytest.approx([one.score for one in last.extract], abs=1e-5)
