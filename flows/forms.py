"""The nested parameters of flows, as the Prefect form shows them: titled, described, and closed to unknown names.

They stand apart from the flows because a flow's file is loaded under another name by a worker, where a class could not be found again.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class LabelledForm(BaseModel):
    """Labelled files of one task."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="Labelled files")
    train: list[str] = Field(
        title="Training files", description="JSONL files to fit, paths on the worker", min_length=1
    )
    dev: list[str] = Field(title="Dev files", description="JSONL files to choose by, paths on the worker", min_length=1)


class RecipeForm(BaseModel):
    """What may be changed in the recipe that measured best; an empty field leaves it as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="Recipe")
    epochs: int | None = Field(None, title="Epochs", description="at most so many passes over the data", ge=1)
    learning_rate: float | None = Field(None, title="Learning rate", description="of the trunk, at its highest", gt=0)
    batch_size: int | None = Field(None, title="Batch size", description="examples a step, over all workers", ge=1)
    precision: Literal["float32", "bf16"] | None = Field(None, title="Precision", description="bf16 is mixed precision")
    max_length: int | None = Field(
        None, title="Window", description="tokens of a window; longer texts become several", ge=8
    )
    patience: int | None = Field(
        None, title="Patience", description="epochs without a gain on dev before it stops; 0: never", ge=0
    )
    warmup_share: float | None = Field(None, title="Warm-up", description="share of the steps, 0 to 1", ge=0, lt=1)
    weight_decay: float | None = Field(None, title="Weight decay", description="of AdamW", ge=0)
    freeze_layers: int | None = Field(None, title="Frozen layers", description="of the trunk, from below", ge=0)
    label_smoothing: float | None = Field(None, title="Label smoothing", description="0 to 1", ge=0, lt=1)
    seed: int | None = Field(None, title="Seed", description="of every random choice")

    def changes(self) -> dict[str, Any]:
        """The fields that were filled in, for `models.training.recipe_for`."""
        return self.model_dump(exclude_none=True)
