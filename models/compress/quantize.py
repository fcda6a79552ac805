"""A bundle with weights of eight bits: a quarter of the size, nearly the same answers, and faster where the CPU multiplies integers.

Post-training quantisation without data (models.int8 says how), for the trunk's linear layers and its word embeddings; norms, positions, biases, LSTMs
and heads stay as they are. The answers are calibrated and measured again on dev. Does not cover: training with the rounding in the loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from data_contracts.errors import Fatal
from models.bundle import load, save
from models.calibrating import calibrated
from models.heads import Example
from models.int8 import to_int8


class QuantizationRefused(Fatal):
    """The bundle has no weights that could be quantised."""


def quantize(path: Path | str, output: Path, dev: Mapping[str, Sequence[Example]]) -> Path:
    """Write the bundle at `path` with weights of eight bits, calibrated and measured on the dev examples of each task; returns `output`."""
    bundle = load(path)
    if bundle.manifest.members or bundle.manifest.quantization:
        raise QuantizationRefused(
            f"{bundle.path} is {'an ensemble' if bundle.manifest.members else 'quantised already'}; allowed: one bundle of float32 weights"
        )
    network = bundle.network()
    if not to_int8(network.trunk.encoder):
        raise QuantizationRefused(f"{bundle.path} has a trunk without linear layers or word embeddings")
    stated = replace(bundle.manifest, quantization="int8")
    manifest = calibrated(stated, network.eval(), bundle.encoder(), dev, learnt=bundle.learnt())
    texts = {task: bundle.training_texts(task) for task in bundle.heads}
    return save(output, network=network, encoder=bundle.encoder(), manifest=manifest, training_texts=texts).path
