"""Texts without labels: what is taken from the lake and from files, what is left out, and what is held out."""

import datetime as dt
import gzip
import json
from pathlib import Path

import pytest

from data_contracts.article import CONTRACT as ARTICLES
from data_contracts.article import Article
from data_contracts.errors import Fatal
from flows.arguments import spread
from flows.forms_adapt import TextsForm
from tasks.corpus import Corpus
from tasks.lake import Lake
from tasks.unlabelled import Unlabelled, gather

NIGHTS = [dt.date(2026, 3, day) for day in (2, 3, 4)]


def article(night: dt.date, key: str, title: str, body: str | None = None, **more: object) -> Article:
    seen = dt.datetime.combine(night, dt.time(12), dt.UTC)
    fields = {"version": 1, "is_canonical": True} | more
    return Article(
        article_id=key, content_hash="c" * 32, run_date=night, source="wire", title=title, body=body, repeats=0,
        published_at=seen, first_seen_at=seen, available_at=seen, row_id=f"row-{key}", **fields,
    )  # type: ignore[arg-type]  # fmt: skip


@pytest.fixture
def lake(tmp_path: Path) -> str:
    opened = Lake.open(str(tmp_path / "lake"))
    nights = [
        [article(NIGHTS[0], f"a{i}", f"Title {i}", f"Body of {i}.\nMore of it.") for i in range(40)],
        [
            article(NIGHTS[1], "a0", "Title 0", "Corrected.", version=2),
            article(NIGHTS[1], "copy", "A copy", is_canonical=False),
            article(NIGHTS[1], "again", "Title 1", "Body of 1. more OF it."),
        ],
        [article(NIGHTS[2], "late", "A late one", None, is_canonical=None)],
    ]
    for night, rows in zip(NIGHTS, nights, strict=True):
        opened.commit({"articles": ARTICLES.table(rows)}, night=night, run_id="r")
    return str(tmp_path / "lake")


def documents(source: Unlabelled) -> set[str]:
    texts = gather(source).texts
    assert not set(texts.train) & set(texts.dev)
    return {*texts.train, *texts.dev}


def test_canonical_articles_are_taken_in_their_last_version_without_repeats(lake: str) -> None:
    gathered = gather(Unlabelled(lake=lake, held_out_share=0.3))
    found = {*gathered.texts.train, *gathered.texts.dev}
    assert found == {
        "Title 0\nCorrected.", "A late one", *(f"Title {i}\nBody of {i}.\nMore of it." for i in range(1, 40))
    }  # fmt: skip
    assert (gathered.repeated, gathered.unreadable) == (1, 0)


def test_a_range_of_nights_is_taken(lake: str) -> None:
    assert "A late one" not in documents(Unlabelled(lake=lake, last=NIGHTS[1], held_out_share=0.3))
    with pytest.raises(Fatal, match="1 documents were found"):
        gather(Unlabelled(lake=lake, first=NIGHTS[2]))


def test_a_document_stays_held_out_when_others_come(lake: str) -> None:
    few = gather(Unlabelled(lake=lake, last=NIGHTS[0], held_out_share=0.3)).texts
    many = gather(Unlabelled(lake=lake, held_out_share=0.3)).texts
    assert 5 < len(few.dev) < 20
    assert set(many.dev) - {"Title 0\nCorrected.", "A late one"} <= set(few.dev)


def test_every_kind_of_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("One line.\n\n  Another   line.\n")
    rows = [{"text": "Whole text"}, {"title": "Head", "body": "Body", "url": "x"}, {"headline": "Alone", "body": None}]
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    (tmp_path / "c.json").write_text(json.dumps([{"title": "In an array", "content": "Of objects"}]))
    (tmp_path / "d.csv").write_text('date,headlines\n2020-01-01,"With, comma"\n')
    files = tuple(str(path) for path in sorted(tmp_path.iterdir()))
    assert documents(Unlabelled(files=files, held_out_share=0.5)) == {
        "One line.", "Another line.", "Whole text", "Head\nBody", "Alone", "In an array\nOf objects", "With, comma"
    }  # fmt: skip


