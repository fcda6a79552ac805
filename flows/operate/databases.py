"""The databases of Prefect's server and of MLflow in PostgreSQL, made where they are missing.

Both programs make their own tables. The role of `operate.database` needs the right to make databases once, or somebody makes
`nightdesk_prefect` and `nightdesk_mlflow` for it. Not covered: roles, backups, and moving what SQLite held.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from sqlalchemy import URL, Connection, NullPool, create_engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError

from data_contracts.errors import Fatal
from flows.sections import Operate
from tasks.secrecy import keep, struck_out

CONNECT_SECONDS = 5
WHOSE: tuple[Literal["prefect", "mlflow"], ...] = ("prefect", "mlflow")


class DatabaseRefused(Fatal):
    """The PostgreSQL server of `operate.database` cannot be reached, or refuses; the text has no password."""


def make_databases(operate: Operate) -> list[str]:
    """Make the databases that are missing; returns their names.

    Raises:
        DatabaseRefused: the server does not answer, the role may not, or the driver is not installed.
    """
    if operate.database is None:
        return []
    names = [str(make_url(operate.database_of(whose)).database) for whose in WHOSE]
    with connection(make_url(operate.database_of("prefect")).set(database="postgres")) as line:
        there = set(line.execute(text("SELECT datname FROM pg_database")).scalars())
        missing = [name for name in names if name not in there]
        for name in missing:
            line.execute(text(f'CREATE DATABASE "{name}"'))
    return missing


@contextmanager
def connection(url: URL) -> Iterator[Connection]:
    """A connection to a database of `operate.database`, each of its statements a transaction; it waits CONNECT_SECONDS for an answer.

    Raises:
        DatabaseRefused: the server does not answer or refuses, in the block too, or the driver is not installed.
    """
    shown = f"{url.username or ''}@{url.host}:{url.port or 5432}/{url.database}"
    try:
        engine = create_engine(
            url, isolation_level="AUTOCOMMIT", poolclass=NullPool, connect_args={"connect_timeout": CONNECT_SECONDS}
        )
        with engine.connect() as line:
            yield line
    except ModuleNotFoundError as error:
        raise DatabaseRefused(f"operate.database needs the driver {error.name}: install nightdesk[postgres]") from error
    except SQLAlchemyError as error:
        keep([url.password] if url.password else [])
        said = " ".join(struck_out(str(getattr(error, "orig", error))).split())
        raise DatabaseRefused(f"operate.database, {shown}: {said}") from None
