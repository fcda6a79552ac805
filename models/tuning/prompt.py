"""Prompt tuning: `tuning_rank` learnt tokens stand before every text, behind the trunk's own special token.

Lester, Al-Rfou and Constant 2021, "The Power of Scale for Parameter-Efficient Prompt Tuning". The learnt tokens are real ones: rows added
to the embedding matrix, of which `peft` trains these rows alone (its trainable tokens), and entries of the tokenizer that its
post-processor puts before every text. So merging is writing the rows back, and a bundle reads its prompt as it reads [CLS]: pooled,
masked and positioned alike in training and use. Rows start as those of random words of the vocabulary, as in the paper; the seed chooses.
Small trunks gain less from it than large ones, as the paper shows. Left out: prompts a task in a joint training, ensembles of prompts.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, processors

from models.encoder import Encoder
from models.network import Network
from models.recipe import Recipe, RecipeRefused
from models.tuning import Method, wrap


class PromptTuning(Method):
    """Learnt tokens."""

    def prepare(self, network: Network, encoder: Encoder, recipe: Recipe) -> Encoder:
        """Add the tokens to the trunk's embeddings and to the tokenizer; return the encoder that puts them before a text."""
        from peft import TrainableTokensConfig

        room = min(recipe.max_length, encoder.positions) - len(encoder.prefix) - len(encoder.suffix)
        if recipe.tuning_rank >= room:
            raise RecipeRefused(
                f"tuning_rank is {recipe.tuning_rank}, which for prompt is how many tokens are put before a text; "
                f"a window has room for {room}, text included"
            )
        trunk: Any = network.trunk.encoder
        if not hasattr(trunk, "resize_token_embeddings"):
            raise RecipeRefused(f"{type(trunk).__name__} cannot be given tokens; allowed for it is another tuning")
        longer, tokens = with_prompt(encoder, recipe.tuning_rank)
        rows = int(trunk.get_input_embeddings().weight.shape[0])
        if tokens[-1] >= rows:
            trunk.resize_token_embeddings(tokens[-1] + 1, mean_resizing=False)
        weight = trunk.get_input_embeddings().weight
        words = np.random.default_rng([recipe.seed, 0]).choice(min(rows, tokens[0]), size=len(tokens), replace=True)
        with torch.no_grad():
            weight[torch.tensor(tokens, device=weight.device)] = weight[torch.from_numpy(words).to(weight.device)]
        weight.requires_grad = False
        wrap(network, lambda: TrainableTokensConfig(task_type="FEATURE_EXTRACTION", token_indices=list(tokens)))
        return longer


def with_prompt(encoder: Encoder, count: int) -> tuple[Encoder, tuple[int, ...]]:
    """An encoder whose tokenizer puts `count` tokens of its own behind its first special tokens, and the numbers of these."""
    tokenizer = Tokenizer.from_str(encoder.tokenizer.to_str())
    tokenizer.encode_special_tokens = encoder.tokenizer.encode_special_tokens
    names = [f"[prompt {number}]" for number in range(count)]
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    vocabulary = tokenizer.get_vocab()
    tokens = tuple(vocabulary[name] for name in names)
    before = [(tokenizer.id_to_token(number), number) for number in encoder.prefix]
    after = [(tokenizer.id_to_token(number), number) for number in encoder.suffix]
    single = [name for name, _ in (*before, *zip(names, tokens, strict=True))] + ["$A"] + [name for name, _ in after]
    special = list(dict([*before, *zip(names, tokens, strict=True), *after]).items())
    template = processors.TemplateProcessing(single=single, special_tokens=special)
    tokenizer.post_processor = (
        processors.Sequence([processors.ByteLevel(trim_offsets=True), template]) if _trims(tokenizer) else template
    )
    return Encoder(tokenizer, pad_id=encoder.pad_id, positions=encoder.positions), tokens


def _trims(tokenizer: Tokenizer) -> bool:
    """True where the post-processor takes the blank before a word out of its offsets, as byte-level tokenizers do."""
    return '"trim_offsets":true' in json.dumps(
        json.loads(tokenizer.to_str()).get("post_processor"), separators=(",", ":")
    )


METHOD = PromptTuning()
