"""`operate.database`: what is refused of it, that no part of a password is told, and that a server which does not answer is not waited for."""

import socket
import time
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from flows.operate import databases
from flows.sections import Operate
from flows.settings import SettingsRefused, load

WIRE = '[[sources]]\nname = "wire"\nkind = "json"\nlocation = "x"\n'


@pytest.mark.parametrize("password", ["first@second", "first@second:third", "first@second/third", "first@second@third"])
@pytest.mark.parametrize("from_environment", [True, False])
def test_a_raw_at_sign_in_the_password_is_refused_and_no_part_of_it_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str, *, from_environment: bool
) -> None:
    url = f"postgresql://desk:{password}@db.internal:5432"
    if from_environment:
        monkeypatch.setenv("NIGHTDESK_OPERATE__DATABASE", url)
    (tmp_path / "desk.toml").write_text(WIRE + ("" if from_environment else f'[operate]\ndatabase = "{url}"\n'))
    with pytest.raises(SettingsRefused, match=r"operate\.database: .* in the password write @ as %40") as refused:
        load(str(tmp_path / "desk.toml"))
    assert not [part for part in ("first", "second", "third") if part in str(refused.value)]


def test_a_misspelt_name_does_not_tell_the_password_either(tmp_path: Path) -> None:
    (tmp_path / "desk.toml").write_text(f'{WIRE}[operate]\ndatabse = "postgresql://desk:first@db.internal"\n')
    with pytest.raises(SettingsRefused, match="databse") as refused:
        load(str(tmp_path / "desk.toml"))
    assert "first" not in str(refused.value)


def test_a_password_with_an_at_sign_is_taken_percent_encoded() -> None:
    operate = Operate(database="postgresql://desk:first%40second@db.internal:5432")
    assert operate.database_of("mlflow").endswith("://desk:first%40second@db.internal:5432/nightdesk_mlflow")


@pytest.mark.parametrize(
    ("password", "told"), [("p", "no pg_hba.conf entry: p"), ("hunter2-long", "no pg_hba.conf entry: ***")]
)
def test_only_a_password_is_struck_out_of_what_the_server_says(
    monkeypatch: pytest.MonkeyPatch, password: str, told: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OperationalError("connect", {}, Exception(f"no pg_hba.conf entry: {password}"))

    monkeypatch.setattr(databases, "create_engine", refuse)
    with pytest.raises(databases.DatabaseRefused) as refused:
        databases.make_databases(Operate(database=f"postgresql://desk:{password}@db.internal:5432"))
    assert str(refused.value) == f"operate.database, desk@db.internal:5432/postgres: {told}"


def test_a_server_that_takes_the_connection_and_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "CONNECT_SECONDS", 2)  # the least that the driver takes
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began = time.monotonic()
        with pytest.raises(databases.DatabaseRefused, match="timeout"):
            databases.make_databases(Operate(database=f"postgresql://desk@127.0.0.1:{silent.getsockname()[1]}"))
    assert time.monotonic() - began < 60
