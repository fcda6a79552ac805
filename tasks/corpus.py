"""The documents of an adaptation as one Parquet file, which every worker reads: too much to travel through Ray's memory.

The file's name is the digest of what it holds, so that the same texts are written once, and other texts never under the same name.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts.errors import Fatal

if TYPE_CHECKING:
    from models.adapting import Texts

_SCHEMA = pa.schema([pa.field("text", pa.string(), nullable=False), pa.field("held_out", pa.bool_(), nullable=False)])


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Where documents lie, and the digest of them."""

    path: Path
    digest: str

    @classmethod
    def write(cls, texts: Texts, folder: Path) -> Corpus:
        """Write documents to a file in `folder`, whole or not at all; what is there already is kept."""
        digest = texts.digest()
        path = folder.absolute() / f"{digest}.parquet"
        if not path.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            held_out = [False] * len(texts.train) + [True] * len(texts.dev)
            table = pa.table({"text": [*texts.train, *texts.dev], "held_out": held_out}, schema=_SCHEMA)
            draft = path.with_name(f".{path.name}.{os.getpid()}.new")
            with draft.open("wb") as file:
                pq.write_table(table, file, compression="zstd")
                file.flush()
                os.fsync(file.fileno())
            draft.rename(path)
        return cls(path=path, digest=digest)

    def read(self) -> Texts:
        """The documents; Fatal where they are not those of the digest."""
        from models.adapting import Texts

        table = pq.read_table(self.path)
        held_out = table["held_out"]
        texts = Texts(table.filter(pc.invert(held_out))["text"].to_pylist(), table.filter(held_out)["text"].to_pylist())
        if texts.digest() != self.digest:
            raise Fatal(f"{self.path} holds other documents than its name says; remove it, and run again")
        return texts
