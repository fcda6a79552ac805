import gzip
import json
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tasks import fulltext
from tasks import ingest as module
from tasks.ingest import Ingested, Window, ingest
from tasks.lake import Lake
from tasks.sources import SourceConfig, UnknownSource
from tests.loopback import Answer, Site, serving

NIGHT = date(2026, 3, 6)
NOW = datetime(2026, 3, 6, 22, 5, tzinfo=UTC)
LATER = NOW + timedelta(hours=3)
FIELDS = {"published": "date", "title": "headline"}


def window(night: date) -> Window:
    end = datetime(night.year, night.month, night.day, 22, tzinfo=UTC)
    return Window(start=end - timedelta(days=1), end=end)


class Desk:
    """A lake, a folder for files, and one night's ingest with defaults."""

    def __init__(self, folder: Path) -> None:
        self.files = folder / "files"
        self.files.mkdir()
        self.url = str(folder / "lake")
        self.lake = Lake.open(self.url)

    def run(
        self,
        *sources: SourceConfig,
        night: date = NIGHT,
        now: datetime = NOW,
        backfill: bool = False,
        lookback: int = 7,
        **more: Any,
    ) -> Ingested:
        settings = {"take_undated": False, "keep_raw": False, "window": window(night) if backfill else None, **more}
        return ingest.fn(
            self.url, sources, night=night, now=now, lookback_nights=lookback, run_id=f"run-{now:%H%M%S}", **settings
        )

    def raw(self, night: date = NIGHT) -> list[dict[str, Any]]:
        return self.lake.read("raw", nights=[night]).to_pylist()

    def counts(self, night: date = NIGHT) -> dict[str, dict[str, Any]]:
        return {row["source"]: row for row in self.lake.stage(night).read("source_counts").to_pylist()}

    def csv(self, *lines: str, name: str = "wire", **more: Any) -> SourceConfig:
        (self.files / f"{name}.csv").write_text("date,headline\n" + "\n".join(lines), encoding="utf-8")
        return SourceConfig(name=name, kind="csv", location=str(self.files / f"{name}.csv"), fields=FIELDS, **more)

    def feed(self, site: Site, **more: Any) -> SourceConfig:
        return SourceConfig(
            name="feed",
            kind="rss",
            location=f"{site.url}/feed",
            allow_private=True,
            delay_seconds=0,
            timeout_seconds=5,
            **more,
        )


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as site:
        yield site


def rss(*titles: str) -> bytes:
    items = "".join(
        f"<item><title>{title}</title><link>https://feed.example/{title}</link><pubDate>Fri, 06 Mar 2026 08:00:00 GMT</pubDate></item>"
        for title in titles
    )
    return f'<rss version="2.0"><channel><title>f</title>{items}</channel></rss>'.encode()


def titles(rows: list[dict[str, Any]]) -> list[str | None]:
    return [row["title"] for row in rows]


def test_a_live_night_takes_what_no_other_night_has(desk: Desk) -> None:
    desk.run(desk.csv("2026-03-05,One", "2026-03-05,Two"))
    result = desk.run(
        desk.csv("2026-03-05,One", "2026-03-05,Two", "2020-01-01,Three"), night=NIGHT + timedelta(days=1), now=LATER
    )
    assert titles(desk.raw()) == ["One", "Two"]
    assert titles(desk.raw(NIGHT + timedelta(days=1))) == ["Three"]
    assert result.rows_added == 1
    counts = desk.counts(NIGHT + timedelta(days=1))["wire"]
    assert (counts["rows_read"], counts["rows_new"], counts["rows_outside"]) == (3, 1, 2)


def test_a_row_seen_long_before_the_lookback_is_still_known(desk: Desk) -> None:
    source = desk.csv("2026-03-05,Old", ",Undated")
    desk.run(source)
    desk.run(source, night=NIGHT + timedelta(days=60), now=NOW + timedelta(days=60), lookback=3)
    assert desk.raw(NIGHT + timedelta(days=60)) == []
    desk.run(source, night=NIGHT - timedelta(days=60), now=NOW, lookback=3)
    assert desk.raw(NIGHT - timedelta(days=60)) == []


