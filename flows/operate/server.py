"""The Prefect server that a command changes: which one, by which settings, with which key, and a clear word where it cannot be used.

It is the one named, else the environment's or Prefect profile's, else the desk's own while that runs (`choose`). Its key is Prefect's own
`PREFECT_API_AUTH_STRING`, else the running desk's; the desk's is sent to the desk alone, even where `flows.settings.quiet` put it into the
environment. A key is never asked for on the command line, where every user of the machine could read it. The desk's own server is changed by
the settings file that the desk was started with, and by no other (`file_for`), and for the pool of its worker alone (`require_pool`).

The names of the loopback are one where the desk listens on it: with the desk's port each means the desk, which is then asked at its own address,
so that its key goes nowhere else. Not covered: another server that has that port on the loopback's other address; it is not reached while the desk
runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import httpx
from packaging.version import InvalidVersion, Version

from data_contracts.errors import Fatal, Retriable
from flows.operate import places
from flows.operate.starting import OtherDesk
from flows.settings import Settings, find_file, home_of, inherited

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient


LOOPBACK = ("localhost", "127.0.0.1", "::1")
PORTS = {"http": 80, "https": 443}


class ServerUnreachable(Retriable):
    """No Prefect server answers."""


class ServerRefused(Fatal):
    """What answers is not to be used: another program, another version, or the key is wrong."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The server that a command changes.

    Attributes:
        url: the address of its API.
        why: who chose it, for people.
        own: the desk that runs in the home, whether it is the one chosen or not; None where none runs.
    """

    url: str
    why: str
    own: places.Places | None = None

    @property
    def is_own(self) -> bool:
        """True where it is the server of the desk that runs in the home."""
        return self.own is not None and self.url == self.own.api_url

    def passed_over(self) -> str:
        """What to know where another server was chosen than that of the desk that runs in the home; empty where none was."""
        if self.own is None or self.is_own:
            return ""
        return (
            f"the desk that runs in {self.own.home} has its own server, {self.own.api_url}, and is not changed: another is {self.why}; "
            f"if the desk is meant, give --server {self.own.api_url}"
        )

    def require_pool(self, pool: str) -> None:
        """See that the desk's own server is only given work for the pool from which the desk's worker takes it.

        Raises:
            OtherDesk: the desk was started for another pool.
        """
        if self.own is not None and self.is_own and self.own.pool != pool:
            raise OtherDesk(
                f"the desk that runs in {self.own.home} was started for the pool {self.own.pool}, given is {pool}, from which nobody there "
                f"takes runs: set operate.pool (or NIGHTDESK_OPERATE__POOL) to {self.own.pool}, or start the desk for {pool} "
                "(`nightdesk down`, then `nightdesk up`)"
            )


def choose(given: str | None, home: Path) -> Chosen:
    """The server named first: by the command, by Prefect's own settings, by the desk that runs in the home.

    Args:
        given: its address, with or without `/api`, for instance http://127.0.0.1:4200.

    Raises:
        ServerRefused: none is named and no desk runs, or the address is none.
    """
    from prefect.settings import PREFECT_API_URL

    own = places.running(home)
    named = given or PREFECT_API_URL.value() or (own.api_url if own else None)
    if not named:
        raise ServerRefused(
            "no Prefect server is named, and none of this home runs: start one with `nightdesk up` (or `make up`), "
            "or name one with --server or PREFECT_API_URL, such as http://127.0.0.1:4200/api"
        )
    url = address(named)
    if own is not None and _same(url, own.api_url):
        return Chosen(url=own.api_url, why=f"the desk that runs in {own.home}", own=own)
    by = "PREFECT_API_URL of the environment" if "PREFECT_API_URL" in inherited() else "the active Prefect profile"
    return Chosen(url=url, why=f"named by {'--server' if given else by}", own=own)


def _same(url: str, own: str) -> bool:
    """Whether two addresses are one: the same text, or the same port under two names of the loopback."""
    first, second = urlsplit(url), urlsplit(own)
    if first.hostname in LOOPBACK and second.hostname in LOOPBACK:
        ports = {one.port or PORTS.get(one.scheme) for one in (first, second)}
        return (first.scheme, first.path) == (second.scheme, second.path) and len(ports) == 1
    return url == own


@contextmanager
def connected(given: str | None, settings: Settings) -> Iterator[SyncPrefectClient]:
    """A client of the server; Prefect's own functions within the block talk to the same one.

    Args:
        given: its address, with or without `/api`, for instance http://127.0.0.1:4200.

    Raises:
        ServerUnreachable: nothing answers there, or no more.
        ServerRefused: no server is named, the address is none, what answers is not to be used, or it refuses what is asked in the block.
    """
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    chosen, users = choose(given, settings.home), PREFECT_API_URL.value()
    url, key, desks = chosen.url, PREFECT_API_AUTH_STRING.value(), _key(settings)
    if chosen.is_own:
        key = key or desks
    elif key == desks and (given or users) != users:  # who put both into the environment means them together
        key = None
    with (
        temporary_settings({PREFECT_API_URL: url, PREFECT_API_AUTH_STRING: key}),
        get_client(sync_client=True) as client,
    ):
        check(client, url)
        try:
            yield client
        except httpx.HTTPStatusError as error:
            asked = f"{error.request.method} {error.request.url.path}"
            raise ServerRefused(
                f"the server at {url} refused {asked} ({error.response.status_code}): {_detail(error.response)}"
            ) from None
        except httpx.TransportError as error:
            raise ServerUnreachable(f"the server at {url} does not answer any more ({type(error).__name__})") from None


def file_for(given: str | None, server: str | None = None) -> str | None:
    """The settings file to go by: the one given, or that of the running desk where none is and the server is the desk's own.

    Args:
        given: on the command line.
        server: its address, where one is given.

    Raises:
        OtherDesk: the server is the desk's own, and the file that is given, or that NIGHTDESK_SETTINGS names, is not the desk's.
        SettingsRefused: the file that is given is not there.
        ServerRefused: the address is none.
    """
    home, variables = home_of(given), inherited()
    own = places.running(home)
    if own is None or not choose(server, home).is_own:
        return given
    if not (given or variables.get("NIGHTDESK_SETTINGS")):
        return own.settings_file
    if (file := find_file(given, variables)) != Path(own.settings_file):
        raise OtherDesk(
            f"the desk that runs in {own.home} goes by {own.settings_file}, given is {file}: name none, with neither --settings nor "
            f"NIGHTDESK_SETTINGS, or start the desk with that one (`nightdesk down`, then `nightdesk up --settings {file}`)"
        )
    return given


def _key(settings: Settings) -> str | None:
    """The desk's own, also while nothing says that it runs."""
    with suppress(OSError):
        return places.auth_file(settings.home).read_text(encoding="utf-8").strip()
    return None


