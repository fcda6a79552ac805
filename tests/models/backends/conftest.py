"""Untrained bundles of all five heads on the tiny trunk, and texts to ask them about."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from data_contracts.labelled import (
    EntitySentimentExample,
    EntitySpan,
    NerExample,
    SentimentExample,
    SummaryExample,
    TopicsExample,
)
from models.backends.agreement import CheckSet
from models.batching import Batch, collate
from models.bundle import Bundle, save
from models.encoder import Encoder, load_trunk
from models.heads import head_class
from models.manifest import Manifest, package_versions
from models.network import Network, Trunk
from models.prefix import make_prefix
from models.windows import cut

TASKS = ("entity_sentiment", "ner", "sentiment", "summary", "topics")
TOPICS = ("banks", "rivers")
TEXTS = (
    "profit rises sharply",
    "Acme Bank said on monday the loss of shares falls in Oslo and the river rises in the north of the city",
    "a",
    "the bank said shares of Acme falls sharply. a river in Oslo rises on monday.",
    "loss of the bank and profit of the city",
)

Maker = Callable[..., Bundle]


@pytest.fixture(scope="session")
def make_bundle(tiny_trunk: Path, tmp_path_factory: pytest.TempPathFactory) -> Maker:
    """Makes a bundle of random heads: `crf`, `word_shapes` and `prefix` as a bundle may have them."""

    def make(
        *,
        crf: bool = False,
        word_shapes: bool = False,
        prefix: bool = False,
        tasks: tuple[str, ...] = TASKS,
        seed: int = 0,
    ) -> Bundle:
        encoder = Encoder.from_directory(tiny_trunk)
        labels = {task: head_class(task).labels or TOPICS for task in tasks}
        manifest = Manifest(
            trunk="tiny",
            labels=labels,
            temperatures=dict.fromkeys(tasks, 1.5),
            max_length=32,
            overlap=8,
            reading="sentences",
            pooling="mean",
            word_shapes=word_shapes,
            crf=crf,
            vocabulary=encoder.tokenizer.get_vocab_size(),
            examples=dict.fromkeys(tasks, 0),
            metrics={},
            recipe={},
            packages=package_versions(),
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            trunk = Trunk(load_trunk(tiny_trunk), word_shapes=word_shapes)
            if prefix:
                trunk.prefix = make_prefix(trunk.encoder, tokens=3)
            network = Network(trunk, tasks, manifest.head_options())
            with torch.no_grad():
                for task in tasks:
                    network.head(task).linear.weight.normal_(std=0.5)
                if trunk.shapes is not None:
                    trunk.shapes.weight[1:].normal_(std=0.5)
        path = tmp_path_factory.mktemp("five") / "bundle"
        return save(path, network=network, encoder=encoder, manifest=manifest, training_texts={})

    return make


@pytest.fixture(scope="session")
def five(make_bundle: Maker) -> Bundle:
    """All heads, a CRF and word shapes."""
    return make_bundle(crf=True, word_shapes=True)


@pytest.fixture(scope="session")
def batch_of() -> Callable[[Bundle], Batch]:
    """The texts' windows in one batch."""

    def batch(bundle: Bundle) -> Batch:
        encoder = bundle.encoder()
        windows = [
            window
            for text in encoder.encode(TEXTS)
            for window in cut(text, encoder, max_length=32, overlap=8, reading="sentences")
        ]
        return collate(windows, pad_id=encoder.pad_id)

    return batch


@pytest.fixture(scope="session")
def check_set() -> CheckSet:
    """An example or two of each task."""
    said = "Acme rises. the bank falls on monday. profit of the river falls."
    return CheckSet(
        examples={
            "sentiment": [SentimentExample(text=text, label="neutral") for text in TEXTS],
            "topics": [TopicsExample(text=text, topics=("banks",)) for text in TEXTS],
            "ner": [
                NerExample(tokens=("Acme", "Bank", "said"), tags=("B-ORG", "I-ORG", "O")),
                NerExample(tokens=("profit", "rises", "in", "Oslo"), tags=("O", "O", "O", "B-LOC")),
            ],
            "entity_sentiment": [
                EntitySentimentExample(text=said, entities=(EntitySpan(start=0, end=4, label="positive"),))
            ],
            "summary": [SummaryExample(text=said, summary="the bank falls")],
        },
        texts=TEXTS,
    )
