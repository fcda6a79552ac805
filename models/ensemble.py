"""Several bundles of the same tasks as one: better and better calibrated than each, and as slow as all of them together.

Lakshminarayanan et al. 2017. The bundle holds its members whole, sorted by digest, so that the order in which they are named does not matter, and its
digest follows from theirs. How they answer together is said in models.jury; the temperature on top of that is fitted on dev, as for any
bundle. Members differ in seed, recipe or trunk, but read the same tokens in the same windows. Does not cover: weights of the members.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from data_contracts.errors import Fatal
from models.bundle import Bundle, load, save_ensemble
from models.calibrating import calibrated
from models.heads import Example
from models.jury import Jury
from models.manifest import Manifest, package_versions


class EnsembleRefused(Fatal):
    """The bundles cannot answer together, or their weights cannot be averaged."""


def build(paths: Sequence[Path | str], output: Path, dev: Mapping[str, Sequence[Example]]) -> Path:
    """Write the ensemble of some bundles, calibrated and measured on the dev examples of each task; returns `output`."""
    bundles = agreeing(paths)
    members = {f"member-{number:02d}": bundle for number, bundle in enumerate(bundles)}
    first = bundles[0].manifest
    manifest = Manifest(
        trunk="ensemble",
        labels=first.labels,
        temperatures=dict.fromkeys(first.labels, 1.0),
        max_length=first.max_length,
        overlap=first.overlap,
        reading=first.reading,
        pooling=first.pooling,
        word_shapes=any(bundle.manifest.word_shapes for bundle in bundles),
        crf=first.crf,
        label_features=first.label_features,
        members=tuple(members),
        vocabulary=first.vocabulary,
        examples={task: max(bundle.manifest.examples[task] for bundle in bundles) for task in first.labels},
        metrics={},
        recipe={},
        packages=package_versions(),
    )
    network = Jury([bundle.network() for bundle in bundles], [bundle.manifest.temperatures for bundle in bundles])
    learnt = frozenset().union(*(bundle.learnt() for bundle in bundles))
    manifest = calibrated(manifest, network.eval(), bundles[0].encoder(), dev, learnt=learnt)
    return save_ensemble(output, members=members, manifest=manifest).path


def agreeing(paths: Sequence[Path | str]) -> list[Bundle]:
    """Bundles, sorted by digest, that read the same tokens in the same windows and answer the same tasks; EnsembleRefused for others."""
    bundles = sorted((load(path) for path in paths), key=lambda bundle: bundle.digest)
    if len(bundles) < 2 or len({bundle.digest for bundle in bundles}) < len(bundles):
        raise EnsembleRefused(f"{len(bundles)} bundles given; allowed are two or more, none of them twice")
    for bundle in bundles:
        if bundle.manifest.members:
            raise EnsembleRefused(f"{bundle.path} is an ensemble itself; name its members, which lie in its folders")
        differing = [name for name in _SAME if _of(bundle, name) != _of(bundles[0], name)]
        if differing:
            raise EnsembleRefused(
                f"{bundle.path} and {bundles[0].path} differ in {', '.join(differing)}; allowed: the same {', '.join(_SAME)}"
            )
    return bundles


_SAME = ("tokenizer", "labels", "max_length", "overlap", "reading", "crf", "label_features")


def _of(bundle: Bundle, name: str) -> object:
    return bundle.manifest.files["tokenizer.json"] if name == "tokenizer" else getattr(bundle.manifest, name)
