"""An evaluation as it is kept and shown: the figures of one task on one set, with what says how far to trust them.

Every figure is in [0, 1] and said in prose in models.metrics. The JSON is flat: each figure under its own name at the top, as tools read it,
and the rest (labels, intervals, confusion, reliability, behaviour) in lists and objects beside them. Not covered: how they are computed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from models.behaviour import Behaviour
from models.bootstrap import Interval
from models.confusion import Confusion
from models.metrics import LabelScore
from models.reliability import ReliabilityBin

_PLAIN = ("n", "accuracy", "precision", "recall", "ece", "overlap")


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Figures of one task on `n` examples; `f1` is macro for texts (and for labels of given entities), micro over entities for tags.

    `overlap` of the examples were learnt from, `left_out` more were not measured because they were. `ece_before` is the calibration error
    without the temperature. `intervals` are named as in `metrics`; `more` are a task's own figures. Quick figures, as training takes them
    every epoch, leave the rest empty.
    """

    task: str
    n: int
    accuracy: float
    precision: float
    recall: float
    f1: float
    average: str
    ece: float
    labels: tuple[LabelScore, ...]
    overlap: int = 0
    model_digest: str = ""
    given_entities: bool = False
    left_out: int = 0
    data_hash: str = ""
    temperature: float = 1.0
    ece_before: float | None = None
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    reliability: tuple[ReliabilityBin, ...] = ()
    confusion: Confusion | None = None
    behaviour: tuple[Behaviour, ...] = ()
    more: Mapping[str, float] = field(default_factory=dict)

    @property
    def headline(self) -> str:
        """The name of `f1`: macro_f1 or micro_f1."""
        return f"{self.average}_f1"

    @property
    def said(self) -> str:
        """The headline figure in a line."""
        return f"{self.task}: {self.headline} {self.f1:.4f} on {self.n} examples"

    def metrics(self) -> dict[str, float]:
        """The figures by name: accuracy, macro_f1 or micro_f1, precision, recall, ece, n, overlap, f1_LABEL, and what is known beyond."""
        found = {name: float(getattr(self, name)) for name in _PLAIN}
        found[self.headline] = self.f1
        found |= {f"f1_{label.label}": label.f1 for label in self.labels} | dict(self.more)
        if self.ece_before is not None:
            found["ece_before"] = self.ece_before
        for name in ("accuracy", self.headline, "ece"):
            if name in self.intervals:
                found |= {f"{name}_low": self.intervals[name].low, f"{name}_high": self.intervals[name].high}
        for test in self.behaviour:
            found[f"behaviour_{test.kind}_{test.test}".replace(" ", "_")] = test.passed / test.total
        return found

    def to_json(self) -> str:
        """Everything as JSON text."""
        return json.dumps({**asdict(self), **self.more, self.headline: self.f1}, indent=2, sort_keys=True)
