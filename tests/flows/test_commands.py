"""The command line keeps what scripts rely on: names, columns, exit codes, JSON on the last line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.flows.conftest import NIGHTS, ROOT, Desk

SAMPLE = ROOT / "flows" / "sample" / "labelled"
COMMANDS = ("run", "finetune", "evaluate", "score", "backfill", "sql", "report", "doctor")


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
        (["report"], "published in"),
    ],
    ids=lambda a: " ".join(a[:2]) if isinstance(a, list) else "",
)
def test_a_failure_exits_1_and_says_why(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = call(*arguments, NIGHTDESK_HOME=str(tmp_path))
    assert done.returncode == 1
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


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
        "model_digest",
    ]
    assert scored.column_names == names
    assert mentions.column_names == ["id", "start", "end", "text", "type", "score"]
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
