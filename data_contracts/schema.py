"""What a table is, declared once: a pydantic row class whose fields carry their Arrow type, their rules and a sentence.

From that one declaration come the Arrow schema (here), the Great Expectations suite (`suite.py`) and the Markdown data dictionary
(`dictionary.py`). A row class checks types, not rules: a row that breaks a rule must be representable, so that it can be kept with its reason.

Not covered: running the rules (`validate.py`), reading or writing files, and text that Arrow cannot hold. A lone surrogate
(half of a UTF-16 pair, "\\ud800") has no UTF-8 form; whoever reads text from outside replaces it first, and `Contract.table` refuses it.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from data_contracts.errors import Fatal

if typing.TYPE_CHECKING:
    import polars as pl

STRING = pa.string()
INT32 = pa.int32()
INT64 = pa.int64()
FLOAT32 = pa.float32()
FLOAT64 = pa.float64()
BOOL = pa.bool_()
DATE = pa.date32()
UTC_TIME = pa.timestamp("us", tz="UTC")

Bound = int | float | datetime | None


class SchemaMismatch(Fatal):
    """A table or row does not have the columns or types of its contract: our own mistake, never bad news."""


class Row(BaseModel):
    """The base of every row class: frozen, keyword-only, and no field beyond the declared ones."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


@dataclass(frozen=True)
class Column:
    """The Arrow type of a field, a sentence about it, and the rules its values must keep.

    `required` adds not-null to a field that Arrow lets be null (a raw title may be missing, and then fails); a field whose hint has
    no `| None` is never null in Arrow either. `length` counts characters, `between` is inclusive, `matches` is a regular expression
    searched for in the text and `pattern_says` what it asks for, `nested` is the row class of a list<struct> column.
    """

    type: pa.DataType
    says: str
    required: bool = False
    absent: bool = False
    length: tuple[int | None, int | None] | None = None
    between: tuple[Bound, Bound] | None = None
    one_of: tuple[str, ...] | None = None
    matches: str | None = None
    pattern_says: str = ""
    nested: type[Row] | None = None


@dataclass(frozen=True, kw_only=True)
class Order:
    """Within a row `low` stands before `high`: low <= high, or low < high when `strict`. Rows where either is null pass."""

    low: str
    high: str
    strict: bool = False


@dataclass(frozen=True, kw_only=True)
class Derived:
    """A rule over several columns, said as a range of one number computed from them; null passes.

    `column` is the column that is blamed, `rule` the code's second half, `name` the computed number's name with its unit.
    """

    column: str
    rule: str
    name: str
    says: str
    between: tuple[float | None, float | None]
    compute: Callable[[pa.Table], pa.Array | pa.ChunkedArray]


