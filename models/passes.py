"""The pass of a backend over many windows: equal ones are computed once, in batches by tokens, longest first.

Two windows are equal where a network cannot tell them apart: syndicated copies, boilerplate that is repeated. A batch that breaks (memory, a
kernel, a foreign trunk) is tried again in halves, down to the window that breaks it, which alone goes without an answer, and so does one that is
answered with numbers that are not finite. Where that befalls every window of many, the machine or the model is at fault, and the whole is
refused instead (NoAnswer). `Work` is what can be done before the network is free; scoring prepares the next texts' in the
background. `run` is the same for a few windows at hand. Does not cover: what runs a batch (models.backends), what answers become (models.assemble).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from itertools import chain
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from data_contracts.errors import Retriable
from models.backends import Backend
from models.batching import Batch, collate, plan
from models.cutting import Cuts
from models.encoder import Encoder
from models.tokens import Tokens, ranges
from models.windows import Window

# A window's logits by task, (outputs,) or (tokens of the text in it, outputs), of document heads (hidden,); or what broke on it.
Outcome: TypeAlias = Mapping[str, NDArray[np.float32]] | Exception
# What became of a batch: how many of its windows, from the first on, and their logits or what broke on the one.
Answer: TypeAlias = Sequence[tuple[int, Mapping[str, NDArray[np.float32]] | Exception]]
Asked: TypeAlias = Sequence[Future[Answer]]
_SOME = 8  # windows that may all be broken by what they hold
_SHAPE_BITS = 5  # models.shapes has fewer than 32


class NoAnswer(Retriable):
    """The network broke on every window of several: a fault of the machine or of the model, and no text's."""


class NotFinite(FloatingPointError):
    """The network answered with numbers that are not finite."""

    def __init__(self) -> None:
        super().__init__("the network answered with numbers that are not finite")


@dataclass(frozen=True, kw_only=True)
class Work:
    """The distinct windows of many texts in batches, in the order they are computed in.

    `index` (windows,) says which of the distinct ones each window is, `lengths` (distinct,) how many tokens of text one holds, `offset` where in a
    row of a batch they begin.
    """

    index: NDArray[np.int64]
    lengths: NDArray[np.int64]
    offset: int
    batches: Sequence[Batch]


@dataclass(frozen=True, kw_only=True)
class Logits:
    """What a backend said of a `Work`: by task (distinct, outputs), of word heads (tokens of all distinct windows, outputs).

    `broken` holds what broke on some of the distinct windows; their logits are 0. Where no window had an answer, `said` is empty.
    """

    said: Mapping[str, NDArray[np.float32]]
    broken: Mapping[int, Exception]


def prepare(tokens: Tokens, cuts: Cuts, encoder: Encoder, *, token_budget: int) -> Work:
    """The windows of many texts, batched."""
    special = len(encoder.prefix) + len(encoder.suffix)
    seen = ((tokens.ids << _SHAPE_BITS) | tokens.shapes).tobytes()
    width = tokens.ids.itemsize
    number_of: dict[bytes, int] = {}
    bounds = zip((cuts.starts * width).tolist(), (cuts.stops * width).tolist(), strict=True)
    number = np.asarray([number_of.setdefault(seen[a:b], len(number_of)) for a, b in bounds], dtype=np.int64)
    _, distinct = np.unique(number, return_index=True)  # the first window of each number
    lengths = cuts.lengths[distinct]
    batches = plan(lengths + special, token_budget=token_budget)
    order = np.asarray([place for batch in batches for place in batch], dtype=np.int64)
    placed = np.empty_like(order)
    placed[order] = np.arange(len(order))
    return Work(
        index=placed[number],
        lengths=lengths[order],
        offset=len(encoder.prefix),
        batches=[_batch(tokens, cuts.starts[distinct[rows]], lengths[rows], encoder) for rows in batches],
    )


def ask(backend: Backend, work: Work, pool: Executor) -> Asked:
    """Hand all batches to a pool of `backend.streams` threads at once; what becomes of them, in their order, is for `gather`."""
    return [pool.submit(_attempt, backend, batch) for batch in work.batches]


