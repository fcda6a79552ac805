import json
import time

import pytest

from benchmarks.figure import Figure, Missing, against, command, rates, reading, start


def tenfold(*, rows: int, runs: int, **_: object) -> Figure:
    return against(
        "tenfold",
        "rows/s",
        {"ours": [10.0 * rows] * runs, "peer": [1.0 * rows] * runs},
        reach="ratio >= 5",
        notes=["so"],
    )


def test_json_is_the_last_line_and_says_how_to_measure_it_again(capsys: pytest.CaptureFixture[str]) -> None:
    start(tenfold, reading(command("", rows=3)), ["--json", "--runs", "5"])
    given = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (given["name"], given["ours"], given["peer"], given["ratio"], given["unit"]) == (
        "tenfold",
        30,
        3,
        10,
        "rows/s",
    )
    assert given["reached"]
    assert len(given["runs"]["ours"]) == 5
    assert {"machine", "date", "command", "versions"} <= set(given)


def test_words_say_figure_peer_and_whether_it_is_reached(capsys: pytest.CaptureFixture[str]) -> None:
    start(tenfold, command("", rows=3), [])
    told = capsys.readouterr().out
    assert all(part in told for part in ("tenfold: 30 rows/s", "ours over the peer's: 10", "ratio >= 5; reached", "so"))


def test_a_missing_thing_is_said_and_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    def lacking(**_: object) -> Figure:
        raise Missing("no data")

    with pytest.raises(SystemExit) as ended:
        start(lacking, command(""), [])
    assert ended.value.code == 2
    assert "no data" in capsys.readouterr().err


def test_contestants_run_in_turn_after_a_warm_up_each() -> None:
    order: list[str] = []

    def contestant(name: str, seconds: float) -> float:
        order.append(name)
        time.sleep(seconds)
        return 8.0

    found = rates({"ours": lambda: contestant("ours", 0.0), "peer": lambda: contestant("peer", 0.01)}, runs=2)
    assert order == ["ours", "peer"] * 3
    assert max(found["peer"]) < 800


@pytest.mark.parametrize(
    ("reach", "reached"), [("ratio >= 2", True), ("ratio <= 1.15", False), ("ours <= 4", True), ("", None)]
)
def test_what_is_to_be_reached_is_held_against_what_was_found(reach: str, reached: bool | None) -> None:
    assert Figure(name="n", unit="s", ours=4.0, peer=2.0, reach=reach).reached is reached
