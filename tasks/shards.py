"""A night's articles cut into shards, each scored whole or not at all, so that a run that was stopped goes on where it stood.

A shard is a staged table of `id, title, body`. Scoring it stages three tables: mentions, failures, and last the articles, whose presence
means that the shard is finished. Every name carries what computes it (the model's digest and its backend) and a hash of the shard's rows:
another model, backend or text is another name, and never taken for done. The next shard is made ready while one is computed, but each is
batched alone: what a run that was stopped had left is scored to the bit as it would have been. The same functions serve one process and an
actor of Ray, so both give the same rows. A shard says whose night it is, so that those of several nights can be scored together.

Not covered: where shards run (`tasks.score`, `tasks.cluster`), and what becomes of the rows (`tasks.score`).
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.errors import Fatal
from tasks.lake import Lake, Stage

if TYPE_CHECKING:
    from models.engine import Prediction

TEXT = pa.schema([("id", pa.string()), ("title", pa.string()), ("body", pa.string())])
GIVEN = "shards/given"
SCORED = "shards/scored"
PARTS = ("mentions", "failures", "articles")  # in the order of writing: the articles are the marker


class RowsLost(Fatal):
    """The ids that came out of the model are not the ids that went in."""


class Model(Protocol):
    """What scores rows: `models.engine.Predictor`, or a stand-in in a test."""

    def predict_each(self, tables: Iterable[pa.Table]) -> Iterator[Prediction]:
        """Score tables of `id, title, body`, each by itself, in their order."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Some rows of a night: `key` is a hash of ids and texts, `rows` how many."""

    night: date
    key: str
    rows: int

    def output(self, model: str, part: str) -> str:
        """The staged name of one of its results; `model` is as `model_name` makes it."""
        return f"{SCORED}/{model}-{self.key}-{part}"


def model_name(digest: str, backend: str) -> str:
    """What a model's results are staged under: the weights and what computes them."""
    return f"{digest[:16]}-{backend}"


def cut(texts: pa.Table, stage: Stage, *, rows_per_shard: int) -> list[Shard]:
    """Stage `texts` (`id, title, body`, ids unique) in shards of at most `rows_per_shard` rows, in the order given."""
    shards, there = [], set(stage.names())
    for start in range(0, texts.num_rows, rows_per_shard):
        piece = texts.slice(start, rows_per_shard).cast(TEXT)
        shard = Shard(night=stage.night, key=_key(piece), rows=piece.num_rows)
        if f"{GIVEN}/{shard.key}" not in there:
            stage.write(f"{GIVEN}/{shard.key}", piece)
        shards.append(shard)
    return shards


def unfinished(shards: Sequence[Shard], stage: Stage, model: str) -> list[Shard]:
    """The shards that `model` has not finished."""
    there = set(stage.names())
    return [shard for shard in shards if shard.output(model, "articles") not in there]


def score_shards(scorer: Model, shards: Sequence[Shard], lake: Lake, *, model: str) -> Iterator[tuple[Shard, int]]:
    """Score shards and stage the results of each with its night, the marker last; yields each with the number of its failed rows.

    Raises:
        RowsLost: an id did not come out once.
    """
    given: deque[pa.Table] = deque()

    def tables() -> Iterator[pa.Table]:
        for shard in shards:
            texts = lake.stage(shard.night).read(f"{GIVEN}/{shard.key}")
            given.append(texts.select(["id"]))
            yield texts

    for shard, scored in zip(shards, scorer.predict_each(tables()), strict=True):
        same_ids(given.popleft(), scored)
        for part in PARTS:
            lake.stage(shard.night).write(shard.output(model, part), getattr(scored, part))
        yield shard, scored.failures.num_rows


def gather(shards: Sequence[Shard], stage: Stage, model: str) -> Prediction:
    """The results of finished shards, as one; exit code 0 is no evidence, so ids in and ids out are compared again."""
    from models.engine import Prediction

    pieces = [Prediction(**{part: stage.read(shard.output(model, part)) for part in PARTS}) for shard in shards]
    whole = Prediction(**{part: pa.concat_tables([getattr(piece, part) for piece in pieces]) for part in PARTS})
    same_ids(pa.concat_tables([stage.read(f"{GIVEN}/{shard.key}") for shard in shards]), whole)
    return whole


def same_ids(texts: pa.Table, scored: Prediction) -> None:
    """Raise `RowsLost` unless each id of `texts` is exactly once among the scored articles and the failures."""
    given = texts["id"].to_pylist()
    came = [*scored.articles["id"].to_pylist(), *scored.failures["id"].to_pylist()]
    if sorted(given) != sorted(came):
        missing, extra = sorted(set(given) - set(came)), sorted(set(came) - set(given))
        raise RowsLost(
            f"{len(given)} rows went into the model and {len(came)} came out; "
            f"missing {len(missing)} {missing[:3]}, not asked for {len(extra)} {extra[:3]}; each id must come out once"
        )
    stray = pc.unique(scored.mentions["id"]).to_pylist()
    if unknown := sorted(set(stray) - set(came)):
        raise RowsLost(f"mentions of {len(unknown)} articles that were not asked for: {unknown[:3]}")


def _key(piece: pa.Table) -> str:
    """24 hex digits of the sha256 of a shard's rows."""
    digest = hashlib.sha256()
    for name in TEXT.names:
        for value in piece[name].to_pylist():
            raw = b"\xff" if value is None else value.encode("utf-8", "surrogatepass")
            digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()[:24]
