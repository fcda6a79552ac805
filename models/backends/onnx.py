"""ONNX Runtime, float32, or eight bits where the activations' scales are found as they come; on a CUDA GPU where the build has it.

The export goes through PyTorch's tracing exporter, which the one built on `torch.export` is to replace: traced, the default trunk took 8 s, where
the new one had not ended after 2 minutes on the same busy core. Eight bits are ONNX Runtime's own dynamic quantisation (a scale a column of weights,
one scale for a batch's activations): a score depends a little on its neighbours in the batch, unlike every other backend's. Heads stay in float32.

Needs the extra `onnx`; the package `onnx` only to make an export. Does not cover: TensorRT, static quantisation.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.backends import BackendRefused
from models.backends.exports import Flat, example, inputs, kept, traceable, tracing
from models.batching import Batch
from models.bundle import Bundle

logger = logging.getLogger(__name__)

_MODEL = "model.onnx"


class OnnxBackend:
    """A session that shares a batch out among its threads."""

    streams = 1

    def __init__(self, name: str, bundle: Bundle, session: Any) -> None:
        self.name = name
        self.bundle = bundle
        self.session = session

    def run(self, batch: Batch) -> dict[str, NDArray[np.float32]]:
        """A batch on the CPU -> by task the logits (windows, outputs) or (windows, tokens, outputs); of document heads (windows, hidden)."""
        found = self.session.run(list(self.bundle.heads), inputs(self.bundle, batch))
        return dict(zip(self.bundle.heads, found, strict=True))


def open_backend(
    name: str, bundle: Bundle, *, threads: int | None, token_budget: int, cache: Path | None, texts: Sequence[str]
) -> OnnxBackend:
    """The bundle in a session, exported first where it has not been."""
    runtime = _library("onnxruntime")
    if name not in ("onnx", "onnx-int8"):
        raise BackendRefused(f"no backend {name!r} in ONNX Runtime; allowed are onnx, onnx-int8")
    exported = kept(bundle, cache, f"onnx-{version('torch')}", lambda draft: _export(name, bundle, draft))
    if name == "onnx-int8":
        floating = exported
        exported = kept(bundle, cache, f"onnx-int8-{version('onnxruntime')}", lambda draft: _quantise(floating, draft))
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    able = runtime.get_available_providers()
    wanted = [one for one in ("CUDAExecutionProvider", "CPUExecutionProvider") if one in able]
    return OnnxBackend(name, bundle, runtime.InferenceSession(str(exported / _MODEL), options, providers=wanted))


def _library(name: str) -> Any:
    try:
        if name == "onnxruntime":
            import onnxruntime

            return onnxruntime
        import onnx

        return onnx
    except ImportError as error:
        raise BackendRefused(
            f"this backend needs the package {name}: install the extra, pip install 'nightdesk[onnx]' ({error})"
        ) from error


def _export(name: str, bundle: Bundle, draft: Path) -> None:
    _library("onnx")
    network = traceable(name, bundle)
    logger.info("exporting %s for ONNX Runtime", bundle.path)
    fed = {field: torch.from_numpy(array) for field, array in inputs(bundle, example(bundle)).items()}
    axes = {0: "windows", 1: "tokens"}
    outputs = {task: axes if network.head(task).level == "word" else {0: "windows"} for task in bundle.heads}
    try:
        with tracing():
            torch.onnx.export(
                Flat(network).eval(),
                tuple(fed.values()),
                str(draft / _MODEL),
                input_names=list(fed),
                output_names=list(outputs),
                dynamic_axes={**dict.fromkeys(fed, axes), **outputs},
                opset_version=17,
                dynamo=False,
            )
    except Exception as error:  # whatever tracing or conversion raises on a foreign trunk
        raise BackendRefused(
            f"ONNX cannot take {bundle.path} ({type(error).__name__}: {str(error)[:300]}); torch can"
        ) from error


def _quantise(floating: Path, draft: Path) -> None:
    onnx = _library("onnx")
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(str(floating / _MODEL))
    heads = [node.name for node in model.graph.node if "/heads" in node.name]
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)  # it advises on the root logger
    try:
        quantize_dynamic(
            floating / _MODEL, draft / _MODEL, per_channel=True, weight_type=QuantType.QInt8, nodes_to_exclude=heads
        )
    finally:
        root.setLevel(before)