def test_a_column_is_named_or_counted_in_a_file_without_a_header(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("".join(f"2020-01-0{i},Text {i}\n" for i in range(1, 10)))
    assert documents(Unlabelled(files=(str(path),), column="2", held_out_share=0.5)) == {
        f"Text {i}" for i in range(1, 10)
    }
    path.write_text("day,words\n" + "".join(f"{i},Text {i}\n" for i in range(1, 10)))
    assert len(documents(Unlabelled(files=(str(path),), column="words", held_out_share=0.5))) == 9
    with pytest.raises(Fatal, match=r"the header has day, words; allowed is a column text, title"):
        gather(Unlabelled(files=(str(path),)))


def test_what_cannot_be_read_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    good = [json.dumps({"text": f"Text {i}"}) for i in range(20)]
    path.write_text("\n".join([*good, "{not json", "[1]", '{"text": "  "}', '{"title": 3}', good[0]]))
    gathered = gather(Unlabelled(files=(str(path),), held_out_share=0.3))
    assert (gathered.unreadable, gathered.repeated) == (4, 1)


def test_documents_that_hold_a_text_to_measure_by_are_left_out(lake: str, tmp_path: Path) -> None:
    labelled = [
        {"text": "title 3", "label": "neutral"},
        {"tokens": ["Body", "of", "7", "."], "tags": ["O"] * 4},
        {"text": "Title 9 Body of 9. More of it.", "label": "neutral"},
        {"text": "Title 1", "label": "neutral"},
        {"text": "of it.", "label": "neutral"},  # within a line: not found
    ]
    path = tmp_path / "dev.jsonl"
    path.write_text("\n".join(map(json.dumps, labelled)))
    excepted = (str(path),)
    gathered = gather(Unlabelled(lake=lake, held_out_share=0.3, excepted=excepted))
    whole = documents(Unlabelled(lake=lake, held_out_share=0.3))
    left = {f"Title {i}\nBody of {i}.\nMore of it." for i in (1, 3, 7, 9)}
    assert {*gathered.texts.train, *gathered.texts.dev} == whole - left
    assert (gathered.excepted, gathered.repeated) == (4, 1)
    source = TextsForm(files=["a.txt"], excepted=list(excepted)).source("lake")
    assert source == Unlabelled(files=("a.txt",), excepted=excepted)
    assert spread(["adapt", "--except", "a", "b"]) == ["adapt", "--except", "a", "--except", "b"]


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("a.txt", None, "no such file"),
        ("a.pdf", "x", "its kind is not known"),
        ("a.json", "{}", "not a JSON array"),
        ("a.txt", "Only one.\n", "1 documents were found"),
    ],
)
def test_files_of_no_use_are_refused(tmp_path: Path, name: str, content: str | None, match: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(Fatal, match=match):
        gather(Unlabelled(files=(str(tmp_path / name),)))


def test_no_source_and_impossible_shares_are_refused() -> None:
    with pytest.raises(Fatal, match="neither a lake nor a file"):
        Unlabelled()
    with pytest.raises(Fatal, match="above 0, below 1"):
        Unlabelled(lake="x", held_out_share=1.0)


def test_a_corpus_comes_back_as_it_was_and_is_refused_when_changed(tmp_path: Path, lake: str) -> None:
    texts = gather(Unlabelled(lake=lake, held_out_share=0.3)).texts
    corpus = Corpus.write(texts, tmp_path)
    again = corpus.read()
    assert (list(again.train), list(again.dev)) == (list(texts.train), list(texts.dev))
    other = Corpus.write(type(texts)(texts.train[1:], texts.dev), tmp_path)
    other.path.replace(corpus.path)
    with pytest.raises(Fatal, match="holds other documents"):
        corpus.read()
