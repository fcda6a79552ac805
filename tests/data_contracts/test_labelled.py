"""A labelled file is read line by line: every line is an example or rejected with its reason."""

import json
from pathlib import Path

import pytest

from data_contracts.labelled import (
    EntitySentimentExample,
    EntitySpan,
    Labelled,
    NerExample,
    SentimentExample,
    SummaryExample,
    TopicsExample,
    UnknownTask,
    read_labelled,
)
from data_contracts.labelled_check import LABELLED, EntitySentimentRow, NerRow, SpanRow, TaggedWord, check_labelled
from data_contracts.validate import check


def read(tmp_path: Path, task: str, *lines: object) -> Labelled:
    path = tmp_path / "examples.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return read_labelled(path, task)


def test_good_lines_of_every_task_become_examples(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "sentiment",
        {"text": "up", "label": "positive", "agreement": 75},
        "",
        {"text": "x", "label": "neutral"},
    )
    assert found.examples == (
        SentimentExample(text="up", label="positive", agreement=75),
        SentimentExample(text="x", label="neutral"),
    )
    assert found.lines == (1, 3)
    found = read(tmp_path, "ner", {"tokens": ["Jo", "Li", "of", "X"], "tags": ["B-PER", "I-PER", "O", "B-MISC"]})
    assert found.examples == (NerExample(tokens=("Jo", "Li", "of", "X"), tags=("B-PER", "I-PER", "O", "B-MISC")),)
    found = read(
        tmp_path, "entity_sentiment", {"text": "A up", "entities": [{"start": 0, "end": 1, "label": "positive"}]}
    )
    assert found.examples == (
        EntitySentimentExample(text="A up", entities=(EntitySpan(start=0, end=1, label="positive"),)),
    )


def test_topics_and_summaries_become_examples(tmp_path: Path) -> None:
    found = read(tmp_path, "topics", {"text": "up", "topics": ["markets", "deals"]}, {"text": "x", "topics": []})
    assert found.examples == (
        TopicsExample(text="up", topics=("deals", "markets")),
        TopicsExample(text="x", topics=()),
    )
    found = read(tmp_path, "summary", {"text": "A. B.", "summary": "A."})
    assert found.examples == (SummaryExample(text="A. B.", summary="A."),)


def test_entities_of_one_mind_make_a_sentence_only_where_that_is_asked_for(tmp_path: Path) -> None:
    def line(*labels: str) -> dict:
        return {
            "text": "A B",
            "entities": [{"start": 2 * i, "end": 2 * i + 1, "label": x} for i, x in enumerate(labels)],
        }

    lines = [
        {"text": "up", "label": "positive"},
        line("negative", "negative"),
        line("negative", "positive"),
        line(),
        {"text": "A B", "entities": "none"},
    ]
    path = tmp_path / "mixed.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    found = read_labelled(path, "sentiment", entity_rows=True)
    assert found.examples == (
        SentimentExample(text="up", label="positive"),
        SentimentExample(text="A B", label="negative"),
    )
    assert (found.lines, found.undecided, [one.line for one in found.rejected]) == ((1, 2), (3, 4), [5])
    assert [one.line for one in read_labelled(path, "sentiment").rejected] == [2, 3, 4, 5]
    assert len(read_labelled(path, "entity_sentiment", entity_rows=True).examples) == 3


