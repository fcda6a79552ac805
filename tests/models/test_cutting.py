"""What is done to many texts at once is what is done to each alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.cutting import cut_all
from models.encoder import Encoder
from models.windows import Reading, covered, cut, sentence_of

texts = st.lists(
    st.lists(
        st.sampled_from(["the bank", "Acme", "U.S.", "said.", "\n", "Oslo!", "\u200d", "xq", "profit rises. ", "\n\n"]),
        max_size=30,
    ).map(" ".join),
    max_size=5,
)


@settings(max_examples=60)
@given(
    texts=texts,
    max_length=st.integers(3, 16),
    overlap=st.integers(0, 15),
    reading=st.sampled_from(["sentences", "whole"]),
    most=st.none() | st.integers(1, 6),
)
def test_windows_of_many_texts_are_those_of_each(
    tiny_encoder: Encoder, texts: list[str], max_length: int, overlap: int, reading: Reading, most: int | None
) -> None:
    tokens = tiny_encoder.tokens(texts)
    cuts = cut_all(tokens, tiny_encoder, max_length=max_length, overlap=overlap, reading=reading, max_windows=most)
    for number, encoded in enumerate(tiny_encoder.encode(texts)):
        windows = cut(encoded, tiny_encoder, max_length=max_length, overlap=overlap, reading=reading, max_windows=most)
        mine = slice(cuts.bounds[number], cuts.bounds[number + 1])
        base = tokens.bounds[number]
        assert (cuts.starts[mine] - base).tolist() == [window.start for window in windows]
        assert (cuts.stops[mine] - base).tolist() == [window.stop for window in windows]
        assert cuts.weights[mine].tolist() == pytest.approx([window.weight for window in windows])
        assert cuts.covered(tokens)[number] == covered(windows)
        inside = tokens.sentences[(tokens.sentences >= base) & (tokens.sentences < tokens.bounds[number + 1])]
        numbers = np.searchsorted(inside, cuts.starts[mine], side="right") - 1
        assert numbers.tolist() == sentence_of(encoded, windows).tolist()