def test_a_backfilled_night_takes_what_was_published_in_its_window(desk: Desk) -> None:
    source = desk.csv(
        "2026-03-05 21:59:59,Before",
        "2026-03-05 22:00:00,First",
        "2026-03-06 21:59:59,Last",
        "2026-03-06 22:00:00,After",
        "soon,Undated",
    )
    desk.run(source, backfill=True)
    assert titles(desk.raw()) == ["First", "Last"]
    assert [row["published_at"] for row in desk.raw()] == [
        datetime(2026, 3, 5, 22, tzinfo=UTC),
        datetime(2026, 3, 6, 21, 59, 59, tzinfo=UTC),
    ]
    assert desk.counts()["wire"]["rows_outside"] == 3


def test_rows_without_a_time_are_taken_once_where_asked_for_and_never_dated_now(desk: Desk) -> None:
    source = desk.csv("soon,Undated", "2026-03-06,Dated")
    desk.run(source, backfill=True, take_undated=True)
    desk.run(source, night=NIGHT + timedelta(days=1), backfill=True, take_undated=True)
    (undated,) = [row for row in desk.raw() if row["title"] == "Undated"]
    assert undated["published_at"] is None
    assert undated["published_text"] == "soon"
    assert json.loads(undated["payload"]) == {"date": "soon", "headline": "Undated"}
    assert desk.raw(NIGHT + timedelta(days=1)) == []


def test_a_rerun_keeps_rows_and_their_times_and_adds_the_unseen(desk: Desk) -> None:
    first = desk.run(desk.csv("2026-03-06,One"))
    again = desk.run(desk.csv("2026-03-06,One"), now=LATER)
    assert (again.raw, again.rows_added) == (first.raw, 0)
    more = desk.run(desk.csv("2026-03-06,Two", "2026-03-06,One"), now=LATER)
    assert {row["title"]: row["first_seen_at"] for row in desk.raw()} == {"One": NOW, "Two": LATER}
    assert (more.rows_added, more.raw.rows) == (1, 2)


def test_equal_rows_of_one_reading_are_all_kept(desk: Desk) -> None:
    source = desk.csv("2026-03-06,Same", "2026-03-06,Same", "2026-03-06,Same")
    desk.run(source)
    desk.run(source, now=LATER)
    assert titles(desk.raw()) == ["Same"] * 3
    assert len({row["row_id"] for row in desk.raw()}) == 3
    desk.run(source, night=NIGHT + timedelta(days=1), now=LATER)
    assert desk.raw(NIGHT + timedelta(days=1)) == []


def test_the_same_delivered_row_has_the_same_id_from_any_file_and_another_from_another_source(desk: Desk) -> None:
    desk.run(desk.csv("2026-03-06,Same", name="a"), night=NIGHT)
    (desk.files / "b.csv").write_text("date,headline\n2026-03-05,Other\n2026-03-06,Same\n")
    moved = SourceConfig(name="a", kind="csv", location=str(desk.files / "b.csv"), fields=FIELDS)
    renamed = SourceConfig(name="z", kind="csv", location=str(desk.files / "b.csv"), fields=FIELDS)
    desk.run(moved, renamed, night=NIGHT + timedelta(days=1), now=LATER)
    assert [(row["source"], row["title"]) for row in desk.raw(NIGHT + timedelta(days=1))] == [
        ("a", "Other"),
        ("z", "Other"),
        ("z", "Same"),
    ]


def test_one_failing_source_costs_the_others_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    (desk.files / "latin.csv").write_bytes("date,headline\n2026-03-06,Société\n".encode("latin-1"))
    latin = SourceConfig(name="latin", kind="csv", location=str(desk.files / "latin.csv"), fields=FIELDS)
    gone = SourceConfig(name="gone", kind="json", location=str(desk.files / "nothing.json"))
    nowhere = SourceConfig(name="nowhere", kind="rss", location="ftp://feed.example/x")
    result = desk.run(latin, gone, desk.csv("2026-03-06,Good"), nowhere)
    assert titles(desk.raw()) == ["Good"]
    assert result.failed == ("latin", "gone", "nowhere")
    counts = desk.counts()
    assert "byte 29 (0xe9) is not UTF-8" in counts["latin"]["error"]
    assert "set `encoding` of the source" in counts["latin"]["error"]
    assert "no such file or directory" in counts["gone"]["error"]
    assert "allowed are http:// and https://" in counts["nowhere"]["error"]
    assert (counts["wire"]["failed"], counts["wire"]["error"]) == (False, None)


