"""Regular re-training on what the desk's own analysts have labelled: once a week by schedule, and only when there is something new.

Analysts put TASK.train.jsonl and TASK.dev.jsonl into one folder (`operate.labelled`) and go on adding lines. When any of these files has
changed since the last re-training that ended, all of them are learnt, in one trunk with a head for each task, and the gate decides as for
any candidate. What was learnt last is kept in the home; a re-training that failed is tried again at the next time.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, runtime
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed

from data_contracts.errors import Fatal
from data_contracts.labels import TASKS
from flows.finetune import PlanName, finetune
from flows.forms import LabelledForm, RecipeForm, form
from flows.operate import logs
from flows.settings import Settings, load, quiet

MEMORY = "retrained.json"


class HalfLabelled(Fatal):
    """A task has labelled files for one part alone."""


def run_name() -> str:
    """The run's name on its page: the flow, and when it was due."""
    return f"retrain {runtime.flow_run.scheduled_start_time:%Y-%m-%d %H:%M} UTC"


@form
@flow(name="retrain", flow_run_name=run_name)
def retrain(
    plan: PlanName = "default",
    recipe: RecipeForm = RecipeForm(),  # noqa: B008
    even_if_known: bool = False,
    settings_file: str | None = None,
) -> State[Any]:
    """Fine-tune on the desk's own labelled files, if there is anything new in them, and let the gate decide.

    Args:
        plan: default is one quick training; best is what measured best for one task, and takes several times as long.
        recipe: Changes to the plan's recipe.
        even_if_known: Train also when nothing was labelled since the last time.
        settings_file: A TOML settings file on the worker. Empty: NIGHTDESK_SETTINGS, nightdesk.toml, or the shipped sample's.
    """
    quiet()
    settings = load(settings_file)
    logs.begin(settings.operate.log_format)
    folder = labelled_folder(settings)
    files = labelled_files(folder)
    memory = settings.home / "training" / MEMORY
    now = digests(files)
    if not files:
        return _nothing(f"nothing to learn: no TASK.train.jsonl with its TASK.dev.jsonl in {folder}")
    if now == _remembered(memory) and not even_if_known:
        return _nothing(f"nothing was labelled since the last re-training: the files in {folder} are as they were")
    given: dict[str, Any] = {
        task: LabelledForm(train=[str(train)], dev=[str(dev)]) for task, (train, dev) in files.items()
    }
    decisions = finetune(task="all", plan=plan, recipe=recipe, settings_file=settings_file, **given)
    draft = memory.with_suffix(".draft")
    draft.write_text(json.dumps(now, indent=1), encoding="utf-8")
    draft.replace(memory)
    said = "; ".join(
        f"{one.task}/{one.version} {'is champion' if one.promoted else 'is no champion'}" for one in decisions
    )
    return Completed(message=said, data=said)


def labelled_folder(settings: Settings) -> Path:
    """Where analysts put their files: as the settings say, else `labelled` in the home."""
    given = settings.operate.labelled
    return settings.home / "labelled" if given is None else settings.home / Path(given).expanduser()


def labelled_files(folder: Path) -> dict[str, tuple[Path, Path]]:
    """By task, the files for fitting and for choosing.

    Raises:
        HalfLabelled: a task has one without the other.
    """
    found = {}
    for task in TASKS:
        train, dev = folder / f"{task}.train.jsonl", folder / f"{task}.dev.jsonl"
        if train.is_file() != dev.is_file():
            there, other = (train, dev) if train.is_file() else (dev, train)
            raise HalfLabelled(
                f"{there} is there, but {other.name} is not; both are needed, one to fit and one to choose by"
            )
        if train.is_file():
            found[task] = (train, dev)
    return found


def digests(files: dict[str, tuple[Path, Path]]) -> dict[str, str]:
    """By file name, the SHA-256 of what it holds."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for pair in files.values() for path in pair}


def _remembered(memory: Path) -> dict[str, str] | None:
    try:
        return dict(json.loads(memory.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _nothing(said: str) -> State[Any]:
    """The run's end where there was nothing to do, which its page says."""
    get_run_logger().info(said)
    create_markdown_artifact(said, key="retrain", description="Re-training")
    return Completed(message=said, data=said)