@dataclass(frozen=True, kw_only=True)
class Contract:
    """A table by name: its row class, its key (no two rows share it), and the rules between its columns."""

    name: str
    row: type[Row]
    says: str
    key: tuple[str, ...] = ()
    orders: tuple[Order, ...] = ()
    derived: tuple[Derived, ...] = ()
    nested_contracts: Mapping[str, Contract] = field(default_factory=dict)

    @cached_property
    def columns(self) -> dict[str, Column]:
        """The declared columns in order, by name."""
        return {name: _column(self.row, name) for name in self.row.model_fields}

    @cached_property
    def nullable(self) -> frozenset[str]:
        """The columns whose hint allows None, so that Arrow may hold nulls there."""
        return frozenset(name for name in self.row.model_fields if _optional(self.row.model_fields[name].annotation))

    @cached_property
    def schema(self) -> pa.Schema:
        """The Arrow schema: declared order, declared types, null only where the hint says so."""
        return pa.schema([pa.field(n, c.type, nullable=n in self.nullable) for n, c in self.columns.items()])

    def suite(self) -> dict[str, object]:
        """The Great Expectations suite as plain JSON data; see `data_contracts.suite`."""
        from data_contracts.suite import suite

        return suite(self)

    def empty(self) -> pa.Table:
        """No rows, the right columns."""
        return self.schema.empty_table()

    def table(self, rows: Iterable[Row]) -> pa.Table:
        """Rows of the row class -> a table of the contract's schema. Anything but the row class is refused."""
        given = list(rows)
        for number, row in enumerate(given):
            if not isinstance(row, self.row):
                raise SchemaMismatch(
                    f"{self.name}: row {number} is a {type(row).__name__}; allowed is {self.row.__name__} only (never a dict)"
                )
        arrays = [self._array(name, column, given) for name, column in self.columns.items()]
        return self._without_stray_nulls(pa.Table.from_arrays(arrays, schema=self.schema))

    def conform(self, table: pa.Table | pl.DataFrame) -> pa.Table:
        """Order and cast the columns to the schema; refuse missing or extra columns and nulls where none may be."""
        return self._without_stray_nulls(pa.Table.from_arrays(self.cast(table).columns, schema=self.schema))

    def cast(self, table: pa.Table | pl.DataFrame) -> pa.Table:
        """As `conform`, but every column may hold nulls: what a check is given, which names them instead of raising."""
        given: pa.Table = table if isinstance(table, pa.Table) else table.to_arrow()
        missing = [name for name in self.schema.names if name not in given.column_names]
        extra = [name for name in given.column_names if name not in self.schema.names]
        if missing or extra or len(given.column_names) != len(self.schema.names):
            raise SchemaMismatch(
                f"{self.name}: missing columns {missing}, extra columns {extra}, given {given.column_names}; "
                f"allowed are exactly {self.schema.names}"
            )
        arrays = [self._cast(name, given.column(name)) for name in self.schema.names]
        return pa.Table.from_arrays(arrays, schema=pa.schema([f.with_nullable(nullable=True) for f in self.schema]))

    def _array(self, name: str, column: Column, rows: list[Row]) -> pa.Array:
        values = [_plain(getattr(row, name)) for row in rows]
        try:
            return pa.array(values, type=column.type)
        except (pa.ArrowException, UnicodeEncodeError, OverflowError, TypeError) as error:
            raise SchemaMismatch(
                f"{self.name}.{name}: a value does not fit {column.type}: {error} "
                "(text must be free of lone surrogates before it becomes a row)"
            ) from error

    def _cast(self, name: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
        wanted = self.columns[name].type
        if values.type == wanted:
            return values
        if pa.types.is_timestamp(wanted) and pa.types.is_timestamp(values.type) and values.type.tz is None:
            raise SchemaMismatch(f"{self.name}.{name}: given {values.type} has no time zone; allowed is {wanted}")
        try:
            return values.cast(wanted)
        except pa.ArrowException as error:
            raise SchemaMismatch(f"{self.name}.{name}: given {values.type}, allowed is {wanted}: {error}") from error

    def _without_stray_nulls(self, table: pa.Table) -> pa.Table:
        holed = {
            n: table.column(n).null_count
            for n in table.column_names
            if n not in self.nullable and table.column(n).null_count
        }
        if holed:
            raise SchemaMismatch(f"{self.name}: nulls by column {holed}; allowed only in {sorted(self.nullable)}")
        return table


def struct_list(row: type[Row]) -> pa.DataType:
    """The Arrow type of a list of `row`s: a list of structs with the row class's fields in their order."""
    return pa.list_(pa.struct([pa.field(name, _column(row, name).type) for name in row.model_fields]))


def _column(row: type[Row], name: str) -> Column:
    found = [part for part in row.model_fields[name].metadata if isinstance(part, Column)]
    if len(found) != 1:
        raise SchemaMismatch(f"{row.__name__}.{name}: {len(found)} Column annotations; exactly one is allowed")
    return found[0]


def _optional(hint: object) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType) and type(None) in typing.get_args(hint)


def _plain(value: object) -> object:
    if isinstance(value, Row):
        return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
