"""Words are answered by the mean of the members' calibrated probabilities, or with a chain by the mean of their emissions."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import softmax

from data_contracts.labelled import EntitySentimentExample, EntitySpan
from models.batching import collate
from models.bundle import load
from models.encoder import Encoder
from models.judging import Judged, judge
from models.jury import Jury
from models.network import Network
from models.recipe import Recipe, TaskData
from models.training import fit
from models.windows import cut

OPINIONS = [
    EntitySentimentExample(text="Acme rises", entities=(EntitySpan(start=0, end=4, label="positive"),)),
    EntitySentimentExample(text="shares of Bolt falls", entities=(EntitySpan(start=10, end=14, label="negative"),)),
]
TEMPERATURES = [{"ner": 0.5, "entity_sentiment": 3.0}, {"ner": 2.0, "entity_sentiment": 0.7}]
Built = tuple[list[Network], Jury, dict[str, TaskData]]


def _built(trunk: Path, data: dict[str, TaskData], recipe: Recipe, folder: Path) -> Built:
    data = {"ner": data["ner"], "entity_sentiment": TaskData(OPINIONS, OPINIONS)}
    members = [
        load(
            fit(
                trunk=str(trunk),
                data=data,
                recipe=dataclasses.replace(recipe, epochs=2, seed=seed),
                output=folder / str(seed),
            )
        ).network()
        for seed in range(2)
    ]
    return members, Jury(members, TEMPERATURES).eval(), data


def _judged(network: Network, encoder: Encoder, task: str, data: dict[str, TaskData]) -> Judged:
    return judge(network, encoder, task, data[task].dev, max_length=32, overlap=8, reading="sentences")


@pytest.mark.parametrize("label_features", [(), ("affix", "shape")])
def test_linear_heads_answer_by_the_mean_of_calibrated_probabilities(
    label_features: tuple[str, ...],
    tiny_trunk: Path,
    tiny_data: dict[str, TaskData],
    tiny_recipe: Recipe,
    tiny_encoder: Encoder,
    tmp_path: Path,
) -> None:
    recipe = dataclasses.replace(tiny_recipe, label_features=label_features)
    members, jury, data = _built(tiny_trunk, tiny_data, recipe, tmp_path)
    for task, sizes in (("ner", [9]), ("entity_sentiment", [3, 3])):
        *ours, together = (_judged(one, tiny_encoder, task, data) for one in (*members, jury))
        for number, encoded in enumerate(together.encoded):
            head = together.head
            said = head.probabilities(head.emissions(encoded, together.logits[number]))
            rows = [one.head.emissions(encoded, one.logits[number]) for one in ours]
            begin = 0
            for size in sizes:
                part = slice(begin, begin + size)
                mean = np.mean(
                    [softmax(row[:, part] / t[task], axis=1) for row, t in zip(rows, TEMPERATURES, strict=True)], axis=0
                )
                np.testing.assert_allclose(said[:, part], mean, atol=1e-6)
                begin += size


def test_a_chain_decodes_the_mean_of_emissions(
    tiny_trunk: Path, tiny_data: dict[str, TaskData], tiny_recipe: Recipe, tiny_encoder: Encoder, tmp_path: Path
) -> None:
    recipe = dataclasses.replace(tiny_recipe, crf=True, label_features=("shape",))
    members, jury, data = _built(tiny_trunk, tiny_data, recipe, tmp_path)
    *ours, together = (_judged(one, tiny_encoder, "ner", data) for one in (*members, jury))
    for number, encoded in enumerate(together.encoded):
        rows = [one.head.emissions(encoded, one.logits[number]) for one in ours]
        said = together.head.emissions(encoded, together.logits[number])
        np.testing.assert_allclose(said, np.mean(rows, axis=0), atol=1e-5)


def test_the_joint_logits_of_a_window_stand_first(
    tiny_trunk: Path, tiny_data: dict[str, TaskData], tiny_recipe: Recipe, tiny_encoder: Encoder, tmp_path: Path
) -> None:
    recipe = dataclasses.replace(tiny_recipe, label_features=("shape",))
    _, jury, _ = _built(tiny_trunk, tiny_data, recipe, tmp_path)
    (encoded,) = tiny_encoder.encode(["Acme falls and Bolt rises"])
    windows = cut(encoded, tiny_encoder, max_length=32, overlap=8, reading="sentences")
    batch = collate(windows, pad_id=tiny_encoder.pad_id, device=torch.device("cpu"))
    with torch.inference_mode():
        for task, outputs in (("ner", 9), ("entity_sentiment", 6)):
            torch.testing.assert_close(jury.all_logits(batch)[task][..., :outputs], jury(task, batch))
