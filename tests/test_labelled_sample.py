"""The shipped labelled sample: its form, its balance, that dev is no copy of train, and that the committed files are those its source gives."""

import importlib.util
import itertools
import json
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks import sample_baselines
from data_contracts.labelled import read_labelled
from models.oracle import greedy_labels
from models.sentences import sentence_ends

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "flows" / "sample" / "labelled"
TAGS = {"O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG"}
MAX_JACCARD = 0.3  # of the 4-grams of words of a train and a dev sentence


def rows(task: str, part: str) -> list[dict]:
    return [json.loads(line) for line in (SAMPLE / f"{task}.{part}.jsonl").read_text(encoding="utf-8").splitlines()]


def text_of(row: dict) -> str:
    return row["text"] if "text" in row else " ".join(row["tokens"])


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_labelled", ROOT / "deployments" / "sample" / "make_labelled.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_making_the_sample_again_gives_the_committed_bytes(maker: ModuleType, tmp_path: Path) -> None:
    written = maker.make(maker.HERE, tmp_path)
    assert {path.name for path in written} == {path.name for path in SAMPLE.glob("*.jsonl")}
    assert [path.name for path in written if path.read_bytes() != (SAMPLE / path.name).read_bytes()] == []


def test_sentiment_rows_have_the_documented_fields_and_sizes() -> None:
    train, dev = rows("sentiment", "train"), rows("sentiment", "dev")
    assert len(train) >= 500
    assert len(dev) >= 140
    for row in train + dev:
        assert set(row) == {"text", "label", "agreement"}
        assert row["text"] == " ".join(row["text"].split())
        assert row["agreement"] in (75, 100)


@pytest.mark.parametrize("part", ["train", "dev"])
def test_sentiment_labels_are_balanced_alike_in_both_parts(part: str) -> None:
    labels = Counter(row["label"] for row in rows("sentiment", part))
    shares = {label: count / labels.total() for label, count in labels.items()}
    assert shares == pytest.approx({"negative": 0.28, "neutral": 0.42, "positive": 0.30}, abs=0.03)


def test_entity_rows_are_iob2_over_people_places_and_organisations() -> None:
    train, dev = rows("ner", "train"), rows("ner", "dev")
    assert len(train) >= 330
    assert len(dev) >= 100
    for row in train + dev:
        assert set(row) == {"tokens", "tags"}
        assert len(row["tokens"]) == len(row["tags"])
        assert all(token and token == token.strip() and " " not in token for token in row["tokens"])
        assert set(row["tags"]) <= TAGS
        for before, tag in zip(["O", *row["tags"]], row["tags"], strict=False):
            assert not tag.startswith("I-") or before[1:] == tag[1:]


@pytest.mark.parametrize("part", ["train", "dev"])
def test_about_a_fifth_of_the_entity_sentences_names_nothing(part: str) -> None:
    examples = rows("ner", part)
    assert 0.15 < sum(set(row["tags"]) == {"O"} for row in examples) / len(examples) < 0.3


TASKS = ["sentiment", "topics", "ner", "entity_sentiment", "summary"]


@pytest.mark.parametrize("task", TASKS)
def test_no_sentence_stands_twice(task: str) -> None:
    texts = Counter(text_of(row).casefold() for part in ("train", "dev") for row in rows(task, part))
    assert [text for text, count in texts.items() if count > 1] == []


@pytest.mark.parametrize("task", TASKS)
def test_no_dev_sentence_is_nearly_a_train_sentence(task: str, maker: ModuleType) -> None:
    def four_grams(row: dict) -> set[tuple[str, ...]]:
        words = [word.casefold() for word in maker.words(text_of(row)) if word[0].isalnum()]
        return {tuple(words[begin : begin + 4]) for begin in range(max(1, len(words) - 3))}

    train = [(text_of(row), four_grams(row)) for row in rows(task, "train")]
    dev = [(text_of(row), four_grams(row)) for row in rows(task, "dev")]
    near = [
        (copy, text)
        for copy, mine in dev
        for text, grams in train
        if len(grams & mine) / len(grams | mine) >= MAX_JACCARD
    ]
    assert near == []


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("part", ["train", "dev"])
def test_every_line_is_an_example(task: str, part: str) -> None:
    found = read_labelled(SAMPLE / f"{task}.{part}.jsonl", task)
    assert found.rejected == ()
    assert len(found.examples) == len(rows(task, part))


def test_dev_asks_for_no_topic_that_train_does_not_teach() -> None:
    counts = {
        part: Counter(topic for row in rows("topics", part) for topic in row["topics"]) for part in ("train", "dev")
    }
    assert len(counts["train"]) == 11
    assert min(counts["train"].values()) >= 12
    assert set(counts["dev"]) == set(counts["train"])
    assert sum(len(row["topics"]) > 1 for row in rows("topics", "train")) > 60
    assert any(not row["topics"] for row in rows("topics", "dev"))


