"""The parameters of flows, as the Prefect form shows them: titled, described, held to what is allowed, and closed to unknown names.

They stand apart from the flows because a flow's file is loaded under another name by a worker, where a class could not be found again.
What a form can refuse by itself stands in its schema, and the server holds every caller to it before there is a run; it does not look at
`format`, so a date has a pattern too, which takes the days that there are and no 29 February of a common year. What only code can know (a file
that is not there, a last night before the first) is refused by the flow before it writes anything.
"""

from __future__ import annotations

import datetime as dt
import inspect
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

from tasks.secrecy import unspoken

if TYPE_CHECKING:
    from prefect import Flow

    F = TypeVar("F", bound=Flow[..., Any])

ONE_FIELD = ("string", "integer", "number")  # a switch or a list that is left alone would not look so
_CENTURY, _LEAP_CENTURY = "(19|2[0-9])", "2[048]"  # 1900 to 2999
_LEAP = f"({_CENTURY}(0[48]|[2468][048]|[13579][26])|{_LEAP_CENTURY}00)"  # Gregorian: of full centuries each fourth
_SHORT, _MIDDLE, _LONG = "(0[1-9]|1[0-9]|2[0-8])", "(0[1-9]|[12][0-9]|30)", "(0[1-9]|[12][0-9]|3[01])"  # months' days
_DAY = f"(02-{_SHORT}|(0[469]|11)-{_MIDDLE}|(0[13578]|1[02])-{_LONG})"
ISO_DATE = f"^({_CENTURY}[0-9]{{2}}-{_DAY}|{_LEAP}-02-29)$"
WITHOUT_CREDENTIALS = (
    "^(?![^:]*://[^:/@]*:[^@]*@).*$"  # no user:password@ in a URL: Prefect stores parameters in the clear
)

Night: TypeAlias = Annotated[dt.date, Field(json_schema_extra={"pattern": ISO_DATE})]
By: TypeAlias = Annotated[Literal["first_seen", "published"], Field(title="An article's night")]
NightBy: TypeAlias = Annotated[Literal["first_seen", "published", "late"], Field(title="An article's night")]
AtOnce: TypeAlias = Annotated[int, Field(ge=1, le=366)]
Named: TypeAlias = Annotated[str, Field(pattern=r"\S")]
LakePlace: TypeAlias = Annotated[str, Field(json_schema_extra={"pattern": WITHOUT_CREDENTIALS})]
Workers: TypeAlias = Annotated[int, Field(ge=0)]
Seeds: TypeAlias = Annotated[int, Field(ge=1)]


def form(flow: F) -> F:
    """Title a flow's parameters on its form: as their `Field` says, else by their names.

    Prefect makes the form from the signature and would show the bare names; the descriptions it takes from the docstring. What ends the flow
    becomes its run's state, which is stored and told: it holds no secret.
    """
    signature = inspect.signature(flow.fn, eval_str=True)
    flow.fn = unspoken()(flow.fn)
    # else Prefect would look up the types that it names where `unspoken` is
    vars(flow.fn)["__signature__"] = signature
    titled = [
        one.replace(
            default=Field(... if one.default is one.empty else one.default, json_schema_extra={"title": _title(one)})
        )
        for one in signature.parameters.values()
    ]
    vars(flow)["__signature__"] = signature.replace(parameters=titled)
    return flow


def schema_of(flow: Flow[..., Any]) -> dict[str, Any]:
    """The form as the server keeps it and holds every caller to it.

    Unlike Prefect's own it is closed to unknown names, and what may be left empty is drawn as one field, not as a choice of a type or "None".
    """
    from prefect.utilities.callables import parameter_schema

    schema = parameter_schema(flow).model_dump(mode="json", exclude_unset=True) | {"additionalProperties": False}
    for model in (schema, *schema.get("definitions", {}).values()):
        model["properties"] = {name: _plain(field) for name, field in model["properties"].items()}
    return schema


def _plain(field: dict[str, Any]) -> dict[str, Any]:
    """A field that may be empty as one without a default, which the server takes for the same: a null is allowed, and so is leaving it out."""
    if isinstance(default := field.get("default"), dict):
        return field | {"default": {name: value for name, value in default.items() if value is not None}}
    kinds = [kind for kind in field.get("anyOf", ()) if kind.get("type") != "null"]
    if default is not None or len(kinds) != 1 or kinds[0].get("type") not in ONE_FIELD:
        return field
    plain: dict[str, Any] = kinds[0]
    return plain | {name: value for name, value in field.items() if name not in ("anyOf", "default")}


def _title(parameter: inspect.Parameter) -> str:
    """ "settings_file" is "Settings file", where no `Field` says otherwise."""
    said = [one.title for one in get_args(parameter.annotation) if isinstance(one, FieldInfo) and one.title]
    return said[0] if said else parameter.name.replace("_", " ").capitalize()


