"""The page opens from a disk, shows what failed and why, and lets nothing from outside become markup."""

import re
from datetime import UTC, date, datetime
from html.parser import HTMLParser

import pytest

from data_contracts import summary
from data_contracts.page import render, render_summaries
from data_contracts.raw import CONTRACT as RAW
from data_contracts.raw import RawRow
from data_contracts.summary import summarise
from data_contracts.validate import Verdict, check

NOW = datetime(2026, 1, 2, tzinfo=UTC)
EVIL = '"><script>alert(1)</script><img src=https://evil.example/x>'


@pytest.fixture(scope="module")
def verdict() -> Verdict:
    rows = [
        RawRow(
            row_id=f"r{n}", run_date=date(2026, 1, 2), source=EVIL, origin="f", position=n, title="x" if n < 3 else EVIL,
            published_at=NOW if n else None, first_seen_at=NOW, url=EVIL if n == 4 else None,
        )
        for n in range(5)
    ]  # fmt: skip
    return check(RAW.table(rows), RAW)


class Attributes(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.values: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.values += [value or "" for name, value in attrs if name in ("src", "href", "action", "style")]


def test_the_page_is_self_contained_and_escapes_what_came_in(verdict: Verdict) -> None:
    page = render({"raw": verdict}, night=date(2026, 1, 2), title="Data contracts")
    found = Attributes()
    found.feed(page)
    assert {"script", "img", "link", "iframe"}.isdisjoint(found.tags)
    assert all(value.startswith("#") for value in found.values)
    assert not re.search(r"@import|url\(", page)
    assert "&lt;script&gt;" in page


def test_the_page_says_how_many_failed_and_why(verdict: Verdict) -> None:
    page = render({"raw": verdict}, night=date(2026, 1, 2), title="Data contracts")
    text = re.sub(r"<[^>]+>", " ", page)
    assert "Night 2026-01-02" in text
    assert re.search(r"5 rows:\s+3 passed\s+,\s+2 quarantined", text)
    for said in ("published_at.not_null", "url.matches", "an http, https or file address", "prefers-color-scheme"):
        assert said in page


def test_a_page_without_tables_says_so() -> None:
    assert "Nothing was checked." in render({}, night=date(2026, 1, 2), title="x")


def test_summaries_survive_json_and_give_the_same_page(verdict: Verdict) -> None:
    found = (summarise("raw", verdict),)
    again = summary.load(summary.dump(found))
    assert again == found
    assert render_summaries(again, night=date(2026, 1, 2), title="x") == render(
        {"raw": verdict}, night=date(2026, 1, 2), title="x"
    )


def test_examples_show_each_reason_before_a_second_row_of_any() -> None:
    rows = [
        RawRow(
            row_id=f"r{n}", run_date=date(2026, 1, 2), source="s", origin="f", position=n, first_seen_at=NOW,
            title=None if n < 9 else "x", published_at=NOW if n < 9 else None,
        )
        for n in range(10)
    ]  # fmt: skip
    found = summarise("raw", check(RAW.table(rows), RAW))
    assert [example.reason for example in found.examples[:2]] == ["title.not_null", "published_at.not_null"]
    assert [(r.reason, r.rows) for r in found.reasons] == [("title.not_null", 9), ("published_at.not_null", 1)]
