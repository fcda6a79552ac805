import gzip
import ipaddress
import itertools
import logging
import socket
import time
import tracemalloc
import zlib
from collections.abc import Iterator, Mapping
from threading import Event, Timer

import httpx
import pytest

from tasks.context import Cancelled, until
from tasks.fetch import ATTEMPTS, USER_AGENT, FetchBusy, Fetcher, FetchRefused, Limits, Validators
from tasks.hosts import is_public, redacted
from tests.loopback import Answer, Site, serving

OPEN = Limits(allow_private=True, delay_seconds=0, timeout_seconds=5)


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as site:
        yield site


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def fetcher(slept: list[float]) -> Iterator[Fetcher]:
    fetcher = Fetcher(OPEN, sleep=slept.append)
    yield fetcher
    fetcher.close()


def said(status: int = 200, body: bytes = b"", **headers: str) -> httpx.Response:
    return httpx.Response(
        status,
        stream=httpx.ByteStream(body),
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )


def faked(handler: object, addresses: Mapping[str, list[str]]) -> Fetcher:
    """A fetcher over a transport and a resolver of our own."""
    transport = httpx.MockTransport(handler)  # type: ignore[arg-type]
    return Fetcher(
        Limits(delay_seconds=0), transport=transport, resolve=lambda host, _: addresses[host], sleep=lambda _: None
    )  # type: ignore[arg-type]


def test_a_page_is_downloaded_with_a_clear_user_agent(site: Site, fetcher: Fetcher) -> None:
    site.pages["/feed"] = Answer(body=b"<rss/>", headers={"Content-Type": "text/xml; charset=utf-8"})
    download = fetcher.get(f"{site.url}/feed")
    assert (download.data, download.content_type, download.unchanged) == (b"<rss/>", "text/xml; charset=utf-8", False)
    path, headers = site.asked[0]
    assert path == "/feed"
    assert headers["user-agent"] == USER_AGENT
    assert headers["host"] == site.url.removeprefix("http://")


def test_what_the_server_gave_is_remembered_and_asked_with(site: Site, fetcher: Fetcher) -> None:
    def page(headers: Mapping[str, str]) -> Answer:
        if (
            headers.get("if-none-match") == '"v1"'
            and headers.get("if-modified-since") == "Thu, 05 Mar 2026 00:00:00 GMT"
        ):
            return Answer(304)
        return Answer(body=b"data", headers={"ETag": '"v1"', "Last-Modified": "Thu, 05 Mar 2026 00:00:00 GMT"})

    site.pages["/feed"] = page
    url = f"{site.url}/feed"
    assert fetcher.get(url).data == b"data"
    assert fetcher.received == {url: Validators(etag='"v1"', last_modified="Thu, 05 Mar 2026 00:00:00 GMT")}
    again = Fetcher(OPEN, remembered=fetcher.received)
    assert again.get(url).unchanged
    assert again.received == {}
    again.close()


def test_gzip_is_unpacked(site: Site, fetcher: Fetcher) -> None:
    site.pages["/a"] = Answer(body=gzip.compress(b"plain" * 1000), headers={"Content-Encoding": "gzip"})
    assert fetcher.get(f"{site.url}/a").data == b"plain" * 1000


def test_two_hundred_megabytes_are_refused_while_they_come(site: Site) -> None:
    sent = []

    def flood() -> Iterator[bytes]:
        for _ in range(200):
            sent.append(1)
            yield b"x" * (1 << 20)

    site.pages["/big"] = Answer(body=flood())
    fetcher = Fetcher(Limits(allow_private=True, max_bytes=4 << 20))
    with pytest.raises(FetchRefused, match="larger than 4194304 bytes, the `max_bytes`"):
        fetcher.get(f"{site.url}/big")
    fetcher.close()
    assert len(sent) < 100


def test_a_gzip_bomb_is_refused_by_its_first_bytes(site: Site) -> None:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(squeeze.compress(bytes(1 << 20)) for _ in range(200)) + squeeze.flush()
    site.pages["/bomb"] = Answer(body=bomb, headers={"Content-Encoding": "gzip"})
    fetcher = Fetcher(Limits(allow_private=True, max_bytes=2 << 20))
    tracemalloc.start()
    with pytest.raises(FetchRefused, match="max_bytes"):
        fetcher.get(f"{site.url}/bomb")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    fetcher.close()
    assert peak < 16 << 20


