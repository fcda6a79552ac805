"""Documents become pieces that fit, at the ends of sentences, and no token is lost."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.encoder import Encoder
from models.pieces import cut_pieces


def test_pieces_hold_whole_sentences_and_lose_no_token(tiny_encoder: Encoder) -> None:
    text = (
        "Profit rises.\nThe bank said. Shares falls sharply on monday. "
        + "Loss " * 30
        + ". River and city in the north."
    )
    (encoded,) = tiny_encoder.encode([text])
    made = cut_pieces([text], tiny_encoder, size=16)
    assert np.concatenate([one.ids for one in made]).tolist() == encoded.ids.tolist()
    assert all(len(one.ids) <= 16 and one.ends[-1] == len(one.ids) for one in made)
    assert made[0].ends == (3, 7, 13)


@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=8), size=st.integers(8, 20))
def test_a_word_is_cut_only_where_it_is_longer_than_a_piece(sizes: list[int], size: int, tiny_encoder: Encoder) -> None:
    text = " ".join("z" * count for count in sizes for _ in range(4))
    for one in cut_pieces([text], tiny_encoder, size=size):
        assert one.starts[0]
