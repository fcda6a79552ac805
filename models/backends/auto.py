"""Which backend serves a bundle on this machine: tried once, remembered, and the same ever after.

Each backend that is installed is opened and timed on real windows of the lengths that come, in batches by tokens; then, the fastest first, each is
held against float32 (models.backends.agreement), and the first that agrees is chosen: slower ones need no check. The trial, with every figure and
every refusal, lies beside the bundle's exports, in a file that is named after the machine: another CPU, GPU or version is tried anew, and deleting
the file forgets it. For a trunk of 23M parameters on two cores the first trial took 40 s, most of it exports; the timing takes SECONDS a backend.

Two are tried only where they are asked for: torch-compile compiles anew in every process, for a minute, and gains less than the runtimes made for
it; what onnx-int8 says of a text depends on its neighbours in the batch, so that a night which was resumed would differ from one that was not.
Does not cover: how fast a backend is beside other programs, or with fewer threads than it was tried with.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache as cache_of
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from models.backends import AUTO, NAMES, REFERENCE, Backend, BackendRefused, open_backend
from models.backends.agreement import Agreement, Check, CheckSet, TaskAgreement
from models.backends.exports import place, places
from models.backends.machine import key, machine
from models.batching import Batch, collate, drawn, plan
from models.bundle import Bundle

logger = logging.getLogger(__name__)

TRIED = ("torch", "torch-bf16", "onnx", "openvino", "openvino-int8")
SECONDS = 2.0
_ROUNDS = 5
_TOKENS = 16_384  # that are timed at most, padding included


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One backend on one machine: tokens a second, padding not counted, its agreement where it has been held against float32, and why it may not
    serve, if so."""

    backend: str
    tokens_per_second: float = 0.0
    agreement: Agreement | None = None
    refused: str | None = None
    lasts: bool = True  # False of what another day may mend, such as a full disk: it is not remembered


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What serves, on which machine, and every trial."""

    backend: str
    machine: Mapping[str, str]
    trials: tuple[Trial, ...]

    def trial(self, name: str) -> Trial | None:
        """A backend's trial; None where it has not been tried."""
        return next((trial for trial in self.trials if trial.backend == name), None)

    def to_json(self) -> str:
        """Everything as JSON text."""
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Choice:
        """What `to_json` wrote; ValueError, TypeError or KeyError for anything else."""
        fields = json.loads(text)
        return cls(
            backend=fields["backend"], machine=fields["machine"], trials=tuple(_trial(one) for one in fields["trials"])
        )


def _trial(fields: dict[str, Any]) -> Trial:
    held = fields.pop("agreement")
    if held is not None:
        tasks = {task: TaskAgreement(**one) for task, one in held["tasks"].items()}
        fields["agreement"] = Agreement(backend=held["backend"], tasks=tasks)
    return Trial(**fields)


def remembered(bundle: Bundle, *, cache: Path | None = None) -> Choice | None:
    """What has been chosen for a bundle on this machine; None where nothing was, or where it cannot be read."""
    name = _name(machine())
    for directory in places(bundle, cache):
        try:
            return Choice.from_json((directory / name).read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError, KeyError):
            continue
    return None


def settle(
    bundle: Bundle,
    check: CheckSet,
    *,
    wanted: str = AUTO,
    threads: int | None = None,
    token_budget: int = 2048,
    cache: Path | None = None,
) -> Choice:
    """Which backend serves a bundle: the fastest of those that agree, or the one wanted, if it agrees.

    Args:
        bundle: whose network is computed.
        check: held against float32; its texts are what an eight-bit export is calibrated on, and all its windows are what is timed.
        wanted: "auto", or one of models.backends.NAMES.
        threads: of the CPU that a trial has; what the runtime takes by itself where left out.
        token_budget: of a batch, in tokens with their padding.
        cache: a directory for exports where none can be written beside the bundle.

    Raises:
        BackendRefused: the one wanted is not there, cannot compute the bundle, or does not agree, with its figures.
    """
    if wanted not in (AUTO, *NAMES):
        raise BackendRefused(f"no backend {wanted!r}; allowed are {AUTO}, {', '.join(NAMES)}")
    if wanted == REFERENCE:
        return Choice(backend=REFERENCE, machine=machine(), trials=())
    known = remembered(bundle, cache=cache)
    trials = {trial.backend: trial for trial in known.trials} if known else {}
    bench = _Bench(bundle, check, threads=threads, token_budget=token_budget, cache=cache)
    names = TRIED if wanted == AUTO else (wanted,)
    trials.update({name: bench.timed(name) for name in names if name not in trials})
    serves = None
    for name in sorted(names, key=lambda name: -trials[name].tokens_per_second):
        trials[name] = bench.held(trials[name])
        if trials[name].refused is None:
            serves = name
            break
    fastest = serves or REFERENCE if wanted == AUTO else known.backend if known else REFERENCE
    lasting = tuple(trial for trial in trials.values() if trial.lasts)
    choice = Choice(backend=fastest, machine=machine(), trials=lasting)
    if choice != known:
        _write(place(bundle, cache) / _name(choice.machine), choice)
    if serves is None and (refused := trials[names[0]].refused) is not None:
        raise BackendRefused(refused)
    return replace(choice, backend=serves or REFERENCE)