@pytest.mark.parametrize("part", ["train", "dev"])
def test_most_texts_say_different_things_of_two_entities(part: str) -> None:
    examples = rows("entity_sentiment", part)
    labels = Counter(entity["label"] for row in examples for entity in row["entities"])
    assert min(labels.values()) > 0.2 * labels.total()
    assert sum(len({entity["label"] for entity in row["entities"]}) > 1 for row in examples) > 0.6 * len(examples)


@pytest.mark.parametrize("part", ["train", "dev"])
def test_summaries_are_no_copies_and_the_first_sentences_are_seldom_the_best(part: str) -> None:
    firsts = 0
    for row in rows("summary", part):
        sentences = [row["text"][a:b].strip() for a, b in itertools.pairwise([0, *sentence_ends(row["text"])])]
        assert 5 <= len(sentences) <= 9
        assert row["summary"] not in row["text"]
        firsts += greedy_labels(sentences, row["summary"])[0]
    assert firsts < 0.4 * len(rows("summary", part))


def test_signs_become_labels_and_offsets(maker: ModuleType) -> None:
    made = json.loads(maker.entity_sentiment("[+ A.B. Foods] buys from [- Ke] in [= Cork]", where="here"))
    assert made["text"] == "A.B. Foods buys from Ke in Cork"
    found = [(made["text"][one["start"] : one["end"]], one["label"]) for one in made["entities"]]
    assert found == [("A.B. Foods", "positive"), ("Ke", "negative"), ("Cork", "neutral")]


@pytest.mark.parametrize(
    ("task", "line"),
    [
        ("entity_sentiment", "[ORG Bar] rises"),
        ("entity_sentiment", "+ Bar] rises"),
        ("topics", "Earnings\tProfit rose"),
        ("topics", "deals,deals\tProfit rose"),
        ("topics", "deals"),
        ("summary", "Only a summary"),
    ],
)
def test_a_line_of_the_other_tasks_outside_the_notation_is_refused(maker: ModuleType, task: str, line: str) -> None:
    with pytest.raises(maker.LineError, match=r"x\.txt:5"):
        maker.CONVERTERS[task](line, where="x.txt:5")


def test_bracket_notation_becomes_words_and_tags(maker: ModuleType) -> None:
    made = json.loads(maker.ner("[ORG Virelli S.p.A.]'s chair, Dr. [PER Ann Al-Masri], left [LOC Cork].", where="here"))
    assert list(zip(made["tokens"], made["tags"], strict=True)) == [
        ("Virelli", "B-ORG"),
        ("S.p.A.", "I-ORG"),
        ("'s", "O"),
        ("chair", "O"),
        (",", "O"),
        ("Dr.", "O"),
        ("Ann", "B-PER"),
        ("Al-Masri", "I-PER"),
        (",", "O"),
        ("left", "O"),
        ("Cork", "B-LOC"),
        (".", "O"),
    ]


@pytest.mark.parametrize("line", ["[FOO Bar] rises", "Bar] rises", "[ORG ] rises"])
def test_a_line_outside_the_notation_is_refused_with_its_place(maker: ModuleType, line: str) -> None:
    with pytest.raises(maker.LineError, match=r"ner\.txt:7"):
        maker.ner(line, where="ner.txt:7")


def test_a_sentiment_line_with_an_unknown_label_is_refused_with_its_place(maker: ModuleType) -> None:
    with pytest.raises(maker.LineError, match=r"sentiment\.txt:3.*negative, neutral, positive"):
        maker.sentiment("bullish\t100\tShares rise", where="sentiment.txt:3")


def test_a_line_before_the_first_part_is_refused(maker: ModuleType) -> None:
    with pytest.raises(maker.LineError, match="== train"):
        list(maker.parts(["Shares rise"], name="ner.txt"))


def test_the_word_list_counts_inflected_words_and_misses_negation() -> None:
    assert sample_baselines.word_list_sentiment("Shares rallied on stronger profits") == "positive"
    assert sample_baselines.word_list_sentiment("Losses widen as orders slump") == "negative"
    assert sample_baselines.word_list_sentiment("The office is in Cork") == "neutral"
    assert sample_baselines.word_list_sentiment("The firm did not fail") == "negative"


def test_the_gazetteer_knows_train_names_and_guesses_at_capitals() -> None:
    names = {("Red", "Sea"): "LOC", ("Red",): "ORG"}
    tokens = ["ships", "leave", "Red", "Sea", ",", "Mr", "Tait", "told", "Quayle", "Bank"]
    assert sample_baselines.gazetteer_tags(tokens, names) == [
        "O", "O", "B-LOC", "I-LOC", "O", "O", "B-PER", "O", "B-ORG", "I-ORG",
    ]  # fmt: skip


def test_a_word_list_beats_the_majority_vote_but_is_far_from_right() -> None:
    figures = {(row.task, row.baseline): row for row in sample_baselines.measure()}
    assert figures["sentiment", "majority"].f1 < figures["sentiment", "word_list"].f1 < 0.65
    assert figures["ner", "majority"].f1 < figures["ner", "gazetteer"].f1 < 0.65