def test_a_fault_in_a_sources_code_costs_the_others_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    import tasks.reading

    def broken(kind: str) -> Any:
        def read(config: SourceConfig, fetcher: object) -> Iterator[object]:
            if config.name == "broken":
                raise IndexError("off by one")
            yield from real(kind)(config, fetcher)  # type: ignore[arg-type]

        return read

    real = tasks.reading.reader
    monkeypatch.setattr(tasks.reading, "reader", broken)
    desk.run(desk.csv("2026-03-06,Bad", name="broken"), desk.csv("2026-03-06,Good"))
    assert titles(desk.raw()) == ["Good"]
    assert desk.counts()["broken"]["error"] == "IndexError: off by one"


def test_a_night_on_which_all_sources_fail_is_an_empty_night(desk: Desk) -> None:
    result = desk.run(SourceConfig(name="gone", kind="csv", location=str(desk.files / "nothing.csv")))
    assert (result.raw.rows, result.failed) == (0, ("gone",))
    assert desk.lake.nights("raw") == [NIGHT]
    assert desk.counts()["gone"]["failed"]


def test_an_empty_night_is_a_night(desk: Desk) -> None:
    (desk.files / "drop").mkdir()
    result = desk.run(SourceConfig(name="drop", kind="json", location=str(desk.files / "drop")), desk.csv())
    assert (result.raw.rows, result.failed) == (0, ())
    assert [row["rows_read"] for row in desk.counts().values()] == [0, 0]


def test_a_kind_that_has_no_file_stops_the_night(desk: Desk) -> None:
    with pytest.raises(UnknownSource, match=r"kind: given 'telex'; allowed are \['csv', 'json', 'rss'\]"):
        desk.run(SourceConfig(name="odd", kind="telex", location="x"))


def test_a_json_array_cut_in_the_middle_gives_its_whole_objects_and_one_bad_row(desk: Desk) -> None:
    rows = [{"title": f"T{number}", "published": "2026-03-06"} for number in range(3)]
    (desk.files / "cut.json").write_text(json.dumps(rows)[:-10])
    desk.run(SourceConfig(name="cut", kind="json", location=str(desk.files / "cut.json")))
    assert titles(desk.raw()) == ["T0", "T1", None]
    assert desk.raw()[2]["parse_error"].startswith("entry 2: the JSON breaks off or is broken, near byte ")
    assert desk.counts()["cut"]["failed"] is False


def test_a_file_of_two_hundred_megabytes_is_refused_packed_or_not(desk: Desk) -> None:
    with (
        gzip.open(desk.files / "big.xml.gz", "wb", compresslevel=1) as packed,
        (desk.files / "big.xml").open("wb") as plain,
    ):
        for _ in range(200):
            packed.write(bytes(1 << 20))
        plain.truncate(200 << 20)
    started = time.perf_counter()
    desk.run(
        SourceConfig(name="plain", kind="rss", location=str(desk.files / "big.xml")),
        SourceConfig(name="packed", kind="rss", location=str(desk.files / "big.xml.gz"), max_bytes=1 << 20),
    )
    assert "larger than 67108864 bytes, the `max_bytes` of this source" in desk.counts()["plain"]["error"]
    assert "larger than 1048576 bytes" in desk.counts()["packed"]["error"]
    assert time.perf_counter() - started < 10