def address(given: str) -> str:
    """The address of the API: what a person gives, with `/api` where that is left out.

    Raises:
        ServerRefused: it is no address, or holds a key.
    """
    try:
        parts = urlsplit(given.strip())
        good = parts.scheme in PORTS and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:  # brackets or a port that are none
        good = False
    if not good:
        raise ServerRefused(
            f"the server {places.shown(given)!r} is no address; allowed is one such as http://127.0.0.1:4200/api"
        )
    if parts.password or parts.username:
        raise ServerRefused(
            "the server's address holds a key, which everybody could read; put it into PREFECT_API_AUTH_STRING"
        )
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/") or "/api", "", ""))


def check(client: SyncPrefectClient, url: str) -> None:
    """See that a Prefect server answers, lets us in, and is of a version that this client speaks.

    Raises:
        ServerUnreachable: nothing answers there.
        ServerRefused: it is not to be used; the text says why, and what to do.
    """
    from prefect import __version__

    try:
        said = str(client.request("GET", "/admin/version").json())
        theirs = Version(said)
    except httpx.HTTPStatusError as error:
        raise _refused(error.response.status_code, url) from None
    except (ValueError, InvalidVersion):
        raise ServerRefused(
            f"what answers at {url} is no Prefect API; its address ends on /api, such as http://127.0.0.1:4200/api"
        ) from None
    except httpx.TransportError as error:
        raise ServerUnreachable(
            f"no Prefect server answers at {url} ({type(error).__name__}); start it (`nightdesk up` or `make up`), or name another with --server"
        ) from None
    ours = Version(__version__)
    if theirs.major != ours.major or theirs.release[:2] < ours.release[:2]:
        what = "an older" if theirs < ours else "a newer"
        raise ServerRefused(
            f"the server at {url} is Prefect {theirs}, {what} version than this client's {ours}; "
            f"run the same on both: pip install prefect=={max(theirs, ours)}, the lock of this checkout has {ours}"
        )


def _refused(status: int, url: str) -> ServerRefused:
    if status in (401, 403):
        return ServerRefused(
            f"the server at {url} does not let us in ({status}): put its key, user:password, into PREFECT_API_AUTH_STRING; "
            "a desk started by `nightdesk up` keeps it in operate/auth of its home; to another address than the desk's own it is sent only where "
            "PREFECT_API_URL names that"
        )
    return ServerRefused(
        f"what answers at {url} is no Prefect API ({status}); its address ends on /api, such as http://127.0.0.1:4200/api"
    )


def _detail(response: httpx.Response) -> str:
    """Why it refused; not the request, which it repeats and which may hold a secret."""
    try:
        said = response.json()
        wrong = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in said.get("exception_detail", ())]
        return "; ".join(wrong) or str(said.get("detail") or said.get("exception_message") or "it does not say why")
    except (ValueError, TypeError, KeyError, AttributeError):
        return "it does not say why"
