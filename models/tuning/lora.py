"""LoRA: beside every linear layer of the trunk two thin matrices learn, whose product is added to its weights.

Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models". Rank `tuning_rank`, scaled by twice the rank over the rank. The
paper adapts the queries and values only; here every linear layer is, which later work (Dettmers et al. 2023) found to be what matters,
and which needs no list of names a trunk. Learning rates are some five to ten times those of full tuning. Left out: rank-stabilised
scaling, DoRA.
"""

from __future__ import annotations

from models.encoder import Encoder
from models.network import Network
from models.recipe import Recipe
from models.tuning import Method, wrap


class Lora(Method):
    """Low-rank matrices beside the linear layers."""

    def prepare(self, network: Network, encoder: Encoder, recipe: Recipe) -> Encoder:
        """Add the matrices; the second is zero at first, so the network answers as before."""
        from peft import LoraConfig

        wrap(
            network,
            lambda: LoraConfig(
                task_type="FEATURE_EXTRACTION",
                r=recipe.tuning_rank,
                lora_alpha=2 * recipe.tuning_rank,
                lora_dropout=recipe.dropout,
                target_modules="all-linear",
            ),
        )
        return encoder


METHOD = Lora()
