"""The shipped labelled sample: its form, its balance, that dev is no copy of train, and that the committed files are those its source gives."""

import importlib.util
import json
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks import sample_baselines

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


@pytest.mark.parametrize("task", ["sentiment", "ner"])
def test_no_sentence_stands_twice(task: str) -> None:
    texts = Counter(text_of(row).casefold() for part in ("train", "dev") for row in rows(task, part))
    assert [text for text, count in texts.items() if count > 1] == []


@pytest.mark.parametrize("task", ["sentiment", "ner"])
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