@pytest.mark.parametrize(
    ("task", "line", "reason"),
    [
        ("sentiment", "{", "bad JSON: "),
        ("sentiment", "[" * 100_000, "bad JSON: "),
        ("sentiment", "[1]", "given a JSON list, allowed is an object"),
        ("sentiment", {"text": "x"}, "missing field 'label'; given 'text'"),
        ("sentiment", {"text": "x", "label": None}, "missing field 'label'"),
        ("sentiment", {"text": "x", "label": "good"}, "unknown label 'good'; allowed are negative, neutral, positive"),
        ("sentiment", {"text": "x", "label": 1}, "unknown label 1"),
        ("sentiment", {"text": " \n", "label": "neutral"}, "text is empty"),
        ("sentiment", {"text": 5, "label": "neutral"}, "text is empty or no string"),
        ("sentiment", '{"text": "half \\ud83d", "label": "neutral"}', "half of a UTF-16 pair"),
        ("sentiment", {"text": "x", "label": "neutral", "agreement": 101}, "agreement: given 101, allowed are whole percents"),
        ("ner", {"tokens": ["a", "b"], "tags": ["O"]}, "2 tokens and 1 tags; allowed is one tag a token"),
        ("ner", {"tokens": [], "tags": []}, "no tokens"),
        ("ner", {"tokens": ["a", " "], "tags": ["O", "O"]}, "token 1 is empty"),
        ("ner", {"tokens": ["a"], "tags": ["B-GPE"]}, "unknown tags 'B-GPE'; allowed are O, B-PER, I-PER"),
        ("ner", {"tokens": ["a"], "tags": ["I-PER"]}, "tag 0 is I-PER after O; allowed after B-PER or I-PER only"),
        ("ner", {"tokens": ["a", "b"], "tags": ["B-ORG", "I-PER"]}, "tag 1 is I-PER after B-ORG"),
        ("ner", {"tokens": "a b", "tags": ["O", "O"]}, "tokens: allowed is a list of strings"),
        ("entity_sentiment", {"text": "x"}, "missing field 'entities'"),
        ("entity_sentiment", {"text": "x", "entities": {}}, "allowed is a list"),
        ("entity_sentiment", {"text": "abc", "entities": [{"start": 1, "end": 4, "label": "neutral"}]}, "0 <= start < end <= 3"),
        ("entity_sentiment", {"text": "abc", "entities": [{"start": 2, "end": 2, "label": "neutral"}]}, "entity from 2 to 2"),
        ("entity_sentiment", {"text": "abc", "entities": [{"start": "0", "end": 2, "label": "neutral"}]}, "entity from '0' to 2"),
        ("entity_sentiment", {"text": "abc", "entities": [{"start": 0, "end": 2, "label": "up"}]}, "unknown label 'up'"),
        (
            "entity_sentiment",
            {"text": "abc", "entities": [{"start": 0, "end": 2, "label": "positive"}, {"start": 0, "end": 2, "label": "neutral"}]},
            "the entity from 0 to 2 is given twice",
        ),
        ("topics", {"text": "x"}, "missing field 'topics'"),
        ("topics", {"text": "x", "topics": "deals"}, "topics: allowed is a list of strings"),
        ("topics", {"text": "x", "topics": ["deals", "deals"]}, "allowed is each once"),
        ("topics", {"text": "x", "topics": [" deals"]}, "topic ' deals'; allowed are 1 to 60 characters"),
        ("topics", {"text": " ", "topics": []}, "text is empty"),
        ("summary", {"text": "x", "summary": " "}, "summary is empty or no string"),
        ("summary", {"text": "x"}, "missing field 'summary'"),
    ],
    ids=range(32),
)  # fmt: skip
def test_a_bad_line_is_kept_with_its_number_and_reason(tmp_path: Path, task: str, line: object, reason: str) -> None:
    found = read(tmp_path, task, "", line)
    assert found.examples == ()
    [rejected] = found.rejected
    assert rejected.line == 2
    assert reason in rejected.reason
    assert rejected.text
    assert len(rejected.text) <= 2000


def test_a_line_that_is_not_utf8_is_rejected_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "latin.jsonl"
    path.write_bytes(
        '{"text": "caf\u00e9", "label": "neutral"}\n'.encode("latin-1") + b'{"text": "x", "label": "neutral"}\r\n'
    )
    found = read_labelled(path, "sentiment")
    assert len(found.examples) == 1
    assert found.rejected[0].reason.startswith("not UTF-8")
    assert len(found.rejected) == 1


def test_exact_repeats_stay_and_are_reported_by_line(tmp_path: Path) -> None:
    line = {"text": "x", "label": "neutral"}
    found = read(tmp_path, "sentiment", line, line | {"label": "positive"}, line)
    assert len(found.examples) == 3
    assert found.duplicates == (3,)


def test_an_empty_file_has_no_examples_and_no_rejected_lines(tmp_path: Path) -> None:
    found = read(tmp_path, "ner")
    assert found.examples == found.rejected == ()


def test_an_unknown_task_is_named_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownTask, match="'topic'; allowed are sentiment, topics, ner, entity_sentiment"):
        read(tmp_path, "topic")


def test_what_was_read_passes_its_contract(tmp_path: Path) -> None:
    files = {
        "sentiment": {"text": "up", "label": "positive"},
        "ner": {"tokens": ["Jo", "Li"], "tags": ["B-PER", "I-PER"]},
        "entity_sentiment": {"text": "A up", "entities": [{"start": 0, "end": 1, "label": "positive"}]},
        "topics": {"text": "A up", "topics": ["markets"]},
        "summary": {"text": "A up. B down.", "summary": "A up."},
    }
    for task, line in files.items():
        verdict = check_labelled(read(tmp_path, task, line, line))
        assert (verdict.passed.num_rows, verdict.failed.num_rows) == (2, 0)


def test_the_contracts_catch_what_the_reader_would_have_rejected() -> None:
    ner = LABELLED["ner"]
    rows = [
        NerRow(line=1, words=[TaggedWord(token="a", tag="B-GPE")], breaches=0),
        NerRow(line=2, words=[TaggedWord(token="a", tag="I-PER")], breaches=1),
    ]
    assert check(ner.table(rows), ner).reasons == ("words.tag.in_set", "breaches.between")
    spans = LABELLED["entity_sentiment"]
    row = EntitySentimentRow(line=1, text="abc", entities=[SpanRow(start=0, end=4, label="neutral")])
    assert check(spans.table([row]), spans).reasons == ("entities.within_text",)


@pytest.mark.parametrize(
    ("file", "task", "examples"),
    [
        ("sentiment/phrasebank.train.jsonl", "sentiment", 3389),
        ("ner/finer_ord.dev.jsonl", "ner", 402),
        ("entity_sentiment/finentity.dev.jsonl", "entity_sentiment", 109),
    ],
)
def test_public_data_sets_are_read(shared_data: Path, file: str, task: str, examples: int) -> None:
    found = read_labelled(shared_data / "labelled" / file, task)
    assert len(found.examples) + len(found.rejected) == examples
    assert len(found.rejected) < 0.02 * examples
