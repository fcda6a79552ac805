"""BitFit: only the biases of the trunk learn.

Ben Zaken, Goldberg and Ravfogel 2022, "BitFit: Simple Parameter-efficient Fine-tuning for Transformer-based Masked Language-models". All
of them, those of the layer norms too. The trunk keeps its form, so there is nothing to merge; `tuning_rank` plays no part. Left out: the
paper's smaller variant with the biases of the queries and the middle layer alone.
"""

from __future__ import annotations

from models.encoder import Encoder
from models.network import Network
from models.recipe import Recipe, RecipeRefused
from models.tuning import Method


class Bitfit(Method):
    """The biases."""

    def prepare(self, network: Network, encoder: Encoder, recipe: Recipe) -> Encoder:
        """Let the biases learn."""
        trunk = network.trunk.encoder
        biases = [parameter for name, parameter in trunk.named_parameters() if name.split(".")[-1].startswith("bias")]
        if not biases:
            raise RecipeRefused(f"{type(trunk).__name__} has no biases; allowed for it is another tuning")
        for bias in biases:
            bias.requires_grad = True
        return encoder


METHOD = Bitfit()