def test_a_download_that_is_no_feed_is_kept_and_named(desk: Desk, site: Site) -> None:
    site.pages["/feed"] = Answer(body=b"<html>Please log in</html>", headers={"ETag": '"1"'})
    desk.run(desk.feed(site))
    error = desk.counts()["feed"]["error"]
    place = error.partition("kept in the lake as ")[2]
    assert "not an RSS or Atom feed" in error
    assert place.startswith("_rejected/2026-03-06/feed/")
    assert place.endswith(".xml")
    assert desk.lake.read_file(place) == b"<html>Please log in</html>"
    desk.run(desk.feed(site), now=LATER)
    assert "if-none-match" not in site.asked[1][1]


def test_an_unchanged_feed_is_not_sent_again_and_its_counts_stay_true(desk: Desk, site: Site) -> None:
    def page(headers: Mapping[str, str]) -> Answer:
        return (
            Answer(304)
            if headers.get("if-none-match") == '"1"'
            else Answer(body=rss("a", "b"), headers={"ETag": '"1"'})
        )

    site.pages["/feed"] = page
    desk.run(desk.feed(site))
    first = desk.counts()["feed"]
    desk.run(desk.feed(site), now=LATER)
    again = desk.counts()["feed"]
    assert {**again, "available_at": None} == {**first, "available_at": None}
    assert (again["rows_read"], again["rows_new"], again["rows_outside"]) == (2, 2, 0)
    tomorrow = NIGHT + timedelta(days=1)
    for _ in range(2):
        desk.run(desk.feed(site), night=tomorrow, now=LATER)
        counts = desk.counts(tomorrow)["feed"]
        assert (counts["rows_read"], counts["rows_new"], counts["rows_outside"]) == (2, 0, 2)
    assert [headers.get("if-none-match") for _, headers in site.asked] == [None, '"1"', '"1"', '"1"']


def test_a_feed_is_asked_for_whole_when_it_is_read_otherwise_or_backfilled(desk: Desk, site: Site) -> None:
    site.pages["/feed"] = Answer(body=rss("a"), headers={"ETag": '"1"'})
    desk.run(desk.feed(site))
    desk.run(desk.feed(site, timezone="Asia/Tokyo"), now=LATER)
    desk.run(desk.feed(site, timezone="Asia/Tokyo"), now=LATER, backfill=True)
    desk.run(desk.feed(site, timezone="Asia/Tokyo"), now=LATER)
    assert [headers.get("if-none-match") for _, headers in site.asked] == [None, None, None, '"1"']


