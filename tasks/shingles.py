"""Shingles and their MinHash signatures: which pairs of many texts may be near-duplicates, without comparing all pairs.

Word shingles and MinHash bands after Broder 1997 ("On the resemblance and containment of documents") and Leskovec,
Rajaraman, Ullman ("Mining of Massive Datasets", chapter 3): with b bands of r rows a pair of Jaccard similarity s
becomes a candidate with probability 1 - (1 - s^r)^b. A second set of bands looks at the opening alone, so that a copy
cut down to its first sentences is found although it resembles the whole little. Candidates are only that: the caller
verifies them.

Not covered: scripts without spaces between words, whose texts have no shingles. Word hashes are Polars', fixed for
one Polars version; no hash is ever stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

WORD = r"[\p{L}\p{N}]+"
CHUNK_TEXTS = 4_000  # bounds the memory of exploded words


@dataclass(frozen=True, kw_only=True)
class ShingleConfig:
    """How texts become signatures.

    Attributes:
        words: words in a shingle.
        bands, rows: MinHash bands, and hashes in a band, over all shingles of a text.
        opening_shingles, opening_bands, opening_rows: the same over the first shingles of a text.
        max_look_back: texts before it that one text is paired with within one band bucket.
    """

    words: int = 5
    bands: int = 32
    rows: int = 4
    opening_shingles: int = 48
    opening_bands: int = 16
    opening_rows: int = 2
    max_look_back: int = 64


@dataclass(frozen=True)
class Shingled:
    """Distinct shingles of all texts, flat: those of text i are `hashes[offsets[i]:offsets[i + 1]]`."""

    hashes: U64
    offsets: I64
    signatures: U64  # (texts, bands + opening_bands)
    whole: pl.Series  # (texts,) hash of all words in order; null where there is no word

    def of(self, text: int) -> U64:
        """The distinct shingle hashes of one text, ascending."""
        return self.hashes[self.offsets[text] : self.offsets[text + 1]]


def shingle(texts: pl.Series, config: ShingleConfig) -> Shingled:
    """Shingles and signatures of texts (string series without nulls), by position."""
    hashes, counts, signatures, whole = [], [], [], []
    for start in range(0, len(texts), CHUNK_TEXTS):
        words = texts[start : start + CHUNK_TEXTS].str.normalize("NFKC").str.to_lowercase().str.extract_all(WORD)
        whole.append(words.list.join(" ").hash(seed=1).set(words.list.len() == 0, None))
        shingles = _shingles(words, config.words)
        opening = shingles.filter(pl.int_range(pl.len()).over("text") < config.opening_shingles)
        flat, count = _distinct(shingles, len(words))
        hashes.append(flat)
        counts.append(count)
        bands = _band_hashes(flat, count, config.bands, config.rows)
        opening_bands = _band_hashes(*_distinct(opening, len(words)), config.opening_bands, config.opening_rows)
        signatures.append(np.hstack([bands, opening_bands]))
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)
    return Shingled(np.concatenate(hashes), offsets, np.concatenate(signatures), pl.concat(whole))


def _shingles(words: pl.Series, size: int) -> pl.DataFrame:
    """(text, hash): every run of `size` words within a text, in the order of the text."""
    frame = pl.DataFrame({"text": range(len(words)), "word": words}).explode("word").drop_nulls()
    text = frame["text"].to_numpy()
    word = frame["word"].hash(seed=2).to_numpy()
    length = max(len(word) - size + 1, 0)
    mixed = np.zeros(length, dtype=np.uint64)
    for place in range(size):
        mixed = mixed * np.uint64(0x9E3779B97F4A7C15) + word[place : place + length]
    mixed ^= mixed >> np.uint64(31)
    within = text[:length] == text[size - 1 : size - 1 + length]
    return pl.DataFrame({"text": text[:length][within], "hash": mixed[within]})


def _distinct(shingles: pl.DataFrame, texts: int) -> tuple[U64, I64]:
    """(hashes sorted by text, then hash, without repeats; how many each of the texts 0 .. texts - 1 has)."""
    distinct = shingles.unique().sort("text", "hash")
    return distinct["hash"].to_numpy(), np.bincount(distinct["text"].to_numpy(), minlength=texts).astype(np.int64)


def _band_hashes(flat: U64, count: I64, bands: int, rows: int) -> U64:
    """(texts, bands): one hash for the `rows` minima of each band; rows of texts without shingles are zero."""
    hashes = np.zeros((len(count), bands), dtype=np.uint64)
    present = np.flatnonzero(count)
    if present.size == 0:
        return hashes
    starts = (np.cumsum(count) - count)[present]
    for index, (multiplier, increment) in enumerate(zip(*_permutations(bands * rows), strict=True)):
        minima = np.minimum.reduceat(flat * multiplier + increment, starts)
        hashes[present, index // rows] = hashes[present, index // rows] * np.uint64(0xD1B54A32D192ED03) + minima
    return hashes


def _permutations(count: int) -> tuple[U64, U64]:
    """Odd multipliers and increments of `count` permutations of the 64-bit numbers: x -> multiplier * x + increment."""
    state = np.arange(1, 2 * count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)  # splitmix64
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    state ^= state >> np.uint64(31)
    return state[:count] | np.uint64(1), state[count:]


def candidates(shingled: Shingled, among: I64, first: int, config: ShingleConfig) -> list[tuple[int, int]]:
    """Distinct (later, sooner) pairs that share a band bucket, later being at position `first` or after it."""
    found: set[tuple[int, int]] = set()
    for band in range(shingled.signatures.shape[1]):
        bucketed = pl.DataFrame({"text": among, "bucket": shingled.signatures[among, band]})
        found.update(pairs(bucketed, first, config.max_look_back))
    return sorted(found)


def pairs(bucketed: pl.DataFrame, first: int, look_back: int) -> Iterator[tuple[int, int]]:
    """(later, sooner) for each text >= first and up to `look_back` texts before it in its bucket; null is no bucket."""
    crowded = bucketed.drop_nulls().filter(pl.len().over("bucket") > 1).sort("bucket", "text")
    for back in range(1, look_back + 1):
        backwards = crowded.select("text", sooner=pl.col("text").shift(back).over("bucket")).drop_nulls()
        if backwards.is_empty():
            return
        yield from backwards.filter(pl.col("text") >= first).iter_rows()
