"""Tables in, tables out: the same scores however rows are batched, and no row lost."""

import dataclasses
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from models.backends.torch import TorchBackend
from models.bundle import BundleRefused, load, save
from models.engine import Prediction, Predictor, TableRefused
from models.reader import Reader
from models.recipe import Recipe, TaskData
from models.training import fit

TEXTS = [
    "profit rises sharply",
    "shares of Acme falls",
    "Oslo and Acme",
    "the bank said on monday " * 20,
    "loss",
    "U.S. shares falls",
    "shares of Acme falls",
]


def _table(titles: list[str | None], bodies: list[str | None] | None = None, ids: list[Any] | None = None) -> pa.Table:
    return pa.table(
        {
            "id": ids or [f"a{number}" for number in range(len(titles))],
            "title": pa.array(titles, pa.string()),
            "body": pa.array(bodies or [None] * len(titles), pa.string()),
        }
    )


def _ids(prediction: Prediction) -> list[Any]:
    ids: list[Any] = prediction.articles.column("id").to_pylist()
    return ids


def _rows(prediction: Prediction) -> dict[str, list[float]]:
    columns = ("p_negative", "p_neutral", "p_positive")
    return {row["id"]: [row[name] for name in columns] for row in prediction.articles.to_pylist()}


@pytest.fixture(scope="module")
def predictor(tiny_bundle: Path) -> Predictor:
    return Predictor([tiny_bundle])


def test_articles_get_their_sentiment_and_their_mentions_by_character(predictor: Predictor) -> None:
    found = predictor.predict(_table(["profit rises sharply", "shares falls sharply"], [None, "the city of Oslo"]))
    assert found.articles.column("sentiment").to_pylist()[0] == "positive"
    assert found.articles.column("tokens_scored").to_pylist() == found.articles.column("tokens_total").to_pylist()
    (mention,) = found.mentions.to_pylist()
    text = "shares falls sharply\nthe city of Oslo"
    assert (mention["id"], mention["type"], mention["text"]) == ("a1", "LOC", "Oslo")
    assert text[mention["start"] : mention["end"]] == "Oslo"
    assert 0 < mention["score"] <= 1
    assert found.failures.num_rows == 0


def test_scores_depend_on_neither_batch_size_nor_order_nor_neighbours(tiny_bundle: Path, predictor: Predictor) -> None:
    expected = _rows(predictor.predict(_table(TEXTS)))
    ids = list(expected)
    for budget in (1, 40, 100_000):
        found = _rows(Predictor([tiny_bundle], token_budget=budget).predict(_table(TEXTS)))
        assert list(found) == ids
        np.testing.assert_allclose(list(found.values()), list(expected.values()), atol=1e-5)
    reverse = _rows(predictor.predict(_table(TEXTS[::-1], ids=ids[::-1])))
    assert list(reverse) == ids[::-1]
    alone = {
        one: _rows(predictor.predict(_table([text], ids=[one])))[one] for one, text in zip(ids, TEXTS, strict=True)
    }
    for one in ids:
        np.testing.assert_allclose(reverse[one], expected[one], atol=1e-5)
        np.testing.assert_allclose(alone[one], expected[one], atol=1e-5)


def test_a_table_of_many_chunks_is_scored_as_one(predictor: Predictor) -> None:
    texts = [TEXTS[number % len(TEXTS)] for number in range(9000)]
    found = predictor.predict(_table(texts))
    assert found.articles.column("id").to_pylist() == [f"a{number}" for number in range(9000)]
    rows = list(_rows(found).values())
    np.testing.assert_allclose(rows[7:8999:7], [rows[0]] * len(rows[7:8999:7]), atol=1e-5)


rows_of_a_night = st.lists(
    st.sampled_from([*TEXTS, "", "\u200d", "Acme Bank said\nprofit rises"]), min_size=1, max_size=12
)


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=rows_of_a_night, data=st.data())
def test_any_split_into_batches_and_any_order_gives_the_same_rows(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch, texts: list[str], data: st.DataObject
) -> None:
    monkeypatch.setattr("models.engine._CHUNK_ROWS", 4096)
    whole = predictor.predict(_table([*texts]))
    order = data.draw(st.permutations(range(len(texts))))
    shuffled = _table([texts[number] for number in order], ids=[f"a{number}" for number in order])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(texts)), max_size=4)))
    batches = [
        batch
        for start, stop in itertools.pairwise([0, *cuts, len(texts)])
        for batch in shuffled.slice(start, stop - start).to_batches()
    ]
    monkeypatch.setattr("models.engine._CHUNK_ROWS", data.draw(st.integers(1, 5)))
    parts = list(predictor.stream(batches))
    assert [one for part in parts for one in _ids(part)] == [
        f"a{number}" for number in order if f"a{number}" in _ids(whole)
    ]
    for table in ("articles", "mentions", "failures"):
        found = [row for part in parts for row in getattr(part, table).to_pylist()]
        expected = getattr(whole, table).to_pylist()
        key = ["id", *(name for name in ("start", "end") if table == "mentions")]
        for one, other in zip(
            *(sorted(rows, key=lambda row: [row[n] for n in key]) for rows in (found, expected)), strict=True
        ):
            assert one == {
                name: pytest.approx(value, abs=1e-5) if isinstance(value, float) else value
                for name, value in other.items()
            }


