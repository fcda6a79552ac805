"""Prefix tuning: every layer attends to `tuning_rank` learnt keys and values beside those of the text.

Li and Liang 2021, in the form of Liu et al. 2022; models.prefix has the module and says why it is our own: nothing in the trunk's weights
can stand for a prefix, so what is trained is what scores. Learning rates are high, some 5e-3 to 2e-2.
"""

from __future__ import annotations

from models.encoder import Encoder
from models.network import Network
from models.prefix import make_prefix
from models.recipe import Recipe
from models.tuning import Method


class PrefixTuning(Method):
    """Learnt keys and values."""

    def prepare(self, network: Network, encoder: Encoder, recipe: Recipe) -> Encoder:
        """Give the trunk its prefix."""
        device = network.device
        network.trunk.prefix = make_prefix(network.trunk.encoder, tokens=recipe.tuning_rank).to(device)
        return encoder


METHOD = PrefixTuning()
