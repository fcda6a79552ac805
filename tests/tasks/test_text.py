import time
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks import text

MARKUP_LIKE = st.text(st.sampled_from("<>/&;#abp\"'= \n!-[]\u200b\u200d\u037e\ud800\u0301x38amplt"), max_size=60)
PIECES = st.lists(
    st.sampled_from(
        ["<p>", "</p>", "<b class='x'>", "<script>", "</script>", "<!--", "-->", "<GS.N>", "&amp;", "&lt;", "&#38;", "&#x26;", "amp;", "lt;",
         "p&gt;", "<![CDATA[", "]]>", "\u200b", "\u200d", "\ufeff", "\x00", "é", "e\u0301", "👩", "🔬", " ", "\n", "&", "<", ">", "word", "\u037e"]
    ),
    max_size=25,
).map("".join)  # fmt: skip


@pytest.mark.parametrize(
    "plain",
    ["AT&T", "a < b and c > d", "Goldman Sachs <GS.N> rises", "a <b and c> d", "R&D &copy 2020", "x<y", "<3 crypto", "P&L; up",
     "5 > 4 < 6", "if a<b>c",
     "<unknown>tag</unknown>", "S&P 500 &c.", "<!-- never closed", "&nosuchname;"],
)  # fmt: skip
def test_plain_text_that_looks_like_markup_survives(plain: str) -> None:
    expected = (
        "if ac" if plain == "if a<b>c" else plain
    )  # a bold tag and arithmetic without spaces cannot be told apart
    assert text.title(plain) == text.body(plain) == expected


@pytest.mark.parametrize(
    ("delivered", "expected"),
    [
        ("<p>One</p><p>Two<br/>Three</p>", "One\nTwo\nThree"),
        ("Goldman <GS.N> rose <b>5%</b>", "Goldman <GS.N> rose 5%"),
        ("&lt;p&gt;Escaped &amp;amp; twice&lt;/p&gt;", "Escaped & twice"),
        ("a<script>alert('<b>')</script>b<style>p {}</style >c", "a\nb\nc"),
        ("<![CDATA[kept <i>text</i>]]>", "kept text"),
        ("before<!-- hidden <b> -->after", "beforeafter"),
        ('<a href="https://x.example/?a=1&b=2" title="1 > 2">link</a>', "link"),
        ("<img src=x alt='y'> caption", "caption"),
        ("<table><tr><td>1</td><td>2</td></tr></table>", "1 2"),
        ("&eacute;&#233;&#xE9; &nbsp; &#8203;end", "ééé end"),
        ("cafe\u0301", "café"),
        ("soft\u00adhyphen zero\u200bwidth \ufeffmark \u2066dir\u2069", "softhyphen zerowidth mark dir"),
        ("👩\u200d🔬 join\u200ded", "👩\u200d🔬 joined"),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"),
        ("a\x00b\x07c\td\x1fe", "abc d e"),
        ("one\r\n\r\n two \u2029three\x85four", "one\ntwo\nthree\nfour"),
        ("\ud83d\ude00 \ud800", "😀 \ufffd"),
        ("<?xml version='1.0'?><!DOCTYPE html><html><head><title>T</title></head><body>B</body></html>", "T\nB"),
    ],
)  # fmt: skip
def test_markup_and_invisible_characters_go(delivered: str, expected: str) -> None:
    assert text.body(delivered) == expected
    assert text.title(delivered) == " ".join(expected.split())


@pytest.mark.parametrize("nothing", [None, "", "  \n ", "<p></p>", "\u200b", "&nbsp;", "<script>x</script>"])
def test_nothing_left_is_none(nothing: str | None) -> None:
    assert text.title(nothing) is None
    assert text.body(nothing) is None


@given(st.text() | MARKUP_LIKE | PIECES)
@example("&am\u200bp;amp;lt;b&gt;")
@example("&" + "&#35;" * 40 + "97;")
@example("&amp\u037e")
@example("<<b>script>x</script>")
@settings(max_examples=400)
def test_normalising_twice_changes_nothing(delivered: str) -> None:
    for normalise in (text.title, text.body):
        once = normalise(delivered)
        assert once is None or normalise(once) == once


@given(st.text(st.characters()) | PIECES)
@settings(max_examples=300)
def test_no_control_character_is_left_and_spaces_are_folded(delivered: str) -> None:
    for normalise, allowed in ((text.title, ""), (text.body, "\n")):
        normal = normalise(delivered) or ""
        normal.encode()
        assert unicodedata.is_normalized("NFC", normal)
        left = {character for character in normal if unicodedata.category(character) in ("Cc", "Cf", "Cs")}
        assert left <= {*allowed, "\u200c", "\u200d"}
        assert all(line == " ".join(line.split()) and line for line in normal.split("\n") if normal)


@given(st.text(st.characters(exclude_characters="<&", exclude_categories=("C", "Z"))))
@settings(max_examples=200)
def test_text_without_markup_keeps_every_character(delivered: str) -> None:
    normal = unicodedata.normalize("NFC", delivered)
    if not any(character in "<&" for character in normal):
        assert (text.title(delivered) or "") == normal


@pytest.mark.parametrize(
    "unit",
    [
        "<!--",
        "<script>",
        "<a ",
        '<a "',
        "<a '\"",
        "<p>",
        "&#35;",
        "&amp;",
        "<",
        "&",
        "<![CDATA[",
        "\u200d",
        "<b x",
        "</script",
        "<a href=' <",
    ],
)
def test_hostile_text_of_a_megabyte_takes_no_longer_than_honest_text(unit: str) -> None:
    started = time.perf_counter()
    text.body(unit * (1_000_000 // len(unit)))
    assert time.perf_counter() - started < 8


def test_an_address_loses_what_cannot_be_seen() -> None:
    assert text.address(" https://a.example/\u200bx\n ") == "https://a.example/x"
    assert text.address("https://a.example/?a=1&amp;b=2&amp;amp;c=3") == "https://a.example/?a=1&b=2&c=3"
    assert text.address(" \n") is None
    assert text.address(None) is None


def test_only_half_surrogate_pairs_are_changed_for_storing() -> None:
    assert text.storable("a\x00 <b> \ud800") == "a\x00 <b> \ufffd"
