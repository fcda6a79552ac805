"""The nested parameters of the adapt flow, as the Prefect form shows them: titled, described, and closed to unknown names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from flows.forms import LakePlace, Named, Night
from tasks.unlabelled import Unlabelled

if TYPE_CHECKING:
    from models.adapting import AdaptRecipe

Objective: TypeAlias = Literal["mlm", "whole_word", "span", "span_boundary", "next_sentence", "sentence_order"]
Objectives: TypeAlias = Annotated[tuple[Objective, ...], Field(min_length=1)]


class TextsForm(BaseModel):
    """Which texts a trunk learns from; with nothing filled in, all articles of the settings' lake."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="Texts")
    lake: LakePlace | None = Field(
        None, title="Lake", description="a directory or URL. Empty: the settings' lake, or none where files are given"
    )
    first: Night | None = Field(None, title="First night", description="of the lake's articles. Empty: the earliest")
    last: Night | None = Field(None, title="Last night", description="of the lake's articles. Empty: the latest")
    files: list[Named] = Field(
        default_factory=list,
        title="Files",
        description=".txt (a line a document), .jsonl, .json or .csv, also .gz: paths on the worker",
    )
    column: str | None = Field(
        None, title="Column", description="of CSV files: a name, or a number from 1 in files without a header"
    )
    held_out_share: float = Field(
        0.05, title="Held-out share", description="of the documents, measured and not learnt from", gt=0, lt=1
    )
    excepted: list[Named] = Field(
        default_factory=list,
        title="Except",
        description="files of the same kinds, labelled ones to measure by too, whose texts are not to be learnt from: paths on the worker",
    )

    def source(self, lake: str) -> Unlabelled:
        """What the task reads; `lake` is the settings'."""
        return Unlabelled(
            lake=self.lake or (None if self.files else lake),
            first=self.first,
            last=self.last,
            files=tuple(self.files),
            column=self.column,
            held_out_share=self.held_out_share,
            excepted=tuple(self.excepted),
        )


class AdaptRecipeForm(BaseModel):
    """What may be changed in the recipe; an empty field leaves it as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="Recipe")
    learning_rate: float | None = Field(None, title="Learning rate", description="of the trunk, at its highest", gt=0)
    head_rate_factor: float | None = Field(
        None, title="Head rate factor", description="the objectives' heads learn this many times faster", gt=0
    )
    epochs: int | None = Field(None, title="Epochs", description="passes over the texts", ge=1)
    steps: int | None = Field(None, title="Steps", description="instead of epochs: optimiser steps", ge=0)
    batch_tokens: int | None = Field(None, title="Batch", description="tokens a step, over all workers", ge=16)
    accumulate: int | None = Field(None, title="Parts", description="a step is computed in, to save memory", ge=1)
    masking_share: float | None = Field(
        None, title="Masking share", description="of the tokens, hidden and guessed", gt=0, le=0.5
    )
    max_length: int | None = Field(None, title="Window", description="tokens of a piece of text", ge=16)
    warmup_share: float | None = Field(None, title="Warm-up", description="share of the steps, 0 to 1", ge=0, lt=1)
    weight_decay: float | None = Field(None, title="Weight decay", description="of AdamW", ge=0)
    max_gradient_norm: float | None = Field(
        None, title="Gradient norm", description="longer gradients are cut to it", gt=0
    )
    dropout: float | None = Field(None, title="Dropout", description="0 to 1", ge=0, lt=1)
    precision: Literal["float32", "bf16"] | None = Field(None, title="Precision", description="bf16 is mixed precision")
    checkpoint_steps: int | None = Field(
        None, title="Checkpoint steps", description="steps between checkpoints; 0: at every epoch's end", ge=0
    )
    seed: int | None = Field(None, title="Seed", description="of every random choice", ge=0)

    def recipe(self, objectives: tuple[str, ...]) -> AdaptRecipe:
        """The recipe for these objectives, with the fields that were filled in."""
        from models.adapting import AdaptRecipe

        changes: dict[str, Any] = self.model_dump(exclude_none=True)
        return AdaptRecipe(objectives=objectives, **changes)
