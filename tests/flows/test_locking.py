import datetime as dt
from pathlib import Path

import pytest

from flows.locking import locked
from tasks.lake import Lake, NightLocked

NIGHT = dt.date(2026, 3, 2)


def test_a_run_of_no_deployment_is_refused_at_once(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path / "lake"))
    with (
        lake.lock(NIGHT, run_id="first"),
        pytest.raises(NightLocked, match="run_id first"),
        locked(lake, NIGHT, run_id="second"),
    ):
        raise AssertionError