def gather(answers: Iterable[Answer], work: Work) -> Logits:
    """The answers to the batches of a work, side by side.

    Raises:
        NoAnswer: not one of many windows has an answer.
    """
    said: dict[str, NDArray[np.float32]] = {}
    broken: dict[int, Exception] = {}
    bounds = np.concatenate([[0], np.cumsum(work.lengths)])
    begin = 0
    for rows, answer in chain.from_iterable(answers):
        if isinstance(answer, Exception):
            broken[begin] = answer
            answer = {}
        for task, array in answer.items():
            if array.ndim == 2:
                _room(said, task, len(work.lengths), array)[begin : begin + rows] = array
            else:
                first = np.arange(rows) * array.shape[1] + work.offset
                held, _ = ranges(first, work.lengths[begin : begin + rows])
                room = _room(said, task, int(bounds[-1]), array)
                room[bounds[begin] : bounds[begin + rows]] = array.reshape(-1, array.shape[2])[held]
        begin += rows
    for number in _not_finite(said, work.lengths):
        broken.setdefault(number, NotFinite())
    if len(broken) == len(work.lengths) > _SOME:
        raise NoAnswer(
            f"the network broke on every one of {len(broken)} windows, so none of their texts is to blame; the first: {broken[0]}"
        ) from broken[0]
    return Logits(said=said, broken=broken)


def compute(backend: Backend, work: Work) -> Logits:
    """One pass over all batches, one after the other, in this thread."""
    return gather((_attempt(backend, batch) for batch in work.batches), work)


def run(backend: Backend, windows: Sequence[Window], *, pad_id: int, token_budget: int) -> list[Outcome]:
    """Each window's outcome, in the order given."""
    number_of: dict[bytes, int] = {}
    index = [number_of.setdefault(window.key, len(number_of)) for window in windows]
    distinct = dict(zip(index, windows, strict=True))
    outcomes: dict[int, Outcome] = {}
    for chosen in plan([len(distinct[number].ids) for number in range(len(distinct))], token_budget=token_budget):
        left = iter(chosen)
        for rows, answer in _attempt(backend, collate([distinct[number] for number in chosen], pad_id=pad_id)):
            for row, number in zip(range(rows), left, strict=False):
                outcomes[number] = answer if isinstance(answer, Exception) else _outcome(answer, row, distinct[number])
    return [outcomes[number] for number in index]


def _attempt(backend: Backend, batch: Batch) -> Answer:
    """A batch's answer; where it breaks its halves', and so on, until the window that breaks it stands alone."""
    try:
        return [(len(batch), backend.run(batch))]
    except Exception as error:  # whatever a kernel, an allocator or a foreign trunk raises
        if len(batch) == 1:
            return [(1, error)]
    middle = len(batch) // 2
    return [*_attempt(backend, batch.rows(0, middle)), *_attempt(backend, batch.rows(middle, len(batch)))]


def _outcome(answer: Mapping[str, NDArray[np.float32]], row: int, window: Window) -> Outcome:
    held = slice(window.offset, window.offset + window.stop - window.start)
    logits = {task: array[row] if array.ndim == 2 else array[row, held] for task, array in answer.items()}
    return logits if all(np.isfinite(one).all() for one in logits.values()) else NotFinite()


def _room(said: dict[str, NDArray[np.float32]], task: str, rows: int, like: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where a task's logits (rows, outputs) stand, 0 at first."""
    if task not in said:
        said[task] = np.zeros((rows, like.shape[-1]), dtype=np.float32)
    return said[task]


def _not_finite(said: Mapping[str, NDArray[np.float32]], lengths: NDArray[np.int64]) -> set[int]:
    """The distinct windows with a logit that is not finite; all logits of that row become 0."""
    found: set[int] = set()
    for logits in said.values():
        rows = np.flatnonzero(~np.isfinite(logits).all(axis=1))
        if len(rows):
            logits[rows] = 0.0
            windows = rows if len(logits) == len(lengths) else np.searchsorted(np.cumsum(lengths), rows, side="right")
            found.update(windows.tolist())
    return found


def _batch(tokens: Tokens, starts: NDArray[np.int64], lengths: NDArray[np.int64], encoder: Encoder) -> Batch:
    """Windows of tokens [start, start + length), with the special tokens around them, padded at the right to the longest."""
    before, after = len(encoder.prefix), len(encoder.suffix)
    shape = (len(starts), before + int(lengths.max()) + after)
    ids, mask, shapes = np.full(shape, encoder.pad_id), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    held, row = ranges(starts, lengths)
    column = held - starts[row] + before
    ids[row, column], shapes[row, column] = tokens.ids[held], tokens.shapes[held]
    ids[:, :before] = encoder.prefix
    for place, special in enumerate(encoder.suffix):
        ids[np.arange(len(starts)), before + lengths + place] = special
    mask[np.arange(shape[1]) < (lengths + before + after)[:, None]] = 1
    owners = np.arange(len(starts))
    return Batch(*(torch.from_numpy(array) for array in (ids, mask, shapes, owners)))
