"""One spelling for one address."""

import pytest

from tasks.address import canonical


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/a/b",
        "http://example.com/a/b",
        "HTTPS://WWW.Example.COM/a/b/",
        "https://example.com:443/a/b#comments",
        "http://www.example.com:80//a/b?utm_source=feed&UTM_Campaign=x",
        "https://user:secret@example.com/a/b?fbclid=1&gclid=2&mc_cid=3&ref=home",
        "  https://example.com/a/b  ",
    ],
)
def test_spellings_of_one_address_are_one(url: str) -> None:
    assert canonical(url) == "example.com/a/b"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://example.com/a", "https://example.com/A"),
        ("https://example.com/a?id=1", "https://example.com/a?id=2"),
        ("https://example.com/a?cid=1", "https://example.com/a?cid=2"),
        ("https://example.com/a?reference=1", "https://example.com/a?reference=2"),
        ("https://example.com/a?p=1", "https://example.com/a?p=1&page=2"),
        ("https://example.com/a", "https://m.example.com/a"),
        ("https://example.com/a", "https://example.com:8443/a"),
        ("https://example.com/#!/a", "https://example.com/#!/b"),
    ],
)
def test_what_may_be_another_article_stays_apart(one: str, other: str) -> None:
    assert canonical(one) != canonical(other)


def test_the_order_of_parameters_does_not_matter_and_empty_ones_stay() -> None:
    assert canonical("https://e.com/a?b=2&a=1&c=") == canonical("https://e.com/a?c=&a=1&b=2") == "e.com/a?a=1&b=2&c="


@pytest.mark.parametrize("url", [None, "", "  ", "file:///data/x.csv", "urn:uuid:1", "https://example.com/", "https://",
                                 "http://[broken/x", "https://www.example.com/?utm_source=x"])  # fmt: skip
def test_an_address_that_names_no_article_is_none(url: str | None) -> None:
    assert canonical(url) is None


@pytest.mark.parametrize(
    "url", ["https://müller.de/ä b", "https://xn--mller-kva.de/%C3%A4%20b", "http://www.MÜLLER.de/ä%20b/"]
)
def test_international_names_and_escapes_are_one(url: str) -> None:
    assert canonical(url) == "müller.de/%C3%A4%20b"