def serving(name: str, bundle: Bundle, *, cache: Path | None = None) -> str:
    """What may compute a bundle on this machine where `name` is asked for and nothing can be tried: `name`, if it was tried here and agreed.

    Else, with a warning, the reference; of "auto" what has been settled on here, else the reference. Two machines may share a bundle and differ.
    """
    known = remembered(bundle, cache=cache)
    if name == AUTO:
        return known.backend if known else REFERENCE
    trial = known.trial(name) if known else None
    if name == REFERENCE or (trial is not None and trial.refused is None and trial.agreement is not None):
        return name
    why = (trial and trial.refused) or f"{name} has not been held against float32 on this kind of machine"
    logger.warning("%s is computed by %s here: %s", bundle.path, REFERENCE, why)
    return REFERENCE


class _Bench:
    """A bundle on trial: the check set, and windows to time; nothing is read or computed before it is needed."""

    def __init__(
        self, bundle: Bundle, check: CheckSet, *, threads: int | None, token_budget: int, cache: Path | None
    ) -> None:
        self.bundle, self.set, self.token_budget = bundle, check, token_budget
        self.open = cache_of(
            partial(
                open_backend,
                bundle=bundle,
                threads=threads,
                token_budget=token_budget,
                cache=cache,
                texts=check.texts,
            )
        )

    @cached_property
    def check(self) -> Check:
        """The check set, answered by the reference."""
        return Check(self.bundle, self.set, token_budget=self.token_budget)

    @cached_property
    def prepared(self) -> tuple[list[Batch], int]:
        """Batches to time, and how many tokens they hold, padding not counted."""
        windows = self.check.windows
        mean = sum(len(window.ids) for window in windows) / max(1, len(windows))
        timed = drawn(windows, max(1, int(_TOKENS / max(1.0, mean))))
        planned = plan([len(window.ids) for window in timed], token_budget=self.token_budget)
        batches = [collate([timed[index] for index in batch], pad_id=self.check.pad_id) for batch in planned]
        return batches, sum(len(window.ids) for window in timed)

    def timed(self, name: str) -> Trial:
        """How fast it is; a refusal stands in the trial and is not raised."""
        batches, tokens = self.prepared
        try:
            speed = tokens / _seconds(self.open(name), batches)
        except Exception as error:  # whatever a runtime raises: another one serves
            return Trial(backend=name, refused=_reason(name, error), lasts=_lasts(error))
        logger.info("%s: %.0f tokens/s", name, speed)
        return Trial(backend=name, tokens_per_second=speed)

    def held(self, trial: Trial) -> Trial:
        """The trial with how it agrees with the reference, found once; the reference agrees with itself."""
        name = trial.backend
        if trial.refused is not None or trial.agreement is not None or name == REFERENCE:
            return trial
        try:
            agreement = self.check.hold(self.open(name))
        except Exception as error:
            return replace(trial, refused=_reason(name, error), lasts=_lasts(error))
        logger.info("%s: %s", name, agreement.sentence())
        return replace(trial, agreement=agreement, refused=agreement.refusal())


def _lasts(error: Exception) -> bool:
    return not isinstance(error, OSError | MemoryError)


def _reason(name: str, error: Exception) -> str:
    if isinstance(error, BackendRefused):
        return str(error)
    return f"{name} broke on the check set: {type(error).__name__}: {str(error)[:300]}"


def _seconds(backend: Backend, batches: Sequence[Batch]) -> float:
    """The shortest time of some rounds over the batches, after one that warms up; as many as fit in SECONDS, one at least."""
    best, begun = float("inf"), 0.0
    with ThreadPoolExecutor(max_workers=backend.streams) as pool:
        for number in range(1 + _ROUNDS):
            start = time.perf_counter()
            deque(pool.map(backend.run, batches), maxlen=0)
            took = time.perf_counter() - start
            if number == 0:
                begun = time.perf_counter()
                continue
            best = min(best, took)
            if time.perf_counter() - begun > SECONDS:
                break
    return best


def _name(described: Mapping[str, str]) -> str:
    return f"choice-{key(described)}.json"


def _write(file: Path, choice: Choice) -> None:
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.write_text(choice.to_json(), encoding="utf-8")
    draft.replace(file)
