"""`nightdesk up`: start what is missing, and come back when everything answers.

May be called again at any time: what runs is left alone. Before anything is started, ports, database and home are looked at, so that what
is wrong is said in a sentence; a program that dies or does not answer is named, with the end of its log, and then nothing is left running.
Where the settings file has changed since the start, a desk that runs goes on and that is said: each run and the watchdog read the file anew,
the other programs do not. Where an address, the pool, the lake or the file itself is another, it is refused; so are other secrets in the
addresses of lake and MLflow, since what runs keeps those it was started with.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from data_contracts.errors import Fatal
from flows.operate import leftovers, places, supervised
from flows.operate.databases import make_databases
from flows.operate.places import Places
from flows.operate.probes import works
from flows.operate.programs import Program, environment, places_of, programs
from flows.operate.supervised import NotStarted
from flows.settings import Settings
from tasks import processes
from tasks.secrecy import struck_out

START_SECONDS = 420  # for all together; a busy machine takes its time
POLL_SECONDS = 0.5
DEAD = ("BACKOFF", "EXITED", "FATAL", "UNKNOWN")
PAUSED = "paused"  # a file that `down` leaves where it paused the pool and could not let it go on


class CannotListen(Fatal):
    """A port of the settings is in use by a program that is none of this desk's, or `operate.host` is no address of this machine."""


class OtherDesk(Fatal):
    """A desk runs in this home with other settings."""


class OtherSecrets(OtherDesk):
    """A desk runs in this home with other secrets."""


def up(
    settings: Settings, settings_file: Path, inherited: Mapping[str, str], say: Callable[[str], None]
) -> tuple[Places, bool]:
    """Start the desk's programs; returns where they are, and whether they ran already.

    Args:
        inherited: the environment that the programs get, with what the settings read as secrets.
        say: is told each step.

    Raises:
        Fatal: the home is none for programs, a program cannot listen, the database refuses, another desk runs here, or a program does not answer.
    """
    places.control(settings.home)
    places.make(settings.home)
    where = places_of(settings, settings_file)
    wanted = programs(settings, where)
    with places.alone(settings.home):
        ran = places.alive(settings.home)
        if ran:
            where = _as_started(where, say)
        else:
            processes.end(leftovers.of_desk(settings.home))
            host = settings.operate.host
            leftovers.await_ports(one.port for one in wanted if one.port and cannot_listen(host, one))
            for program in wanted:
                if refused := cannot_listen(host, program):
                    raise CannotListen(f"{program.name} cannot listen on {'; '.join(refused)}")
            for name in make_databases(settings.operate):
                say(f"made the database {name}")
            supervised.start(settings.home, wanted, environment(settings, where, inherited))
        try:
            await_all(where, wanted, say if not ran else lambda _: None, fresh=not ran)
            go_on(where)
            places.write(where)
        except BaseException:
            if not ran:
                supervised.shut_down(settings.home)
                processes.end(leftovers.of_desk(settings.home), patience_seconds=5)
            raise
    return where, ran


def _as_started(where: Places, say: Callable[[str], None]) -> Places:
    """With the settings that the running programs were started with; says so where the file has others now.

    Raises:
        OtherDesk: they are reached elsewhere, or were started for something else.
        OtherSecrets: they were started with other secrets.
    """
    before = places.recall(Path(where.home))
    if before is None:
        return replace(where, **dict.fromkeys(places.DIGESTS, ""))
    if changed := "; ".join(before.unlike(where)):
        raise OtherDesk(f"a desk runs here with other settings ({changed}); stop it first with `nightdesk down`")
    if before.other_secrets(where):
        raise OtherSecrets(
            f"the desk that runs here was started with another user, key or query in the address of its lake ({where.lake}) or of MLflow "
            f"({where.mlflow_url}), and goes on with that: after a new secret, `nightdesk down`, then `nightdesk up`"
        )
    if before.settings_digest not in ("", where.settings_digest):
        say(
            "the desk runs with other settings than the file has now, except for its watchdog and new runs: "
            "`nightdesk down`, then `nightdesk up`"
        )
    return before


def cannot_listen(host: str, program: Program) -> tuple[str, str] | None:
    """Where a program could not listen and why, and what to do about it; None where it could, or listens on nothing."""
    if program.port is None:
        return None
    where = f"{host}:{program.port}"
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, program.port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                who = leftovers.listener(program.port) or "another program"
                return f"{where}: {who} has it", f"stop that, or set {program.setting} to a free port"
            if error.errno == errno.EACCES:
                return f"{where}: {error.strerror}", f"set {program.setting} to a port from 1024 on"
            return f"{where}: {error.strerror}", "set operate.host to an address of this machine, such as 127.0.0.1"
    return None


def await_all(where: Places, wanted: Sequence[Program], say: Callable[[str], None], *, fresh: bool) -> None:
    """Wait until every program answers.

    Args:
        fresh: they were started just now, so that one which dies is wrong; else supervision may be starting it again.

    Raises:
        NotStarted: one died, or did not answer in time.
    """
    home, until = Path(where.home), time.monotonic() + START_SECONDS
    first: dict[str, int] = {}
    for program in wanted:
        while True:
            found = supervised.states(home)
            for one in found.values():
                died = one.state in DEAD or (one.pid and first.setdefault(one.name, one.pid) != one.pid)
                if fresh and died:
                    raise NotStarted(f"{one.name} died while it started; its log ends:\n{_tail(where, one.name)}")
            if program.name in found and works(where, found[program.name]):
                break
            if time.monotonic() > until:
                raise NotStarted(
                    f"{program.name} does not answer after {START_SECONDS} s; its log ends:\n{_tail(where, program.name)}"
                )
            time.sleep(POLL_SECONDS)
        say(f"{program.name} answers")


def go_on(where: Places) -> None:
    """Let the pool go on where `down` paused it and could not let it go on itself; a pause of a person's stays."""
    mark = places.folder(Path(where.home)) / PAUSED
    if mark.exists():
        with where.client() as client:
            client.patch(f"/work_pools/{where.pool}", json={"is_paused": False}).raise_for_status()
        mark.unlink()


def _tail(where: Places, name: str) -> str:
    """The end of a program's log; the key and other secrets are not in it, and would not be shown."""
    return struck_out(supervised.tail(Path(where.home), name).replace(where.auth.partition(":")[2], "***"))
