"""The rules of a contract as Great Expectations' expectations, without importing Great Expectations.

Each expectation carries the code that a failed row's reason shows and a phrase of what is allowed, so that reasons need no second table.
Rules between columns are an ordering (native), or the range of a computed column (`Derived`). A key must not occur twice; Great
Expectations' own uniqueness would fail both copies and sees one shard only, so the batch gets the computed column `key_repeated`
(1 on every copy after the first of the whole table), and only later copies fail. Columns of lists have a contract of their own for
their items (`Contract.nested_contracts`), checked on the exploded table.

Times in the suite are UTC without a zone, as in the batch: Great Expectations takes zoned pandas columns apart by a way that pandas 3.1
deprecates.

`data_contracts/suites/*.json` is generated from here for people and other tools; the pipeline uses the same declaration directly.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from data_contracts.schema import Bound, Column, Contract

KEY_REPEATED = "key_repeated"


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """One expectation: its Great Expectations type and arguments, the code of a breach, the phrase of what is allowed.

    `column` is the column that is blamed, `shows` the column whose value a breach quotes (a computed one for `Derived` rules).
    """

    type: str
    kwargs: dict[str, object] = field(hash=False)
    column: str
    code: str
    allowed: str
    shows: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """The expectation in the form Great Expectations reads."""
        return {"type": self.type, "kwargs": self.kwargs, "meta": {"code": self.code, "allowed": self.allowed}}


def expectations(contract: Contract) -> tuple[Expectation, ...]:
    """Every rule of the contract, column by column, then the rules between columns, then the key."""
    found = [e for name, column in contract.columns.items() for e in _of_column(contract, name, column)]
    found += _between_columns(contract)
    if contract.key:
        subject = contract.key[0] if len(contract.key) == 1 else "key"
        found.append(
            Expectation(
                type="expect_column_values_to_be_between",
                kwargs={"column": KEY_REPEATED, "min_value": 0, "max_value": 0},
                column=subject,
                code=f"{subject}.unique",
                allowed=f"one row a ({', '.join(contract.key)})",
                shows=contract.key,
            )
        )
    return tuple(found)


def suite(contract: Contract) -> dict[str, object]:
    """The contract's suite as plain JSON data."""
    return {
        "name": contract.name,
        "expectations": [expectation.as_json() for expectation in expectations(contract)],
        "meta": {"says": contract.says, "key": list(contract.key)},
    }


def said(bound: Bound) -> str:
    """A bound as people read it: times as ISO 8601 UTC, numbers plainly."""
    if isinstance(bound, datetime):
        return bound.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"{bound:.12g}" if isinstance(bound, float) else str(bound)


def _of_column(contract: Contract, name: str, column: Column) -> Iterator[Expectation]:
    def rule(kind: str, code: str, allowed: str, **kwargs: object) -> Expectation:
        return Expectation(
            type=kind,
            kwargs={"column": name} | kwargs,
            column=name,
            code=f"{name}.{code}",
            allowed=allowed,
            shows=(name,),
        )

    if column.required or name not in contract.nullable:
        yield rule("expect_column_values_to_not_be_null", "not_null", "a value")
    if column.absent:
        yield rule("expect_column_values_to_be_null", "absent", "none")
    if column.length is not None:
        bounds, allowed = _range(column.length)
        yield rule(
            "expect_column_value_lengths_to_be_between",
            "length",
            f"{allowed} {'character' if allowed == 'at least 1' else 'characters'}",
            **bounds,
        )
    if column.between is not None:
        bounds, allowed = _range(column.between)
        yield rule("expect_column_values_to_be_between", "between", allowed, **bounds)
    if column.one_of is not None:
        values = list(column.one_of)
        yield rule("expect_column_values_to_be_in_set", "in_set", "one of " + ", ".join(values), value_set=values)
    if column.matches is not None:
        allowed = column.pattern_says or f"text in which the pattern {column.matches} is found"
        yield rule("expect_column_values_to_match_regex", "matches", allowed, regex=column.matches)


def _between_columns(contract: Contract) -> Iterator[Expectation]:
    for order in contract.orders:
        yield Expectation(
            type="expect_column_pair_values_a_to_be_greater_than_b",
            kwargs={
                "column_A": order.high,
                "column_B": order.low,
                "or_equal": not order.strict,
                "ignore_row_if": "either_value_is_missing",
            },
            column=order.high,
            code=f"{order.high}.{'above' if order.strict else 'at_least'}_{order.low}",
            allowed=f"{order.high} {'>' if order.strict else '>='} {order.low}",
            shows=(order.high, order.low),
        )
    for derived in contract.derived:
        bounds, _ = _range(derived.between)
        yield Expectation(
            type="expect_column_values_to_be_between",
            kwargs={"column": derived.name} | bounds,
            column=derived.column,
            code=f"{derived.column}.{derived.rule}",
            allowed=derived.says,
            shows=(derived.column, derived.name),
        )


def _range(bounds: tuple[Bound, Bound]) -> tuple[dict[str, object], str]:
    low, high = bounds
    given = {"min_value": low, "max_value": high}
    kwargs: dict[str, object] = {
        k: said(v).removesuffix("Z") if isinstance(v, datetime) else v for k, v in given.items() if v is not None
    }
    if low is None:
        return kwargs, f"at most {said(high)}"
    if high is None:
        return kwargs, f"at least {said(low)}"
    return kwargs, f"{said(low)} to {said(high)}"