def test_a_run_killed_between_rows_and_state_adds_nothing_twice(
    desk: Desk, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def page(headers: Mapping[str, str]) -> Answer:
        return Answer(304) if "if-none-match" in headers else Answer(body=rss("a", "b"), headers={"ETag": '"1"'})

    site.pages["/feed"] = page
    with monkeypatch.context() as patched:

        def killed(self: Lake, name: str, text: str) -> None:
            raise KeyboardInterrupt

        patched.setattr(Lake, "write_state", killed)
        with pytest.raises(KeyboardInterrupt):
            desk.run(desk.feed(site))
    before = desk.raw()
    assert titles(before) == ["a", "b"]
    result = desk.run(desk.feed(site), now=LATER)
    assert (desk.raw(), result.rows_added) == (before, 0)
    assert "if-none-match" not in site.asked[1][1]


def test_a_state_that_cannot_be_read_is_begun_anew(desk: Desk, site: Site) -> None:
    site.pages["/feed"] = Answer(body=rss("a"))
    for text in ("{", "[]", '{"documents": {"u": {"odd": 1}}}', "null"):
        desk.lake.write_state("source-feed", text)
        assert desk.run(desk.feed(site)).failed == ()


def test_the_state_reports_the_latest_publication(desk: Desk) -> None:
    desk.run(desk.csv("2026-03-05,One", "2026-03-06,Two"))
    desk.run(desk.csv("2026-03-01,Three"), night=NIGHT + timedelta(days=1), now=LATER)
    state = json.loads(desk.lake.read_state("source-wire") or "")
    assert (state["latest_published_at"], state["last_read_at"]) == ("2026-03-06T00:00:00+00:00", LATER.isoformat())


def test_corrected_time_settings_correct_the_rows_that_the_night_has(desk: Desk) -> None:
    lines = ("06/03/2026 08:00,One", "06/03/2026 09:00,Two")
    desk.run(desk.csv(*lines))
    assert [(row["published_at"], row["payload"] is None) for row in desk.raw()] == [(None, False)] * 2
    result = desk.run(desk.csv(*lines, time_formats=("%d/%m/%Y %H:%M",)), now=LATER)
    assert (result.rows_added, result.rows_corrected, result.raw.rows) == (0, 2, 2)
    assert [row["published_at"].hour for row in desk.raw()] == [8, 9]
    assert {(row["first_seen_at"], row["payload"]) for row in desk.raw()} == {(NOW, None)}
    tokyo = desk.csv(*lines, time_formats=("%d/%m/%Y %H:%M",), timezone="Asia/Tokyo")
    desk.lake.commit({"raw": desk.lake.read("raw", nights=[NIGHT])}, night=NIGHT, run_id="publish")
    desk.run(tokyo, now=LATER)
    assert [row["published_at"] for row in desk.raw()] == [
        datetime(2026, 3, 5, 23, tzinfo=UTC),
        datetime(2026, 3, 6, 0, tzinfo=UTC),
    ]
    files = desk.lake.files("raw", nights=[NIGHT])
    assert desk.run(tokyo, now=LATER + timedelta(hours=1)).rows_corrected == 0
    assert desk.lake.files("raw", nights=[NIGHT]) == files


def test_corrected_fields_and_encodings_replace_the_rows_in_place(desk: Desk) -> None:
    file = desk.files / "odd.csv"
    file.write_bytes("date,headline,text\n2026-03-06,Société,Body\n2026-03-06,Two,More\n".encode())
    plain = SourceConfig(name="odd", kind="csv", location=str(file), fields=FIELDS, encoding="latin-1")
    desk.run(plain)
    assert titles(desk.raw()) == ["SociÃ©tÃ©", "Two"]
    desk.run(replace(plain, encoding=None), now=LATER)
    assert [(row["title"], row["body"], row["first_seen_at"]) for row in desk.raw()] == [
        ("Société", None, NOW),
        ("Two", None, NOW),
    ]
    both = replace(plain, encoding=None, fields={**FIELDS, "body": "text"})
    result = desk.run(both, now=LATER)
    assert [(row["title"], row["body"], row["first_seen_at"]) for row in desk.raw()] == [
        ("Société", "Body", NOW),
        ("Two", "More", NOW),
    ]
    assert (result.rows_added, result.rows_corrected) == (0, 2)
    assert desk.counts()["odd"]["rows_read"] == 2


def test_corrected_fields_of_a_feed_correct_its_rows_wherever_they_now_stand(desk: Desk, site: Site) -> None:
    site.pages["/feed"] = Answer(body=rss("a", "b"), headers={"ETag": '"1"'})
    desk.run(desk.feed(site, fields={"title": "nothing"}))
    assert titles(desk.raw()) == [None, None]
    site.pages["/feed"] = Answer(body=rss("c", "b"), headers={"ETag": '"2"'})
    result = desk.run(desk.feed(site), now=LATER)
    assert (result.rows_added, result.rows_corrected) == (1, 1)
    assert sorted((row["title"] or "", row["first_seen_at"]) for row in desk.raw()) == [
        ("", NOW),
        ("b", NOW),
        ("c", LATER),
    ]


def test_an_older_night_is_corrected_after_a_newer_one(desk: Desk, site: Site) -> None:
    def page(headers: Mapping[str, str]) -> Answer:
        return Answer(304) if "if-none-match" in headers else Answer(body=naive, headers={"ETag": '"1"'})

    naive = rss("a").replace(b" GMT", b"")
    site.pages["/feed"] = page
    tomorrow = NIGHT + timedelta(days=1)
    desk.run(desk.feed(site))
    desk.run(desk.feed(site, timezone="Asia/Tokyo"), night=tomorrow, now=LATER)
    desk.run(desk.feed(site, timezone="Asia/Tokyo"), now=LATER)
    assert [row["published_at"] for row in desk.raw()] == [datetime(2026, 3, 5, 23, tzinfo=UTC)]
    desk.run(desk.feed(site, timezone="Asia/Tokyo"), now=LATER)
    assert "if-none-match" in site.asked[-1][1]


def test_a_line_that_its_publisher_changed_is_a_new_row_beside_the_old(desk: Desk) -> None:
    desk.run(desk.csv("2026-03-06,Ones"))
    desk.run(desk.csv("2026-03-06,One"), now=LATER)
    assert sorted(titles(desk.raw()), key=str) == ["One", "Ones"]


def test_a_corrected_time_takes_a_backfilled_row_to_the_night_it_belongs_to(desk: Desk) -> None:
    lines = ("2026-03-06 15:00,Late", "2026-03-05 23:00,Early")
    desk.run(desk.csv(*lines), backfill=True)
    west = desk.csv(*lines, timezone="America/Los_Angeles")
    result = desk.run(west, backfill=True, now=LATER)
    assert (titles(desk.raw()), result.rows_corrected) == (["Early"], 2)
    assert desk.counts()["wire"]["rows_read"] == 2
    desk.run(west, backfill=True, night=NIGHT + timedelta(days=1), now=LATER)
    assert titles(desk.raw(NIGHT + timedelta(days=1))) == ["Late"]
    east = desk.csv(*lines, timezone="Asia/Tokyo")
    desk.run(east, backfill=True, now=LATER)
    assert [(row["title"], row["published_at"].day) for row in desk.raw()] == [("Early", 5)]


def test_a_published_night_takes_nothing_from_its_future(desk: Desk) -> None:
    end = window(NIGHT).end
    desk.run(desk.csv("2026-03-06 23:00,Ahead"), ends_at=end)
    assert titles(desk.raw()) == ["Ahead"]
    desk.lake.commit({"raw": desk.lake.read("raw", nights=[NIGHT])}, night=NIGHT, run_id="publish")
    lines = ("2026-03-06 23:00,Ahead", "2026-03-06 21:59,Just", "2026-03-06 22:00,At", "2026-03-09,Days")
    desk.run(desk.csv(*lines), ends_at=end, now=LATER)
    assert titles(desk.raw()) == ["Ahead", "Just"]
    counts = desk.counts()["wire"]
    assert (counts["rows_read"], counts["rows_new"], counts["rows_outside"]) == (4, 2, 2)
    desk.run(desk.csv(*lines), night=NIGHT + timedelta(days=1), ends_at=end + timedelta(days=1), now=LATER)
    assert titles(desk.raw(NIGHT + timedelta(days=1))) == ["At", "Days"]


def test_a_token_in_a_sources_url_is_neither_stored_nor_told(desk: Desk, site: Site, tmp_path: Path) -> None:
    def page(headers: Mapping[str, str]) -> Answer:
        return Answer(304) if "if-none-match" in headers else Answer(body=body, headers={"ETag": '"1"'})

    body = rss("a")[:-10] + b"<item><title>cut"
    site.pages |= {"/feed?key=tok3n": page, "/feed?key=n3wer": Answer(body=body)}
    old, new, bad = (replace(desk.feed(site), location=f"{site.url}/{end}") for end in
                     ("feed?key=tok3n", "feed?key=n3wer", "gone?key=tok3n"))  # fmt: skip
    desk.run(old, replace(bad, name="bad"))
    before = desk.raw()
    assert {row["origin"] for row in before} == {f"{site.url}/feed?key=***"}
    assert desk.counts()["bad"]["error"] == f"{site.url}/gone?key=***: answered 404; allowed is 200"
    desk.run(old, now=LATER)
    assert "if-none-match" in site.asked[-1][1]
    assert desk.counts()["feed"]["rows_read"] == len(before)
    desk.run(new, now=LATER)
    assert desk.raw() == before
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"tok3n" in path.read_bytes()]


