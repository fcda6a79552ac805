"""Every file in models/heads holds a head that keeps the protocol."""

import pkgutil

import pytest
import torch

import models.heads
from data_contracts.labels import TASKS
from models.batching import Batch
from models.heads import IGNORED, Head, HeadOptions, UnknownHead, head_class


def batch_of(mask: torch.Tensor) -> Batch:
    ids = torch.zeros(mask.shape, dtype=torch.int64)
    return Batch(ids, mask, ids, torch.arange(len(mask)))


NAMES = sorted(module.name for module in pkgutil.iter_modules(models.heads.__path__))


def test_every_task_has_a_file_and_every_file_a_task() -> None:
    assert sorted(TASKS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_head_answers_in_the_shape_of_its_level(name: str) -> None:
    kind = head_class(name)
    assert issubclass(kind, Head)
    assert kind.task == name
    hidden, mask = torch.randn(2, 5, 16), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    head = kind(16, HeadOptions(labels={"topics": ("earnings", "markets")})).eval()
    answered = head(hidden, batch_of(mask))
    shapes = {"text": (2, head.outputs), "word": (2, 5, head.outputs), "document": (2, 16)}
    assert answered.shape == shapes[kind.level]


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_padding_changes_no_sentiment(pooling: str) -> None:
    head = head_class("sentiment")(16, HeadOptions(pooling=pooling)).eval()
    hidden = torch.randn(1, 4, 16)
    padded = torch.cat([hidden, torch.randn(1, 3, 16)], dim=1)
    alone, among = (
        head(hidden, batch_of(torch.ones(1, 4))),
        head(padded, batch_of(torch.tensor([[1, 1, 1, 1, 0, 0, 0]]))),
    )
    torch.testing.assert_close(alone, among)


def test_an_unknown_head_is_refused_by_name() -> None:
    with pytest.raises(UnknownHead, match="allowed are sentiment, topics, ner"):
        head_class("../os")


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_texts_without_labels_neither_count_nor_teach_where_others_state_agreement(smoothing: float) -> None:
    head = head_class("sentiment")(4, HeadOptions())
    logits, targets = torch.tensor([[3.0, 0.0, 0.0], [0.0, 0.0, 3.0]]), torch.tensor([[0], [IGNORED]])
    soft = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    hard = head.loss(logits, targets, smoothing=smoothing)
    torch.testing.assert_close(head.loss(logits, targets, smoothing=smoothing, soft=soft), hard)