@pytest.mark.parametrize("status", [404, 403, 410, 204])
def test_a_refusal_is_not_tried_again(site: Site, fetcher: Fetcher, status: int) -> None:
    site.pages["/gone"] = Answer(status)
    with pytest.raises(FetchRefused, match=f"answered {status}; allowed is 200"):
        fetcher.get(f"{site.url}/gone")
    assert len(site.asked) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_host_is_asked_four_times(site: Site, fetcher: Fetcher, slept: list[float], status: int) -> None:
    site.pages["/busy"] = Answer(status)
    with pytest.raises(FetchBusy, match=f"answered {status}"):
        fetcher.get(f"{site.url}/busy")
    assert len(site.asked) == ATTEMPTS
    assert all(0 <= pause <= 10 for pause in slept)


def test_retry_after_is_honoured_up_to_a_minute(site: Site, fetcher: Fetcher, slept: list[float]) -> None:
    answers = iter(
        [Answer(503, headers={"Retry-After": "7"}), Answer(429, headers={"Retry-After": "86400"}), Answer(body=b"ok")]
    )
    site.pages["/busy"] = lambda _: next(answers)
    assert fetcher.get(f"{site.url}/busy").data == b"ok"
    assert slept == [7.0, 60.0]


def test_retry_after_may_be_a_date() -> None:
    answers = iter(
        [
            said(503, Retry_After="Thu, 05 Mar 2026 00:00:30 GMT"),
            said(body=b"ok"),
        ]
    )
    pauses: list[float] = []
    fetcher = Fetcher(
        OPEN, transport=httpx.MockTransport(lambda _: next(answers)), resolve=lambda *_: ["93.184.216.34"], sleep=pauses.append,
        wall_clock=lambda: 1772668800.0,
    )  # fmt: skip
    fetcher.get("http://news.example/")
    assert pauses == [30.0]


def test_a_host_that_refuses_connections_is_busy(slept: list[float]) -> None:
    with serving() as gone:
        url = gone.url
    fetcher = Fetcher(OPEN, sleep=slept.append)
    with pytest.raises(FetchBusy, match="cannot connect"):
        fetcher.get(url)
    assert len(slept) == ATTEMPTS - 1


def test_a_name_that_does_not_resolve_is_busy() -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise OSError("Name or service not known")

    with pytest.raises(FetchBusy, match=r"host 'nowhere\.example' cannot be resolved"):
        Fetcher(OPEN, resolve=unknown, sleep=lambda _: None).get("http://nowhere.example/")


def test_a_silent_host_runs_into_the_time_out(site: Site, slept: list[float]) -> None:
    def silent(headers: Mapping[str, str]) -> Answer:
        time.sleep(0.5)
        return Answer()

    site.pages["/slow"] = silent
    fetcher = Fetcher(Limits(allow_private=True, timeout_seconds=0.1, delay_seconds=0), sleep=slept.append)
    with pytest.raises(FetchBusy, match="ReadTimeout"):
        fetcher.get(f"{site.url}/slow")
    fetcher.close()


def test_an_answer_that_drips_for_ever_is_given_up(site: Site) -> None:
    def drip() -> Iterator[bytes]:
        for _ in range(1000):
            yield b"x"
            time.sleep(0.005)

    site.pages["/drip"] = lambda _: Answer(body=drip())
    limits = Limits(allow_private=True, timeout_seconds=10, delay_seconds=0)
    fetcher = Fetcher(limits, sleep=lambda _: None, clock=map(float, itertools.count()).__next__)  # a second each look
    with pytest.raises(FetchBusy, match=r"not finished after 100 s"):
        fetcher.get(f"{site.url}/drip")
    fetcher.close()


