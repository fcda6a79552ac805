"""The peer: transformers' own `pipeline` for the same outputs from the same weights, in float32 and in batches of 32 as texts come.

A bundle's network is wrapped, a head at a time, as a model with `.logits`, which is all that a pipeline asks for: one text classification, one token
classification for entities, one for sentiment of entities, whose labels are B-negative and so on. Each is a pass of its own, as pipelines are. Words
are aggregated by their first token, by which the heads were trained. A chain (CRF) is read without its transitions, since pipelines know none. For a
trunk that reads word shapes the tokenizer finds them.

A pipeline truncates at the positions that the trunk has (512 tokens for BERT's); nothing here reads a longer text on. Does not cover: topics,
summaries.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from transformers import (
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    TextClassificationPipeline,
    TokenClassificationPipeline,
)
from transformers.modeling_outputs import SequenceClassifierOutput

from benchmarks import parquet
from benchmarks.figure import Missing
from models.batching import Batch
from models.bundle import Bundle
from models.encoder import Encoder
from models.heads.entity_sentiment import TAGS
from models.network import Network
from models.shapes import shape_of

BATCH = 32
_CLASSES = {
    "sentiment": TextClassificationPipeline,
    "ner": TokenClassificationPipeline,
    "entity_sentiment": TokenClassificationPipeline,
}


class Pipelines:
    """One pipeline a task of some bundles."""

    def __init__(self, bundles: Sequence[Bundle]) -> None:
        self.by_task: dict[str, Any] = {}
        for bundle in bundles:
            if bundle.manifest.members:
                raise Missing(f"{bundle.path} is an ensemble, and transformers has no pipeline for one")
            network, encoder = bundle.network(), bundle.encoder()
            for task in (task for task in bundle.heads if task in _CLASSES):
                self.by_task[task] = _pipeline(bundle, network, encoder, task)
        if not self.by_task:
            raise Missing(f"no pipeline answers what the bundles do; there are pipelines for {', '.join(_CLASSES)}")
        self.tokenizer = next(iter(self.by_task.values())).tokenizer

    def tokens(self, texts: Sequence[str]) -> int:
        """How many tokens of some texts are read, those without special ones that are not cut off."""
        special = self.tokenizer.num_special_tokens_to_add()
        most = self.tokenizer.model_max_length - special
        return sum(
            min(most, len(ids))
            for ids in self.tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        )

    def ask(self, task: str, texts: Sequence[str]) -> list[list[dict[str, Any]]]:
        """A task's answers to each text, as the pipeline gives them."""
        return list(self.by_task[task](list(texts), batch_size=BATCH))

    def score(self, path: Path, output: Path) -> int:
        """Score a file's rows into a file a task in a directory; how many rows."""
        table = pq.read_table(path)
        ids: list[str] = table["id"].to_pylist()
        texts = [text.rstrip("\n") for text in parquet.joined(table)]
        for task in self.by_task:
            answers = self.ask(task, texts)
            listed = [{"id": id_, **one} for id_, some in zip(ids, answers, strict=True) for one in some]
            pq.write_table(pa.Table.from_pylist(listed), output / f"{task}.parquet")
        return len(ids)


class _Model(PreTrainedModel):
    """One head of a network as a model of transformers: ids and mask (windows, tokens) to logits."""

    config_class = PretrainedConfig

    def __init__(self, config: PretrainedConfig, network: Network, task: str, temperature: float) -> None:
        super().__init__(config)
        self.trunk, self.head = network.trunk, network.head(task)
        self.task, self.temperature = task, temperature

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **given: Any) -> SequenceClassifierOutput:
        """Logits (windows, labels) or (windows, tokens, labels)."""
        shapes = given.get("shapes", torch.zeros_like(input_ids))
        hidden = self.trunk(input_ids, attention_mask, shapes)
        logits = self.head(hidden, Batch(input_ids, attention_mask, shapes, input_ids[:, 0]))
        joined = _joined(logits) if self.task == "entity_sentiment" else logits
        return SequenceClassifierOutput(logits=joined / self.temperature)


class _Shaped(PreTrainedTokenizerFast):
    """A tokenizer that also says each token's word shape."""

    def __call__(self, *given: Any, **options: Any) -> Any:
        """What it says by itself, with shapes (1, tokens), 0 of special tokens; of a word that is cut off, that of what is left of it."""
        made = super().__call__(*given, **options)
        if isinstance(given[0], str):
            encoding = made.encodings[0]
            reach: dict[int, tuple[int, int]] = {}  # of each word, in characters
            for word, (start, end) in zip(encoding.word_ids, encoding.offsets, strict=True):
                if word is not None:
                    reach[word] = (reach.get(word, (start, end))[0], end)
            shape = {word: shape_of(given[0][start:end]) for word, (start, end) in reach.items()}
            made["shapes"] = torch.tensor([[shape.get(word, 0) for word in encoding.word_ids]])
        return made


def _pipeline(bundle: Bundle, network: Network, encoder: Encoder, task: str) -> Any:
    head = network.head(task)
    labels = head.labels if task != "entity_sentiment" else _joined_labels(head.labels)
    config = PretrainedConfig(num_labels=len(labels), id2label=dict(enumerate(labels)))
    text, words = {"top_k": None, "truncation": True}, {"aggregation_strategy": "first"}
    options: dict[str, Any] = text if task == "sentiment" else words
    with _quiet():
        model = _Model(config, network, task, bundle.manifest.temperatures[task]).eval()
        return _CLASSES[task](model=model, tokenizer=_tokenizer(encoder, bundle), device="cpu", **options)


def _tokenizer(encoder: Encoder, bundle: Bundle) -> PreTrainedTokenizerFast:
    kind = _Shaped if bundle.manifest.word_shapes else PreTrainedTokenizerFast
    return kind(
        tokenizer_object=encoder.tokenizer,
        pad_token=encoder.tokenizer.id_to_token(encoder.pad_id),
        model_max_length=encoder.positions,
        model_input_names=["input_ids", "attention_mask"],
    )


def _joined_labels(sentiments: Sequence[str]) -> list[str]:
    return ["O", *(f"{tag}-{label}" for tag in TAGS[1:] for label in sentiments)]


def _joined(logits: torch.Tensor) -> torch.Tensor:
    """Tags and sentiments (windows, tokens, 3 + 3) as one set of labels (windows, tokens, 7): O, B with each sentiment, I with each."""
    tags, sentiments = logits[..., : len(TAGS)].log_softmax(-1), logits[..., len(TAGS) :].log_softmax(-1)
    begun = [tags[..., number, None] + sentiments for number in range(1, len(TAGS))]
    return torch.cat([tags[..., :1], *begun], dim=-1)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the complaint that a model is none of transformers' own, which a pipeline needs not know."""
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
