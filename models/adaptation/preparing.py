"""What an adaptation is made of before its first step: the pieces of its texts, refused where they teach nothing, and the optimiser."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from models.adaptation.drawing import Drawing
from models.adaptation.network import ObjectiveNetwork
from models.adaptation.recipe import AdaptRecipe
from models.encoder import Encoder
from models.masking import Vocabulary
from models.pieces import Frame, cut_pieces
from models.recipe import RecipeRefused


def drawing(texts: Sequence[str], encoder: Encoder, frame: Frame, recipe: AdaptRecipe) -> Drawing:
    """Texts cut into pieces that fit the trunk and the recipe, ready to be drawn from."""
    longest = min(recipe.max_length, encoder.positions)
    size = frame.room(max_length=longest, segments=2 if recipe.pairing else 1)
    return Drawing(
        pieces=cut_pieces(texts, encoder, size=size),
        frame=frame,
        vocabulary=Vocabulary.of(encoder.tokenizer),
        recipe=recipe,
    )


def refuse_useless(train: Drawing, dev: Drawing, recipe: AdaptRecipe) -> None:
    """Raise RecipeRefused where a part has nothing that the recipe's objectives could learn from, or be measured by."""
    for part, drawn in (("train", train), ("dev", dev)):
        if not drawn.pieces:
            raise RecipeRefused(f"no {part} document has a piece of text to learn from; one at least is needed")
        if recipe.pairing and not drawn.pairs():
            raise RecipeRefused(
                f"{', '.join(recipe.objectives)}: no {part} document has two sentences in a row that fit into "
                f"{recipe.max_length} tokens; headlines alone allow maskings only"
            )
        if "next_sentence" in recipe.objectives and len({piece.document for piece in drawn.pieces}) < 2:
            raise RecipeRefused(f"next_sentence needs two {part} documents at least, one was given")


def make_optimiser(network: ObjectiveNetwork, recipe: AdaptRecipe) -> torch.optim.Optimizer:
    """AdamW; no weight decay for biases and norms; heads at their own rate."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        rate = recipe.learning_rate * (recipe.head_rate_factor if name.startswith("heads.") else 1.0)
        groups.setdefault((rate, recipe.weight_decay if parameter.ndim > 1 else 0.0), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, "lr": rate, "full_rate": rate, "weight_decay": decay}
            for (rate, decay), parameters in groups.items()
        ],
        fused=True,
    )
