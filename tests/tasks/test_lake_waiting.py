import datetime as dt
import logging
from contextlib import ExitStack
from pathlib import Path
from threading import Event

import pytest

from tasks.lake import Lake, NightLocked, waiting
from tasks.lake.waiting import waited_for

NIGHT = dt.date(2026, 3, 2)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.open(str(tmp_path / "lake"))


def test_a_night_is_had_as_soon_as_it_is_free(lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
    with ExitStack() as first:
        first.enter_context(lake.lock(NIGHT, run_id="first"))

        class FreeAtTheFirstLine(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                first.close()

        freed = FreeAtTheFirstLine()
        waiting.logger.addHandler(freed)
        try:
            with (
                caplog.at_level("INFO"),
                waited_for(lake, NIGHT, run_id="second"),
                pytest.raises(NightLocked, match="run_id second"),
                lake.lock(NIGHT),
            ):
                raise AssertionError
        finally:
            waiting.logger.removeHandler(freed)
    assert "run_id first" in caplog.text
    with lake.lock(NIGHT):
        pass


def test_who_has_given_up_waits_no_more(lake: Lake) -> None:
    given_up = Event()
    given_up.set()
    with (
        lake.lock(NIGHT, run_id="first"),
        pytest.raises(NightLocked, match="run_id first"),
        waited_for(lake, NIGHT, run_id="second", given_up=given_up),
    ):
        raise AssertionError
