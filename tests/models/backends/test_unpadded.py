"""Without its padding a batch gives the same hidden states."""

from collections.abc import Callable

import pytest
import torch

from models.backends.unpadded import can_unpad, unpad
from models.batching import Batch
from models.bundle import Bundle


def one_by_one(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, borders: torch.Tensor, longest: int
) -> torch.Tensor:
    """What the kernel for GPUs computes, window by window."""
    found = []
    for start, stop in zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True):
        assert stop - start <= longest
        parts = (one[start:stop].transpose(0, 1) for one in (query, key, value))
        found.append(torch.nn.functional.scaled_dot_product_attention(*parts).transpose(0, 1))
    return torch.cat(found)


@pytest.mark.parametrize("word_shapes", [True, False])
def test_hidden_states_are_those_of_the_padded_pass(
    word_shapes: bool, make_bundle: Callable[..., Bundle], batch_of: Callable[[Bundle], Batch]
) -> None:
    bundle = make_bundle(tasks=("ner", "sentiment"), word_shapes=word_shapes)
    batch, padded, packed = batch_of(bundle), bundle.network(), bundle.network()
    unpad(packed.trunk, one_by_one)
    with torch.inference_mode():
        exact, near = padded.all_logits(batch), packed.all_logits(batch)
    held = batch.mask.bool()
    torch.testing.assert_close(near["ner"][held], exact["ner"][held], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(near["sentiment"], exact["sentiment"], atol=1e-5, rtol=1e-4)


def test_a_learnt_prefix_is_left_padded(make_bundle: Callable[..., Bundle]) -> None:
    assert not can_unpad(make_bundle(tasks=("sentiment",), prefix=True).network().trunk)
