"""What recordings cannot show: encodings, packing, places, memory, and settings that are refused."""

import gzip
import json
import os
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from tasks.fetch import Fetcher, Limits
from tasks.sources import Delivered, Item, SourceConfig, Unreadable, reader
from tests.shutting import shut

RSS = '<rss version="2.0"><channel><title>f</title><item><title>{}</title></item></channel></rss>'


def items(kind: str, location: Path | str, **more: Any) -> list[Item]:
    config = SourceConfig(name="s", kind=kind, location=str(location), **more)
    return list(reader(kind)(config, Fetcher(Limits())))


def titles(found: list[Item]) -> list[str | None]:
    return [item.title for item in found if isinstance(item, Delivered)]


def error(found: list[Item]) -> str:
    (item,) = found
    assert isinstance(item, Unreadable)
    return item.error


def test_a_directory_gives_its_files_of_the_kind_in_order(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("title\nB\n")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"title\nA\n"))
    (tmp_path / "c.json").write_text("[]")
    (tmp_path / ".hidden.csv").write_text("title\nH\n")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "d.csv").write_text("title\nD\n")
    assert titles(items("csv", tmp_path)) == ["A", "B"]
    assert titles(items("csv", tmp_path / "**" / "*.csv")) == ["B", "D"]
    assert titles(items("csv", tmp_path / "[b]*.csv")) == ["B"]


def test_a_relative_place_is_shown_as_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("drop").mkdir()
    Path("drop/a.csv").write_text("title\nA\n")
    (item,) = items("csv", "drop/*.csv")
    assert item.origin == "drop/a.csv"


def test_a_place_that_is_not_there_is_an_error_and_an_empty_one_is_not(tmp_path: Path) -> None:
    assert "no such file or directory; allowed is a URL, a file, a directory or a glob" in error(
        items("csv", tmp_path / "none")
    )
    assert "there is no directory" in error(items("csv", tmp_path / "none" / "*.csv"))
    assert items("csv", tmp_path / "*.csv") == items("csv", tmp_path) == []


def test_a_bad_file_costs_the_next_one_nothing(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_bytes(b"title\n\xff\n")
    (tmp_path / "2.csv").write_text("title\nB\n")
    assert titles(items("csv", tmp_path)) == ["B"]


def test_a_file_that_may_not_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)  # the folders above may not be entered by everybody
    Path("a.csv").touch()
    assert items("csv", "a.csv") == []
    with shut(tmp_path / "a.csv"):
        assert "a.csv: cannot be read ([Errno 13] Permission denied" in error(items("csv", "a.csv"))


