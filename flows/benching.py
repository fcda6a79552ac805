"""`nightdesk bench`: how fast this machine scores, what limits it, and which setting would change that.

The benchmarks of benchmarks/ in a small form, on the shipped sample's sentences, with the desk's own models where it has champions. Every backend
that is installed is tried on them first, as a large night would; then the one that the settings name is measured. All of it on copies in the home's
`bench/`: what nights are scored by is settled on their own texts, and no bench changes it. A machine that is busy is measured busy: so is a night.
Does not cover: Ray, training, whole nights, GPUs beyond what the settings use; `python -m benchmarks.NAME` measures those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks import desk, engine, headlines, memory, texts
from benchmarks.figure import Figure, Missing, circumstances, number
from data_contracts.labels import TASKS
from flows.settings import Settings
from flows.showing import bars
from models.backends import AUTO, BackendRefused
from models.backends.auto import Choice, Trial
from models.backends.machine import machine
from tasks.registry import CHAMPION, Registry

HOME = "bench"  # in the desk's home
RUNS = 3
_TRIED_ON = 1024  # sentences
_MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True, kw_only=True)
class Limit:
    """Something that decides how fast or how large a night can be: what it is, what was found, and what to change, if anything."""

    what: str
    found: str
    change: str = ""


_NO_MODEL = Limit(
    what="no model yet",
    found="measured with one of a minute's training, on which eight bits may well be refused",
    change="nightdesk run or nightdesk finetune, and then nightdesk bench again",
)


@dataclass(frozen=True, kw_only=True)
class Benched:
    """Figures, the trials of every backend on each trunk, what limits, and what could not be measured."""

    figures: Sequence[Figure]
    trials: Sequence[Trial]
    limits: Sequence[Limit]
    missing: Sequence[str] = ()

    def fields(self) -> dict[str, Any]:
        """Everything, for JSON."""
        trials = [
            {"backend": one.backend, "tokens_per_second": one.tokens_per_second, "refused": one.refused}
            for one in self.trials
        ]
        limits = [vars(limit) for limit in self.limits]
        figures = [figure.fields() for figure in self.figures]
        return {"figures": figures, "trials": trials, "limits": limits, "missing": list(self.missing)} | circumstances()


def bench(settings: Settings, *, model: str | None = None, backend: str | None = None) -> Benched:
    """Measure `model`, names as in the settings, on `backend`; both as the settings say where left out."""
    wanted = backend or settings.scoring.backend
    names = [name.strip() for name in (model or settings.scoring.model).split(",")]
    with bars() as progress:
        bar = progress.add_task("reading the models", total=5)

        def next_is(what: str) -> None:
            progress.update(bar, description=what, advance=1)

        home = settings.home / HOME
        paths, own = _models(settings, names, home)
        next_is("trying every backend")
        given = texts.headlines(None, _TRIED_ON)
        tried = desk.desk(paths, AUTO, texts=given, labelled=texts.labelled(None), home=home)
        figures, missing = [], []
        shared = {"model": ",".join(map(str, paths)), "backend": wanted, "home": home}
        for what, measure in _suite(shared).items():
            next_is(what)
            try:
                figures.append(measure())
            except (Missing, BackendRefused) as reason:
                missing.append(f"{what}: {reason}")
    trials = [trial for choice in tried.choices for trial in choice.trials]
    limits = list(limits_of(tried.choices, wanted, {figure.name: figure for figure in figures}))
    return Benched(figures=figures, trials=trials, limits=[*limits, *([] if own else [_NO_MODEL])], missing=missing)


def _models(settings: Settings, names: Sequence[str], home: Path) -> tuple[list[Path], bool]:
    """Copies of the bundles of these names, True; where champions are asked for and there is none, a quick one of the benchmarks' own, False."""
    registry = Registry(settings.mlflow_uri, settings.home / "bundles")
    if list(names) == [CHAMPION] and not any(registry.champion(task) for task in TASKS):
        return [desk.joint_bundle(home, epochs=1)], False
    return [desk.copied(path, home) for path in registry.serving(names)], True


def _suite(shared: Mapping[str, Any]) -> dict[str, Callable[[], Figure]]:
    """The benchmarks, by what they measure."""
    return {
        "scoring, against transformers' pipeline": lambda: headlines.measure(rows=128, runs=RUNS, no_f1=True, **shared),
        "the engine, against its backend alone": lambda: engine.measure(rows=2048, runs=RUNS, **shared),
        "memory": lambda: memory.measure(sizes=(500, 5000), **shared),
    }


