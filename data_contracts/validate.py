"""A table -> its passed rows, its failed rows and their reasons, by Great Expectations. The only module that imports it, and late.

What is given to Great Expectations: pandas batches of at most 250,000 rows, holding only the columns some expectation names, a list
column as its number of items, and the computed columns of `suite.py`. Its known traps are met here: expectations lost on loading, errors
while evaluating, results over fewer rows than were given and index lists that disagree with their count all raise `CheckFailed`; a table
without rows is not sent at all. Items of list columns are checked as a table of their own (exploded with Arrow, same expectations), and
one bad item fails its row.

Nothing is sent anywhere: the context is in memory with analytics off, and no cloud or site is configured. Great Expectations 1.24 holds
no analytics client any more; its one outward call, the version check, has no caller.

Not covered: what to do with failed rows, and how many are too many (`tasks/validate.py`).
"""

from __future__ import annotations

import typing
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.errors import Fatal
from data_contracts.schema import Contract
from data_contracts.suite import KEY_REPEATED, Expectation, expectations, said

if typing.TYPE_CHECKING:
    import pandas as pd

MAX_SHARD_ROWS = 250_000
MAX_QUOTED_CHARACTERS = 120

Breach = tuple[int, Expectation, int | None]  # row number, what it broke, item number within a list column


class CheckFailed(Fatal):
    """Great Expectations did not evaluate what it was given: a mistake in the suite or in this module."""


@dataclass(frozen=True, kw_only=True)
class ExpectationResult:
    """How one expectation fared over a whole table; counts are rows (items, for an expectation on a list column)."""

    expectation: str
    column: str
    success: bool
    unexpected_count: int
    element_count: int
    code: str = ""
    allowed: str = ""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The rows that passed and those that failed, together the input; reasons and details stand in the order of `failed`."""

    passed: pa.Table
    failed: pa.Table
    reasons: tuple[str, ...]
    details: tuple[str, ...]
    results: tuple[ExpectationResult, ...]


def check(table: pa.Table, contract: Contract, *, max_shard_rows: int = MAX_SHARD_ROWS) -> Verdict:
    """Hold every row of `table` against `contract`. The table must have the contract's columns; nulls anywhere are judged, not refused."""
    given = contract.cast(table).combine_chunks()
    breaches, results = _judge(given, contract, max_shard_rows)
    for name, items in contract.nested_contracts.items():
        inner_breaches, inner_results = _judge_items(given, name, items, max_shard_rows)
        breaches += inner_breaches
        results += inner_results
    by_row: dict[int, list[Breach]] = defaultdict(list)
    for breach in breaches:
        by_row[breach[0]].append(breach)
    failed_rows = sorted(by_row)
    is_bad = np.zeros(given.num_rows, dtype=bool)
    is_bad[failed_rows] = True
    failed = given.filter(pa.array(is_bad))
    passed = contract.conform(given.filter(pa.array(~is_bad)))
    if passed.num_rows + failed.num_rows != table.num_rows:
        raise CheckFailed(
            f"{contract.name}: {passed.num_rows} passed + {failed.num_rows} failed of {table.num_rows} rows"
        )
    return Verdict(
        passed=passed,
        failed=failed,
        reasons=tuple(";".join(sorted({e.code for _, e, _ in by_row[row]})) for row in failed_rows),
        details=tuple(_sentence(given, contract, by_row[row]) for row in failed_rows),
        results=tuple(results),
    )


def _judge(given: pa.Table, contract: Contract, shard_rows: int) -> tuple[list[Breach], list[ExpectationResult]]:
    rules = expectations(contract)
    counts = [[0, 0] for _ in rules]
    breaches: list[Breach] = []
    if given.num_rows and rules:
        frame = _frame(given, contract, rules)
        for start in range(0, given.num_rows, shard_rows):
            shard = frame.iloc[start : start + shard_rows].reset_index(drop=True)
            for number, unexpected in enumerate(_unexpected(shard, contract, rules)):
                breaches += [(start + row, rules[number], None) for row in unexpected]
                counts[number][0] += len(unexpected)
                counts[number][1] += len(shard)
    results = [
        ExpectationResult(
            expectation=rule.type,
            column=rule.column,
            success=unexpected == 0,
            unexpected_count=unexpected,
            element_count=elements,
            code=rule.code,
            allowed=rule.allowed,
        )
        for rule, (unexpected, elements) in zip(rules, counts, strict=True)
    ]
    return breaches, results


def _judge_items(
    given: pa.Table, name: str, items: Contract, shard_rows: int
) -> tuple[list[Breach], list[ExpectationResult]]:
    lists = given.column(name).combine_chunks()
    structs = pc.list_flatten(lists)
    parents = pc.list_parent_indices(lists).to_pylist()
    columns = [pc.struct_field(structs, column) for column in items.schema.names]
    breaches, results = _judge(items.cast(pa.table(columns, names=items.schema.names)), items, shard_rows)
    firsts = dict(zip(reversed(parents), range(len(parents) - 1, -1, -1), strict=True))
    outer = [(parents[item], _within(name, rule), item - firsts[parents[item]]) for item, rule, _ in breaches]
    return outer, [replace(r, column=f"{name}.{r.column}", code=f"{name}.{r.code}") for r in results]


