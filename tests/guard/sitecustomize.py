"""Refuses, in every Python process that has this folder on its path, connections and look-ups beyond the loopback, and writes them down.

The tests put it on `PYTHONPATH`, so that the processes they start (command line, Prefect server, Ray workers) are held to it too. An attempt
that a library swallows is still found in the file that `GUARD_LOG` names.
"""

import os
import signal
import socket
import sys
import traceback

CONNECTING = {"socket.connect", "socket.sendto", "socket.sendmsg"}
LOCAL = {"", "localhost", "::1", "::", "0.0.0.0", "localhost.localdomain"}


def is_local(host: object) -> bool:
    """True for the loopback and for this machine's own name."""
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    return host is None or (
        isinstance(host, str)
        and (host in LOCAL or host.startswith(("127.", "::ffff:127.")) or host == socket.gethostname())
    )


def refuse(event: str, arguments: tuple[object, ...]) -> None:
    """An audit hook: raises for what would leave this machine."""
    if event in CONNECTING:
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) and len(address) >= 2 else None
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        return
    if is_local(host):
        return
    if log := os.environ.get("GUARD_LOG"):
        with open(log, "a", encoding="utf-8") as file:  # noqa: PTH123
            file.write(
                f"{event} {host!r} in {' '.join(sys.argv)[:200]}\n{''.join(traceback.format_stack(limit=12)[:-1])}\n"
            )
    raise ConnectionRefusedError(f"outbound connections are refused in tests: {event} {host!r}")


sys.addaudithook(refuse)


def die(event: str, arguments: tuple[object, ...]) -> None:
    """An audit hook: SIGKILL at the first event and path that `GUARD_KILL_AT` names, such as "os.rename:articles/night="."""
    wanted, _, part = os.environ["GUARD_KILL_AT"].partition(":")
    if event == wanted and any(part in os.fsdecode(a) for a in arguments if isinstance(a, str | bytes | os.PathLike)):
        os.kill(os.getpid(), signal.SIGKILL)


if "GUARD_KILL_AT" in os.environ:
    sys.addaudithook(die)
