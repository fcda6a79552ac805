"""What is left of a desk's programs: a killed one has not ended before its last thread has, which is what still holds its port."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer

import psutil
import pytest

from flows.operate import leftovers
from tasks import processes
from tests.loopback import free_ports

FIRST_THREAD_ENDS = """
import ctypes, socket, sys, threading
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
threading.Thread(target=listening.accept).start()
print("listens", flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""


@contextmanager
def dying(port: int) -> Iterator[psutil.Process]:
    """A program that listens on the port and looks as a killed one does for a moment: its first thread has ended, another has not."""
    with subprocess.Popen([sys.executable, "-c", FIRST_THREAD_ENDS, str(port)], stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"listens\n"
        process = psutil.Process(program.pid)
        try:
            while process.status() != psutil.STATUS_ZOMBIE:
                assert program.poll() is None
            yield process
        finally:
            program.kill()


def test_a_program_whose_last_thread_has_not_ended_lives_and_is_waited_for() -> None:
    (port,) = free_ports(1)
    with dying(port) as process:
        assert processes.lives(process)
        assert leftovers.listener(port) == ""
        processes.end([process])
        assert not processes.lives(process)
        assert leftovers.listener(port) is None
        socket.create_server(("127.0.0.1", port)).close()


def test_a_port_is_waited_for_whose_program_dies_unseen() -> None:
    (port,) = free_ports(1)
    with dying(port) as process:
        end = Timer(0.5, process.send_signal, [signal.SIGKILL])
        end.start()
        leftovers.await_ports([port])
        assert leftovers.listener(port) is None
        end.join()


def test_a_port_that_somebody_has_is_not_waited_for_and_one_that_nobody_gives_back_not_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        leftovers.await_ports([other.getsockname()[1]])
        assert "process" in str(leftovers.listener(other.getsockname()[1]))
    monkeypatch.setattr(leftovers, "PORT_SECONDS", 0.3)
    (port,) = free_ports(1)
    with dying(port):
        leftovers.await_ports([port])
        assert leftovers.listener(port) == ""
