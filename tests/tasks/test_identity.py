"""Who is who among the raw rows: ids, versions, repeats. The properties hold for any rows in any order."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts.catalog import contract
from data_contracts.raw import RawRow
from data_contracts.schema import SchemaMismatch
from tasks.identity import Identified, content_hash, identify

NIGHT = date(2026, 11, 20)
SEEN = datetime(2026, 11, 20, 1, tzinfo=UTC)
READY = datetime(2026, 11, 20, 2, tzinfo=UTC)
NONE = contract("articles").empty()


def row(number: int, **given: object) -> RawRow:
    plain: dict[str, object] = {
        "row_id": f"row{number:04}",
        "run_date": NIGHT,
        "source": "wire",
        "origin": "feed",
        "position": number,
        "title": "Shares rise",
        "published_at": SEEN,
        "first_seen_at": SEEN,
    }
    return RawRow.model_validate(plain | given)


def identified(*rows: RawRow, earlier: pa.Table = NONE, existing: pa.Table = NONE, at: datetime = READY) -> Identified:
    return identify(contract("raw").table(rows), night=NIGHT, earlier=earlier, existing=existing, available_at=at)


def kept(found: Identified) -> set[str]:
    return set(found.articles["row_id"].to_pylist())


def column(found: Identified, name: str) -> dict[str, object]:
    return dict(zip(found.articles["row_id"].to_pylist(), found.articles[name].to_pylist(), strict=True))


def test_a_new_article_is_complete() -> None:
    (article,) = identified(row(0, url="https://e.com/a", body="Text.")).articles.to_pylist()
    assert article["version"] == 1
    assert article["run_date"] == NIGHT
    assert article["available_at"] == READY
    assert article["repeats"] == 0
    assert article["content_hash"] == content_hash("Shares rise", "Text.")
    assert article["story_id"] is None


def test_no_rows_give_no_articles() -> None:
    found = identified()
    assert found.articles.equals(NONE)
    assert found.repeats_by_source == {}


def test_changed_text_under_one_address_is_a_new_version_in_order_of_sight() -> None:
    later = SEEN + timedelta(minutes=1)
    found = identified(
        row(0, url="https://e.com/a?utm_source=x", body="Corrected.", first_seen_at=later),
        row(1, url="http://www.e.com/a/", body="First."),
    )
    assert column(found, "version") == {"row0001": 1, "row0000": 2}
    assert len(set(column(found, "article_id").values())) == 1


def test_a_changed_article_of_an_earlier_night_gets_the_next_version() -> None:
    before = identified(row(0, url="https://e.com/a", body="First."), row(1, url="https://e.com/a", body="Second."))
    found = identified(row(2, url="https://e.com/a", body="Third."), earlier=before.articles)
    assert column(found, "version") == {"row0002": 3}


def test_an_exact_repeat_is_dropped_and_counted_whatever_its_address_or_source() -> None:
    found = identified(
        row(0, url="https://e.com/a", body="Text."),
        row(1, url="https://other.com/b", body="Text.", source="paper"),
        row(2, body="Text."),
        row(3, url="https://e.com/a", body="Other."),
    )
    assert column(found, "repeats") == {"row0001": 2, "row0003": 0}
    assert found.repeats_by_source == {"paper": 0, "wire": 2}


def test_a_repeat_of_an_earlier_night_is_counted_by_source_alone() -> None:
    before = identified(row(0, url="https://e.com/a", body="Text."))
    found = identified(row(1, body="Text.", source="paper"), row(2, body="Text."), earlier=before.articles)
    assert found.articles.num_rows == 0
    assert found.repeats_by_source == {"paper": 1, "wire": 1}


def test_case_and_spacing_make_another_version_of_a_text_without_address_not_another_article() -> None:
    found = identified(row(0, body="Text of it."), row(1, body="TEXT  of it."))
    assert sorted(column(found, "version").values()) == [1, 2]  # type: ignore[type-var]


def test_one_headline_at_two_sources_is_two_articles() -> None:
    found = identified(row(0), row(1, source="paper"))
    assert kept(found) == {"row0000", "row0001"}
    assert len(set(column(found, "article_id").values())) == 2


def test_one_headline_twice_at_one_source_on_one_day_is_a_repeat_even_under_another_address() -> None:
    found = identified(row(0, url="https://e.com/a"), row(1, url="https://e.com/b"), row(2))
    assert kept(found) == {"row0000"}
    assert column(found, "repeats") == {"row0000": 2}


def test_a_column_with_the_same_title_every_day_is_a_new_article_every_day() -> None:
    before = identified(row(0, title="Stocks to watch"))
    next_day = SEEN + timedelta(days=1)
    found = identified(row(1, title="Stocks to watch", published_at=next_day), earlier=before.articles)
    assert kept(found) == {"row0001"}
    assert found.articles["version"].to_pylist() == [1]


def test_a_headline_seen_under_the_same_address_on_an_earlier_night_is_a_repeat() -> None:
    before = identified(row(0, url="https://e.com/a"))
    next_day = SEEN + timedelta(days=1)
    found = identified(row(1, url="https://e.com/a/", published_at=next_day), earlier=before.articles)
    assert kept(found) == set()


def test_many_articles_linked_to_a_bare_home_page_are_not_versions_of_one() -> None:
    found = identified(row(0, url="https://e.com/", body="One."), row(1, url="https://e.com/", body="Two."))
    assert set(column(found, "version").values()) == {1}


def test_a_rerun_with_nothing_new_changes_nothing_at_any_later_time() -> None:
    rows = [row(0, url="https://e.com/a", body="A"), row(1, url="https://e.com/a", body="B"), row(2, body="A")]
    first = identified(*rows)
    again = identified(*rows, existing=first.articles, at=READY + timedelta(hours=5))
    assert again.articles.equals(first.articles)
    assert again.repeats_by_source == first.repeats_by_source


def test_a_rerun_with_an_older_correction_appends_a_version_and_leaves_published_ones() -> None:
    first = identified(row(0, url="https://e.com/a", body="A"))
    older = row(1, url="https://e.com/a", body="B", first_seen_at=SEEN - timedelta(hours=1))
    later = READY + timedelta(hours=5)
    again = identified(row(0, url="https://e.com/a", body="A"), older, existing=first.articles, at=later)
    assert column(again, "version") == {"row0000": 1, "row0001": 2}
    assert column(again, "available_at") == {"row0000": READY, "row0001": later}


def test_a_published_article_stays_when_an_earlier_night_is_filled_in_afterwards() -> None:
    first = identified(row(0, body="Text."))
    filled = identified(row(9, body="Text."))
    again = identified(row(0, body="Text."), row(1, body="Text."), earlier=filled.articles, existing=first.articles)
    assert column(again, "repeats") == {"row0000": 1}


TITLES = st.sampled_from(["Shares rise", "shares  RISE", "Shares fall", ""])
BODIES = st.sampled_from([None, "", " ", "Text.", "text.", "Other."])
URLS = st.sampled_from(
    [None, "https://e.com/", "https://e.com/a", "http://www.e.com/a/?utm_source=x", "https://f.com/b"]
)
HOURS = st.integers(-30, 30).map(lambda hours: SEEN + timedelta(hours=hours))


@st.composite
def raw_rows(draw: st.DrawFn, start: int = 0) -> list[RawRow]:
    count = draw(st.integers(0, 12))
    return [
        row(
            start + number,
            source=draw(st.sampled_from(["wire", "paper"])),
            position=draw(st.integers(0, 3)),
            title=draw(TITLES),
            body=draw(BODIES),
            url=draw(URLS),
            published_at=draw(HOURS),
            first_seen_at=draw(HOURS),
        )
        for number in range(count)
    ]


@settings(max_examples=80)
@given(before=raw_rows(), rows=raw_rows(start=100), shuffled=st.randoms(use_true_random=False))
def test_no_row_is_lost_and_neither_order_nor_a_rerun_matters(
    before: list[RawRow], rows: list[RawRow], shuffled: object
) -> None:
    earlier = identified(*before).articles
    found = identified(*rows, earlier=earlier)
    mixed = list(rows)
    shuffled.shuffle(mixed)  # type: ignore[attr-defined]
    assert identified(*mixed, earlier=earlier).articles.equals(found.articles)
    again = identified(*mixed, earlier=earlier, existing=found.articles, at=READY + timedelta(days=1))
    assert again.articles.equals(found.articles)
    assert again.repeats_by_source == found.repeats_by_source
    assert found.articles.num_rows + sum(found.repeats_by_source.values()) == len(rows)
    per_source = Counter(row.source for row in rows)
    articles = Counter(found.articles["source"].to_pylist())
    assert {name: articles[name] + found.repeats_by_source[name] for name in per_source} == per_source
    assert sum(found.articles["repeats"].to_pylist()) <= sum(found.repeats_by_source.values())
    everything = pa.concat_tables([earlier, found.articles])
    keys = list(zip(everything["article_id"].to_pylist(), everything["version"].to_pylist(), strict=True))
    assert len(keys) == len(set(keys))
    texts = [
        t
        for t, body in zip(everything["content_hash"].to_pylist(), everything["body"].to_pylist(), strict=True)
        if body and body.strip()
    ]
    assert len(texts) == len(set(texts)), "a text stands once"


@settings(max_examples=60)
@given(first=raw_rows(), more=raw_rows(start=100))
def test_rows_added_later_never_change_a_published_article(first: list[RawRow], more: list[RawRow]) -> None:
    published = identified(*first)
    later = identified(*first, *more, existing=published.articles, at=READY + timedelta(days=1))
    assert kept(published) <= kept(later)
    for name in ("article_id", "version", "available_at", "content_hash"):
        assert column(published, name).items() <= column(later, name).items()
    assert later.articles.num_rows + sum(later.repeats_by_source.values()) == len(first) + len(more)


@pytest.mark.parametrize("missing", ["title", "published_at"])
def test_a_row_that_should_have_failed_its_contract_is_refused(missing: str) -> None:
    with pytest.raises(SchemaMismatch, match=missing):
        identified(row(0, body="Text.", **{missing: None}))


def test_a_published_article_keeps_its_version_and_availability_when_its_time_is_corrected() -> None:
    before = identified(row(0, url="https://e.com/a", body="Text."))
    corrected = SEEN - timedelta(hours=9)
    for row_id in ("row0000", "another"):
        found = identified(
            row(0, url="https://e.com/a", body="Text.", published_at=corrected, row_id=row_id),
            existing=before.articles,
            at=READY + timedelta(days=1),
        )
        (article,) = found.articles.to_pylist()
        assert (article["version"], article["available_at"], article["published_at"]) == (1, READY, corrected)


def test_a_published_article_whose_text_is_corrected_is_the_next_version() -> None:
    before = identified(row(0, url="https://e.com/a", body="SociÃ©tÃ©."))
    later = READY + timedelta(days=1)
    found = identified(row(0, url="https://e.com/a", body="Société."), existing=before.articles, at=later)
    (article,) = found.articles.to_pylist()
    assert (article["version"], article["available_at"]) == (2, later)
    again = identified(row(0, url="https://e.com/a", body="Société."), existing=found.articles, at=later + timedelta(1))
    assert again.articles.equals(found.articles)
