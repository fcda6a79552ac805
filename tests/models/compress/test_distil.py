"""A student learns what its teachers say, also of texts that nobody labelled."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from data_contracts.labelled import SentimentExample
from models.bundle import load
from models.compress.distil import Distillation, DistillationRefused, divergence
from models.evaluation import evaluate
from models.heads import HeadOptions, head_class
from models.recipe import Recipe, TaskData
from models.scoring import Scorer
from models.training import fit

Data = dict[str, TaskData]
TEXTS = tuple(
    " ".join(words)
    for words in itertools.chain(
        itertools.product(("profit", "loss", "shares"), ("rises", "falls"), ("sharply", "on monday", "in the city")),
        itertools.product(("the bank said",), ("profit", "loss", "shares"), ("rises", "falls")),
    )
)


def _labels(bundle: Path, texts: tuple[str, ...]) -> list[int]:
    scored = Scorer(load(bundle), token_budget=2048, max_windows=None).score(texts)
    return [int(one.probabilities["sentiment"].argmax()) for one in scored]


def test_a_student_with_a_teacher_answers_more_like_it_than_one_without(
    tiny_bundle: Path, tiny_trunk: Path, unseen_data: Data, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    """Three labels for both; the teacher knows ten, and tells what it thinks of texts without any."""
    few = {"sentiment": TaskData(unseen_data["sentiment"].train[::4], unseen_data["sentiment"].dev)}
    recipe = dataclasses.replace(tiny_recipe, epochs=20)
    given: dict[str, object] = {"trunk": f"layers:1@{tiny_trunk}", "data": few, "recipe": recipe}
    plan = Distillation(teachers=(str(tiny_bundle),), alpha=0.2, unlabelled=TEXTS)
    alone = fit(**given, output=tmp_path / "alone")  # type: ignore[arg-type]
    taught = fit(**given, output=tmp_path / "taught", distillation=plan)  # type: ignore[arg-type]
    wanted = np.asarray(_labels(tiny_bundle, TEXTS))
    like = [float((np.asarray(_labels(student, TEXTS)) == wanted).mean()) for student in (alone, taught)]
    assert like[1] > max(like[0], 0.9)
    manifest = load(taught).manifest
    assert manifest.teachers == (load(tiny_bundle).digest,)
    assert manifest.recipe["distillation"] == {
        "alpha": 0.2,
        "temperature": 2.0,
        "hidden": 0.0,
        "unlabelled": len(TEXTS),
    }


def test_a_bilstm_learns_entities_and_hidden_states_from_a_teacher_alone(
    tiny_bundle: Path, tiny_trunk: Path, unseen_data: Data, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    recipe = dataclasses.replace(tiny_recipe, learning_rate=1e-2, epochs=60)
    plan = Distillation(teachers=(str(tiny_bundle),), alpha=0.0, temperature=1.0, hidden=0.1)
    data = {"ner": unseen_data["ner"]}
    student = fit(
        trunk=f"bilstm@{tiny_trunk}", data=data, recipe=recipe, output=tmp_path / "student", distillation=plan
    )
    assert evaluate(student, "ner", data["ner"].train, allow_overlap=True).f1 >= 0.9


def test_what_reaches_the_student_through_its_teacher_counts_as_learnt(
    tiny_bundle: Path, tiny_trunk: Path, unseen_data: Data, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    mine = SentimentExample(text="a city of north", label="neutral")
    plan = Distillation(teachers=(str(tiny_bundle),), unlabelled=("river and bank",))
    student = fit(
        trunk=str(tiny_trunk),
        data={"sentiment": TaskData([mine], unseen_data["sentiment"].dev)},
        recipe=dataclasses.replace(tiny_recipe, epochs=1),
        output=tmp_path / "student",
        distillation=plan,
    )
    learnt = load(student).learnt()
    assert load(tiny_bundle).learnt() < learnt
    assert len(learnt - load(tiny_bundle).learnt()) == 2


def test_divergence_is_nothing_between_equals_and_adds_up_over_groups() -> None:
    head = head_class("topics")(4, HeadOptions(labels={"topics": ("a", "b")}))
    logits = torch.tensor([[0.3, -2.0], [4.0, 0.0]])
    torch.testing.assert_close(divergence(head, logits, logits, 2.0), torch.zeros(2))
    p, q = torch.sigmoid(torch.tensor([0.0, 1.5])), torch.sigmoid(torch.tensor([1.0, 1.5]))
    by_hand = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).sum()
    found = divergence(head, torch.tensor([[2.0, 3.0]]), torch.tensor([[0.0, 3.0]]), 2.0)
    torch.testing.assert_close(found, by_hand[None])


@pytest.mark.parametrize("wrong", [{"teachers": ()}, {"alpha": 1.5}, {"temperature": 0.0}, {"hidden": -1.0}])
def test_impossible_numbers_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(DistillationRefused, match="allowed is"):
        Distillation(**{"teachers": ("a",), **wrong})  # type: ignore[arg-type]


def test_a_teacher_of_other_tasks_is_refused(
    tiny_bundle: Path, tiny_trunk: Path, unseen_data: Data, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    recipe = dataclasses.replace(tiny_recipe, epochs=1)
    only = fit(trunk=str(tiny_trunk), data={"ner": unseen_data["ner"]}, recipe=recipe, output=tmp_path / "only")
    with pytest.raises(DistillationRefused, match="not all of its tasks"):
        fit(
            trunk=str(tiny_trunk),
            data=unseen_data,
            recipe=recipe,
            output=tmp_path / "student",
            distillation=Distillation(teachers=(str(tiny_bundle), str(only))),
        )
