"""Exports: where they lie, what cannot be exported, what is said where a library is missing."""

import builtins
import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from models.backends import BackendRefused, open_backend
from models.backends.exports import kept, place, traceable
from models.bundle import Bundle, load

Maker = Callable[..., Bundle]


def test_exports_lie_in_the_bundle_and_leave_it_whole(five: Bundle) -> None:
    directory = place(five, None)
    assert directory == five.path / "exports" / five.digest[:16]
    assert load(five.path).digest == five.digest


def test_where_the_bundle_cannot_be_written_the_cache_is_taken(five: Bundle, tmp_path: Path) -> None:
    shutil.copytree(five.path, tmp_path / "bundle", ignore=shutil.ignore_patterns("exports"))
    (tmp_path / "bundle" / "exports").write_text("in the way")
    bundle = load(tmp_path / "bundle")
    assert place(bundle, tmp_path / "cache") == tmp_path / "cache" / "exports" / five.digest[:16]
    with pytest.raises(BackendRefused, match="an export needs a place"):
        place(bundle, None)


@pytest.fixture
def bundle(make_bundle: Maker) -> Bundle:
    """One of its own, without exports."""
    return make_bundle(tasks=("sentiment",))


def test_an_export_is_made_once_and_a_failed_one_leaves_nothing(bundle: Bundle) -> None:
    made: list[Path] = []

    def fail(draft: Path) -> None:
        (draft / "half").touch()
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        kept(bundle, None, "onnx-1", fail)
    assert not list(place(bundle, None).iterdir())
    for _ in range(2):
        assert kept(bundle, None, "onnx-1", made.append) == place(bundle, None) / "onnx-1"
    assert len(made) == 1
    assert [one.name for one in place(bundle, None).iterdir()] == ["onnx-1"]


def test_an_export_may_be_read_by_whoever_may_read_the_bundle(bundle: Bundle) -> None:
    made = kept(bundle, None, "onnx-1", lambda draft: None)
    assert made.stat().st_mode == bundle.path.joinpath("exports").stat().st_mode


def test_an_export_that_is_there_needs_no_place_to_write(bundle: Bundle, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    there = kept(bundle, None, "onnx-1", lambda draft: None)
    assert kept(bundle, cache, "onnx-1", pytest.fail) == there
    shutil.copytree(place(bundle, None), cache / "exports" / bundle.digest[:16])
    shutil.rmtree(there)
    assert kept(bundle, cache, "onnx-1", pytest.fail) == cache / "exports" / bundle.digest[:16] / "onnx-1"


def test_of_two_that_export_at_once_the_first_counts(bundle: Bundle) -> None:
    directory = place(bundle, None)

    def overtaken(draft: Path) -> None:
        (draft / "mine").touch()
        (directory / "onnx-1").mkdir()
        (directory / "onnx-1" / "theirs").touch()

    assert [one.name for one in kept(bundle, None, "onnx-1", overtaken).iterdir()] == ["theirs"]
    assert [one.name for one in directory.iterdir()] == ["onnx-1"]


@pytest.mark.parametrize(
    ("stated", "reason"),
    [({"trunk_kind": "bilstm"}, "has a BiLSTM"), ({"quantization": "int8"}, "has weights of eight bits")],
)
def test_what_cannot_be_exported_is_refused_and_says_what_serves_it(
    stated: dict[str, str], reason: str, five: Bundle
) -> None:
    bundle = dataclasses.replace(five, manifest=dataclasses.replace(five.manifest, **stated))
    with pytest.raises(BackendRefused, match=f"{reason}, which openvino cannot compute; the backend that can is torch"):
        traceable("openvino", bundle)


@pytest.mark.parametrize(("name", "package"), [("openvino", "openvino"), ("onnx", "onnxruntime")])
def test_a_missing_library_names_the_extra(
    name: str, package: str, five: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def refuse(module: str, *rest: object, **more: object) -> object:
        if module == package:
            raise ImportError(f"No module named {package!r}")
        return real(module, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(
        BackendRefused, match=rf"needs the package {package}: install the extra, pip install 'nightdesk\[{name}\]'"
    ):
        open_backend(name, five)


def test_an_eight_bit_export_asks_for_texts(make_bundle: Maker) -> None:
    pytest.importorskip("nncf")
    with pytest.raises(BackendRefused, match="needs real texts to calibrate on"):
        open_backend("openvino-int8", make_bundle(tasks=("sentiment",), seed=2))


def test_openvino_reports_to_nobody() -> None:
    pytest.importorskip("openvino")
    import sys

    assert sys.modules["openvino_telemetry"] is None
