"""A trunk small enough to train in a second, and labelled examples that it can learn."""

import datetime as dt
import os
import string
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from data_contracts.article import CONTRACT as ARTICLES
from data_contracts.article import Article
from data_contracts.labelled import NerExample, SentimentExample
from tasks.lake import Lake

WORDS = {
    "negative": ("losses", "fell", "fraud", "warning", "default"),
    "neutral": ("meeting", "schedule", "office", "agenda", "report"),
    "positive": ("profit", "rose", "record", "growth", "upgrade"),
}
FILLERS = ("the", "company", "said", "today", "its", "shares", "in", "a", "quarter")
NAMES = {"ORG": ("acme", "bolt", "zeta"), "LOC": ("paris", "rome"), "PER": ("smith", "jones")}


@pytest.fixture(scope="session")
def tiny_trunk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer BERT of width 32 with a vocabulary of the words below, and letters for all others."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, set_seed

    folder = tmp_path_factory.mktemp("trunk")
    words = [*FILLERS, *(w for group in (WORDS, NAMES) for words in group.values() for w in words)]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    pieces += [mark + letter for letter in string.ascii_lowercase + string.digits + ".,-:" for mark in ("", "##")]
    numbered = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(numbered, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", numbered["[CLS]"]), ("[SEP]", numbered["[SEP]"])]
    )
    special = {
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "mask_token": "[MASK]",
    }
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    set_seed(7)
    config = BertConfig(
        vocab_size=len(numbered), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, max_position_embeddings=128
    )  # fmt: skip
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def sentiment_examples() -> list[SentimentExample]:
    """Sixty sentences, twenty a label, each with two words that give it away."""
    examples = []
    for i in range(20):
        for label, words in WORDS.items():
            text = f"{FILLERS[i % 9]} {words[i % 5]} {FILLERS[(i + 3) % 9]} {words[(i + 2) % 5]} {FILLERS[(i + 5) % 9]}"
            examples.append(SentimentExample(text=text, label=label))
    return examples


@pytest.fixture(scope="session")
def ner_examples() -> list[NerExample]:
    """Forty sentences with one or two names each."""
    examples = []
    for i in range(40):
        kind = ("ORG", "LOC", "PER")[i % 3]
        name = NAMES[kind][i % len(NAMES[kind])]
        examples.append(
            NerExample(
                tokens=(FILLERS[i % 9], name, FILLERS[(i + 4) % 9], NAMES["ORG"][i % 3]),
                tags=("O", f"B-{kind}", "O", "B-ORG"),
            )
        )
    return examples


@pytest.fixture(scope="session")
def tiny_bundle(
    tiny_trunk: Path,
    sentiment_examples: list[SentimentExample],
    ner_examples: list[NerExample],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A joint model that has learnt the examples by heart."""
    from models.training import Recipe, TaskData, fit

    recipe = Recipe(epochs=3, precision="float32", max_length=64, overlap=16, learning_rate=1e-2)
    data = {"sentiment": TaskData(sentiment_examples, sentiment_examples), "ner": TaskData(ner_examples, ner_examples)}
    return fit(trunk=str(tiny_trunk), data=data, recipe=recipe, output=tmp_path_factory.mktemp("models") / "joint")


NIGHT = dt.date(2026, 3, 2)


@pytest.fixture(scope="session")
def stage_articles() -> Callable[..., None]:
    """Stage articles given as (id, title, body) for a night, as validation does."""

    def stage(lake: Path, rows: Iterable[tuple[str, str, str | None]], night: dt.date = NIGHT) -> None:
        seen = dt.datetime.combine(night, dt.time(12), dt.UTC)
        articles = [
            Article(
                article_id=key, version=1, content_hash="c" * 32, run_date=night, source="wire", title=title, body=body, repeats=0,
                published_at=seen, first_seen_at=seen, available_at=seen, row_id=f"row-{key}",
            )
            for key, title, body in rows
        ]  # fmt: skip
        Lake.open(str(lake)).stage(night).write("articles", ARTICLES.table(articles))

    return stage


@pytest.fixture(scope="session")
def news() -> Callable[[int], list[tuple[str, str, str | None]]]:
    """So many articles of the words that the model knows; every seventh has no body, every fifth a long one."""

    def some(count: int) -> list[tuple[str, str, str | None]]:
        labels = list(WORDS)
        rows: list[tuple[str, str, str | None]] = []
        for i in range(count):
            words = WORDS[labels[i % 3]]
            name = NAMES["ORG"][i % 3]
            body = f"{name} {words[(i + 1) % 5]} today. " * (60 if i % 5 == 0 else 2)
            rows.append((f"a{i:04d}", f"{name} said {words[i % 5]} {i}", None if i % 7 == 0 else body))
        return rows

    return some


@pytest.fixture(scope="session")
def children() -> Callable[[str], list[int]]:
    """The live processes below this one whose command line contains a word."""

    def below(word: str) -> list[int]:
        parents, found = {}, []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    state, parent = (entry / "stat").read_text().rsplit(")", 1)[1].split()[:2]
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                except OSError:
                    continue
                parents[int(entry.name)] = (int(parent), state, command)
        for pid, (parent, state, command) in parents.items():
            above = parent
            while above in parents and above != os.getpid():
                above = parents[above][0]
            if above == os.getpid() and state != "Z" and word in command:
                found.append(pid)
        return found

    return below
