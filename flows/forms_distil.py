"""The nested parameters of the distil and compress flows, as the Prefect form shows them: titled, described, and closed to unknown names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from flows.forms import Named
from tasks.compress import Compression
from tasks.distil import Teaching


class TeachingForm(BaseModel):
    """Who teaches, and how much it counts."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="Teaching")
    teachers: list[Named] = Field(
        title="Teachers",
        description="champion, sentiment/3, or bundles' directories; several answer together",
        min_length=1,
    )
    unlabelled: list[Named] = Field(
        default_factory=list,
        title="Texts without labels",
        description=".txt (a line a document), .jsonl, .json or .csv, also .gz: paths on the worker",
    )
    column: str | None = Field(
        None, title="Column", description="of CSV files: a name, or a number from 1 in files without a header"
    )
    alpha: float = Field(0.5, title="Labels' share", description="of the loss; the teachers have the rest", ge=0, le=1)
    temperature: float = Field(
        2.0, title="Temperature", description="softens what teachers and student say", gt=0, allow_inf_nan=False
    )
    hidden: float = Field(
        0.0,
        title="Hidden states",
        description="weight of their distance; above 0 needs one teacher as wide as the student",
        ge=0,
        allow_inf_nan=False,
    )

    def teaching(self, resolve: Callable[[str], Path]) -> Teaching:
        """What the task takes; `resolve` finds a bundle by its name."""
        return Teaching(
            teachers=tuple(str(resolve(name)) for name in self.teachers),
            unlabelled=tuple(self.unlabelled),
            column=self.column,
            alpha=self.alpha,
            temperature=self.temperature,
            hidden=self.hidden,
        )


class CompressionForm(BaseModel):
    """How a model is made smaller."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="Compression")
    method: Literal["int8", "magnitude", "structured"] = Field(
        "int8",
        title="Method",
        description="int8: weights of eight bits; magnitude: small weights put to 0; structured: whole heads and neurons cut",
    )
    share: float = Field(0.3, title="Share", description="left out by magnitude or structured pruning", gt=0, lt=1)
    taught: bool = Field(
        False,
        title="Taught",
        description="the original teaches while a pruned model learns again",
    )

    def compression(self) -> Compression:
        """What the task takes."""
        return Compression(method=self.method, share=self.share, taught=self.taught)
