"""The command line keeps what scripts rely on: names, columns, exit codes, JSON on the last line."""

import datetime as dt
import io
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from data_contracts.errors import Fatal
from data_contracts.labelled_examples import SentimentExample
from flows import running
from flows.__main__ import COMMANDS
from flows.arguments import spread
from flows.evaluating import evaluate_file
from flows.pace import Outcome
from flows.running import run_nights, show_outcomes
from flows.scoring import Summary, score_file
from flows.settings import load as settings
from flows.showing import bars
from models import engine
from models.bundle import load
from models.contamination import LearntTexts
from tests.flows.conftest import NIGHTS, ROOT, Desk
from tests.tasks.conftest import ner_examples, sentiment_examples, tiny_bundle, tiny_trunk

__all__ = ["ner_examples", "sentiment_examples", "tiny_bundle", "tiny_trunk"]  # fixtures

pytestmark = pytest.mark.timeout(1800)  # the desk of the slow tests is trained first
SAMPLE = ROOT / "flows" / "sample" / "labelled"


def call(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flows", *arguments], cwd=ROOT, env=os.environ | environ, capture_output=True, text=True, check=False
    )  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(command: str) -> None:
    done = call(command, "--help", COLUMNS="200", TERM="dumb")
    assert done.returncode == 0
    assert f"nightdesk {command}" in done.stdout
    assert "Example" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["fly"],
        ["run", "--night", "tomorrow"],
        ["evaluate", "--task", "mood", "--data", str(SAMPLE / "ner.dev.jsonl")],
        ["evaluate", "--task", "ner", "--data", "no-such-file.jsonl"],
        [
            "finetune",
            "--task",
            "all",
            "--train",
            str(SAMPLE / "ner.train.jsonl"),
            "--dev",
            str(SAMPLE / "ner.dev.jsonl"),
        ],
        ["finetune", "--task", "ner", "--train", str(SAMPLE / "ner.train.jsonl")],
        ["finetune", "--learning-rate", "0"],
        ["finetune", "--learning-rate", "nan"],
        ["backfill", "--first", "2026-03-02"],
    ],
    ids=lambda a: " ".join(a[:3]),
)
def test_bad_usage_exits_2(arguments: list[str]) -> None:
    done = call(*arguments)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sql", "SELEC 1"], "DuckDB refused"),
        (["report", "--night", "1999-01-01"], "1999-01-01"),
        (
            ["evaluate", "--task", "ner", "--data", str(SAMPLE / "ner.dev.jsonl"), "--model", "ner/77"],
            "no model 'ner/77'",
        ),
        (["sql", "SELECT 1", "--settings", "no-such.toml"], "is not there"),
        (["report"], "no night is published yet"),
        (["sql", ""], "holds no statement"),
    ],
    ids=lambda a: " ".join(a[:2]) if isinstance(a, list) else "",
)
def test_a_failure_exits_1_and_says_why(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = call(*arguments, NIGHTDESK_HOME=str(tmp_path))
    assert done.returncode == 1
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("finetune --train a b --dev d", "finetune --train a --train b --dev d"),
        ("finetune --dev d --train a b c", "finetune --dev d --train a --train b --train c"),
        ("finetune --train a --train b c", "finetune --train a --train b --train c"),
        ("finetune --train=a b --seed 1", "finetune --train=a --train b --seed 1"),
        ("finetune --train a -- b", "finetune --train a -- b"),
        ("finetune", "finetune"),
        ("sql --train a b", "sql --train a b"),
        ("", ""),
    ],
)
def test_several_files_may_follow_one_train_flag(given: str, read: str) -> None:
    assert spread(given.split()) == read.split()


