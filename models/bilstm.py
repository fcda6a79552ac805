"""A two-layer bidirectional LSTM in the place of a BERT trunk: the baseline that small models are compared with, and the smallest student.

Word embeddings, a layer norm, and two layers of Hochreiter and Schmidhuber's LSTM (1997) read in both directions (Schuster and Paliwal 1997), as in
the baseline of Devlin et al.'s successors and the student of Tang et al. 2019. It reads the tokens of the trunk whose tokenizer it borrows, and
begins with that trunk's word embeddings; everything else is learnt. To `models.network.Trunk` it looks like any encoder: `config.hidden_size`,
`get_input_embeddings`, `last_hidden_state`.

Rows are packed by their lengths, so padding is never read and an answer does not depend on the batch. Does not cover: characters, attention over the
states, positions (a window may be as long as the borrowed trunk's).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from data_contracts.errors import Fatal

KIND = "bilstm"
LAYERS = 2


class BiLstmRefused(Fatal):
    """The configuration is none of a BiLSTM, or a trunk has no word embeddings to begin with."""


@dataclass(frozen=True, kw_only=True)
class BiLstmConfig:
    """The shape of a BiLSTM; `hidden_size` is the width of its states, both directions together."""

    vocab_size: int
    embedding_size: int
    hidden_size: int
    num_hidden_layers: int = LAYERS
    hidden_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    pad_token_id: int = 0
    model_type: str = KIND

    def __post_init__(self) -> None:
        if self.hidden_size < 2 or self.hidden_size % 2 or self.num_hidden_layers < 1:
            given = f"hidden_size {self.hidden_size}, num_hidden_layers {self.num_hidden_layers}"
            raise BiLstmRefused(f"a BiLSTM of {given}; allowed: an even width of 2 or more, and 1 layer or more")

    @classmethod
    def read(cls, path: Path, *, dropout: float | None = None) -> BiLstmConfig:
        """The configuration in a config.json; `dropout` in [0, 1) replaces its own."""
        fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if dropout is not None:
            fields["hidden_dropout_prob"] = dropout
        try:
            return cls(**fields)
        except TypeError as error:
            raise BiLstmRefused(f"{path} is no configuration of a BiLSTM: {error}") from error

    def to_json_file(self, path: Path, **_: object) -> None:
        """Write config.json, as the configurations of `transformers` do."""
        Path(path).write_text(json.dumps(asdict(self), indent=2, sort_keys=True) + "\n", encoding="utf-8")


class BiLstm(nn.Module):
    """The encoder: ids or embeddings in, states of both directions out."""

    def __init__(self, config: BiLstmConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = nn.ModuleDict(
            {
                "word_embeddings": nn.Embedding(
                    config.vocab_size, config.embedding_size, padding_idx=config.pad_token_id
                ),
                "LayerNorm": nn.LayerNorm(config.embedding_size),
            }
        )
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        widths = [config.embedding_size] + [config.hidden_size] * (config.num_hidden_layers - 1)
        self.layer = nn.ModuleList(
            nn.LSTM(width, config.hidden_size // 2, batch_first=True, bidirectional=True) for width in widths
        )

    def get_input_embeddings(self) -> Any:
        """The word embeddings: a table, or what has taken its place (models.int8)."""
        return self.embeddings["word_embeddings"]

    def set_input_embeddings(self, words: nn.Module) -> None:
        """Take another table in the place of the word embeddings."""
        self.embeddings["word_embeddings"] = words

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        *,
        attention_mask: torch.Tensor,
        inputs_embeds: torch.Tensor | None = None,
    ) -> SimpleNamespace:
        """Ids (batch, tokens) or embeddings (batch, tokens, embedding), mask (batch, tokens) -> last_hidden_state (batch, tokens, hidden).

        Each row's tokens stand before its padding, whose states are 0.
        """
        embedded = self.get_input_embeddings()(input_ids) if inputs_embeds is None else inputs_embeds
        states: torch.Tensor = self.embeddings["LayerNorm"](embedded)
        lengths, total = attention_mask.sum(dim=1).cpu(), attention_mask.shape[1]
        for layer in self.layer:
            packed = pack_padded_sequence(self.dropout(states), lengths, batch_first=True, enforce_sorted=False)
            states, _ = pad_packed_sequence(layer(packed)[0], batch_first=True, total_length=total)
        return SimpleNamespace(last_hidden_state=self.dropout(states))


def bilstm_after(trunk: nn.Module, *, hidden_size: int | None = None, dropout: float | None = None) -> BiLstm:
    """A BiLSTM with the word embeddings of `trunk`, and as wide as it unless `hidden_size` says otherwise; its LSTMs are random."""
    model: Any = trunk
    words = model.get_input_embeddings()
    if not isinstance(words, nn.Embedding):
        raise BiLstmRefused(f"{type(trunk).__name__} has no word embeddings for a BiLSTM to begin with")
    theirs = model.config
    config = BiLstmConfig(
        vocab_size=words.num_embeddings,
        embedding_size=words.embedding_dim,
        hidden_size=hidden_size or int(theirs.hidden_size),
        hidden_dropout_prob=float(getattr(theirs, "hidden_dropout_prob", 0.1)) if dropout is None else dropout,
        max_position_embeddings=int(getattr(theirs, "max_position_embeddings", 512)),
        pad_token_id=int(theirs.pad_token_id or 0),
    )
    student = BiLstm(config)
    with torch.no_grad():
        student.get_input_embeddings().weight.copy_(words.weight)
    return student