@pytest.mark.parametrize("kind", ["csv", "json", "rss"])
def test_broken_gzip_is_an_error(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a").write_bytes(gzip.compress(os.urandom(5000))[:-2000])
    assert "broken gzip" in error(items(kind, tmp_path / "a"))


@pytest.mark.parametrize("kind", ["csv", "json", "rss"])
def test_a_document_above_the_cap_is_an_error(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a").write_bytes(b"{}" + b" " * 5000)
    assert "larger than 4000 bytes, the `max_bytes` of this source" in error(
        items(kind, tmp_path / "a", max_bytes=4000)
    )


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_an_empty_document_has_no_rows(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a").write_bytes(b"")
    assert items(kind, tmp_path / "a") == []
    (tmp_path / "b").write_bytes(b"\n" * 20_000)
    assert items(kind, tmp_path / "b") == []


@pytest.mark.parametrize(
    ("encoding", "declared", "setting"),
    [
        ("utf-8", "utf-8", None),
        ("utf-8-sig", "utf-8", None),
        ("utf-16", "utf-16", None),
        ("iso-8859-1", "iso-8859-1", None),
        ("latin-1", None, "latin-1"),
    ],
)
def test_a_feed_is_read_in_its_encoding(
    tmp_path: Path, encoding: str, declared: str | None, setting: str | None
) -> None:
    head = f'<?xml version="1.0" encoding="{declared}"?>' if declared else ""
    (tmp_path / "a.xml").write_bytes((head + RSS.format("Société")).encode(encoding))
    assert titles(items("rss", tmp_path / "a.xml", encoding=setting)) == ["Société"]


@pytest.mark.parametrize(
    ("kind", "content"),
    [("json", '[{"title": "Société"}]'), ("json", '{"title": "Société"}\n'), ("csv", "title\nSociété\n")],
)
@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_declared_encoding_is_used(tmp_path: Path, kind: str, content: str, encoding: str) -> None:
    (tmp_path / "a").write_bytes(content.encode(encoding))
    assert titles(items(kind, tmp_path / "a", encoding=encoding)) == ["Société"]


@pytest.mark.parametrize(("kind", "content"), [("json", '[{"title": "Société"}]'), ("csv", "title\nSociété\n")])
def test_a_byte_order_mark_is_no_text(tmp_path: Path, kind: str, content: str) -> None:
    (tmp_path / "a").write_text(content, encoding="utf-8-sig")
    assert titles(items(kind, tmp_path / "a")) == ["Société"]


def test_a_wrongly_declared_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b'[{"title": "\x81"}]')
    assert "not cp1252, the `encoding` of this source" in error(items("json", tmp_path / "a", encoding="cp1252"))
    (tmp_path / "b").write_bytes(b"title\nab\x81\n")
    assert "byte 8 (0x81) is not cp1252" in error(items("csv", tmp_path / "b", encoding="cp1252"))


def test_the_byte_of_a_wrong_encoding_is_found_in_any_chunk(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"title\n" + "é\n".encode() * 700_000 + b"x\xc3")
    assert f"byte {6 + 3 * 700_000 + 1} (0xc3) is not UTF-8" in error(items("csv", tmp_path / "a"))


@pytest.mark.parametrize("depth", [9, 40])
def test_billion_laughs_are_refused_before_they_cost_time_or_memory(tmp_path: Path, depth: int) -> None:
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, depth))
    feed = RSS.format(f"&l{depth - 1};")
    (tmp_path / "a.xml").write_text(f'<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY l0 "lol">{laughs}]>{feed}')
    tracemalloc.start()
    started = time.perf_counter()
    message = error(items("rss", tmp_path / "a.xml"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "refused, its entity 'l1' refers to others" in message
    assert time.perf_counter() - started < 1
    assert peak < 4 << 20


@pytest.mark.parametrize(
    "prolog",
    [
        f'<!DOCTYPE a [<!ENTITY x "{"A" * 100_000}">]>',
        '<!DOCTYPE a [<!ENTITY x PUBLIC "p" "http://127.0.0.1/">]>',
        '<!DOCTYPE a [<!ENTITY % p "x"> %p; <!ENTITY x "y">]>',
        '<!DOCTYPE a [<!ENTITY x "&#38;y;"><!ENTITY y "&#38;x;">]>',
        '<!-- <a --> <!DOCTYPE a [ broken <!ENTITY x "y"> ]>',
    ],
)
def test_entities_that_grow_or_reach_outside_are_refused(tmp_path: Path, prolog: str) -> None:
    (tmp_path / "a.xml").write_text(prolog + RSS.format("&x;" * 1000))
    assert "refused" in error(items("rss", tmp_path / "a.xml"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-7", "cp037"])
def test_laughs_are_found_in_every_encoding(tmp_path: Path, encoding: str) -> None:
    text = (
        f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE a [<!ENTITY a "lol"><!ENTITY b "&a;&a;">]>'
        + RSS.format("&b;")
    )
    head, _, rest = text.partition("?>")
    data = f"{head}?>".encode() + rest.encode(encoding) if encoding == "utf-7" else text.encode(encoding)
    (tmp_path / "a.xml").write_bytes(data)
    assert "refused" in error(items("rss", tmp_path / "a.xml"))


def test_short_plain_entities_and_old_doctypes_are_let_through(tmp_path: Path) -> None:
    doctype = '<!DOCTYPE rss PUBLIC "-//Netscape Communications//DTD RSS 0.91//EN" "http://my.netscape.com/publish/formats/rss-0.91.dtd">'
    (tmp_path / "a.xml").write_text('<!DOCTYPE rss [\n<!ENTITY bank "Quarry Bank">\n]>\n' + RSS.format("&bank; opens"))
    (tmp_path / "b.xml").write_text(doctype + RSS.format("Old"))
    assert titles(items("rss", tmp_path)) == ["Quarry Bank opens", "Old"]


def test_entry_keys_may_be_chosen(tmp_path: Path) -> None:
    entry = "<title>T</title><description>Summary</description><author>A. Reed</author><guid>urn:1</guid>"
    (tmp_path / "a.xml").write_text(f'<rss version="2.0"><channel><item>{entry}</item></channel></rss>')
    (item,) = items("rss", tmp_path, fields={"body": "author", "url": "id", "published": "nothing"})
    assert isinstance(item, Delivered)
    assert (item.title, item.body, item.url, item.published_text) == ("T", "A. Reed", "urn:1", None)


def test_an_array_is_streamed(tmp_path: Path) -> None:
    with (tmp_path / "a.json").open("w") as file:
        file.write("[" + ",".join(json.dumps({"title": "x" * 1000}) for _ in range(20_000)) + "]")
    config = SourceConfig(name="s", kind="json", location=str(tmp_path / "a.json"))
    tracemalloc.start()
    assert sum(1 for _ in reader("json")(config, Fetcher(Limits()))) == 20_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_deep_nesting_is_one_bad_row(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"title": ' + "[" * 100_000 + "\n" + '{"title": "next"}\n')
    bad, good = items("json", tmp_path / "a.jsonl")
    assert isinstance(bad, Delivered)
    assert bad.parse_error == "line 0: nested too deep"
    assert titles([good]) == ["next"]
    (tmp_path / "b.json").write_text('[{"title": ' + "[" * 5000 + "]" * 5000 + '}, {"title": "next"}]')
    assert isinstance(items("json", tmp_path / "b.json")[0], Delivered)


def test_a_key_with_a_dot_is_found_too(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"og.title": "T"}\n')
    assert titles(items("json", tmp_path, fields={"title": "og.title"})) == ["T"]


def test_one_object_written_over_many_lines_is_one_row(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"title": "T", "more": {"a": 1}}, indent=2))
    assert titles(items("json", tmp_path)) == ["T"]


def test_a_giant_field_is_one_bad_row(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("title\n" + "x" * ((1 << 20) + 10) + "\nnext\n")
    bad, good = items("csv", tmp_path)
    assert isinstance(bad, Delivered)
    assert "field larger than field limit" in (bad.parse_error or "")
    assert titles([good]) == ["next"]


def test_a_quote_that_never_closes_costs_one_line(tmp_path: Path) -> None:
    lines = ["title,body"] + [f"t{number},b" for number in range(50_000)]
    lines[10] = '"t,b'
    (tmp_path / "a.csv").write_text("\n".join(lines))
    found = items("csv", tmp_path)
    bad = [item for item in found if isinstance(item, Delivered) and item.parse_error]
    assert [(item.position, item.payload) for item in bad] == [(10, '"t,b')]
    assert len(found) == 50_000


@pytest.mark.parametrize(
    ("header", "fields", "expected"),
    [
        ("auto", {"title": 1, "published": 0}, ["A"]),
        (True, {"title": 1}, ["A"]),
        (False, {"title": 1}, ["headline", "A"]),
        ("auto", {"title": "Headline "}, ["A"]),
    ],
)
def test_a_header_is_seen(tmp_path: Path, header: Any, fields: dict[str, str | int], expected: list[str]) -> None:
    (tmp_path / "a.csv").write_text("date,headline\n2026-03-06,A\n")
    assert titles(items("csv", tmp_path, header=header, fields=fields)) == expected


def test_a_table_without_a_known_column_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    assert "no column for title or body" in error(items("csv", tmp_path))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": "../x"}, "name: 1 to 64 letters"),
        ({"location": ""}, "location: given nothing"),
        ({"timezone": "Mars/Base"}, "timezone: given 'Mars/Base'; allowed is an IANA name"),
        (
            {"fields": {"headline": "x"}},
            r"fields: given \['headline'\]; allowed are \['url', 'title', 'body', 'published', 'items'\]",
        ),
        ({"delimiter": "||"}, "delimiter: given '||'"),
        ({"encoding": "klingon"}, "encoding: given 'klingon'"),
        ({"time_formats": ("%H:%M",)}, "time_formats: '%H:%M' holds no year"),
        ({"time_formats": ("%Y-%m",)}, "holds no month and day"),
        ({"time_formats": ("%Y-%m-%d %Z",)}, "holds %Z"),
        ({"max_bytes": 0}, "must be above 0"),
        ({"delay_seconds": -1.0}, "delay_seconds: given -1.0"),
    ],
)
def test_settings_that_no_night_could_run_with_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("|", r"\|")):
        SourceConfig(**{"name": "s", "kind": "csv", "location": "x", **wrong})


def test_settings_can_be_built_from_toml_by_pydantic_and_nothing_unknown_slips_in() -> None:
    adapter = TypeAdapter(SourceConfig)
    built = adapter.validate_python(
        {"name": "s", "kind": "csv", "location": "x", "fields": {"title": 1, "url": "u"}, "time_formats": ["%Y%m%d"]}
    )
    assert built == SourceConfig(
        name="s", kind="csv", location="x", fields={"title": 1, "url": "u"}, time_formats=("%Y%m%d",)
    )
    with pytest.raises(ValidationError):
        adapter.validate_python({"name": "s", "kind": "csv", "location": "x", "colour": "red"})
