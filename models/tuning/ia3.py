"""IA3: keys, values and the inner activations of the feed-forward layers are each scaled by one learnt number a unit.

Liu et al. 2022, "Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning". By far the fewest parameters
of the adapters here, and it wants the highest learning rate (some 1e-2 to 3e-3). `tuning_rank` plays no part. Left out: the paper's
unlikelihood and length-normalised losses, which are for text generation.
"""

from __future__ import annotations

from models.encoder import Encoder
from models.network import Network
from models.recipe import Recipe
from models.tuning import Method, wrap

# BERT, RoBERTa, ELECTRA and their kin; DistilBERT; MPNet. The second linear layer of attention ends in "output.dense" too, and is none of it.
_KEYS_AND_VALUES = r"(key|value|k_lin|v_lin|attn\.k|attn\.v)"
_FEED_FORWARD = r"((?<!attention\.)output\.dense|ffn\.lin2)"


class Ia3(Method):
    """Learnt scales."""

    def prepare(self, network: Network, encoder: Encoder, recipe: Recipe) -> Encoder:
        """Add the scales; each is one at first."""
        from peft import IA3Config

        wrap(
            network,
            lambda: IA3Config(
                task_type="FEATURE_EXTRACTION",
                target_modules=rf".*\.({_KEYS_AND_VALUES}|{_FEED_FORWARD})",
                feedforward_modules=rf".*\.{_FEED_FORWARD}",
            ),
        )
        return encoder


METHOD = Ia3()
