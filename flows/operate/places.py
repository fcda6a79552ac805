"""Where the programs of a running desk are reached, and how to log in: one small file in the home, `operate/places.json`.

`nightdesk up` writes it and `nightdesk down` removes it. `running` gives it to every other command, so that nobody has to set a server's
address: a command whose environment and Prefect profile name no server talks to the desk's own while that runs, and its runs show in the UI. The
key to the server is never in this file, in arguments or in logs: it is in `operate/auth`, which its owner alone can read. Nor are secrets of the
settings: addresses stand here without them (`shown`), to be told and compared; who opens the lake or asks a tracking server has the whole address
from the settings. Not covered: desks on other machines; those are named by Prefect's own `PREFECT_API_URL` and `PREFECT_API_AUTH_STRING`, which go
before what is found here.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import TYPE_CHECKING

from data_contracts.errors import Fatal, Retriable

if TYPE_CHECKING:
    import httpx

NOT_IN_A_HOME = re.compile(r"[%\r\n]|\s[#;]")  # supervisord reads more into these in its configuration
LONGEST_SOCKET = 95  # characters: the system allows 107, and supervisord adds its process id for a moment
USER = "nightdesk"
KEY = re.compile(r"[^:\s]+:\S+\n?")
SEAL_ROUNDS = 200_000  # a tenth of a second: whoever wants to guess a secret has to pay it for each guess
DIGESTS = ("settings_digest", "secrets_digest")


class HomeRefused(Fatal):
    """The home's path is none in which programs can be supervised."""


class HomeTooDeep(HomeRefused):
    """The home's path is too long for the socket that supervises the programs."""


class Busy(Retriable):
    """Another `nightdesk up` or `nightdesk down` is at work in this home."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """What a client needs to know of a running desk; everything is text, as it stands in the file, and no secret is among it.

    Attributes:
        lake: as it is told, see `shown`; so is `mlflow_url` where it is somebody else's server.
        settings_digest: of the settings file's bytes when the programs were started; empty where it is not known.
        secrets_digest: of the whole addresses that are told without their secrets, see `seal`; empty where it is not known.
    """

    home: str
    settings_file: str
    lake: str
    pool: str
    api_url: str
    ui_url: str
    pages_url: str
    mlflow_url: str
    settings_digest: str = ""
    secrets_digest: str = ""

    @property
    def auth_file(self) -> Path:
        """Holds `user:password` of the Prefect server; its owner alone can read it."""
        return auth_file(Path(self.home))

    @property
    def auth(self) -> str:
        """`user:password` of the Prefect server."""
        return self.auth_file.read_text(encoding="utf-8").strip()

    def unlike(self, asked: Places) -> list[str]:
        """What of this is another there, in words; digests are no words."""
        names = [name for name in vars(asked) if name not in DIGESTS and getattr(self, name) != getattr(asked, name)]
        return [f"{name} is {getattr(self, name)}, asked is {getattr(asked, name)}" for name in names]

    def other_secrets(self, asked: Places) -> bool:
        """True where the addresses are known to hold other secrets there, or whatever else of them is not told."""
        return bool(self.secrets_digest and asked.secrets_digest) and self.secrets_digest != asked.secrets_digest

    def environ(self) -> dict[str, str]:
        """What makes a Prefect client of this process or a child's talk to the desk's server."""
        return {"PREFECT_API_URL": self.api_url, "PREFECT_API_AUTH_STRING": self.auth}

    def client(self, timeout_seconds: float = 30) -> httpx.Client:
        """The Prefect API, logged in; no proxy of the environment stands between."""
        import httpx

        user, _, password = self.auth.partition(":")
        return httpx.Client(base_url=self.api_url, auth=(user, password), timeout=timeout_seconds, trust_env=False)


def folder(home: Path) -> Path:
    """Everything that belongs to the running programs and is not their state: socket, logs, key."""
    return home / "operate"


def auth_file(home: Path) -> Path:
    """Where the key to the Prefect server is."""
    return folder(home) / "auth"


def control(home: Path) -> Path:
    """The socket over which the programs are supervised.

    Raises:
        HomeRefused: supervisord cannot be told the path.
        HomeTooDeep: the system allows no socket there.
    """
    if odd := NOT_IN_A_HOME.search(str(home)):
        raise HomeRefused(
            f"the home {home} has {odd[0]!r} in its path, which supervisord cannot be told: allowed is a path without "
            "a percent sign, a line break, and a # or ; after a space; set another NIGHTDESK_HOME"
        )
    path = folder(home) / "supervisor.sock"
    if len(os.fsencode(path)) > LONGEST_SOCKET:
        longest = LONGEST_SOCKET - len(os.fsencode(path)) + len(os.fsencode(home))
        raise HomeTooDeep(
            f"the home {home} is too long a path: a socket is made in it; allowed are {longest} characters"
        )
    return path


def alive(home: Path) -> bool:
    """True while the programs of this home are supervised."""
    with suppress(OSError, HomeRefused), socket.socket(socket.AF_UNIX) as line:
        line.settimeout(5)
        line.connect(str(control(home)))
        return True
    return False


def digest(settings_file: Path) -> str:
    """Tells what a settings file holds from what it held before; empty where it cannot be read."""
    try:
        return hashlib.sha256(settings_file.read_bytes()).hexdigest()
    except OSError:
        return ""


def shown(address: str) -> str:
    """An address as it may be written and told: without user, password and query's values, nor what else came as a secret."""
    from tasks.hosts import redacted  # brings httpx, which most commands start without

    return redacted(address)


