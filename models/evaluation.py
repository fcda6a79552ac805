"""A bundle held against labelled examples it has not learnt: every figure, with what says how far to trust it.

Refuses texts that the bundle was trained on (models.contamination), since figures on them flatter; `allow_overlap` insists, and then their number
stands in the result as `overlap`. Beside the quick figures (models.judging) come the calibration error without the temperature, 95%
intervals, the confusion matrix and the behavioural tests. What a figure means is said in models.metrics. Does not cover: significance of the
difference of two models on the same examples.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from data_contracts.errors import Fatal
from models import bundle as bundles
from models.behaviour import COVERED, behaviour
from models.behaviour.asking import asking
from models.bootstrap import Interval, intervals
from models.bundle import Bundle
from models.confusion import NONE, Confusion, confusion, type_of
from models.contamination import Parted, part, refuse
from models.figures import Evaluation
from models.heads import Answers, Example, Head, head_class
from models.judging import Judged, confidences, hits, judge
from models.metrics import expected_calibration_error
from models.tally import tally_entities, tally_labels

__all__ = ["Evaluation", "Judged", "data_hash", "evaluate", "judge", "unlearnt"]


class GivenRefused(Fatal):
    """Only the sentiment towards entities can be asked with the entities given."""


logger = logging.getLogger(__name__)


def evaluate(
    bundle_dir: str | Path,
    task: str,
    examples: Sequence[Example],
    *,
    allow_overlap: bool = False,
    given_entities: bool = False,
    places: Sequence[str] | None = None,
) -> Evaluation:
    """A bundle's figures for a task on labelled examples.

    Args:
        bundle_dir: where the bundle is.
        task: one that it serves.
        examples: of the task, as data_contracts.labelled reads them.
        allow_overlap: measure on texts that the bundle was trained on, too.
        given_entities: of entity_sentiment: the spans are told, and only their labels asked.
        places: where each example stands, for the text of a refusal; its number where left out.

    Raises:
        LearntTexts: some texts were trained on, and `allow_overlap` is not set.
        BundleRefused: it is no bundle, or does not serve the task.
    """
    bundle = bundles.load(bundle_dir)
    _serves(bundle, task)
    if given_entities and task != "entity_sentiment":
        raise GivenRefused(f"entities given for {task}; allowed for entity_sentiment only")
    texts = _texts(bundle, task, examples)
    seen = part(texts, bundle.learnt()).learnt
    if seen and allow_overlap:
        logger.warning("%d of %d %s examples were in the training set of %s", len(seen), len(texts), task, bundle.path)
    elif seen:
        refuse(texts, seen, model=str(bundle.path), places=places)
    temperature = bundle.manifest.temperatures[task]
    speak = speaker(bundle, task)
    judged = speak(examples)
    answers = judged.answers(temperature, given=given_entities)
    raw = judged.answers(given=given_entities)
    tagged = judged.head.level == "word" and not given_entities
    quick = judged.figures(answers, given=given_entities)
    labels = tuple(label.label for label in quick.labels)
    return replace(
        quick,
        overlap=len(seen),
        model_digest=bundle.digest,
        data_hash=data_hash(examples),
        temperature=temperature,
        ece_before=expected_calibration_error(confidences(raw), hits(raw)),
        intervals=_intervals(judged.head, answers, quick, tagged=tagged),
        confusion=_confusion(answers, labels, tagged=tagged),
        behaviour=behaviour(task, asking(speak, task, temperature)) if task in COVERED else (),
    )


def unlearnt(bundle_dir: str | Path, task: str, examples: Sequence[Example]) -> Parted:
    """Which of some examples a bundle has not learnt from, and which it has."""
    bundle = bundles.load(bundle_dir)
    _serves(bundle, task)
    return part(_texts(bundle, task, examples), bundle.learnt())


def data_hash(examples: Sequence[Example]) -> str:
    """16 hex digits that stand for labelled examples in their order."""
    return hashlib.sha256("\n".join(map(repr, examples)).encode("utf-8", "replace")).hexdigest()[:16]


def speaker(bundle: Bundle, task: str) -> Callable[[Sequence[Example]], Judged]:
    """A loaded bundle that says what it thinks of examples, reading them as it does in use."""
    network, encoder, manifest = bundle.network(), bundle.encoder(), bundle.manifest

    def speak(examples: Sequence[Example]) -> Judged:
        return judge(
            network,
            encoder,
            task,
            examples,
            max_length=manifest.max_length,
            overlap=manifest.overlap,
            reading=manifest.reading,
        )

    return speak


def _serves(bundle: Bundle, task: str) -> None:
    if task not in bundle.heads:
        raise bundles.BundleRefused(f"{bundle.path} has no head {task!r}; it has {', '.join(bundle.heads)}")


def _texts(bundle: Bundle, task: str, examples: Sequence[Example]) -> list[str]:
    head = head_class(task)(1, bundle.manifest.head_options())
    return [head.text(example) for example in examples]


def _intervals(head: Head, answers: Sequence[Answers], quick: Evaluation, *, tagged: bool) -> dict[str, Interval]:
    """By the figure's name; those of a task whose first figure is no F1 of labels are of the mean over examples."""
    labels = tuple(label.label for label in quick.labels)
    if tagged:
        return tally_entities(answers).intervals()
    if quick.average in ("macro", "micro"):
        return tally_labels(answers, labels, macro=quick.average == "macro").intervals()
    each = np.asarray([[head.scores([one]).f1] for one in answers])
    found = {name: one for name, one in tally_labels(answers, ()).intervals().items() if name in ("accuracy", "ece")}
    if len(each):
        (found[quick.headline],) = intervals(each, lambda sums: sums / len(each))
    return found


def _confusion(answers: Sequence[Answers], labels: Sequence[str], *, tagged: bool) -> Confusion:
    gold = [label for one in answers for label in one.gold]
    predicted = [label for one in answers for label in one.predicted]
    if tagged:
        return confusion([type_of(tag) for tag in gold], [type_of(tag) for tag in predicted], (*labels, NONE))
    return confusion(gold, predicted, labels)
