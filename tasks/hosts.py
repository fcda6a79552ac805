"""Which URLs we ask and which addresses we reach: the rules of `tasks/fetch.py` that need no network.

Feeds and redirects are written by strangers. A URL must be http or https, and an address one of the open internet; loopback, private,
link-local (cloud metadata among them), reserved and multicast ones are not, nor an IPv6 address that wraps one of those or belongs to no
network that was ever given out.

A URL may hold a secret: user name and password, or a token in its query. Nothing that is printed or stored shows one: `redacted`.

Not covered: a secret in a URL's path that does not come from the environment (`tasks/secrecy.py` knows those that do), what a name resolves
to (that is the fetcher's look-up), lists of blocked hosts.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

import httpx

from data_contracts.errors import Skippable
from tasks.secrecy import STRUCK_OUT, struck_out

SCHEMES = ("http", "https")
PORTS = range(1, 1 << 16)
NAT64 = ipaddress.ip_network("64:ff9b::/96")
GIVEN_OUT = ipaddress.ip_network("2000::/3")  # the only IPv6 addresses of the open internet (RFC 4291, IANA)
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
HOST_AND_PORT = re.compile(r"(?:\[[^\]@]*\]|[^:@\[\]]*)(?::\d*)?")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class FetchRefused(Skippable):
    """This download cannot succeed as asked: refused by the host, or by our own rules."""


def is_public(address: Address) -> bool:
    """Whether an address belongs to the open internet; what is wrapped in an IPv6 address is looked at too."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if address in NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address not in GIVEN_OUT:
            return False
    return address.is_global and not address.is_multicast


def redacted(text: str) -> str:
    """A location that is safe to print and to store; of one that is no URL (a path, a glob) only secrets of the environment are struck out.

    Of a URL, user name, password and fragment are left out and every value of the query is struck out (`?key=***`), whatever its name:
    no list of harmless names is long enough. What cannot be told apart is struck out whole. Redacting twice changes nothing.
    """
    return struck_out(_without_credentials(text))


@lru_cache(maxsize=256)  # asked for every row of a document
def _without_credentials(text: str) -> str:
    scheme, found, rest = text.partition("://")
    if not found:
        return text
    rest = rest.partition("#")[0]
    address, asked, query = rest.partition("?")
    authority, slash, path = address.partition("/")
    host = authority.rpartition("@")[2]
    if not SCHEME.fullmatch(scheme) or not HOST_AND_PORT.fullmatch(host):
        return f"{scheme if SCHEME.fullmatch(scheme) else STRUCK_OUT}://{STRUCK_OUT}"
    return f"{scheme}://{host}{slash}{path}{asked}{_without_values(query)}"


def _without_values(query: str) -> str:
    """The names of a query, `key=***&other=***`; a part without a name is a value."""
    pairs = (part.partition("=") for part in query.split("&")) if query else ()
    return "&".join(f"{name}={STRUCK_OUT}" if equals else STRUCK_OUT for name, equals, _ in pairs)


def shown(url: httpx.URL) -> str:
    """The URL for messages, see `redacted`."""
    return redacted(str(url))


def parsed(text: str) -> httpx.URL:
    """The URL in `text`, if it is one that we ask."""
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise FetchRefused(f"given {redacted(text)[:200]!r}: not a URL ({_reason(error, text)})") from error
    if url.scheme not in SCHEMES or not url.host or (url.port is not None and url.port not in PORTS):
        raise FetchRefused(
            f"given {redacted(text)[:200]!r}: allowed are http:// and https:// URLs with a host, and ports up to {PORTS[-1]}"
        )
    return url


def joined(url: httpx.URL, location: str) -> httpx.URL:
    """Where a redirect from `url` leads."""
    try:
        return parsed(str(url.join(location)))
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        place = redacted(location) if "://" in location else location.partition("?")[0]
        raise FetchRefused(
            f"{shown(url)}: redirects to {place[:200]!r}, not a URL ({_reason(error, location)})"
        ) from error


def _reason(error: Exception, text: str) -> str:
    """What the parser says, unless it could quote a part of a password."""
    return "its user name and password are not as in a URL" if "@" in text else str(error)