def limits_of(choices: Sequence[Choice], wanted: str, figures: Mapping[str, Figure]) -> Iterator[Limit]:
    """What limits scoring here, the most telling first."""
    if "engine" in figures:
        yield _slowest(figures["engine"])
    yield from _backend(choices, wanted)
    if len(choices) > 1:
        yield Limit(
            what="passes",
            found=f"{len(choices)} trunks, so every text is computed {len(choices)} times",
            change="one trunk for several tasks: nightdesk finetune without --task trains sentiment and ner together",
        )
    yield _threads()
    yield _arithmetic()
    if "memory" in figures:
        yield _memory(figures["memory"])


def _slowest(figure: Figure) -> Limit:
    """Network, tokenizer, or what turns answers into tables: which one the others wait for."""
    assert figure.ratio is not None and figure.peer is not None  # noqa: PT018
    read = float(figure.also["texts_read_per_second"])
    told = f"network {number(figure.peer)} texts/s, tokenizer {number(read)}, all together {number(figure.ours)}"
    if read < 1.5 * figure.peer:
        return Limit(
            what="the tokenizer", found=told, change="more cores; for one large night more workers ([cluster] workers)"
        )
    if figure.ratio < 0.8:
        return Limit(
            what="cores",
            found=f"{told}: the network and the rest share them",
            change="more cores, or fewer other programs",
        )
    return Limit(
        what="the network",
        found=told,
        change="a faster backend (below), a smaller model (nightdesk distil, nightdesk compress), a GPU",
    )


def _backend(choices: Sequence[Choice], wanted: str) -> Iterator[Limit]:
    best = "+".join(dict.fromkeys(choice.backend for choice in choices))
    if wanted in (AUTO, best):
        yield Limit(what="backend", found=f"{best}, the fastest here that agrees with float32")
    else:
        yield Limit(
            what="backend", found=f"{wanted}; {best} is faster here and agrees", change='[scoring] backend = "auto"'
        )
    refused = {trial.backend: trial.refused for choice in choices for trial in choice.trials if trial.refused}
    for extra in ("openvino", "onnx"):
        if any(f"nightdesk[{extra}]" in (why or "") for why in refused.values()):
            yield Limit(
                what="a missing extra", found=f"{extra} is not installed", change=f"pip install 'nightdesk[{extra}]'"
            )
    if unlike := [name for name, why in refused.items() if "does not agree" in (why or "")]:
        yield Limit(
            what="refused",
            found=f"{', '.join(unlike)}: not the answers of float32 on labelled examples",
            change="fine-tune on more examples of your own: surer answers move less, and their dev part is what decides",
        )


def _threads() -> Limit:
    cores, threads = int(machine()["cores"]), torch.get_num_threads()
    change = f"unset OMP_NUM_THREADS, or set it to {cores}" if threads < cores else ""
    return Limit(what="threads", found=f"{threads} of {cores} cores", change=change)


def _arithmetic() -> Limit:
    found = machine()
    if found["gpu"] != "absent":
        return Limit(what="arithmetic", found=found["gpu"])
    flags = [flag for flag in found["cpu"].split() if flag.startswith(("avx", "amx"))]
    kinds = {"bfloat16": ("avx512_bf16", "amx_bf16"), "eight bits": ("avx512_vnni", "avx_vnni", "amx_int8")}
    able = ["float32", *(kind for kind, any_of in kinds.items() if set(any_of) & set(flags))]
    change = "" if able[1:] or not flags else "a CPU with VNNI or AMX, or a GPU, computes several times as much"
    return Limit(what="arithmetic", found=f"no GPU; the CPU multiplies {', '.join(able)}", change=change)


def _memory(figure: Figure) -> Limit:
    told = f"{number(figure.ours)} MiB at most" + (
        ", whatever the number of articles" if figure.reached else ", and growing"
    )
    if not _MEMINFO.is_file():
        return Limit(what="memory", found=told)
    lines = dict(line.split(":", 1) for line in _MEMINFO.read_text(encoding="ascii").splitlines())
    free = int(lines["MemAvailable"].split()[0]) / 1024
    change = "fewer workers at once ([cluster] workers), or more memory" if figure.ours > 0.8 * free else ""
    return Limit(what="memory", found=f"{told}; {number(free)} MiB are free", change=change)
