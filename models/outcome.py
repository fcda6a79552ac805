"""What a finished training leaves: its best weights calibrated and measured on dev, in a bundle."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from models import bundle as bundles
from models import tuning
from models.bilstm import BiLstm
from models.contamination import text_hashes
from models.manifest import Manifest, package_versions

if TYPE_CHECKING:
    from models.fitting import Fitting


def conclude(fitting: Fitting) -> None:
    """Bring back a plain encoder, fit a temperature a head, measure, and write the bundle of the weights that the network holds."""
    tuning.merge(fitting.network)
    judged = {task: fitting.judge(task) for task in fitting.data}
    temperatures = {task: one.temperature() for task, one in judged.items()}
    metrics = {task: one.evaluate(temperatures[task]).metrics() for task, one in judged.items()}
    ece_before = {task: one.evaluate().ece for task, one in judged.items()}
    recipe = fitting.recipe
    manifest = Manifest(
        trunk=fitting.name,
        labels={task: fitting.network.head(task).labels for task in fitting.data},
        temperatures=temperatures,
        max_length=recipe.max_length,
        overlap=recipe.overlap,
        reading=recipe.reading,
        pooling=recipe.pooling,
        word_shapes=recipe.word_shapes,
        crf=recipe.crf,
        label_features=recipe.label_features,
        vocabulary=fitting.encoder.tokenizer.get_vocab_size(),
        examples={task: len(parts.train) for task, parts in fitting.data.items()},
        metrics=metrics,
        ece_before=ece_before,
        recipe=dataclasses.asdict(recipe)
        | ({} if fitting.lesson is None else {"distillation": fitting.lesson.plan.stated()}),
        teachers=() if fitting.lesson is None else fitting.lesson.digests,
        trunk_kind="bilstm" if isinstance(fitting.network.trunk.encoder, BiLstm) else "bert",
        packages=package_versions(),
    )
    texts = {
        task: text_hashes(fitting.network.head(task).text(one) for one in fitting.epochs.examples[task])
        | fitting.learnt
        for task in fitting.data
    }
    bundles.save(
        fitting.output, network=fitting.network, encoder=fitting.encoder, manifest=manifest, training_texts=texts
    )
