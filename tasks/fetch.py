"""Downloads that can be trusted to end: the one place where the project asks another machine for something.

What a nightly run needs of HTTP and httpx alone does not give: a cap on what is read while it is read (before and after gunzipping), an
end to slow answers, conditional requests, retries that honour Retry-After, a pause between two requests to one host, and no way for a
feed to make us read addresses inside our own network. For the last, redirects are followed by hand, each host is resolved once, every
address it has must be public, and the connection goes to the address that was checked, so that a second look-up cannot name another one.

`FetchBusy` (Retriable) when another try may help, after four tries of our own; `FetchRefused` (Skippable) when it cannot.

Not covered: proxies and environment variables (httpx's `trust_env` is off), cookies, log-ins, robots.txt, encodings other than gzip and
deflate, FTP. One fetcher is used by one thread.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import socket
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from data_contracts.errors import Retriable
from tasks.context import go_on, pause
from tasks.hosts import Address, FetchRefused, is_public, joined, parsed, redacted, shown

USER_AGENT = "nightdesk/0.1 (nightly news reader)"
REDIRECTS = (301, 302, 303, 307, 308)
MAX_REDIRECTS = 5
ATTEMPTS = 4
MAX_WAIT_SECONDS = 60.0
TOTAL_TIMEOUTS = 10  # a whole answer may take this many times `timeout_seconds`
CHUNK_BYTES = 1 << 16


class FetchBusy(Retriable):
    """The host could not be reached, or said that it is busy; another try may help."""

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a download may cost.

    Attributes:
        timeout_seconds: to connect, and between two reads; the whole answer may take `TOTAL_TIMEOUTS` times that.
        max_bytes: cap of the answer, both as sent and unpacked.
        delay_seconds: least pause between two requests to one host.
        allow_private: whether loopback, private and other non-public addresses may be reached.
    """

    timeout_seconds: float = 20.0
    max_bytes: int = 64 << 20
    delay_seconds: float = 1.0
    allow_private: bool = False


@dataclass(frozen=True, kw_only=True)
class Validators:
    """What a server gave us to ask whether a document has changed."""

    etag: str | None = None
    last_modified: str | None = None

    def headers(self) -> dict[str, str]:
        """The conditional request's headers."""
        pairs = (("If-None-Match", self.etag), ("If-Modified-Since", self.last_modified))
        return {name: value for name, value in pairs if value}


@dataclass(frozen=True, kw_only=True)
class Download:
    """An answer: its bytes unpacked, or `unchanged` when the server said so."""

    url: str
    data: bytes
    content_type: str | None
    unchanged: bool = False