@pytest.mark.parametrize("repeated", [False, True])
def test_finetune_takes_several_training_files(tmp_path: Path, repeated: bool) -> None:
    """A directory that holds something else is refused before anything is trained, and after every argument was read."""
    (tmp_path / "kept.txt").write_text("mine", encoding="utf-8")
    first, second = str(SAMPLE / "ner.train.jsonl"), str(SAMPLE / "ner.dev.jsonl")
    train = ["--train", first, "--train", second] if repeated else ["--train", first, second]
    done = call("finetune", "--task", "ner", *train, "--dev", second, "--output", str(tmp_path), NIGHTDESK_HOME=str(tmp_path / "home"))  # fmt: skip
    assert done.returncode == 1
    assert "is not empty and holds no bundle" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_error_in_a_pipe_is_one_line_however_long(tmp_path: Path) -> None:
    done = call("sql", "SELECT 1", "--settings", "n" * 200 + ".toml", NIGHTDESK_HOME=str(tmp_path))
    assert len(done.stderr.splitlines()) == 1


def test_sql_prints_names_and_values_that_look_like_markup(tmp_path: Path) -> None:
    done = call("sql", """SELECT '[/b]' AS "[red]x[/blue]" """, NIGHTDESK_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "[red]x[/blue]" in done.stdout
    assert "[/b]" in done.stdout


def call_with(bundle: Path, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return call(*arguments, "--model", str(bundle), NIGHTDESK_HOME=str(home))


def test_an_unwritable_output_is_one_line_that_names_it(tiny_bundle: Path, tmp_path: Path) -> None:
    source, taken = tmp_path / "in.jsonl", tmp_path / "taken"
    source.write_text('{"id": 1, "title": "profit rose"}\n', encoding="utf-8")
    taken.write_text("a file where a directory is needed", encoding="utf-8")
    done = call_with(tiny_bundle, tmp_path / "home", "score", "--input", str(source), "--output", str(taken / "out"))
    assert done.returncode == 1
    assert str(taken / "out") in done.stderr
    assert len(done.stderr.splitlines()) == 1


BAD = {
    2: b'{"id": "\\ud800x", "title": "acme", "body": null}',
    3: b'{"id": ' + b"9" * 5000 + b', "title": "acme"}',
    4: b"[" * 200_000 + b"]" * 200_000,
    6: b'{"id": "latin", "title": "\xe9"}',
    7: b'{"title": "no id"}',
}


def test_score_keeps_every_bad_line_with_its_number_and_scores_the_others(tiny_bundle: Path, tmp_path: Path) -> None:
    lines = {1: b'{"id": "a", "title": "acme profit rose", "body": null}', 5: b"", 8: b'{"id": 8, "title": "\\ud83d fell"}', **BAD}  # fmt: skip
    source, output = tmp_path / "in.jsonl", tmp_path / "out"
    source.write_bytes(b"\n".join(lines[number] for number in sorted(lines)))
    done = call_with(tiny_bundle, tmp_path / "home", "score", "--input", str(source), "--output", str(output))
    assert done.returncode == 0, done.stderr
    assert pq.read_table(output / "scored_articles.parquet")["id"].to_pylist() == ["a", "8"]
    failures = [json.loads(line) for line in (output / "failures.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [failure["line"] for failure in failures] == list(BAD)
    assert all(failure["error"] for failure in failures)
    assert sorted(path.name for path in output.iterdir()) == ["entity_mentions.parquet", "failures.jsonl", "scored_articles.parquet"]  # fmt: skip


def test_score_fails_when_no_line_could_be_scored(tiny_bundle: Path, tmp_path: Path) -> None:
    source, output = tmp_path / "in.jsonl", tmp_path / "out"
    source.write_bytes(BAD[7])
    done = call_with(tiny_bundle, tmp_path / "home", "score", "--input", str(source), "--output", str(output))
    assert done.returncode == 1
    assert "failures.jsonl" in done.stderr
    source.write_bytes(b"\n")
    assert score_file(source, output, str(tiny_bundle), settings()) == Summary(scored=0, mentions=0, failed=0)
    assert not (output / "failures.jsonl").exists(), "an empty file is no failure, and the old one's failures are gone"


def test_a_failure_of_the_model_has_its_line_number(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No text is known that the model refuses, so one is made unreadable on its way to it."""
    source, output = tmp_path / "in.jsonl", tmp_path / "out"
    source.write_text('\nnot json\n{"id": 1, "title": "profit rose"}\n{"id": 2, "title": "losses"}\n', encoding="utf-8")

    def broken(batch: pa.RecordBatch) -> Iterator[str | Exception]:
        yield from (
            ValueError("cannot be read") if title == "losses" else title for title in batch["title"].to_pylist()
        )

    monkeypatch.setattr(engine, "_texts", broken)
    summary = score_file(source, output, str(tiny_bundle), settings())
    assert (summary.scored, summary.failed) == (1, 2)
    failures = [json.loads(line) for line in (output / "failures.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [failure["line"] for failure in failures] == [2, 4]
    assert failures[1]["row"] == '{"id": 2, "title": "losses"}'


def test_evaluate_holds_its_rows_to_the_contract_of_training(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "dev.jsonl"
    rows = [{"text": "profit rose", "label": "positive"}, {"text": "x" * 100_001, "label": "neutral"}]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = evaluate_file("sentiment", data, str(tiny_bundle), settings())
    assert (found["n"], found["rejected"]) == (1, 1)
    assert f"{data}:2: left out" in capsys.readouterr().err


@pytest.mark.parametrize(("fresh", "measured"), [(4, 4), (2, None)])
def test_a_few_learnt_texts_are_left_out_and_a_file_of_many_is_refused(
    tiny_bundle: Path, tmp_path: Path, sentiment_examples: list[SentimentExample], fresh: int, measured: int | None
) -> None:
    texts = [sentiment_examples[0].text, *(f"{word} sold its shop" for word in ("one", "two", "three", "four")[:fresh])]
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps({"text": text, "label": "neutral"}) + "\n" for text in texts))
    if measured is None:
        with pytest.raises(LearntTexts, match="1 of 3 texts"):
            evaluate_file("sentiment", data, str(tiny_bundle), settings())
        measured = 3
        found = evaluate_file("sentiment", data, str(tiny_bundle), settings(), allow_overlap=True)
        assert found["overlap"] == 1
    else:
        found = evaluate_file("sentiment", data, str(tiny_bundle), settings())
        assert found["left_out"] == 1
    assert found["n"] == measured


@pytest.mark.parametrize("killed_at", ["os.rename:/bundle", "shutil.rmtree:.old"])
def test_a_kill_while_a_bundle_is_replaced_leaves_one(tiny_bundle: Path, tmp_path: Path, killed_at: str) -> None:
    output = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, output)
    script = "import sys; from pathlib import Path; from flows.finetune import copy_bundle; copy_bundle(*map(Path, sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", script, str(tiny_bundle), str(output)], cwd=ROOT, env=os.environ | {"GUARD_KILL_AT": killed_at}, check=False
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    assert load(output).digest == load(tiny_bundle).digest


def test_log_records_of_our_own_errors_have_no_traceback() -> None:
    shown = io.StringIO()
    handler = logging.StreamHandler(shown)
    vars(handler)["console"] = Console()
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        with bars():
            for error in (Fatal("the feed is gone"), KeyError("a bug")):
                try:
                    raise error
                except Exception:
                    root.exception("failed")
    finally:
        root.removeHandler(handler)
    assert "the feed is gone" not in shown.getvalue()
    assert "KeyError" in shown.getvalue()


def test_the_outcomes_of_a_range_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    show_outcomes([Outcome(night=dt.date(2026, 3, 2), state="failed", reason="[/b] no feed", minutes=0.5)])
    assert "[/b] no feed" in capsys.readouterr().err


def test_an_empty_lake_has_every_table_as_an_empty_view(tmp_path: Path) -> None:
    done = call("sql", "SELECT count(*) AS n FROM scored_articles", "--csv", NIGHTDESK_HOME=str(tmp_path))
    assert done.stdout.split() == ["n", "0"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "figures"), [("sentiment", ("accuracy", "macro_f1")), ("ner", ("precision", "recall", "micro_f1"))]
)
def test_evaluate_prints_one_json_object_on_its_last_line(desk: Desk, task: str, figures: tuple[str, ...]) -> None:
    done = desk.call("evaluate", "--task", task, "--data", str(SAMPLE / f"{task}.dev.jsonl"), "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert {"n", "ece", "model_digest", *figures} <= set(found)
    assert found["n"] == len((SAMPLE / f"{task}.dev.jsonl").read_text(encoding="utf-8").splitlines())


@pytest.mark.slow
def test_score_writes_the_promised_columns_with_offsets_into_title_and_body(desk: Desk, tmp_path: Path) -> None:
    rows = [
        {"id": "a", "title": "Halvorsen Marine sinks after \U0001f6a2 probe", "body": None},
        {"id": "b", "title": "", "body": "Ines Okafor of Quillon Semiconductor spoke in Oslo. " * 80},
        {"id": "a", "title": "The same id again", "body": "Veldhaven Bank reports\r\nrecord profit in Spain."},
        {"id": 7, "title": "\ud83d lone surrogate", "body": "Tessaly Pharma fell."},
        {"id": "empty", "title": "", "body": None},
        {"title": "no id", "body": None},
    ]
    source, output = tmp_path / "in.jsonl", tmp_path / "out"
    source.write_text("".join(json.dumps(r) + "\n" for r in rows) + "not json\n", encoding="utf-8")
    done = desk.call("score", "--input", str(source), "--output", str(output))
    assert done.returncode == 0, done.stderr
    scored, mentions = (
        pq.read_table(output / "scored_articles.parquet"),
        pq.read_table(output / "entity_mentions.parquet"),
    )
    names = [
        "id",
        "sentiment",
        "p_negative",
        "p_neutral",
        "p_positive",
        "tokens_scored",
        "tokens_total",
        "topics",
        "summary",
        "model_digest",
    ]
    assert scored.column_names == names
    of_entity = ["entity_sentiment", *(f"entity_{name}" for name in names[2:5]), "entity_sentiment_score", "relevance"]
    assert mentions.column_names == ["id", "start", "end", "text", "type", "score", *of_entity]
    assert scored["id"].to_pylist() == ["a", "b", "a", "7"]
    assert scored["tokens_scored"].to_pylist() == scored["tokens_total"].to_pylist()
    texts = {str(r["id"]): f"{r['title'] or ''}\n{r['body'] or ''}" for r in rows[1:2]}
    for mention in mentions.filter(pc.equal(mentions["id"], "b")).to_pylist():
        assert texts["b"][mention["start"] : mention["end"]] == mention["text"]
    assert mentions.num_rows > 0
    assert len((output / "failures.jsonl").read_text(encoding="utf-8").splitlines()) == 3


@pytest.mark.slow
def test_sql_report_and_doctor_work_on_a_desk_that_has_run(desk: Desk) -> None:
    answer = desk.call("sql", "SELECT run_date, count(*) AS n FROM scored_articles GROUP BY ALL ORDER BY ALL", "--csv")
    assert [line.partition(",")[0] for line in answer.stdout.split()] == ["run_date", *NIGHTS]
    page = desk.call("report", "--night", NIGHTS[0])
    assert Path(page.stdout.strip()).is_file()
    assert desk.call("doctor").returncode == 0


def test_run_without_a_night_leaves_which_to_the_flow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only so are missed nights made up for, and is a clock that was set back noticed."""
    asked: list[object] = []
    monkeypatch.setattr(running, "nightly", lambda **given: asked.append(given["night"]) or "page")
    monkeypatch.setattr(running, "totals", lambda *_: "")
    run_nights([], settings_file=None, lake=str(tmp_path / "lake"), by="first_seen", rescore=False)
    run_nights([dt.date(2026, 3, 2)], settings_file=None, lake=str(tmp_path / "lake"), by="first_seen", rescore=False)
    assert asked == [None, dt.date(2026, 3, 2)]
