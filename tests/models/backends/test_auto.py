"""auto: the fastest backend that agrees is chosen, remembered, and chosen again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.backends import AUTO, Backend, BackendRefused, auto, open_backend
from models.backends.agreement import CheckSet
from models.backends.machine import key, machine
from models.batching import Batch
from models.bundle import Bundle

Maker = Callable[..., Bundle]


SECONDS = {"torch": 0.05, "torch-bf16": 0.02, "openvino": 0.01}


class Fake:
    """The reference under another name, off by a number."""

    def __init__(self, bundle: Bundle, name: str, *, by: float = 0.0) -> None:
        self.name, self.by = name, by
        self.reference = open_backend("torch", bundle)

    def run(self, batch: Batch) -> dict[str, NDArray[np.float32]]:
        found = self.reference.run(batch)
        return {task: one + np.float32(self.by) * (np.arange(one.shape[-1]) == 0) for task, one in found.items()}


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the backends opened: torch is slower than torch-bf16, openvino fastest but disagrees, onnx breaks, others are missing."""
    asked: list[str] = []

    def fake(name: str, bundle: Bundle, **_: Any) -> Backend:
        asked.append(name)
        if name == "onnx":
            raise RuntimeError("no such kernel")
        if name not in SECONDS:
            raise BackendRefused(f"{name} is not here")
        return Fake(bundle, name, by=5.0 * (name == "openvino"))

    monkeypatch.setattr(auto, "open_backend", fake)
    monkeypatch.setattr(auto, "_seconds", lambda backend, batches: SECONDS[backend.name])
    return asked


@pytest.fixture
def bundle(make_bundle: Maker) -> Bundle:
    """One of its own each time, since a choice lies beside it."""
    return make_bundle(tasks=("ner", "sentiment"))


def test_the_fastest_that_agrees_is_chosen(opened: list[str], bundle: Bundle, check_set: CheckSet) -> None:
    choice = auto.settle(bundle, check_set)
    assert choice.backend == "torch-bf16"
    assert opened == list(auto.TRIED)
    refused = {trial.backend: trial.refused for trial in choice.trials}
    assert "openvino does not agree with float32" in str(refused["openvino"])
    assert refused["onnx"] == "onnx broke on the check set: RuntimeError: no such kernel"
    assert refused["torch"] is None
    fast, slow = choice.trial("torch-bf16"), choice.trial("torch")
    assert fast is not None
    assert slow is not None
    assert fast.tokens_per_second > slow.tokens_per_second > 0


def test_the_choice_is_remembered_and_nothing_is_tried_again(
    opened: list[str], bundle: Bundle, check_set: CheckSet
) -> None:
    first = auto.settle(bundle, check_set)
    opened.clear()
    assert auto.settle(bundle, check_set) == first == auto.remembered(bundle)
    assert not opened
    assert open_backend(AUTO, bundle).name == "torch-bf16"


def test_another_machine_is_tried_anew(
    opened: list[str], bundle: Bundle, check_set: CheckSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    auto.settle(bundle, check_set)
    monkeypatch.setattr(auto, "machine", lambda: {"cpu": "another"})
    assert auto.remembered(bundle) is None
    assert key(machine()) == key(machine()) != key({**machine(), "torch": "another"})


def test_without_a_choice_auto_is_the_reference(bundle: Bundle) -> None:
    assert open_backend(AUTO, bundle).name == "torch"


def test_a_damaged_memory_is_no_memory(opened: list[str], bundle: Bundle, check_set: CheckSet) -> None:
    auto.settle(bundle, check_set)
    (file,) = (bundle.path / "exports").glob("*/choice-*.json")
    file.write_text("{", encoding="utf-8")
    assert auto.remembered(bundle) is None
    assert auto.settle(bundle, check_set).backend == "torch-bf16"


def test_a_backend_that_is_wanted_serves_if_it_agrees(opened: list[str], bundle: Bundle, check_set: CheckSet) -> None:
    assert auto.settle(bundle, check_set, wanted="torch-bf16").backend == "torch-bf16"
    assert opened == ["torch-bf16"]
    with pytest.raises(BackendRefused, match="openvino does not agree with float32: "):
        auto.settle(bundle, check_set, wanted="openvino")
    with pytest.raises(BackendRefused, match="no backend 'tensorrt'; allowed are auto, torch"):
        auto.settle(bundle, check_set, wanted="tensorrt")


def test_what_another_day_may_mend_is_not_remembered(
    opened: list[str], bundle: Bundle, check_set: CheckSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(backend: Backend, batches: object) -> float:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as once:
        once.setattr(auto, "_seconds", full)
        with pytest.raises(BackendRefused, match="No space left on device"):
            auto.settle(bundle, check_set, wanted="torch-bf16")
    assert auto.settle(bundle, check_set, wanted="torch-bf16").backend == "torch-bf16"


def test_the_reference_needs_no_trial(opened: list[str], bundle: Bundle, check_set: CheckSet, tmp_path: Path) -> None:
    assert auto.settle(bundle, check_set, wanted="torch").backend == "torch"
    assert not opened
    assert not (bundle.path / "exports").exists()


def test_only_trying_one_backend_does_not_settle_auto(opened: list[str], bundle: Bundle, check_set: CheckSet) -> None:
    auto.settle(bundle, check_set, wanted="torch-bf16")
    opened.clear()
    auto.settle(bundle, check_set)
    assert opened == [name for name in auto.TRIED if name != "torch-bf16"]


def test_slower_backends_than_the_one_chosen_are_not_held_until_one_is_wanted(
    opened: list[str], bundle: Bundle, check_set: CheckSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SECONDS, "openvino-int8", 0.04)
    slow = auto.settle(bundle, check_set).trial("openvino-int8")
    assert slow is not None
    assert (slow.agreement, slow.refused) == (None, None)
    held = auto.settle(bundle, check_set, wanted="openvino-int8").trial("openvino-int8")
    assert held is not None
    assert held.agreement is not None
    assert open_backend(AUTO, bundle).name == "torch-bf16"


def test_another_machine_takes_a_named_backend_only_if_it_agreed_there(
    opened: list[str],
    bundle: Bundle,
    check_set: CheckSet,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    auto.settle(bundle, check_set)
    assert [auto.serving(name, bundle) for name in (AUTO, "torch", "torch-bf16")] == [
        "torch-bf16",
        "torch",
        "torch-bf16",
    ]
    assert auto.serving("openvino", bundle) == "torch"
    assert "does not agree with float32" in caplog.text
    monkeypatch.setattr(auto, "machine", lambda: {"cpu": "another"})
    assert {auto.serving(name, bundle) for name in (AUTO, "torch", "torch-bf16")} == {"torch"}
    assert "torch-bf16 has not been held against float32 on this kind of machine" in caplog.text
