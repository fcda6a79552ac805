"""The models of a desk, held against the world: the trunk is whole, the champions load and answer, Ray starts; and what the next are trained on.

Part of `nightdesk doctor`. A backend that the settings name is held against the reference on a copy of the models that is removed again, with the
shipped texts where no night has tried it yet: what a night settles on its own texts is not for us to settle.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from data_contracts.errors import NightdeskError
from data_contracts.labels import NIGHT_TASKS
from flows.findings import Finding, said
from flows.settings import SAMPLE, Settings

SENTENCE = "Shares of Acme fell in London after a profit warning."


def examine(settings: Settings, *, deep: bool, registry: bool = True) -> Iterator[Finding]:
    """Trunk, champions, one answer, labelled files; with `deep` Ray as well; the registry only where it may answer."""
    yield _trunk()
    if registry:
        yield from _serving(settings)
    else:
        found = "the registry was not asked, since its database does not answer"
        yield Finding(what="champions", good=False, found=found, remedy="mend the database first")
    yield _labelled(settings)
    if deep:
        yield _ray(settings)


def _trunk() -> Finding:
    from models.encoder import DEFAULT_TRUNK, locate

    try:
        return Finding(what="trunk", good=True, found=f"{DEFAULT_TRUNK}: {locate(DEFAULT_TRUNK)}, hash as published")
    except Exception as error:  # a package that cannot be read raises what it likes
        return Finding(what="trunk", good=False, found=said(error), remedy="make install")


def _serving(settings: Settings) -> Iterator[Finding]:
    """The champions, and what scores a night, where it is there."""
    champions = list(_champions(settings))
    yield from champions
    if settings.scoring.model != "champion" or all(finding.good for finding in champions):
        try:
            with tempfile.TemporaryDirectory(prefix="nightdesk-doctor-", ignore_cleanup_errors=True) as folder:
                yield _answer(settings, Path(folder))
        except OSError as error:
            remedy = "make room, or set TMPDIR to a folder that this user may write"
            yield Finding(what="model", good=False, found=f"no temporary folder can be made: {error}", remedy=remedy)


def _champions(settings: Settings) -> Iterator[Finding]:
    from models.bundle import load
    from tasks.registry import Registry

    registry = Registry(settings.mlflow_uri, settings.home / "bundles", patient=False)
    trained = settings.scoring.train_if_missing
    for task in NIGHT_TASKS:
        what, remedy = f"champion {task}", f"nightdesk finetune --task {task}"
        try:
            if path := registry.champion(task):
                yield Finding(what=what, good=True, found=f"digest {load(path).digest[:12]}")
            else:
                found = "none yet" + (": the next night fine-tunes one on the shipped sample" if trained else "")
                yield Finding(what=what, good=False, found=found, remedy=remedy, needed=not trained)
        except Exception as error:  # whatever a registry or a broken file raises is what was found
            found = f"{type(error).__name__}: {error}"
            remedy = f"nightdesk rollback {task} --reason WHY, or {remedy}"
            yield Finding(what=what, good=False, found=found, remedy=remedy)


def _answer(settings: Settings, folder: Path) -> Finding:
    """What scores a night, loaded as it would be, on the backend of the settings, and asked about one sentence."""
    import pyarrow as pa

    from flows.wiring import backend_of
    from models.backends import AUTO, BackendRefused
    from models.engine import Predictor
    from tasks.backends import TEXTS, settle_backends
    from tasks.registry import Registry

    began, config = time.monotonic(), backend_of(settings)
    try:
        registry = Registry(settings.mlflow_uri, settings.home / "bundles", patient=False)
        bundles = registry.serving([name.strip() for name in settings.scoring.model.split(",")])
        copies, token_budget = _copies(bundles, folder), settings.cluster.batch_tokens()
        if config.name != AUTO:  # which refuses nothing
            lines = (SAMPLE / "labelled" / "sentiment.train.jsonl").read_text(encoding="utf-8").splitlines()
            texts = [json.loads(line)["text"] for line in lines[:TEXTS]]
            settle_backends(copies, config, texts=texts, token_budget=token_budget)
        predictor = Predictor(copies, token_budget=token_budget, backend=config.name, cache=config.cache)
        none = pa.array([None], pa.string())
        found = predictor.predict(pa.table({"id": ["doctor"], "title": [SENTENCE], "body": none}))
        if found.articles.num_rows != 1:
            raise RuntimeError("; ".join(found.failures["error"].to_pylist()) or "it gave no row")
        label = found.articles["sentiment"][0].as_py()
        said = (
            f"{', '.join(predictor.tasks)} of a sentence in {time.monotonic() - began:.1f} s, loading included: {label}"
        )
        return Finding(what="model", good=True, found=said)
    except BackendRefused as error:
        remedy = 'name another scoring.backend; "auto" takes the fastest that may serve'
        return Finding(what="model", good=False, found=str(error), remedy=remedy)
    except Exception as error:  # whatever a model raises is what was found
        remedy = "nightdesk rollback takes the champion before it, nightdesk finetune makes a new one"
        return Finding(what="model", good=False, found=f"{type(error).__name__}: {error}", remedy=remedy)


def _copies(bundles: Sequence[Path], folder: Path) -> list[Path]:
    """The bundles in another folder, file by file as links."""
    return [
        Path(shutil.copytree(bundle.resolve(), folder / str(number), copy_function=os.symlink))
        for number, bundle in enumerate(bundles)
    ]


def _labelled(settings: Settings) -> Finding:
    """What the weekly re-training would learn from, which else is found out on Saturday."""
    from flows.retrain import labelled_files, labelled_folder

    what, remedy = "labelled", "make the folder, give this user the right to read it, or mend operate.labelled"
    try:
        folder = labelled_folder(settings)
        if settings.operate.labelled is not None and not folder.is_dir():
            return Finding(what=what, good=False, found=f"{folder} is not there", remedy=remedy, needed=False)
        tasks = ", ".join(labelled_files(folder)) or "nothing yet"
        return Finding(what=what, good=True, found=f"{folder}: {tasks}")
    except NightdeskError as error:
        remedy = "add the other file; until then no re-training begins"
        return Finding(what=what, good=False, found=str(error), remedy=remedy, needed=False)
    except (OSError, RuntimeError) as error:  # the latter of a user's home that nobody knows
        found = f"{settings.operate.labelled or 'labelled in the home'}: {error}"
        return Finding(what=what, good=False, found=found, remedy=remedy, needed=False)


def _ray(settings: Settings) -> Finding:
    from tasks.cluster import session

    began = time.monotonic()
    try:
        with session(settings.cluster):
            found = f"{settings.cluster.address}: started in {time.monotonic() - began:.0f} s"
        return Finding(what="Ray", good=True, found=found)
    except Exception as error:  # whatever Ray raises is what was found
        remedy = "check cluster.address and the room in memory and /dev/shm"
        return Finding(what="Ray", good=False, found=f"{type(error).__name__}: {str(error)[:300]}", remedy=remedy)