def test_requests_to_one_host_keep_their_distance() -> None:
    now, pauses = [100.0], []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        now[0] += seconds

    last_asked: dict[str, float] = {}
    made = [
        Fetcher(
            Limits(delay_seconds=3), transport=httpx.MockTransport(lambda _: said()), resolve=lambda *_: ["93.184.216.34"],
            sleep=sleep, clock=lambda: now[0], last_asked=last_asked,
        )
        for _ in range(2)
    ]  # fmt: skip
    made[0].get("http://one.example/a")
    made[1].get("http://one.example/b")
    made[1].get("http://two.example/")
    now[0] += 1
    made[0].get("http://one.example/c")
    assert pauses == [3.0, 2.0]


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.8", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "240.0.0.1", "::1", "fe80::1", "fc00::1",
     "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::7f00:1", "::ffff:0:7f00:1", "::ffff:a9fe:a9fe", "fec0::1", "::", "ff02::1",
     "2001:0:4136:e378:8000:63bf:80ff:fffe"],
)  # fmt: skip
def test_addresses_of_our_own_network_are_refused(address: str) -> None:
    asked: list[httpx.Request] = []
    fetcher = faked(lambda request: asked.append(request) or said(), {"inside.example": ["93.184.216.34", address]})
    with pytest.raises(FetchRefused, match="is not a public address; `allow_private`"):
        fetcher.get("http://inside.example/")
    assert asked == []
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_addresses_of_the_open_internet_are_reached(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


def test_the_connection_goes_to_the_address_that_was_checked() -> None:
    answers = iter([["93.184.216.34"], ["127.0.0.1"]])
    asked: list[httpx.Request] = []
    fetcher = Fetcher(
        Limits(),
        transport=httpx.MockTransport(lambda request: asked.append(request) or said()),
        resolve=lambda *_: next(answers),
    )
    fetcher.get("https://user:secret@rebinding.example:8443/page?a=1")
    (request,) = asked
    assert str(request.url) == "https://93.184.216.34:8443/page?a=1"
    assert request.headers["Host"] == "rebinding.example:8443"
    assert request.extensions["sni_hostname"] == "rebinding.example"


def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.host == "93.184.216.34":
            raise httpx.ConnectError("refused", request=request)
        return said(body=b"second")

    fetcher = faked(handler, {"two.example": ["93.184.216.34", "2606:4700::1111"]})
    assert fetcher.get("http://two.example/").data == b"second"


def test_redirects_are_followed(site: Site, fetcher: Fetcher) -> None:
    site.pages["/old"] = Answer(301, headers={"Location": "/new?x=1"})
    site.pages["/new?x=1"] = Answer(body=b"here")
    download = fetcher.get(f"{site.url}/old")
    assert (download.data, download.url) == (b"here", f"{site.url}/new?x=1")


def test_a_redirect_into_our_own_network_is_refused() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(302, headers={"Location": "http://metadata.example/latest"})

    addresses = {"open.example": ["93.184.216.34"], "metadata.example": ["169.254.169.254"]}
    with pytest.raises(
        FetchRefused, match=r"http://metadata\.example/latest: 169\.254\.169\.254 is not a public address"
    ):
        faked(handler, addresses).get("http://open.example/")


INSIDE = (
    "127.0.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0", "169.254.169.254", "2852039166", "[::1]", "[::ffff:127.0.0.1]",
    "[::ffff:a9fe:a9fe]", "[64:ff9b::7f00:1]",
)  # fmt: skip


def as_the_system_does(host: str, port: int) -> list[str]:
    """The address that a host written in numbers stands for: the system's resolver takes every form that `inet_aton` does."""
    return [host] if ":" in host else [socket.inet_ntoa(socket.inet_aton(host))]


@pytest.mark.parametrize("host", INSIDE)
@pytest.mark.parametrize("redirected", [False, True], ids=["asked", "redirected"])
def test_an_address_of_our_own_network_is_refused_in_every_way_of_writing_it(host: str, redirected: bool) -> None:
    asked: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        return httpx.Response(302, headers={"Location": f"http://{host}/latest/meta-data/"})

    fetcher = Fetcher(
        Limits(delay_seconds=0),
        transport=httpx.MockTransport(handler),
        resolve=lambda name, port: ["93.184.216.34"] if name == "open.example" else as_the_system_does(name, port),
        sleep=lambda _: None,
    )
    with pytest.raises((FetchRefused, FetchBusy), match=r"is not a public address|Invalid IPv4 address"):
        fetcher.get("http://open.example/" if redirected else f"http://{host}/latest/meta-data/")
    assert set(asked) == ({"93.184.216.34"} if redirected else set())


def test_a_name_that_changes_its_address_between_redirects_is_checked_each_time() -> None:
    answers = iter([["93.184.216.34"], ["10.0.0.8"]])
    fetcher = Fetcher(
        Limits(delay_seconds=0),
        transport=httpx.MockTransport(lambda _: httpx.Response(302, headers={"Location": "/again"})),
        resolve=lambda *_: next(answers),
    )
    with pytest.raises(FetchRefused, match=r"10\.0\.0\.8 is not a public address"):
        fetcher.get("http://rebinding.example/")


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://open.example/x", "http://"])
def test_a_redirect_to_another_scheme_is_refused(location: str) -> None:
    fetcher = faked(lambda _: httpx.Response(302, headers={"Location": location}), {"open.example": ["93.184.216.34"]})
    with pytest.raises(FetchRefused):
        fetcher.get("http://open.example/")


def test_a_redirect_loop_ends(site: Site, fetcher: Fetcher) -> None:
    site.pages["/loop"] = Answer(302, headers={"Location": "/loop"})
    with pytest.raises(FetchRefused, match="more than 5 redirects"):
        fetcher.get(f"{site.url}/loop")
    assert len(site.asked) == 6


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a.example/x",
        "file:///etc/passwd",
        "no url",
        "",
        "http://",
        "http://a.example:99999/",
        "javascript:alert(1)",
    ],
)
def test_only_web_addresses_are_asked(url: str) -> None:
    with pytest.raises(FetchRefused):
        Fetcher(OPEN).get(url)


