"""Top layers: the heads and the `tuning_rank` topmost layers of the trunk learn, its embeddings and lower layers don't.

The oldest of these methods: the layers near the answer are the ones most particular to the task, and each frozen one below saves its
backward pass (Lee, Tang and Lin 2019, "What Would Elsa Do? Freezing Layers During Transformer Fine-Tuning": a quarter of the layers keeps
nine tenths of the quality). The trunk keeps its form, so there is nothing to merge. `freeze_layers` says the same from below. Left out:
thawing layer by layer during training.
"""

from __future__ import annotations

from models.encoder import Encoder
from models.network import Network
from models.recipe import Recipe, RecipeRefused
from models.tuning import Method


class TopLayers(Method):
    """The topmost layers."""

    def prepare(self, network: Network, encoder: Encoder, recipe: Recipe) -> Encoder:
        """Let the topmost layers learn."""
        stack = network.trunk.layers()
        if recipe.tuning_rank > len(stack):
            raise RecipeRefused(
                f"tuning_rank is {recipe.tuning_rank}, which for top_layers is how many layers learn; the trunk has {len(stack)}"
            )
        for layer in list(stack)[-recipe.tuning_rank :]:
            layer.requires_grad_(requires_grad=True)
        return encoder


METHOD = TopLayers()
