"""What can go wrong with a lake. All but `LakeUnreachable` are `Fatal`: no second try of the same step helps."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from data_contracts.errors import Fatal, Retriable

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
NO_CREDENTIALS = frozenset({"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"})
UNREACHABLE = frozenset({"ConnectionError", "HTTPClientError", "TimeoutError"})
BUSY = frozenset({errno.EBUSY, errno.ETIMEDOUT, errno.EAGAIN})
NOT_ALLOWED = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


class NightLocked(Fatal):
    """Another run is writing this night."""


class LakeFull(Fatal):
    """No space is left under the lake; what was published before is as it was."""


class LakeReadOnly(Fatal):
    """The lake can be read but not written by this process."""


class LakeRefused(Fatal):
    """The store does not let this process read: no credentials, or not the right ones."""


class LakeMissing(Fatal):
    """The bucket that the lake should lie in does not exist; it is never made here, for its name may be a slip."""


class LakeUnreachable(Retriable):
    """The store did not answer, or not in time."""


class ClockBehind(Fatal):
    """The machine's clock is far behind the lake's last commit."""


class LakeTooNew(Fatal):
    """The lake was written by a newer version, whose layout this one does not know."""


class LakeDamaged(Fatal):
    """A file that the commit log names is missing or not readable."""


class SchemaChanged(Fatal):
    """A table's columns changed in a way its readers would not survive; only nullable columns may be added."""


class FileMissing(Fatal):
    """There is no free file of that name."""


class BadName(Fatal):
    """A table, run, stage or file name that the lake does not allow."""


@contextmanager
def explained(path: str) -> Iterator[None]:
    """Turn "disk full" and "not allowed" of the operating system into an error of the lake that names `path`."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            raise LakeFull(
                f"no space left while writing {path} ({error.strerror}); nothing published was changed. "
                "Free space or raise the quota, then run the night again"
            ) from error
        if error.errno in NOT_ALLOWED or isinstance(error, PermissionError):
            raise LakeReadOnly(
                f"cannot write {path} ({error.strerror or error}); the user who runs the night must be allowed to"
            ) from error
        raise


@contextmanager
def reached(path: str) -> Iterator[None]:
    """Turn "no answer" and "no credentials" of a store's client into ours; told by the names of its classes, for each has its own."""
    try:
        yield
    except Exception as error:
        kinds = {kind.__name__ for kind in type(error).__mro__}
        if kinds & NO_CREDENTIALS:
            raise LakeRefused(
                f"{path} asks for credentials: {error}; they come from the environment of the process"
            ) from error
        if kinds & UNREACHABLE or (isinstance(error, OSError) and error.errno in BUSY):
            raise LakeUnreachable(f"no answer for {path}: {error}") from error
        raise


@contextmanager
def readable(path: str) -> Iterator[None]:
    """As `reached`, and turn "not allowed" of a store that is read into `LakeRefused`."""
    try:
        with reached(path):
            yield
    except PermissionError as error:
        raise LakeRefused(
            f"{path} may not be read: {error}; check the credentials in the environment and what they allow"
        ) from error
