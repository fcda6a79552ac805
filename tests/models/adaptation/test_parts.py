"""The parts of an adaptation: recipes that are refused, the course of its steps, heads that published weights have."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from models.adaptation.drawing import Course
from models.adaptation.network import ObjectiveNetwork
from models.adapting import AdaptRecipe
from models.encoder import load_trunk
from models.objectives import Batch
from models.recipe import RecipeRefused


def test_every_epoch_passes_each_piece_once_within_the_budget_of_tokens() -> None:
    lengths = [5 + number % 50 for number in range(500)]
    course = Course(lengths=lengths, recipe=AdaptRecipe(objectives=("mlm",), epochs=3, batch_tokens=400))
    batches = course.batches(1)
    assert sorted(index for batch in batches for index in batch) == list(range(500))
    assert all(max(lengths[index] for index in batch) * len(batch) <= 400 for batch in batches)
    assert batches != course.batches(2)
    assert [course.stop(step) for step in (0, course.starts[1])] == course.starts[1:3]
    assert course.total == course.starts[3]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"objectives": ()}, "one of any kind"),
        ({"objectives": ("mlm", "span")}, "one masking"),
        ({"objectives": ("sentence_order", "next_sentence")}, "one pairing"),
        ({"objectives": ("whole_word", "span_boundary")}, "together with span"),
        ({"masking_share": 0.9}, "masking_share"),
        ({"max_length": 8}, "max_length"),
        ({"precision": "int8"}, "bf16"),
        ({"learning_rate": 0.0}, "learning_rate"),
    ],
)
def test_impossible_recipes_are_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(RecipeRefused, match=match):
        AdaptRecipe(**changes)


def test_a_published_masked_language_model_keeps_its_head(tiny_trunk: Path, tmp_path: Path) -> None:
    from transformers import AutoConfig, BertForMaskedLM

    torch.manual_seed(1)
    published = BertForMaskedLM(AutoConfig.from_pretrained(tiny_trunk)).eval()
    nn.init.normal_(published.cls.predictions.bias)
    published.save_pretrained(tmp_path)
    network = ObjectiveNetwork(load_trunk(tmp_path), ["mlm"]).eval()
    assert len(network.warm(tmp_path)) == 5
    ids = torch.arange(6, 16).reshape(1, 10)
    places, none = torch.arange(10), torch.zeros(0, dtype=torch.int64)
    batch = Batch(
        ids=ids, mask=torch.ones_like(ids), types=torch.zeros_like(ids), labels=none, rows=torch.zeros_like(places),
        positions=places, targets=places, left=places, right=places,
    )  # fmt: skip
    ((logits, _),) = network.guesses(batch)
    torch.testing.assert_close(logits, published(input_ids=ids).logits[0], atol=1e-5, rtol=1e-4)