def test_a_state_that_remembers_urls_as_they_are_forgets_them(desk: Desk, site: Site) -> None:
    site.pages["/feed"] = Answer(body=rss("a"))
    old = {"documents": {"https://a.example/?key=tok3n": {"etag": "1"}}, "night": "2026-03-05"}
    desk.lake.write_state("source-feed", json.dumps(old))
    desk.run(desk.feed(site))
    assert "tok3n" not in (desk.lake.read_state("source-feed") or "")


def test_all_failed_means_every_source_there_is(desk: Desk) -> None:
    gone = SourceConfig(name="gone", kind="csv", location=str(desk.files / "nothing.csv"))
    assert desk.run(gone).all_failed
    assert not desk.run(gone, desk.csv("2026-03-06,One")).all_failed
    assert not desk.run().all_failed


def test_one_bad_file_of_many_makes_its_source_failed_and_costs_only_its_rows(desk: Desk) -> None:
    (desk.files / "a.csv").write_bytes(b"date,headline\n2026-03-06,\xff\n")
    desk.csv("2026-03-06,Good", name="b")
    result = desk.run(SourceConfig(name="drop", kind="csv", location=str(desk.files), fields=FIELDS))
    assert (titles(desk.raw()), result.failed) == (["Good"], ("drop",))