@dataclass(frozen=True, kw_only=True)
class _Answer:
    status: int
    headers: httpx.Headers
    data: bytes


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, as the system resolves it."""
    return list(dict.fromkeys(str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


class Fetcher:
    """Downloads within limits. Everything it touches comes through the constructor; a client is opened with the first request."""

    def __init__(
        self,
        limits: Limits,
        *,
        transport: httpx.BaseTransport | None = None,
        resolve: Callable[[str, int], list[str]] = resolve,
        sleep: Callable[[float], None] = pause,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        remembered: Mapping[str, Validators] | None = None,
        last_asked: dict[str, float] | None = None,
    ) -> None:
        """`remembered`: URL -> what its server gave us last time. `last_asked` (host -> clock time in seconds) is shared by a run's fetchers."""
        self.limits = limits
        self._remembered = remembered or {}
        self.received: dict[str, Validators] = {}  # URL as given -> what its server gave with the last whole answer
        self._transport, self._resolve, self._sleep, self._clock, self._wall_clock = (
            transport,
            resolve,
            sleep,
            clock,
            wall_clock,
        )
        self._last_asked = {} if last_asked is None else last_asked
        logging.getLogger("httpx").addFilter(_told_safely)  # it logs each request with its whole URL
        self._client: httpx.Client | None = None

    def close(self) -> None:
        """Close the connections; the fetcher may be used again."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def get(self, url: str) -> Download:
        """Download `url`; where something is remembered of it, only if it has changed since.

        Raises:
            FetchBusy: every try failed for a reason that may pass.
            FetchRefused: no further try can help.
        """
        tries = Retrying(
            stop=stop_after_attempt(ATTEMPTS),
            wait=_wait,
            retry=retry_if_exception_type(FetchBusy),
            sleep=self._sleep,
            reraise=True,
        )
        return tries(self._get, url, self._remembered.get(url, Validators()))

    def _get(self, given: str, remembered: Validators) -> Download:
        url = parsed(given)
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._ask(url, remembered)
            location = answer.headers.get("location")
            if answer.status in REDIRECTS and location:
                url = joined(url, location)
                continue
            self._check_status(answer, url, (200, 304) if remembered.headers() else (200,))
            headers = answer.headers
            if answer.status == 200:
                self.received[given] = Validators(etag=headers.get("etag"), last_modified=headers.get("last-modified"))
            content_type = headers.get("content-type")
            return Download(url=str(url), data=answer.data, content_type=content_type, unchanged=answer.status == 304)
        raise FetchRefused(f"{shown(parsed(given))}: more than {MAX_REDIRECTS} redirects, the last to {shown(url)}")

    def _check_status(self, answer: _Answer, url: httpx.URL, allowed: tuple[int, ...]) -> None:
        if answer.status == 429 or answer.status >= 500:
            wait = _retry_after(answer.headers.get("retry-after"), self._wall_clock())
            raise FetchBusy(f"{shown(url)}: answered {answer.status}", retry_after_seconds=wait)
        if answer.status not in allowed:
            raise FetchRefused(f"{shown(url)}: answered {answer.status}; allowed is {' or '.join(map(str, allowed))}")

    def _ask(self, url: httpx.URL, remembered: Validators) -> _Answer:
        go_on()
        addresses = self._addresses(url)
        self._be_polite(url.host)
        for number, address in enumerate(addresses, start=1):
            try:
                return self._send(url, address, remembered)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                if number == len(addresses):
                    raise FetchBusy(f"{shown(url)}: cannot connect ({error or type(error).__name__})") from error
            except httpx.TransportError as error:
                raise FetchBusy(f"{shown(url)}: {type(error).__name__} ({error})") from error
        raise FetchBusy(f"{shown(url)}: the host has no address")

    def _send(self, url: httpx.URL, address: Address, remembered: Validators) -> _Answer:
        """One request to the address that was checked; the name goes into the Host header and into the TLS handshake."""
        if self._client is None:
            # no connection is kept: one to an address, made and checked for one host name, must not serve another
            pool = httpx.Limits(max_keepalive_connections=0)
            self._client = httpx.Client(transport=self._transport, trust_env=False, follow_redirects=False, limits=pool)
        request = self._client.build_request(
            "GET",
            url.copy_with(host=str(address), username=None, password=None),
            headers={
                "Host": url.netloc.decode("ascii"), "User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "gzip, deflate",
                **remembered.headers(),
            },
            timeout=self.limits.timeout_seconds,
            extensions={"sni_hostname": url.host},
        )  # fmt: skip
        response = self._client.send(request, stream=True)
        self._client.cookies.clear()
        try:
            wanted = response.status_code == 200
            return _Answer(
                status=response.status_code, headers=response.headers, data=self._read(response, url) if wanted else b""
            )
        finally:
            response.close()

    def _read(self, response: httpx.Response, url: httpx.URL) -> bytes:
        limit, deadline = self.limits.max_bytes, self._clock() + TOTAL_TIMEOUTS * self.limits.timeout_seconds
        sent, pieces, unpacked = 0, [], 0
        unpack = _unpacker(response.headers.get("content-encoding", ""), url)
        for chunk in response.iter_raw():
            sent += len(chunk)
            if self._clock() > deadline:
                raise FetchBusy(
                    f"{shown(url)}: not finished after {TOTAL_TIMEOUTS * self.limits.timeout_seconds:g} s, at {sent} bytes"
                )
            for piece in unpack(chunk):
                unpacked += len(piece)
                if max(sent, unpacked) > limit:
                    raise FetchRefused(
                        f"{shown(url)}: larger than {limit} bytes, the `max_bytes` of this source; stopped at {unpacked}"
                    )
                pieces.append(piece)
        return b"".join(pieces)

    def _addresses(self, url: httpx.URL) -> list[Address]:
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            found = [ipaddress.ip_address(text.partition("%")[0]) for text in self._resolve(url.host, port)]
        except (OSError, UnicodeError) as error:
            raise FetchBusy(f"{shown(url)}: host {url.host!r} cannot be resolved ({error})") from error
        private = [address for address in found if not is_public(address)]
        if private and not self.limits.allow_private:
            raise FetchRefused(
                f"{shown(url)}: {private[0]} is not a public address; `allow_private` of the source would allow it"
            )
        return found

    def _be_polite(self, host: str) -> None:
        now = self._clock()
        free = self._last_asked.get(host, float("-inf")) + self.limits.delay_seconds
        if free > now:
            self._sleep(free - now)
        self._last_asked[host] = max(free, now)


def _told_safely(record: logging.LogRecord) -> bool:
    """A filter of a log: lets every record pass, and every URL in it without its secrets."""
    record.msg, record.args = re.sub(r"https?://[^\s\"]+", lambda url: redacted(url[0]), record.getMessage()), None
    return True


def _wait(state: RetryCallState) -> float:
    """Seconds before the next try: what the host asked for, up to a minute, else 0 to 1, 2, 4 s by chance."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after_seconds if isinstance(error, FetchBusy) else None
    return min(asked, MAX_WAIT_SECONDS) if asked is not None else wait_random_exponential(multiplier=1, max=10)(state)


def _retry_after(value: str | None, now: float) -> float | None:
    """Seconds from now that a Retry-After header names, None when it names none."""
    if not value:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _unpacker(encoding: str, url: httpx.URL) -> Callable[[bytes], Iterator[bytes]]:
    """Unpacks an answer in small pieces: a bomb is noticed by its first megabyte, not after its last."""
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return lambda chunk: iter((chunk,))
    if name not in ("gzip", "x-gzip", "deflate"):
        raise FetchRefused(f"{shown(url)}: content-encoding {encoding!r}; allowed are gzip, deflate and none")
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)

    def unpack(chunk: bytes) -> Iterator[bytes]:
        try:
            while chunk:
                yield inflate.decompress(chunk, CHUNK_BYTES)
                chunk = inflate.unconsumed_tail
        except zlib.error as error:
            raise FetchRefused(f"{shown(url)}: broken {encoding} ({error})") from error

    return unpack
