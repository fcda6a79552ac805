"""Nothing is cut off unseen, and what windows say comes back to the right word."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.encoder import Encoder
from models.windows import Reading, covered, cut, owners, pool, spans, stitch

READINGS: tuple[Reading, ...] = ("sentences", "whole")
sizes = st.integers(1, 60).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size - 1)))


@given(total=st.integers(0, 500), shape=sizes)
def test_every_token_stands_in_a_window_and_no_window_is_too_long(total: int, shape: tuple[int, int]) -> None:
    size, overlap = shape
    ranges = spans(total, size=size, overlap=overlap)
    assert set().union(*(range(start, stop) for start, stop in ranges)) == set(range(total))
    assert all(0 <= start < stop <= total and stop - start <= size for start, stop in ranges)
    assert all(later[0] <= earlier[1] - overlap for earlier, later in itertools.pairwise(ranges))


@given(total=st.integers(1, 500), shape=sizes, most=st.integers(1, 4))
def test_a_cap_leaves_the_beginning_without_a_gap(total: int, shape: tuple[int, int], most: int) -> None:
    size, overlap = shape
    ranges = spans(total, size=size, overlap=overlap, max_windows=most)
    assert len(ranges) <= most
    assert set().union(*(range(start, stop) for start, stop in ranges)) == set(range(ranges[-1][1]))


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (8, 8), (8, -1)])
def test_windows_that_would_not_move_on_are_refused(size: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="allowed are size >= 1"):
        spans(10, size=size, overlap=overlap)


@given(words=st.lists(st.text(alphabet="abcXYZ.,éß1 \U0001f600", min_size=1, max_size=12), max_size=60))
def test_the_tokens_of_the_windows_are_the_tokens_of_the_text(tiny_encoder: Encoder, words: list[str]) -> None:
    text = " ".join(words)
    (encoded,) = tiny_encoder.encode([text])
    windows = cut(encoded, tiny_encoder, max_length=16, overlap=4, reading="whole")
    assert covered(windows) == encoded.tokens
    for window in windows:
        inner = window.ids[window.offset : window.offset + window.stop - window.start]
        assert inner.tolist() == encoded.ids[window.start : window.stop].tolist()
        assert len(window.ids) == len(window.shapes) <= 16
        assert (window.ids[0], window.ids[-1]) == (tiny_encoder.prefix[0], tiny_encoder.suffix[0])
    starts, ends = encoded.word_starts(), encoded.word_ends()
    assert all(0 <= start < end <= len(text) for start, end in zip(starts, ends, strict=True))
    assert all(text[start:end].strip() == text[start:end] for start, end in zip(starts, ends, strict=True))


@given(words=st.integers(1, 120))
def test_a_word_is_answered_by_the_window_where_it_stands_farthest_from_a_border(
    tiny_encoder: Encoder, words: int
) -> None:
    (encoded,) = tiny_encoder.encode(["the " * words])
    windows = cut(encoded, tiny_encoder, max_length=18, overlap=8, reading="whole")
    owner = owners(windows, encoded.first)
    assert (np.diff(owner) >= 0).all()
    assert (owner >= 0).all()
    for position, number in zip(encoded.first, owner, strict=True):
        window = windows[number]
        from_border = min(
            position - window.start if window.start else 99,
            window.stop - 1 - position if window.stop < encoded.tokens else 99,
        )
        assert from_border >= 3  # half of the overlap, at least


def test_words_get_back_the_logits_of_their_own_tokens(tiny_encoder: Encoder) -> None:
    (encoded,) = tiny_encoder.encode(["the zebra said " * 20])
    windows = cut(encoded, tiny_encoder, max_length=16, overlap=6, reading="whole")
    logits = [np.arange(window.start, window.stop, dtype=np.float32)[:, None] for window in windows]
    assert stitch(encoded, windows, logits)[:, 0].tolist() == encoded.first.tolist()


def test_windows_of_a_whole_text_weigh_as_many_tokens_as_they_hold(tiny_encoder: Encoder) -> None:
    (encoded,) = tiny_encoder.encode(["the " * 20])
    windows = cut(encoded, tiny_encoder, max_length=12, overlap=0, reading="whole")
    assert [window.stop - window.start for window in windows] == [10, 10]
    pooled = pool(windows, [np.asarray([1.0], np.float32), np.asarray([3.0], np.float32)])
    assert pooled.tolist() == [2.0]


def test_a_sentence_is_a_window_and_weighs_one_over_its_rank_however_long_it_is(tiny_encoder: Encoder) -> None:
    (encoded,) = tiny_encoder.encode(["Profit rises\nThe bank. " + "The " * 20 + "river.\nLoss"])
    windows = cut(encoded, tiny_encoder, max_length=12, overlap=0, reading="sentences")
    texts = [encoded.text[encoded.starts[one.start] : encoded.ends[one.stop - 1]] for one in windows]
    assert (texts[0], texts[1], texts[-1]) == ("Profit rises", "The bank.", "Loss")
    assert covered(windows) == encoded.tokens
    weights = [one.weight for one in windows]
    np.testing.assert_allclose([*weights[:2], sum(weights[2:-1]), weights[-1]], [1, 1 / 2, 1 / 3, 1 / 4])


def test_one_sentence_is_read_the_same_either_way(tiny_encoder: Encoder) -> None:
    (encoded,) = tiny_encoder.encode(["The bank said profit rises in the U.S. and the city."])
    one, other = (cut(encoded, tiny_encoder, max_length=64, overlap=8, reading=way) for way in READINGS)
    assert [window.key for window in one] == [window.key for window in other]
    assert len(one) == 1


def test_a_cap_on_windows_holds_over_sentences(tiny_encoder: Encoder) -> None:
    (encoded,) = tiny_encoder.encode(["The bank. " * 3 + "The " * 40])
    windows = cut(encoded, tiny_encoder, max_length=12, overlap=0, reading="sentences", max_windows=5)
    assert [window.stop for window in windows] == [3, 6, 9, 19, 29]


def test_no_window_passes_the_trunks_positions(tiny_trunk: Path, tiny_encoder: Encoder) -> None:
    (encoded,) = tiny_encoder.encode(["the " * 300])
    assert (
        max(len(window.ids) for window in cut(encoded, tiny_encoder, max_length=4096, overlap=16, reading="whole"))
        == 64
    )