def test_text_is_normalised_and_kept_raw_only_where_asked_for(desk: Desk) -> None:
    source = desk.csv('2026-03-06,"<b>AT&amp;T</b>  rises "')
    desk.run(source)
    (row,) = desk.raw()
    assert (row["title"], row["title_raw"], row["payload"]) == ("AT&T rises", None, None)
    desk.run(source, night=NIGHT + timedelta(days=400), keep_raw=True, lookback=0)
    assert desk.raw(NIGHT + timedelta(days=400)) == []
    other = Desk(desk.files)
    other.run(other.csv('2026-03-06,"<b>AT&amp;T</b>  rises "'), keep_raw=True)
    assert other.raw()[0]["title_raw"] == "<b>AT&amp;T</b>  rises "
    assert other.raw()[0]["payload"]


def test_a_doubtful_row_keeps_its_payload_cut_at_a_mebibyte(desk: Desk) -> None:
    (desk.files / "odd.jsonl").write_text(
        json.dumps({"title": "é" * (1 << 20), "published": None}, ensure_ascii=False) + "\n"
    )
    desk.run(SourceConfig(name="odd", kind="json", location=str(desk.files / "odd.jsonl")))
    assert (1 << 20) - 4 < len(desk.raw()[0]["payload"].encode()) <= 1 << 20


def test_half_surrogates_and_nul_characters_do_not_break_the_night(desk: Desk) -> None:
    (desk.files / "odd.jsonl").write_text(
        '{"title": "A\\ud800\\u0000B", "url": "https://a.example/\\udfff", "published": "2026-03-06"}\n'
    )
    desk.run(SourceConfig(name="odd", kind="json", location=str(desk.files / "odd.jsonl")))
    (row,) = desk.raw()
    assert (row["title"], row["url"]) == ("A\ufffdB", "https://a.example/\ufffd")
    assert row["payload"]


def test_full_text_comes_from_the_page_for_new_rows_only(desk: Desk, site: Site) -> None:
    words = " ".join(f"The company said in its statement number {number} that revenue grew." for number in range(12))
    site.pages["/good"] = Answer(
        body=f"<html><body><nav>Menu</nav><article><h1>T</h1><p>{words}</p></article></body></html>".encode()
    )
    feed = rss("good", "gone").replace(b"https://feed.example", site.url.encode())
    site.pages["/feed"] = Answer(body=feed)
    for now in (NOW, LATER):
        desk.run(desk.feed(site, full_text=True), now=now)
    bodies = {row["title"]: row["body"] for row in desk.raw()}
    assert "revenue grew" in bodies["good"]
    assert "Menu" not in bodies["good"]
    assert bodies["gone"] is None
    assert [path for path, _ in site.asked].count("/good") == 1
    desk.run(desk.feed(site, full_text=True), night=NIGHT + timedelta(days=1), now=LATER)
    assert [path for path, _ in site.asked].count("/gone") == 1