def test_messages_hide_user_names_and_passwords() -> None:
    fetcher = faked(lambda _: httpx.Response(404), {"a.example": ["93.184.216.34"]})
    with pytest.raises(FetchRefused) as caught:
        fetcher.get("https://user:secret@a.example/feed")
    assert "secret" not in str(caught.value)


def test_an_encoding_nobody_asked_for_is_refused(site: Site, fetcher: Fetcher) -> None:
    site.pages["/br"] = Answer(body=b"....", headers={"Content-Encoding": "br"})
    with pytest.raises(FetchRefused, match="content-encoding 'br'; allowed are gzip, deflate and none"):
        fetcher.get(f"{site.url}/br")


def test_an_unasked_304_is_refused(site: Site, fetcher: Fetcher) -> None:
    site.pages["/odd"] = Answer(304)
    with pytest.raises(FetchRefused, match="answered 304; allowed is 200"):
        fetcher.get(f"{site.url}/odd")


@pytest.mark.parametrize(
    ("given", "safe"),
    [
        ("https://a.example/feed", "https://a.example/feed"),
        ("https://me:secret@a.example:8443/feed", "https://a.example:8443/feed"),
        ("https://me:se@cret@[2606::1]/", "https://[2606::1]/"),
        ("https://a.example/feed?key=secret&page=2#secret", "https://a.example/feed?key=***&page=***"),
        ("https://a.example?secret", "https://a.example?***"),
        ("https://me:sec/ret@a.example/feed", "https://***"),
        ("s3://key:secret@bucket/a/b", "s3://bucket/a/b"),
        ("data/news/*.csv", "data/news/*.csv"),
        ("data/what?.csv", "data/what?.csv"),
    ],
)
def test_a_location_is_printed_without_its_secrets(given: str, safe: str) -> None:
    assert redacted(given) == safe
    assert redacted(safe) == safe


@pytest.mark.parametrize(
    "url", ["https://u:secret@/feed", "https://u:secret@a.example:99999/?k=secret", "https://u:secret/@a.example/"]
)
def test_a_refused_url_is_told_without_its_secrets(url: str) -> None:
    with pytest.raises(FetchRefused) as caught:
        Fetcher(OPEN).get(url)
    assert "secret" not in str(caught.value)


def test_a_token_in_the_query_is_sent_and_not_told(site: Site, fetcher: Fetcher) -> None:
    with pytest.raises(FetchRefused, match=r"/gone\?token=\*\*\*: answered 404"):
        fetcher.get(f"{site.url}/gone?token=secret")
    assert site.asked[0][0] == "/gone?token=secret"


def test_the_http_librarys_own_log_tells_no_secret(
    site: Site, fetcher: Fetcher, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    site.pages["/feed?token=secret"] = Answer(body=b"ok")
    fetcher.get(f"{site.url}/feed?token=secret".replace("//", "//me:secret@"))
    assert "/feed?token=***" in caplog.text
    assert "secret" not in caplog.text


def test_a_wait_ends_when_the_work_is_cancelled() -> None:
    cancelled = Event()
    with serving() as site, until(cancelled):
        site.pages["/feed"] = Answer(body=b"news")
        fetcher = Fetcher(Limits(delay_seconds=3600, allow_private=True))
        fetcher.get(f"{site.url}/feed")
        Timer(0.2, cancelled.set).start()
        with pytest.raises(Cancelled):
            fetcher.get(f"{site.url}/feed")
        with pytest.raises(Cancelled):
            Fetcher(Limits(allow_private=True)).get(f"{site.url}/feed")
        fetcher.close()