def seal(home: Path, text: str) -> str:
    """Tells a text with a secret from another one without giving it away; empty where the home has no key yet.

    Salted with the key to the server, so that who has the seal alone cannot guess, and slow for who has both.
    """
    try:
        salt = auth_file(home).read_bytes()
    except OSError:
        return ""
    return hashlib.pbkdf2_hmac("sha256", text.encode(), salt, SEAL_ROUNDS).hex()


def write(places: Places) -> None:
    """Keep for other commands where the programs are."""
    path = folder(Path(places.home)) / "places.json"
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(asdict(places), indent=1), encoding="utf-8")
    draft.replace(path)


def recall(home: Path) -> Places | None:
    """What was written last; None where nothing or something else is there. What an older version wrote may hold secrets, and is given without."""
    try:
        found = Places(**json.loads((folder(home) / "places.json").read_text(encoding="utf-8")))
        if found.secrets_digest:
            return found
        return replace(found, lake=shown(found.lake), mlflow_url=shown(found.mlflow_url))
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def running(home: Path) -> Places | None:
    """The places of the desk that runs in this home, and lets this user in; None where none does."""
    return recall(home) if alive(home) and os.access(auth_file(home), os.R_OK) else None


def forget(home: Path) -> None:
    """No desk runs here any more."""
    (folder(home) / "places.json").unlink(missing_ok=True)


def make(home: Path) -> None:
    """The folders for the running programs, and once the key to the server; nobody else may look into them.

    What a full disk or an older program left of a key is none: with an empty one the server would let everybody in.

    Raises:
        Busy: another `up` or `down` is at work.
    """
    for path in (folder(home), folder(home) / "logs", folder(home) / "work", home / "prefect"):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)  # an earlier command may have made it
    with alone(home):
        path = auth_file(home)
        if path.exists() and KEY.fullmatch(path.read_text(encoding="utf-8", errors="replace")):
            return
        draft = path.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(f"{USER}:{secrets.token_urlsafe(24)}\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Keeps a second `up` or `down` of this home out of the block; the kernel frees the lock when its holder dies.

    Raises:
        Busy: there is one.
    """
    with (folder(home) / "lock").open("w", encoding="utf-8") as file:
        try:
            flock(file, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            raise Busy(f"another `nightdesk up` or `nightdesk down` is at work in {home}; wait for it") from None
        yield
