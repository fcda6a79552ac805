"""Which URLs we ask and which addresses we reach: the rules of `tasks/fetch.py` that need no network.

Feeds and redirects are written by strangers. A URL must be http or https, and an address one of the open internet; loopback, private,
link-local (cloud metadata among them), reserved and multicast ones are not, nor an IPv6 address that wraps one of those.

Not covered: what a name resolves to (that is the fetcher's look-up), lists of blocked hosts.
"""

from __future__ import annotations

import ipaddress

import httpx

from data_contracts.errors import Skippable

SCHEMES = ("http", "https")
PORTS = range(1, 1 << 16)
NAT64 = ipaddress.ip_network("64:ff9b::/96")
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
    return address.is_global and not address.is_multicast


def shown(url: httpx.URL) -> str:
    """The URL for messages: without user name and password."""
    return str(url.copy_with(username=None, password=None))


def parsed(text: str) -> httpx.URL:
    """The URL in `text`, if it is one that we ask."""
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise FetchRefused(f"given {text[:200]!r}: not a URL ({error})") from error
    if url.scheme not in SCHEMES or not url.host or (url.port is not None and url.port not in PORTS):
        raise FetchRefused(
            f"given {text[:200]!r}: allowed are http:// and https:// URLs with a host, and ports up to {PORTS[-1]}"
        )
    return url


def joined(url: httpx.URL, location: str) -> httpx.URL:
    """Where a redirect from `url` leads."""
    try:
        return parsed(str(url.join(location)))
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise FetchRefused(f"{shown(url)}: redirects to {location[:200]!r}, not a URL ({error})") from error