class LabelledForm(BaseModel):
    """Labelled files of one task."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="Labelled files")
    train: list[Named] = Field(
        title="Training files", description="JSONL files to fit, paths on the worker", min_length=1
    )
    dev: list[Named] = Field(
        title="Dev files", description="JSONL files to choose by, paths on the worker", min_length=1
    )
    auxiliary: list[Named] = Field(
        [], title="Auxiliary files", description="JSONL files that join in the recipe's first epochs only"
    )


class RecipeForm(BaseModel):
    """What may be changed in the recipe; an empty field leaves it as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="Recipe")
    epochs: int | None = Field(None, title="Epochs", description="at most so many passes over the data", ge=1)
    auxiliary_epochs: int | None = Field(
        None, title="Auxiliary epochs", description="in the first so many, the auxiliary files join in", ge=0
    )
    learning_rate: float | None = Field(
        None, title="Learning rate", description="of the trunk, at its highest", gt=0, allow_inf_nan=False
    )
    layer_decay: float | None = Field(
        None, title="Layer decay", description="each layer learns so many times as fast as the one above", gt=0, le=1
    )
    head_rate_factor: float | None = Field(None, title="Head rate", description="times the trunk's rate", gt=0)
    shape_rate_factor: float | None = Field(
        None, title="Word-shape rate", description="of the word-shape embedding, times the trunk's rate", gt=0
    )
    batch_size: int | None = Field(None, title="Batch size", description="examples a step, over all workers", ge=1)
    batch_tokens: int | None = Field(
        None, title="Batch tokens", description="tokens a step instead of examples; 0: examples", ge=0
    )
    accumulate: int | None = Field(None, title="Accumulation", description="parts a step is computed in", ge=1)
    precision: Literal["float32", "bf16"] | None = Field(None, title="Precision", description="bf16 is mixed precision")
    max_length: int | None = Field(
        None, title="Window", description="tokens of a window; longer texts become several", ge=8
    )
    overlap: int | None = Field(
        None, title="Overlap", description="tokens that the windows of a longer text share", ge=0
    )
    reading: Literal["sentences", "whole"] | None = Field(
        None, title="Reading", description="in use: each sentence a window, or the whole text"
    )
    patience: int | None = Field(
        None, title="Patience", description="epochs without a gain on dev before it stops; 0: never", ge=0
    )
    warmup_share: float | None = Field(None, title="Warm-up", description="share of the steps, 0 to 1", ge=0, lt=1)
    weight_decay: float | None = Field(None, title="Weight decay", description="of AdamW", ge=0)
    max_gradient_norm: float | None = Field(None, title="Clipping", description="the longest gradient", gt=0)
    dropout: float | None = Field(None, title="Dropout", description="0 to 1", ge=0, lt=1)
    quick_dropout: bool | None = Field(None, title="Quick dropout", description="drawn faster on a CPU, by other draws")
    label_smoothing: float | None = Field(None, title="Label smoothing", description="0 to 1", ge=0, lt=1)
    agreement_smoothing: bool | None = Field(
        None, title="Agreement smoothing", description="learn the annotators' agreement where the data has it"
    )
    r_drop: float | None = Field(None, title="R-Drop", description="weight of the second pass; 0: one pass", ge=0)
    averaging: Literal["none", "ema", "swa", "epochs"] | None = Field(
        None, title="Averaged weights", description="over the steps (ema, swa) or over the ends of epochs"
    )
    ema_decay: float | None = Field(None, title="EMA decay", description="0 to 1", gt=0, lt=1)
    loss_weights: dict[Literal["sentiment", "topics", "ner", "entity_sentiment", "summary"], float] | None = Field(
        None, title="Loss weights", description="by task, where several are trained together; 1 for those not named"
    )
    freeze_layers: int | None = Field(None, title="Frozen layers", description="of the trunk, from below", ge=0)
    tuning: Literal["full", "lora", "adalora", "ia3", "prompt", "prefix", "bitfit", "top_layers"] | None = Field(
        None, title="Tuning", description="which parameters learn"
    )
    tuning_rank: int | None = Field(
        None, title="Tuning rank", description="of LoRA; virtual tokens of a prompt; layers of top_layers", ge=1
    )
    checkpoint_steps: int | None = Field(
        None, title="Checkpoint steps", description="a checkpoint every so many steps, too; 0: each epoch", ge=0
    )
    pooling: Literal["mean", "cls"] | None = Field(None, title="Pooling", description="of a text's tokens")
    word_shapes: bool | None = Field(None, title="Word shapes", description="show the trunk how a word is written")
    crf: bool | None = Field(None, title="CRF", description="a conditional random field over the tags")
    label_features: tuple[Literal["affix", "shape", "company_form"], ...] | None = Field(
        None, title="Label features", description="of words, for the CRF"
    )
    augment: dict[Literal["insert", "swap", "delete", "entity"], float] | None = Field(
        None, title="Augmentation", description="kind -> probability an example an epoch"
    )
    negative_share: float | None = Field(
        None, title="Negative share", description="of the sentences without entities, seen an epoch", gt=0, le=1
    )
    seed: int | None = Field(None, title="Seed", description="of every random choice", ge=0)

    def changes(self) -> dict[str, Any]:
        """The fields that were filled in, for `models.plans.plan_for`."""
        return self.model_dump(exclude_none=True)
