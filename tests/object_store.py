"""A server that speaks S3 on the loopback, in a process of its own, for tests that want a real object store."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

SERVER = """
import sys, threading
from moto.s3.responses import S3Response
from moto.server import ThreadedMotoServer

# it looks at If-Match and If-None-Match first and writes later: without a lock, two conditional PUTs of one moment would both pass
one_at_a_time, put_object = threading.Lock(), S3Response.put_object
def exclusive(response):
    with one_at_a_time:
        return put_object(response)
S3Response.put_object = exclusive

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True, kw_only=True)
class ObjectStore:
    """The server's URL and process, and the environment that leads a client there."""

    url: str
    process: subprocess.Popen[str]
    environment: dict[str, str] = field(repr=False)


@contextmanager
def serving_s3(*, secret: str = "testing-secret-key") -> Iterator[ObjectStore]:
    """A store without buckets that takes any key, until the block ends; it dies with the test's process too, whose pipe it reads."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = f"http://127.0.0.1:{int(process.stdout.readline())}"
        environment = {
            "AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "testing-key", "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
        }  # fmt: skip
        yield ObjectStore(url=url, process=process, environment=environment)
    finally:
        process.kill()
        process.communicate()