def test_how_far_the_pages_of_a_source_are_is_told(
    desk: Desk, site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fulltext, "TELL_SECONDS", -1)
    site.pages["/feed"] = Answer(body=rss("one", "two").replace(b"https://feed.example", site.url.encode()))
    with caplog.at_level(logging.INFO, "tasks"):
        desk.run(desk.feed(site, full_text=True))
    told = [
        (vars(one)["done"], vars(one)["total"], vars(one).get("part")) for one in caplog.records if "done" in vars(one)
    ]
    assert told == [(1, 2, "pages of feed"), (2, 2, "pages of feed"), (1, 1, None)]


def test_what_full_text_could_not_fetch_is_told_without_failing_the_source(desk: Desk, site: Site) -> None:
    site.pages["/feed"] = Answer(body=rss("gone").replace(b"https://feed.example", site.url.encode()))
    desk.run(desk.feed(site, full_text=True))
    counts = desk.counts()["feed"]
    assert counts["failed"] is False
    assert (
        counts["error"]
        == f"1 of 1 new rows keep the body delivered, first: {site.url}/gone: answered 404; allowed is 200"
    )


def test_published_counts_keep_their_time_when_nothing_changed(desk: Desk) -> None:
    source = desk.csv("2026-03-06,One")
    desk.run(source)
    staged = desk.lake.stage(NIGHT).read("source_counts")
    desk.lake.commit({"source_counts": staged}, night=NIGHT, run_id="publish")
    desk.run(source, now=LATER)
    assert desk.lake.stage(NIGHT).read("source_counts") == staged
    desk.run(desk.csv("2026-03-06,One", "2026-03-06,Two"), now=LATER)
    assert desk.counts()["wire"]["available_at"] == LATER


def test_rows_lie_in_an_order_that_does_not_depend_on_when_they_came(desk: Desk, tmp_path: Path) -> None:
    desk.run(desk.csv("2026-03-06,One", "2026-03-06,Two", name="b"))
    desk.run(desk.csv("2026-03-06,One", "2026-03-06,Two", name="b"), desk.csv("2026-03-06,Zero", name="a"), now=LATER)
    assert titles(desk.raw()) == ["Zero", "One", "Two"]


def test_the_table_is_the_contracts(desk: Desk) -> None:
    desk.run(desk.csv("2026-03-06,One"))
    table: pa.Table = desk.lake.read("raw", nights=[NIGHT])
    assert module.RAW.conform(table).schema == module.RAW.schema


def test_real_headlines_of_one_night_are_found_quickly(desk: Desk, shared_data: Path) -> None:
    news = shared_data / "news"
    sources = [
        SourceConfig(
            name="headlines",
            kind="csv",
            location=str(news / "*_headlines.csv"),
            fields={"published": 0, "title": 1},
            timezone="America/New_York",
        ),
        SourceConfig(
            name="crypto",
            kind="json",
            location=str(news / "crypto_news.json"),
            fields={"body": "content", "published": "date_publish"},
        ),
    ]
    started = time.perf_counter()
    desk.run(sources[0], night=date(2020, 7, 15), backfill=True)
    assert time.perf_counter() - started < 8
    counts = desk.counts(date(2020, 7, 15))["headlines"]
    assert (counts["rows_read"], counts["failed"]) == (53_330, False)
    assert {row["published_at"] for row in desk.raw(date(2020, 7, 15))} == {datetime(2020, 7, 15, 4, tzinfo=UTC)}
    assert {Path(row["origin"]).name for row in desk.raw(date(2020, 7, 15))} == {
        "cnbc_headlines.csv", "guardian_headlines.csv", "reuters_headlines.csv"
    }  # fmt: skip
    desk.run(sources[1], night=date(2022, 12, 30), now=NOW)
    rows = desk.raw(date(2022, 12, 30))
    assert (len(rows), sum(row["body"] is None for row in rows), sum(row["title"] is None for row in rows)) == (
        1543,
        45,
        1,
    )
    assert all(row["published_at"] is not None and row["parse_error"] is None for row in rows)
