"""Explain scores outside the flows: texts of one's own, with the model that would score them.

A line of a file that is no article, or holds nothing to explain, is named and passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from flows.scoring import read
from flows.settings import Settings
from flows.showing import tell
from tasks.registry import Registry

if TYPE_CHECKING:
    from models.explain import Explainer, Explanation

LOUD = 0.5  # of the loudest word's weight: from there on a word is set in bold


def explanations(
    text: str | None,
    source: Path | None,
    model: str,
    settings: Settings,
    *,
    entity: str | None = None,
    label: str | None = None,
    most_windows: int | None = None,
) -> Iterator[tuple[str, Explanation]]:
    """Why each text got its label, with the id it has in the file, one after the other.

    Raises:
        NotExplained: the only text cannot be explained, or the model has not the head.
    """
    from models.bundle import load
    from models.explain import Explainer, NotExplained

    task = "entity_sentiment" if entity is not None else "sentiment"
    registry = Registry(settings.mlflow_uri, settings.home / "bundles")
    bundle = load(registry.resolve(f"{task}/champion" if model == "champion" else model))
    explainer = Explainer(bundle, most_windows=most_windows)
    if text is not None:
        yield "", _explained(explainer, text, entity, label)
        return
    assert source is not None
    lines, failures = read(source)
    for failure in failures:
        tell(f"{source}:{failure.number}: left out: {failure.error}")
    for line in lines:
        try:
            yield line.key, _explained(explainer, f"{line.title or ''}\n{line.body or ''}", entity, label)
        except NotExplained as error:
            tell(f"{source}:{line.number}: left out: {error}")


def _explained(explainer: Explainer, text: str, entity: str | None, label: str | None) -> Explanation:
    from models.explain import NotExplained

    if entity is None:
        return explainer.sentiment(text, label=label)
    start = text.find(entity)
    if not entity or start < 0:
        raise NotExplained(
            f"the entity {entity!r} does not stand in the text {text[:40]!r}; write it as it stands there"
        )
    return explainer.entity(text, (start, start + len(entity)), label=label)


def show_explanation(key: str, found: Explanation) -> None:
    """The label, the sentences by how much they moved it, and their words with their weights."""
    about = f" of {found.text[slice(*found.span)]!r}" if found.span else ""
    head = f"{key + ': ' if key else ''}{found.label}{about} ({found.probability:.0%} sure), margin {found.margin:+.2f}"
    tell((head, "bold"))
    loudest = max((abs(word.weight) for word in found.words()), default=0.0)
    for passage in sorted(found.passages, key=lambda one: -abs(one.margin)):
        if passage.words:
            tell(f"  {passage.margin:+.2f}  {' '.join(found.text[passage.start : passage.end].split())}")
        for word in passage.words:
            if word.text.strip() and abs(word.weight) >= 0.05 * loudest:
                style = "bold" if abs(word.weight) >= LOUD * loudest else ""
                colour = "blue" if word.weight > 0 else "red"
                tell("        ", (f"{word.weight:+.3f}  {word.text}", f"{style} {colour}".strip()))
    tell(f"  (the words miss {found.completeness_error:.4f} of the margin over a text without words)")
