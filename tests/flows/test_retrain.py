"""Re-training looks at what analysts have labelled: nothing there, half of it, nothing new, something new."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prefect import Flow, runtime
from prefect.flows import load_flow_from_entrypoint

from flows.cleanup import cleanup
from flows.finetune import SAMPLE_LABELLED
from flows.retrain import HalfLabelled, digests, labelled_files, retrain
from tests.flows.conftest import ROOT
from tests.flows.test_forms import DEPLOYMENTS


def test_a_task_with_both_files_is_found_and_one_with_half_of_them_refused(tmp_path: Path) -> None:
    assert labelled_files(tmp_path) == {}
    (tmp_path / "ner.train.jsonl").write_text("{}\n", encoding="utf-8")
    with pytest.raises(HalfLabelled, match=r"ner\.dev\.jsonl is not"):
        labelled_files(tmp_path)
    (tmp_path / "ner.dev.jsonl").write_text("{}\n", encoding="utf-8")
    assert list(labelled_files(tmp_path)) == ["ner"]


def test_a_line_more_is_something_new_and_a_copy_is_not(tmp_path: Path) -> None:
    for part in ("train", "dev"):
        (tmp_path / f"ner.{part}.jsonl").write_text("{}\n", encoding="utf-8")
    before = digests(labelled_files(tmp_path))
    (tmp_path / "ner.train.jsonl").touch()
    assert digests(labelled_files(tmp_path)) == before
    with (tmp_path / "ner.train.jsonl").open("a", encoding="utf-8") as file:
        file.write("{}\n")
    assert digests(labelled_files(tmp_path)) != before


@pytest.mark.parametrize("flow", [retrain, cleanup], ids=lambda flow: flow.name)
def test_a_run_without_a_night_is_named_by_its_flow_and_when_it_was_due(
    flow: Flow[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    due = dt.datetime(2026, 3, 7, 11, 0, tzinfo=dt.UTC)
    monkeypatch.setitem(runtime.flow_run.FIELDS, "scheduled_start_time", lambda: due)
    assert callable(flow.flow_run_name)
    assert flow.flow_run_name() == f"{flow.name} 2026-03-07 11:00 UTC"


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_every_deployed_flow_names_its_runs(name: str) -> None:
    flow: Flow[..., Any] = load_flow_from_entrypoint(DEPLOYMENTS[name]["entrypoint"])
    assert flow.flow_run_name, "an alert would call a run by words drawn at random"


@pytest.mark.slow
def test_what_is_new_is_learnt_once_and_then_there_is_nothing_to_do(tmp_path: Path) -> None:
    folder = tmp_path / "home" / "labelled"
    folder.mkdir(parents=True)
    for part in ("train", "dev"):
        lines = (SAMPLE_LABELLED / f"topics.{part}.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / f"topics.{part}.jsonl").write_text("".join(lines[:12]), encoding="utf-8")
    script = (
        "from flows.settings import quiet; quiet(); from flows.retrain import retrain\n"
        "from flows.forms import RecipeForm\n"
        "for _ in range(2): print('SAID', retrain(recipe=RecipeForm(epochs=1), return_state=True).message)"
    )
    environ = os.environ | {"NIGHTDESK_HOME": str(tmp_path / "home"), "PREFECT_HOME": str(tmp_path / "prefect")}
    with (
        (tmp_path / "out").open("w+") as out,
        (tmp_path / "err").open("w+") as err,
    ):  # no pipes, which a server would keep open
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, env=environ, stdout=out, stderr=err, timeout=500, check=False
        )
        out.seek(0)
        err.seek(0)
        said = [line for line in out.read().splitlines() if line.startswith("SAID")]
        assert done.returncode == 0, err.read()[-4000:]
    assert "topics/1" in said[0]
    assert "nothing was labelled since" in said[1]