def _within(name: str, rule: Expectation) -> Expectation:
    return replace(rule, column=f"{name}.{rule.column}", code=f"{name}.{rule.code}")


def _frame(given: pa.Table, contract: Contract, rules: Sequence[Expectation]) -> pd.DataFrame:
    """The columns that some expectation names, as pandas with its default types."""
    computed = {derived.name: derived.compute for derived in contract.derived}
    columns: dict[str, pa.ChunkedArray] = {}
    for name in _named(rules):
        if name == KEY_REPEATED:
            continue
        values = computed[name](given) if name in computed else given.column(name)
        if pa.types.is_list(values.type):
            values = pc.list_value_length(values)
        elif pa.types.is_timestamp(values.type):
            values = values.cast(pa.timestamp(values.type.unit))
        columns[name] = values
    frame: pd.DataFrame = pa.table(columns).to_pandas()
    if contract.key:
        frame[KEY_REPEATED] = given.select(contract.key).to_pandas().duplicated(keep="first").astype("int64")
    return frame


def _named(rules: Sequence[Expectation]) -> Iterator[str]:
    seen: set[str] = set()
    for rule in rules:
        for argument in ("column", "column_A", "column_B"):
            name = rule.kwargs.get(argument)
            if isinstance(name, str) and name not in seen:
                seen.add(name)
                yield name


def _unexpected(shard: pd.DataFrame, contract: Contract, rules: Sequence[Expectation]) -> list[list[int]]:
    """The row numbers that break each rule, in the rules' order."""
    import great_expectations as gx
    from great_expectations.data_context.types import base

    # Without a site: the default context makes a temporary directory for one, and logs it, at every call.
    in_memory = base.InMemoryStoreBackendDefaults(init_temp_docs_sites=False)
    config = base.DataContextConfig(store_backend_defaults=in_memory, analytics_enabled=False)
    context = gx.get_context(mode="ephemeral", project_config=config)
    context.variables.progress_bars = base.ProgressBarsConfig(globally=False)
    suite = gx.ExpectationSuite(**contract.suite())
    if len(suite.expectations) != len(rules):
        raise CheckFailed(
            f"{contract.name}: {len(rules)} expectations declared, {len(suite.expectations)} understood; "
            f"given types {sorted({rule.type for rule in rules})}, allowed are those of Great Expectations {gx.__version__}"
        )
    asset = context.data_sources.add_pandas("frames").add_dataframe_asset(contract.name)
    batch = asset.add_batch_definition_whole_dataframe("shard").get_batch({"dataframe": shard})
    answer = batch.validate(
        suite,
        result_format={
            "result_format": "COMPLETE",
            "exclude_unexpected_values": True,
            "return_unexpected_index_query": False,
        },
    )
    by_code = {result.expectation_config.meta["code"]: result for result in answer.results}
    return [_rows(by_code[rule.code], rule, contract, len(shard)) for rule in rules]


def _rows(result: typing.Any, rule: Expectation, contract: Contract, shard_rows: int) -> list[int]:
    """One result's failing row numbers, after making sure that it was evaluated over all rows."""
    found = result.result
    if not found:
        raise CheckFailed(
            f"{contract.name}: {rule.code} ({rule.type}) was not evaluated: {str(result.exception_info)[-700:]}"
        )
    rows = [int(row) for row in found.get("unexpected_index_list") or []]
    if found["element_count"] != shard_rows or found["unexpected_count"] != len(rows) or result.success == bool(rows):
        raise CheckFailed(
            f"{contract.name}: {rule.code} ({rule.type}) contradicts itself: success {result.success}, {len(rows)} rows listed, "
            f"{found['unexpected_count']} counted, over {found['element_count']} of {shard_rows} rows"
        )
    return rows


def _sentence(given: pa.Table, contract: Contract, breaches: Sequence[Breach]) -> str:
    return "; ".join(sorted(_phrase(given, contract, breach) for breach in breaches)) + "."


def _phrase(given: pa.Table, contract: Contract, breach: Breach) -> str:
    row, rule, item = breach
    where, values = (
        rule.column,
        {name: given.column(name)[row].as_py() for name in rule.shows if name in given.column_names},
    )
    if item is not None:
        list_name, _, inner = rule.column.partition(".")
        where, values = f"{list_name}[{item}].{inner}", given.column(list_name)[row].as_py()[item]
    for derived in contract.derived:
        if derived.name in rule.shows:
            values[derived.name] = derived.compute(given.slice(row, 1))[0].as_py()
    named = len(rule.shows) > 1
    shown = ", ".join(f"{name} {_quote(values[name])}" if named else _quote(values[name]) for name in rule.shows)
    return f"{where}: given {shown}, allowed {rule.allowed}"


def _quote(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, str):
        if len(value) <= MAX_QUOTED_CHARACTERS:
            return repr(value)
        return f"{value[:MAX_QUOTED_CHARACTERS]!r} and more ({len(value)} characters)"
    if isinstance(value, datetime | float):
        return said(value)
    return str(value)
