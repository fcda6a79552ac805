"""One bundle whose weights are the mean of several that were fine-tuned from the same start: much of an ensemble's gain at one model's cost.

Wortsman et al. 2022, "Model soups" (the uniform soup). Seeds of one recipe from one published trunk lie in the same valley often enough that the
middle between them is lower; where they do not, the figures on dev, measured anew, say so. Does not cover: the greedy soup, weights for the
ingredients, task vectors.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from models.bundle import load, save
from models.calibrating import calibrated
from models.ensemble import EnsembleRefused, agreeing
from models.heads import Example


def soup(paths: Sequence[Path | str], output: Path, dev: Mapping[str, Sequence[Example]]) -> Path:
    """Write the mean of some bundles' weights, calibrated and measured on the dev examples of each task; returns `output`."""
    same = len({load(path).digest for path in paths}) == 1
    bundles = [load(path) for path in paths] if same else agreeing(paths)
    first = bundles[0]
    network = first.network()
    sums = {name: value.double() for name, value in network.state_dict().items()}
    for bundle in bundles[1:]:
        weights = bundle.network().state_dict()
        _refuse_other_shapes(sums, weights, bundle.path, first.path)
        if bundle.manifest.trunk != first.manifest.trunk or bundle.manifest.quantization:
            raise EnsembleRefused(
                f"{bundle.path} began as {bundle.manifest.trunk!r} {bundle.manifest.quantization}, {first.path} as {first.manifest.trunk!r}; "
                "allowed in a soup: floating-point weights fine-tuned from the same start"
            )
        if bundle.manifest.pooling != first.manifest.pooling:
            raise EnsembleRefused(
                f"{bundle.path} has the pooling {bundle.manifest.pooling!r}, {first.path} {first.manifest.pooling!r}; allowed in a soup: one"
            )
        for name, value in weights.items():
            sums[name] += value.double()
    now = network.state_dict()
    network.load_state_dict({name: (value / len(bundles)).to(now[name].dtype) for name, value in sums.items()})
    manifest = dataclasses.replace(
        first.manifest,
        recipe={**first.manifest.recipe, "soup": sorted(bundle.digest for bundle in bundles)},
        examples={task: max(bundle.manifest.examples[task] for bundle in bundles) for task in first.heads},
    )
    learnt = frozenset().union(*(bundle.learnt() for bundle in bundles))
    manifest = calibrated(manifest, network.eval(), first.encoder(), dev, learnt=learnt)
    texts = {task: frozenset().union(*(bundle.training_texts(task) for bundle in bundles)) for task in first.heads}
    return save(output, network=network, encoder=first.encoder(), manifest=manifest, training_texts=texts).path


def _refuse_other_shapes(
    ours: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor], there: Path, here: Path
) -> None:
    differing = sorted(
        name
        for name in ours.keys() | theirs.keys()
        if name not in ours or name not in theirs or ours[name].shape != theirs[name].shape
    )
    if differing:
        raise EnsembleRefused(
            f"{there} and {here} are built differently ({', '.join(differing[:3])}); allowed in a soup: one architecture"
        )
