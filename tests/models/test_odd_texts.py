"""Long, odd and broken texts: each is scored or fails with a reason, and its neighbours are scored as ever."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from models.backends.torch import TorchBackend
from models.engine import Predictor
from tests.models.tables import TEXTS, rows_of, table_of


@pytest.fixture(scope="module")
def predictor(tiny_bundle: Path) -> Predictor:
    return Predictor([tiny_bundle])


def test_an_entity_at_the_end_of_a_long_text_is_found(predictor: Predictor) -> None:
    body = "the river and the bank. " * 120 + "the city of Oslo"
    found = predictor.predict(table_of(["a bank and a river"], [body]))
    (article,) = found.articles.to_pylist()
    assert article["tokens_total"] == article["tokens_scored"] > 512
    assert article["windows"] > 20
    last = found.mentions.to_pylist()[-1]
    text = "a bank and a river\n" + body
    assert (last["start"], last["end"], last["text"], last["type"]) == (len(text) - 4, len(text), "Oslo", "LOC")


def test_a_cap_on_windows_is_stated_in_the_tokens(tiny_bundle: Path) -> None:
    found = Predictor([tiny_bundle], max_windows=1).predict(table_of(["the " * 100]))
    (article,) = found.articles.to_pylist()
    assert (article["tokens_scored"], article["tokens_total"], article["windows"]) == (30, 100, 1)


def test_odd_texts_are_scored_or_fail_with_a_reason(predictor: Predictor) -> None:
    odd: list[str | None] = [
        None,
        "",
        " \n\t ",
        "\U0001f600\u200d\U0001f600",
        "\x00",
        "x" * 2_000_000,
        "the\x00bank",
        "profit",
    ]
    found = predictor.predict(table_of(odd))
    assert found.failures.column("id").to_pylist() == ["a0", "a1", "a2", "a4"]
    assert set(found.failures.column("error").to_pylist()) == {"no text to score: title and body hold no token"}
    assert found.articles.column("id").to_pylist() == ["a3", "a5", "a6", "a7"]


def test_bytes_that_are_no_text_fail_alone(predictor: Predictor) -> None:
    data = b"profit\xff\xferises"
    broken = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(np.asarray([0, 6, len(data)], np.int32).tobytes()), pa.py_buffer(data)]
    )
    found = predictor.predict(pa.table({"id": [1, 2], "title": broken, "body": pa.nulls(2, pa.string())}))
    assert found.articles.column("id").to_pylist() == [1]
    assert found.failures.to_pylist()[0]["id"] == 2
    assert "UnicodeDecodeError" in found.failures.to_pylist()[0]["error"]


class _Sabotaged(nn.Module):
    """A trunk that breaks on every batch that holds a certain token, and answers nonsense for another."""

    def __init__(self, inner: nn.Module, breaks_on: int, nonsense_for: int) -> None:
        super().__init__()
        self.inner, self.breaks_on, self.nonsense_for = inner, breaks_on, nonsense_for

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, shapes: torch.Tensor) -> torch.Tensor:
        if (ids == self.breaks_on).any():
            raise RuntimeError("this token breaks the kernel")
        hidden: torch.Tensor = self.inner(ids, mask, shapes)
        hidden[(ids == self.nonsense_for).any(dim=1)] = torch.nan
        return hidden


def test_one_bad_row_does_not_take_its_neighbours_with_it(tiny_bundle: Path, predictor: Predictor) -> None:
    sabotaged = Predictor([tiny_bundle])
    (scorer,) = sabotaged._scorers
    assert isinstance(scorer.backend, TorchBackend)
    vocabulary = scorer.reader.encoder.tokenizer.get_vocab()
    network = scorer.backend.network
    network.trunk = _Sabotaged(network.trunk, vocabulary["river"], vocabulary["north"])  # type: ignore[assignment]
    texts: list[str | None] = [*TEXTS, "the river", "the north", *TEXTS]
    found = sabotaged.predict(table_of(texts))
    assert found.failures.column("id").to_pylist() == ["a7", "a8"]
    assert "this token breaks the kernel" in found.failures.column("error").to_pylist()[0]
    assert "not finite" in found.failures.column("error").to_pylist()[1]
    expected = rows_of(predictor.predict(table_of(texts)))
    for one, row in rows_of(found).items():
        np.testing.assert_allclose(row, expected[one], atol=1e-5)
    assert found.articles.num_rows == len(texts) - 2
