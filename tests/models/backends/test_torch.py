"""PyTorch's backends on a tiny bundle."""

from pathlib import Path

import numpy as np
import pytest

from models.backends import BackendRefused, open_backend
from models.batching import Batch, collate
from models.bundle import Bundle, load
from models.windows import cut

TEXTS = ["profit rises sharply", "Acme Bank said on monday the loss of shares falls in Oslo", "a"]


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    return load(tiny_bundle)


@pytest.fixture(scope="module")
def batch(bundle: Bundle) -> Batch:
    encoder = bundle.encoder()
    windows = [
        window
        for text in encoder.encode(TEXTS)
        for window in cut(text, encoder, max_length=32, overlap=8, reading="whole")
    ]
    return collate(windows, pad_id=encoder.pad_id)


def test_reference_gives_the_networks_own_logits(bundle: Bundle, batch: Batch) -> None:
    found = open_backend("torch", bundle).run(batch)
    ours = bundle.network().all_logits(batch)
    assert {task: one.shape for task, one in found.items()} == {task: tuple(one.shape) for task, one in ours.items()}
    for task, one in ours.items():
        np.testing.assert_allclose(found[task], one.detach().numpy(), atol=1e-5)


def test_bfloat16_is_near_the_reference_and_float32_outside(bundle: Bundle, batch: Batch) -> None:
    exact, near = open_backend("torch", bundle).run(batch), open_backend("torch-bf16", bundle).run(batch)
    for task, one in near.items():
        assert one.dtype == np.float32
        assert not np.array_equal(one, exact[task])
        assert np.abs(one - exact[task]).max() < 0.2


def test_an_unknown_name_is_refused_with_the_allowed_ones(bundle: Bundle) -> None:
    with pytest.raises(BackendRefused, match="no backend 'tensorrt'; allowed are auto, torch, torch-bf16"):
        open_backend("tensorrt", bundle)
