"""Trunks by name, and tokens that know where they stand."""

from pathlib import Path

import pytest
import torch
from transformers import ElectraConfig, ElectraModel

from models import encoder as encoders
from models.encoder import Encoder, TrunkRefused, load_trunk, locate
from models.network import Trunk
from models.shapes import SHAPES, shape_of


def test_the_default_trunk_is_found_in_its_package_and_its_hash_is_right() -> None:
    directory = locate("minilm")
    assert (directory / "model.safetensors").is_file()


def test_the_default_trunk_is_refused_when_its_hash_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "_DEFAULT_SHA256", "0" * 64)
    with pytest.raises(TrunkRefused, match="the publisher's is 000"):
        locate("minilm")


def test_a_directory_with_nothing_but_a_pickle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(TrunkRefused, match="never a pickle"):
        locate(str(tmp_path))


@pytest.mark.parametrize("name", ["somebody/no-such-model-here", "not a name at all!", "../nowhere/at/all"])
def test_an_unknown_name_is_refused_without_asking_the_hub(name: str) -> None:
    with pytest.raises(TrunkRefused, match="neither 'minilm' nor a directory"):
        locate(name)


def test_offsets_lead_back_to_the_text_as_delivered(tiny_trunk: Path) -> None:
    encoder = Encoder.from_directory(tiny_trunk)
    text = "Bänk  said \u200d PROFIT, ok\U0001f600\n[SEP] U.S."
    (encoded,) = encoder.encode([text])
    words = [text[start:end] for start, end in zip(encoded.word_starts(), encoded.word_ends(), strict=True)]
    assert words == ["Bänk", "said", "PROFIT", ",", "ok\U0001f600", "[", "SEP", "]", "U", ".", "S", "."]
    assert len(encoded.ids) > len(words)
    assert not set(encoder.prefix + encoder.suffix) & set(encoded.ids.tolist())


def test_stored_truncation_and_padding_are_ignored(tiny_trunk: Path) -> None:
    short, long = Encoder.from_directory(tiny_trunk).encode(["the", "the " * 100])
    assert (short.tokens, long.tokens) == (1, 100)


def test_texts_no_encoder_accepts_become_tokens_of_the_same_characters(tiny_trunk: Path) -> None:
    lone, empty, blank, huge, nul = Encoder.from_directory(tiny_trunk).encode(
        ["the \ud800 bank", "", " \n\t", "x" * 2_000_000, "the\x00bank"]
    )
    assert (lone.text[4], lone.word_starts().tolist()[-1]) == ("\ufffd", 6)
    assert (empty.tokens, blank.tokens, huge.tokens) == (0, 0, 1)
    assert nul.tokens
    assert empty.word_ends().tolist() == []


@pytest.mark.parametrize(
    ("word", "shape"),
    [
        ("bank", "lower"),
        ("Bank", "title"),
        ("UBS", "upper"),
        ("A", "initial"),
        ("iPhone", "mixed"),
        ("2024", "digits"),
        ("Q3", "alphanumeric"),
        ("!", "other"),
        ("東京", "other"),
        ("😀", "other"),
    ],
)
def test_a_words_shape(word: str, shape: str) -> None:
    assert SHAPES[shape_of(word)] == shape


def test_word_shapes_change_nothing_before_they_have_learnt(tiny_trunk: Path) -> None:
    ids, shapes = torch.tensor([[2, 5, 6, 3]]), torch.tensor([[0, 2, 1, 0]])
    plain = Trunk(load_trunk(tiny_trunk), word_shapes=False).eval()
    shaped = Trunk(load_trunk(tiny_trunk), word_shapes=True).eval()
    with torch.inference_mode():
        expected, found = (trunk(ids, torch.ones_like(ids), shapes) for trunk in (plain, shaped))
    torch.testing.assert_close(found, expected)


def test_word_shapes_are_as_wide_as_the_embeddings_they_are_added_to() -> None:
    config = ElectraConfig(
        vocab_size=9, embedding_size=4, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    trunk = Trunk(ElectraModel(config), word_shapes=True).eval()
    ids = torch.tensor([[2, 5, 6, 3]])
    assert trunk(ids, torch.ones_like(ids), torch.tensor([[0, 2, 1, 0]])).shape == (1, 4, 8)
