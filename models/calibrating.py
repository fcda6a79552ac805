"""A network that was made out of others, calibrated and measured on dev as a trained one is, and its manifest written anew.

What changes a network's answers, averaging, rounding or cutting it, changes how sure they should be and how good they are; so whoever does so
comes here. Dev examples whose texts the network has learnt, in whatever bundle it comes from, are left out first: figures and a temperature from
what is known by heart would flatter it. Does not cover: training, which leaves the same out by `fresh`.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from data_contracts.errors import Fatal
from models.contamination import part
from models.encoder import Encoder
from models.heads import Example, Head
from models.judging import judge
from models.manifest import Manifest
from models.network import Network

logger = logging.getLogger(__name__)


class DevMissing(Fatal):
    """There is nothing to calibrate and measure a task on."""


def fresh(head: Head, dev: Sequence[Example], learnt: Collection[str]) -> Sequence[Example]:
    """The dev examples of a head's task whose text has no hash among `learnt`; how many others there are is said.

    Raises:
        DevMissing: there are only others.
    """
    parted = part([head.text(example) for example in dev], learnt)
    if not parted.learnt:
        return dev
    if not parted.fresh:
        raise DevMissing(
            f"the texts of all {len(dev)} dev examples for {head.task} were learnt before, by the model itself, a member or a teacher; "
            "needed: one example at least that was not"
        )
    said = "dev examples were learnt before, by the model itself, a member or a teacher; left out"
    logger.warning("%s: %d of %d %s", head.task, len(parted.learnt), len(dev), said)
    return tuple(dev[place] for place in parted.fresh)


def calibrated(
    manifest: Manifest,
    network: Network,
    encoder: Encoder,
    dev: Mapping[str, Sequence[Example]],
    *,
    learnt: Collection[str],
) -> Manifest:
    """`manifest` with the temperatures and figures that `network` has on the dev examples of each of its tasks, those `learnt` left out."""
    missing = sorted(task for task in manifest.labels if not dev.get(task))
    if missing:
        raise DevMissing(
            f"no dev examples for {', '.join(missing)}; needed for every task: {', '.join(manifest.labels)}"
        )
    judged = {
        task: judge(
            network,
            encoder,
            task,
            fresh(network.head(task), dev[task], learnt),
            max_length=manifest.max_length,
            overlap=manifest.overlap,
            reading=manifest.reading,
        )
        for task in manifest.labels
    }
    temperatures = {task: one.temperature() for task, one in judged.items()}
    return replace(
        manifest,
        temperatures=temperatures,
        metrics={task: one.evaluate(temperatures[task]).metrics() for task, one in judged.items()},
        ece_before={task: one.evaluate().ece for task, one in judged.items()},
        files={},
    )
