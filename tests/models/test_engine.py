"""Tables in, tables out: the same scores however rows are batched, and no row lost."""

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models import engine
from models.backends.torch import TorchBackend
from models.batching import Batch
from models.bundle import load
from models.engine import Prediction, Predictor, TableRefused
from models.prediction import predicted
from models.reader import Reader
from tests.models.tables import TEXTS, ids_of, rows_of, table_of


@pytest.fixture(scope="module")
def predictor(tiny_bundle: Path) -> Predictor:
    return Predictor([tiny_bundle])


def test_articles_get_their_sentiment_and_their_mentions_by_character(predictor: Predictor) -> None:
    found = predictor.predict(table_of(["profit rises sharply", "shares falls sharply"], [None, "the city of Oslo"]))
    assert found.articles.column("sentiment").to_pylist()[0] == "positive"
    assert found.articles.column("tokens_scored").to_pylist() == found.articles.column("tokens_total").to_pylist()
    (mention,) = found.mentions.to_pylist()
    text = "shares falls sharply\nthe city of Oslo"
    assert (mention["id"], mention["type"], mention["text"]) == ("a1", "LOC", "Oslo")
    assert text[mention["start"] : mention["end"]] == "Oslo"
    assert 0 < mention["score"] <= 1
    assert found.failures.num_rows == 0


def test_scores_depend_on_neither_batch_size_nor_order_nor_neighbours(tiny_bundle: Path, predictor: Predictor) -> None:
    expected = rows_of(predictor.predict(table_of(TEXTS)))
    ids = list(expected)
    for budget in (1, 40, 100_000):
        found = rows_of(Predictor([tiny_bundle], token_budget=budget).predict(table_of(TEXTS)))
        assert list(found) == ids
        np.testing.assert_allclose(list(found.values()), list(expected.values()), atol=1e-5)
    reverse = rows_of(predictor.predict(table_of(TEXTS[::-1], ids=ids[::-1])))
    assert list(reverse) == ids[::-1]
    alone = {
        one: rows_of(predictor.predict(table_of([text], ids=[one])))[one] for one, text in zip(ids, TEXTS, strict=True)
    }
    for one in ids:
        np.testing.assert_allclose(reverse[one], expected[one], atol=1e-5)
        np.testing.assert_allclose(alone[one], expected[one], atol=1e-5)


def test_a_table_of_many_chunks_is_scored_as_one(predictor: Predictor) -> None:
    texts = [TEXTS[number % len(TEXTS)] for number in range(9000)]
    found = predictor.predict(table_of(texts))
    assert found.articles.column("id").to_pylist() == [f"a{number}" for number in range(9000)]
    rows = list(rows_of(found).values())
    np.testing.assert_allclose(rows[7:8999:7], [rows[0]] * len(rows[7:8999:7]), atol=1e-5)


rows_of_a_night = st.lists(
    st.sampled_from([*TEXTS, "", "\u200d", "Acme Bank said\nprofit rises"]), min_size=1, max_size=12
)


@settings(max_examples=15)
@given(texts=rows_of_a_night, data=st.data())
def test_any_split_into_batches_and_any_order_gives_the_same_rows(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch, texts: list[str], data: st.DataObject
) -> None:
    monkeypatch.setattr("models.engine._CHUNK_ROWS", 4096)
    whole = predictor.predict(table_of([*texts]))
    order = data.draw(st.permutations(range(len(texts))))
    shuffled = table_of([texts[number] for number in order], ids=[f"a{number}" for number in order])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(texts)), max_size=4)))
    batches = [
        batch
        for start, stop in itertools.pairwise([0, *cuts, len(texts)])
        for batch in shuffled.slice(start, stop - start).to_batches()
    ]
    monkeypatch.setattr("models.engine._CHUNK_ROWS", data.draw(st.integers(1, 5)))
    parts = list(predictor.stream(batches))
    assert [one for part in parts for one in ids_of(part)] == [
        f"a{number}" for number in order if f"a{number}" in ids_of(whole)
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
            yield from table_of(["profit rises", "loss"], ids=[f"{number}a", f"{number}b"]).to_batches()

    stream = predictor.stream(batches())
    assert ids_of(next(stream)) == ["0a", "0b"]
    assert len(read) <= 4
    stream.close()
    assert len(read) <= 4
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tokens")]


def test_the_network_is_at_work_on_the_next_table_while_one_is_decoded(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = list(dict.fromkeys(TEXTS))
    asked = [threading.Event() for _ in texts]
    reference, turns, decoded = TorchBackend(load(tiny_bundle).network()), iter(asked), iter(asked[1:])

    class Told:
        name, streams = "torch", 1

        def run(self, batch: Batch) -> dict[str, NDArray[np.float32]]:
            next(turns).set()
            return reference.run(batch)

    def decode(*given: Any) -> Prediction:
        assert next(decoded, asked[-1]).wait(5), "a table is decoded before the network is asked about the next"
        return predicted(*given)

    monkeypatch.setattr(engine, "open_backend", lambda *_, **__: Told())
    monkeypatch.setattr(engine, "predicted", decode)
    tables = (table_of([text], ids=[number]) for number, text in enumerate(texts))
    found = list(Predictor([tiny_bundle], token_budget=100_000).predict_each(tables))
    assert [ids_of(one) for one in found] == [[number] for number in range(len(texts))]


def test_what_breaks_while_texts_are_made_ready_reaches_the_caller(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_texts: list[str]) -> None:
        raise MemoryError("no room for tokens")

    monkeypatch.setattr(Reader, "read", lambda _self, texts: broken(texts))
    with pytest.raises(MemoryError, match="no room"):
        predictor.predict(table_of(TEXTS))


def test_an_empty_table_gives_empty_tables_of_the_same_schema(predictor: Predictor) -> None:
    full, empty = predictor.predict(table_of(TEXTS[:1])), predictor.predict(table_of([]).slice(0, 0))
    assert empty.articles.num_rows == empty.mentions.num_rows == empty.failures.num_rows == 0
    assert [len(part.schema) for part in (full.articles, full.mentions, full.failures)] == [10, 11, 2]
    wanted = predictor.predict(table_of(TEXTS[:1]).slice(0, 0))
    assert (full.articles.schema, full.mentions.schema) == (wanted.articles.schema, wanted.mentions.schema)


@pytest.mark.parametrize(
    "table", [pa.table({"id": [1], "title": ["a"]}), pa.table({"id": [1], "title": [5], "body": ["a"]})]
)
def test_a_table_without_its_columns_is_refused(table: pa.Table, predictor: Predictor) -> None:
    with pytest.raises(TableRefused, match=r"needs id, title, body|allowed is string"):
        predictor.predict(table)
