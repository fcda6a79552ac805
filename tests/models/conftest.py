"""A trunk small enough to train within a second, its tokenizer, and a bundle trained with it."""

import dataclasses
import string
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers import models as token_models
from transformers import BertConfig, BertModel

from data_contracts.labelled import NerExample, SentimentExample
from models.encoder import Encoder
from models.training import Recipe, TaskData, fit

WORDS = (
    *("profit", "loss", "rises", "falls", "sharply", "the", "a", "in", "of", "and", "said", "shares"),
    *("bank", "river", "north", "city", "on", "monday"),
)


def tiny_tokenizer() -> Tokenizer:
    letters = string.ascii_lowercase + string.digits + string.punctuation
    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *letters, *(f"##{letter}" for letter in letters)]
    vocabulary = {entry: number for number, entry in enumerate(dict.fromkeys(entries))}
    tokenizer = Tokenizer(token_models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    )
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    return tokenizer


@pytest.fixture(scope="session")
def tiny_trunk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("trunk")
    tokenizer = tiny_tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=64,
            pad_token_id=0,
        )
        BertModel(config).save_pretrained(directory)
    tokenizer.enable_truncation(8)  # what a published tokenizer may carry, and must be ignored
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(directory / "tokenizer.json"))
    return directory


SENTIMENT = [
    SentimentExample(text=text, label=label)
    for text, label in [
        ("profit rises sharply", "positive"),
        ("the bank said profit rises", "positive"),
        ("shares of the bank rises", "positive"),
        ("loss of the bank", "negative"),
        ("shares falls sharply", "negative"),
        ("profit falls and loss rises on monday", "negative"),
        ("the bank said on monday", "neutral"),
        ("the river in the city", "neutral"),
        ("a bank and a river", "neutral"),
        ("the north of the city", "neutral"),
    ]
]
NER = [
    NerExample(tokens=tuple(text.split()), tags=tuple(tags.split()))
    for text, tags in [
        ("shares of Acme falls", "O O B-ORG O"),
        ("Acme Bank said on monday", "B-ORG I-ORG O O O"),
        ("the city of Oslo", "O O O B-LOC"),
        ("Oslo and Acme", "B-LOC O B-ORG"),
        ("profit of Acme Bank rises", "O O B-ORG I-ORG O"),
        ("in Oslo on monday", "O B-LOC O O"),
        ("U.S. shares falls", "B-LOC O O"),
        ("the U.S. bank said", "O B-LOC O O"),
        ("the river and the bank", "O O O O O"),
        ("Ada Lund said profit falls", "B-PER I-PER O O O"),
    ]
]
TINY = Recipe(
    learning_rate=5e-3,
    epochs=30,
    batch_size=5,
    dropout=0.0,
    patience=0,
    precision="float32",
    max_length=32,
    overlap=8,
    word_shapes=True,
)


@pytest.fixture(scope="session")
def tiny_data() -> dict[str, TaskData]:
    return {"sentiment": TaskData(SENTIMENT, SENTIMENT), "ner": TaskData(NER, NER)}


ACCENTS = str.maketrans("aeiou", "áéíóú")


@pytest.fixture(scope="session")
def unseen_data(tiny_data: dict[str, TaskData]) -> dict[str, TaskData]:
    """The same to learn from, and dev texts that differ by accents: others than those learnt, of the same tokens, since the tokenizer drops them."""
    sentiment = [dataclasses.replace(one, text=one.text.translate(ACCENTS)) for one in SENTIMENT]
    ner = [dataclasses.replace(one, tokens=tuple(token.translate(ACCENTS) for token in one.tokens)) for one in NER]
    return {
        "sentiment": TaskData(tiny_data["sentiment"].train, sentiment),
        "ner": TaskData(tiny_data["ner"].train, ner),
    }


@pytest.fixture(scope="session")
def tiny_recipe() -> Recipe:
    return TINY


@pytest.fixture(scope="session")
def tiny_bundle(tiny_trunk: Path, tiny_data: dict[str, TaskData], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A joint bundle that knows its ten examples of each task by heart; read it, never write to it."""
    output = tmp_path_factory.mktemp("joint") / "bundle"
    return fit(trunk=str(tiny_trunk), data=tiny_data, recipe=dataclasses.replace(TINY, epochs=60), output=output)


@pytest.fixture(scope="session")
def tiny_encoder(tiny_trunk: Path) -> Encoder:
    return Encoder.from_directory(tiny_trunk)
