"""A trunk small enough to train in a second, and labelled examples that it can learn."""

import string
from pathlib import Path

import pytest

from data_contracts.labelled import NerExample, SentimentExample

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
