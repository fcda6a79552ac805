"""Magnitude pruning: the weights nearest to nothing become nothing, and stay so while the others learn again.

Han et al. 2015. Of all weights in the trunk's linear layers together, the given share of the smallest magnitude is put to 0 by
`torch.nn.utils.prune` (global, unstructured). The trunk's config.json keeps the share as `sparsity`, and a training that starts from the
pruned bundle (models.starting) never moves a 0: `fit(trunk=pruned, ...)` is the fine-tune after.

The matrices keep their shapes, so nothing gets faster on usual hardware, and smaller only when compressed: models.compress.structured is for
that. Does not cover: schedules that prune by and by, embeddings, norms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.utils import prune as library

from models.bundle import load, save
from models.calibrating import calibrated
from models.compress.pruning import refuse_unprunable
from models.heads import Example


def prune_magnitude(path: Path | str, output: Path, dev: Mapping[str, Sequence[Example]], *, share: float) -> Path:
    """Write the bundle at `path` with `share` (0 to 1) of its linear weights put to 0, before any fine-tune; returns `output`."""
    bundle = load(path)
    refuse_unprunable(bundle, share)
    network = bundle.network()
    layers = [module for module in network.trunk.encoder.modules() if isinstance(module, nn.Linear)]
    library.global_unstructured(
        [(layer, "weight") for layer in layers], pruning_method=library.L1Unstructured, amount=share
    )
    for layer in layers:
        library.remove(layer, "weight")  # type: ignore[no-untyped-call]
    config: Any = network.trunk.encoder.config
    config.sparsity = share
    manifest = calibrated(bundle.manifest, network.eval(), bundle.encoder(), dev, learnt=bundle.learnt())
    texts = {task: bundle.training_texts(task) for task in bundle.heads}
    return save(output, network=network, encoder=bundle.encoder(), manifest=manifest, training_texts=texts).path


def sparsity(network: nn.Module) -> float:
    """The share, 0 to 1, of the weights of a module's linear layers that are exactly 0."""
    weights = [module.weight for module in network.modules() if isinstance(module, nn.Linear)]
    zeros = sum(int(torch.count_nonzero(weight == 0)) for weight in weights)
    return zeros / max(1, sum(weight.numel() for weight in weights))
