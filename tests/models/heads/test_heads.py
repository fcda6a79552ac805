"""Every file in models/heads holds a head that keeps the protocol."""

import pkgutil

import pytest
import torch

import models.heads
from data_contracts.labels import TASKS
from models.heads import Head, UnknownHead, head_class

NAMES = sorted(module.name for module in pkgutil.iter_modules(models.heads.__path__))


def test_every_task_has_a_file_and_every_file_a_task() -> None:
    assert sorted(TASKS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_head_answers_in_the_shape_of_its_level(name: str) -> None:
    kind = head_class(name)
    assert issubclass(kind, Head)
    assert kind.task == name
    hidden, mask = torch.randn(2, 5, 16), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    logits = kind(16, dropout=0.1, pooling="mean").eval()(hidden, mask)
    assert logits.shape == ((2, len(kind.labels)) if kind.level == "text" else (2, 5, len(kind.labels)))


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_padding_changes_no_sentiment(pooling: str) -> None:
    head = head_class("sentiment")(16, dropout=0.0, pooling=pooling).eval()
    hidden = torch.randn(1, 4, 16)
    padded = torch.cat([hidden, torch.randn(1, 3, 16)], dim=1)
    alone, among = head(hidden, torch.ones(1, 4)), head(padded, torch.tensor([[1, 1, 1, 1, 0, 0, 0]]))
    torch.testing.assert_close(alone, among)


def test_an_unknown_head_is_refused_by_name() -> None:
    with pytest.raises(UnknownHead, match="allowed are sentiment, ner"):
        head_class("../os")
