"""Which schema a table of the lake has: its contract's where it has one, else that of its files."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pyarrow as pa

from data_contracts.catalog import CONTRACTS
from data_contracts.errors import Fatal
from tasks.lake.parquet import require_no_nulls


def conformed(name: str, table: pa.Table) -> pa.Table:
    """`table` in its contract's schema; one without a contract as it is, once no null stands where none may."""
    if name in CONTRACTS:
        return CONTRACTS[name].conform(table)
    require_no_nulls(name, table)
    return table


def schema_of(name: str, files: Sequence[pa.Schema], columns: Collection[str] | None) -> pa.Schema:
    """The schema to read `name` in: its contract's, else what its `files` have together; only `columns` when given."""
    if name in CONTRACTS:
        whole = CONTRACTS[name].schema
    elif files:
        whole = pa.unify_schemas(list(files))
    else:
        raise Fatal(f"the lake has no table {name!r}, nor has a contract that name; there are {', '.join(CONTRACTS)}")
    if columns is None:
        return whole
    if unknown := [column for column in columns if column not in whole.names]:
        raise Fatal(f"table {name} has no column {', '.join(unknown)}; it has: {', '.join(whole.names)}")
    return pa.schema([whole.field(column) for column in columns])


def read_as(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """`table` with the columns of `schema`; those it lacks are null."""
    arrays = [
        table.column(field.name) if field.name in table.column_names else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(
        [array.cast(field.type) for array, field in zip(arrays, schema, strict=True)], schema=schema
    )