def test_a_stream_is_read_as_far_as_it_is_asked_for(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.engine._CHUNK_ROWS", 2)
    read: list[int] = []

    def batches() -> Iterator[pa.RecordBatch]:
        for number in range(50):
            read.append(number)
            yield from _table(["profit rises", "loss"], ids=[f"{number}a", f"{number}b"]).to_batches()

    stream = predictor.stream(batches())
    assert _ids(next(stream)) == ["0a", "0b"]
    assert len(read) <= 4
    stream.close()
    assert len(read) <= 4
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tokens")]


def test_what_breaks_while_texts_are_made_ready_reaches_the_caller(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_texts: list[str]) -> None:
        raise MemoryError("no room for tokens")

    monkeypatch.setattr(Reader, "read", lambda _self, texts: broken(texts))
    with pytest.raises(MemoryError, match="no room"):
        predictor.predict(_table(TEXTS))


def test_bundles_that_share_a_trunk_share_its_pass(
    tiny_bundle: Path, predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load(tiny_bundle)
    apart = []
    for task in whole.heads:
        network = whole.network()
        del network.heads[next(other for other in whole.heads if other != task)]
        manifest = dataclasses.replace(whole.manifest, labels={task: whole.labels[task]})
        save(tmp_path / task, network=network, encoder=whole.encoder(), manifest=manifest, training_texts={})
        apart.append(tmp_path / task)
    shared = Predictor(apart)
    assert len(shared._scorers) == 1
    assert shared.tasks == predictor.tasks
    assert shared.digest == Predictor(apart[::-1]).digest != predictor.digest
    found, expected = shared.predict(_table(TEXTS)), predictor.predict(_table(TEXTS))
    assert found.articles.equals(expected.articles)
    assert found.mentions.equals(expected.mentions)


def test_bundles_of_different_trunks_share_only_what_comes_before(
    tiny_bundle: Path, tiny_trunk: Path, tiny_recipe: Recipe, tiny_data: dict[str, TaskData], tmp_path: Path
) -> None:
    recipe = dataclasses.replace(tiny_recipe, epochs=1)
    both = [
        fit(trunk=str(tiny_trunk), data={task: parts}, recipe=recipe, output=tmp_path / task)
        for task, parts in tiny_data.items()
    ]
    predictor = Predictor(both)
    assert (len(predictor._scorers), len(predictor._readers)) == (2, 1)


def test_an_entity_at_the_end_of_a_long_text_is_found(predictor: Predictor) -> None:
    body = "the river and the bank. " * 120 + "the city of Oslo"
    found = predictor.predict(_table(["a bank and a river"], [body]))
    (article,) = found.articles.to_pylist()
    assert article["tokens_total"] == article["tokens_scored"] > 512
    assert article["windows"] > 20
    last = found.mentions.to_pylist()[-1]
    text = "a bank and a river\n" + body
    assert (last["start"], last["end"], last["text"], last["type"]) == (len(text) - 4, len(text), "Oslo", "LOC")


def test_a_cap_on_windows_is_stated_in_the_tokens(tiny_bundle: Path) -> None:
    found = Predictor([tiny_bundle], max_windows=1).predict(_table(["the " * 100]))
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
    found = predictor.predict(_table(odd))
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
    found = sabotaged.predict(_table(texts))
    assert found.failures.column("id").to_pylist() == ["a7", "a8"]
    assert "this token breaks the kernel" in found.failures.column("error").to_pylist()[0]
    assert "not finite" in found.failures.column("error").to_pylist()[1]
    expected = _rows(predictor.predict(_table(texts)))
    for one, row in _rows(found).items():
        np.testing.assert_allclose(row, expected[one], atol=1e-5)
    assert found.articles.num_rows == len(texts) - 2


def test_one_bundle_a_task_scores_as_well_and_two_of_one_task_are_refused(
    tiny_bundle: Path, tiny_trunk: Path, tiny_recipe: Recipe, tiny_data: dict[str, TaskData], tmp_path: Path
) -> None:
    both = {
        task: fit(trunk=str(tiny_trunk), data={task: parts}, recipe=tiny_recipe, output=tmp_path / task)
        for task, parts in tiny_data.items()
    }
    apart = Predictor([both["ner"], both["sentiment"]])
    assert apart.tasks == ("ner", "sentiment")
    assert apart.digest == Predictor([both["sentiment"], both["ner"]]).digest != Predictor([tiny_bundle]).digest
    found = apart.predict(_table(["profit rises sharply", "Oslo and Acme"]))
    assert found.articles.num_rows == 2
    assert found.mentions.column("text").to_pylist() == ["Oslo", "Acme"]
    names_only = Predictor([both["ner"]]).predict(_table(["profit rises"]))
    assert names_only.articles.column("sentiment").to_pylist() == [None]
    with pytest.raises(BundleRefused, match=r"twice: \['ner'\]"):
        Predictor([tiny_bundle, both["ner"]])
    with pytest.raises(BundleRefused, match="none"):
        Predictor([])


def test_an_empty_table_gives_empty_tables_of_the_same_schema(predictor: Predictor) -> None:
    full, empty = predictor.predict(_table(TEXTS[:1])), predictor.predict(_table([]).slice(0, 0))
    assert empty.articles.num_rows == empty.mentions.num_rows == empty.failures.num_rows == 0
    assert [len(part.schema) for part in (full.articles, full.mentions, full.failures)] == [10, 11, 2]
    wanted = predictor.predict(_table(TEXTS[:1]).slice(0, 0))
    assert (full.articles.schema, full.mentions.schema) == (wanted.articles.schema, wanted.mentions.schema)


@pytest.mark.parametrize(
    "table", [pa.table({"id": [1], "title": ["a"]}), pa.table({"id": [1], "title": [5], "body": ["a"]})]
)
def test_a_table_without_its_columns_is_refused(table: pa.Table, predictor: Predictor) -> None:
    with pytest.raises(TableRefused, match=r"needs id, title, body|allowed is string"):
        predictor.predict(table)
