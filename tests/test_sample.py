"""The shipped news sample: it is what its maker makes, and what its README and truth.json say of it is true."""

import csv
import gzip
import io
import json
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import feedparser
import pytest

ROOT = Path(__file__).parents[1]
NEWS = ROOT / "flows" / "sample" / "news"
TRUTH: dict[str, dict[str, Any]] = json.loads((ROOT / "deployments/sample/truth.json").read_text(encoding="utf-8"))
NIGHTS = list(TRUTH)
UNREADABLE = ("cut_json_line", "short_csv_row", "long_csv_row")


def wire(night: str) -> list[dict[str, Any]]:
    feed = feedparser.parse(NEWS.joinpath(f"wire.{night}.rss.xml").read_bytes())
    assert not feed.bozo, feed.get("bozo_exception")
    return list(feed.entries)


def exchange(night: str) -> list[str]:
    return NEWS.joinpath(f"exchange.{night}.jsonl").read_text(encoding="utf-8").split("\n")[:-1]


def blotter(night: str) -> list[list[str]]:
    text = gzip.decompress(NEWS.joinpath(f"blotter.{night}.csv.gz").read_bytes()).decode()
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


def bad_at(night: str, source: str) -> dict[int, str]:
    return {row["position"]: row["kind"] for row in TRUTH[night]["bad_rows"] if row["source"] == source}


def old_at(night: str) -> set[int]:
    return {row["position"] for row in TRUTH[night]["repeat_rows"] if row["kind"] == "overlap"}


def inside(night: str, moment: datetime) -> bool:
    end = datetime.combine(date.fromisoformat(night), datetime.min.time(), ZoneInfo("America/New_York")).replace(
        hour=22
    )
    return end - timedelta(days=1) < moment <= end


def test_the_sample_is_what_its_maker_makes(tmp_path: Path) -> None:
    maker = ROOT / "deployments" / "sample" / "make_news.py"
    subprocess.run([sys.executable, str(maker), "--root", str(tmp_path)], check=True, timeout=120)
    made = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert {path.name for path in made} == {path.name for path in NEWS.iterdir()} | {"truth.json", "README.md"}
    for path in made:
        # How well zlib packs is its version's affair; what is packed is ours.
        unpack = gzip.decompress if path.suffix == ".gz" else bytes
        assert unpack((ROOT / path).read_bytes()) == unpack((tmp_path / path).read_bytes()), f"run {maker.name} again"


def test_the_sample_is_small() -> None:
    assert sum(path.stat().st_size for path in NEWS.iterdir()) < 2_500_000


@pytest.mark.parametrize("night", NIGHTS)
def test_a_night_has_as_many_of_everything_as_it_should(night: str) -> None:
    truth = TRUTH[night]
    assert truth["articles"] >= 150
    assert 0.04 <= sum(truth["bad"].values()) / truth["rows"]["all"] <= 0.06
    assert len(truth["bad"]) == 11
    within = {
        kind: n for kind, n in truth["repeats"].items() if not kind.endswith("earlier_night") and kind != "overlap"
    }
    assert sum(within.values()) >= 8
    assert sum(truth["copies"].values()) >= 12
    assert truth["versions"]["same_night"] >= 3
    assert truth["long_articles"] >= 6
    assert truth["good_rows"] == truth["rows"]["all"] - sum(truth["bad"].values())
    assert truth["articles"] == truth["good_rows"] - sum(truth["repeats"].values())


def test_the_second_night_repeats_the_first_and_has_the_surge() -> None:
    first, second = (TRUTH[night] for night in NIGHTS)
    assert sum(n for kind, n in second["repeats"].items() if kind.endswith("of_earlier_night")) >= 5
    assert second["versions"]["of_earlier_night"] >= 3
    assert (first["surge"]["negative_stories"], first["surge"]["stories"]) == (0, 2)
    assert second["surge"]["negative_stories"] >= 14
    assert second["surge"]["sources"] == ["blotter", "exchange", "wire"]
    assert second["surge"]["copies"] >= 4


@pytest.mark.parametrize("night", NIGHTS)
def test_the_feed_parses_and_its_good_entries_are_of_the_night(night: str) -> None:
    entries, bad, old = wire(night), bad_at(night, "wire"), old_at(night)
    assert len(entries) == TRUTH[night]["rows"]["wire"]
    for position, entry in enumerate(entries):
        if position in bad:
            continue
        moment = datetime(*entry["published_parsed"][:6], tzinfo=UTC)
        assert inside(night, moment) is (position not in old)
        assert entry["title"].strip()
        assert entry["link"].startswith("https://www.tarnwire.example/")
    faults = {kind: entries[position] for position, kind in bad.items()}
    assert all("title" not in entry for kind, entry in faults.items() if kind == "missing_title")
    assert all(
        not entry.get("published_parsed")
        for kind, entry in faults.items()
        if kind in ("missing_time", "impossible_time")
    )
    assert all(len(entry["title"]) > 1000 for kind, entry in faults.items() if kind == "overlong_title")


@pytest.mark.parametrize("night", NIGHTS)
def test_the_json_lines_parse_and_their_good_rows_are_of_the_night(night: str) -> None:
    lines, bad = exchange(night), bad_at(night, "exchange")
    assert len(lines) == TRUTH[night]["rows"]["exchange"]
    zoneless = 0
    for position, line in enumerate(lines):
        if bad.get(position) in UNREADABLE:
            with pytest.raises(json.JSONDecodeError):
                json.loads(line)
        elif position not in bad:
            row = json.loads(line)
            moment = datetime.fromisoformat(row["published"])
            zoneless += moment.tzinfo is None
            for zone in ("America/New_York", "UTC"):
                assert inside(night, moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone)))
            assert row["headline"].strip()
            assert row["text"] is None or row["text"].strip()
    assert zoneless >= 5


@pytest.mark.parametrize("night", NIGHTS)
def test_the_csv_parses_and_its_good_rows_are_of_the_night(night: str) -> None:
    rows, bad = blotter(night), bad_at(night, "blotter")
    assert len(rows) == TRUTH[night]["rows"]["blotter"]
    assert 0 not in bad, "the first row tells how many columns there are"
    for position, row in enumerate(rows):
        assert (len(row) == 4) is (bad.get(position) not in UNREADABLE)
        if position not in bad:
            assert inside(night, datetime.fromisoformat(row[0]).replace(tzinfo=ZoneInfo("Europe/London")))
            assert row[1].strip()
    assert any("\n" in row[2] for row in rows if len(row) == 4)
    assert any(" ," in row[2] for row in rows if len(row) == 4)


@pytest.mark.parametrize("night", NIGHTS)
def test_the_bulletin_is_an_atom_feed_of_the_wires_articles(night: str) -> None:
    feed = feedparser.parse(NEWS.joinpath(f"bulletin.{night}.atom.xml").read_bytes())
    assert not feed.bozo
    assert feed.version == "atom10"
    assert len(feed.entries) == TRUTH[night]["bulletin_rows"]
    assert {entry["link"] for entry in feed.entries} <= {entry["link"] for entry in wire(night) if "link" in entry}


@pytest.mark.parametrize("night", NIGHTS)
def test_no_slot_was_left_unfilled(night: str) -> None:
    for path in NEWS.glob(f"*.{night}.*"):
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
        if path.suffix == ".jsonl":
            text = text.replace('{"', "").replace('"}', "").replace("{}", "").replace("}", "")
        assert "{" not in text.replace(".tw{color", "").replace("tw.push({a", "")
