"""OpenVINO on the CPU: traced from PyTorch, in bfloat16 where the CPU multiplies it, else float32; or with eight bits in addition.

Eight bits are NNCF's post-training quantisation of weights and activations, the latter by the ranges seen on real windows, for transformers
(Jacob et al. 2018; SmoothQuant, Xiao et al. 2023, which NNCF brings for them). Heads, and what is not a matrix product, stay as they are. The
ranges are fixed when the export is made, so a score does not depend on its neighbours.

Needs the extra `openvino`; `nncf` only to make an eight-bit export. Neither may report to anybody: the module that would is barred before they are
imported. Does not cover: OpenVINO's GPU and NPU devices.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from threading import local
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.backends import BackendRefused
from models.backends.exports import Flat, example, inputs, kept, traceable, tracing
from models.batching import Batch, collate, drawn, plan
from models.bundle import Bundle
from models.prefix import Prefix
from models.windows import cut

logger = logging.getLogger(__name__)

CALIBRATION_WINDOWS = 300
_RECIPE = 2  # counts the ways in which eight bits have been made here; an export of another is made anew
# Heads, a thousandth of the work; and the products that take the first three layers' wide activations back, whose few large ones cost every other
# one its precision: with them the largest difference of a probability was .49, without .23, for 8% of the speed (docs/log.md).
_NOT_QUANTISED = (r".*\.heads\..*", r".*layer\.[012]\.output\.dense.*")
_SMOOTHING = (
    0.8  # how much of the activations' range goes over into the weights (Xiao et al. 2023); NNCF's own default is 0.95
)
_BATCH = 8  # windows that are shown to the quantisation at once


class OpenVinoBackend:
    """A compiled model; each thread that runs batches has a stream of its own, of as many cores as OpenVINO finds best.

    On two cores that is a batch a core: neither waits for the other at every product, the less so beside other programs.
    """

    def __init__(self, name: str, bundle: Bundle, compiled: Any) -> None:
        self.name = name
        self.bundle = bundle
        self.compiled = compiled
        self.streams = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self.own = local()

    def run(self, batch: Batch) -> dict[str, NDArray[np.float32]]:
        """A batch on the CPU -> by task the logits (windows, outputs) or (windows, tokens, outputs); of document heads (windows, hidden)."""
        request = getattr(self.own, "request", None)
        if request is None:
            request = self.own.request = self.compiled.create_infer_request()
        found = request.infer(list(inputs(self.bundle, batch).values()), share_inputs=True)
        return {
            task: np.asarray(one, dtype=np.float32) for task, one in zip(self.bundle.heads, found.values(), strict=True)
        }


def open_backend(
    name: str,
    bundle: Bundle,
    *,
    threads: int | None,
    token_budget: int,
    cache: Path | None,
    texts: Sequence[str],
) -> OpenVinoBackend:
    """The bundle compiled for this CPU, exported first where it has not been; `texts` are read to make an eight-bit export."""
    openvino = _library("openvino")
    if name not in ("openvino", "openvino-int8"):
        raise BackendRefused(f"no backend {name!r} in OpenVINO; allowed are openvino, openvino-int8")
    exported = kept(bundle, cache, f"openvino-{version('openvino')}", lambda draft: _export(name, bundle, draft))
    if name == "openvino-int8":
        floating = exported
        exported = kept(
            bundle,
            cache,
            f"openvino-int8-{version('openvino')}-{_RECIPE}",
            lambda draft: _quantise(bundle, floating, draft, texts=texts, token_budget=token_budget),
        )
    core = openvino.Core()
    able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    options: dict[str, Any] = {
        "PERFORMANCE_HINT": "THROUGHPUT",
        "INFERENCE_PRECISION_HINT": "bf16" if "BF16" in able else "f32",
    }
    if threads is not None:
        options["INFERENCE_NUM_THREADS"] = threads
        # else every process of a machine pins its threads to the same first cores
        options["ENABLE_CPU_PINNING"] = False
    return OpenVinoBackend(name, bundle, core.compile_model(str(exported / "model.xml"), "CPU", options))


def _library(name: str) -> Any:
    """`openvino` or `nncf`, told to report nothing."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # as if it were not installed
    try:
        if name == "openvino":
            import openvino

            return openvino
        import nncf

        logging.getLogger("nncf").setLevel(logging.WARNING)
        return nncf
    except ImportError as error:
        raise BackendRefused(
            f"this backend needs the package {name}: install the extra, pip install 'nightdesk[openvino]' ({error})"
        ) from error


def _export(name: str, bundle: Bundle, draft: Path) -> None:
    openvino = _library("openvino")
    network = traceable(name, bundle)
    if any(isinstance(module, Prefix) for module in network.modules()):
        raise BackendRefused(f"{bundle.path} has a learnt prefix, which {name} cannot convert; onnx and torch can")
    logger.info("exporting %s for OpenVINO", bundle.path)
    given = tuple(inputs(bundle, example(bundle)).values())
    try:
        with tracing():
            model = openvino.convert_model(Flat(network).eval(), example_input=tuple(map(torch.from_numpy, given)))
    except Exception as error:  # whatever tracing or conversion raises on a foreign trunk
        raise BackendRefused(
            f"OpenVINO cannot take {bundle.path} ({type(error).__name__}: {str(error)[:300]}); torch can"
        ) from error
    openvino.save_model(model, draft / "model.xml", compress_to_fp16=False)


def _quantise(bundle: Bundle, floating: Path, draft: Path, *, texts: Sequence[str], token_budget: int) -> None:
    openvino, nncf = _library("openvino"), _library("nncf")
    fed = _calibration(bundle, texts, token_budget=token_budget)
    if not fed:
        raise BackendRefused(
            f"{bundle.path} has no eight-bit export for OpenVINO yet, and making one needs real texts to calibrate on"
        )
    logger.info("quantising %s for OpenVINO on %d batches of real windows", bundle.path, len(fed))
    model = openvino.Core().read_model(floating / "model.xml")
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, AdvancedSmoothQuantParameters

    with redirect_stdout(StringIO()):  # it draws bars
        quantised = nncf.quantize(
            model,
            nncf.Dataset(fed, list),
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(fed),
            ignored_scope=nncf.IgnoredScope(patterns=list(_NOT_QUANTISED), validate=False),
            advanced_parameters=AdvancedQuantizationParameters(
                smooth_quant_alphas=AdvancedSmoothQuantParameters(matmul=_SMOOTHING)
            ),
        )
    openvino.save_model(quantised, draft / "model.xml", compress_to_fp16=False)


def _calibration(bundle: Bundle, texts: Sequence[str], *, token_budget: int) -> list[list[NDArray[np.int64]]]:
    """Batches of windows from `texts`, evenly drawn from all of them, of like lengths, as in use."""
    encoder, manifest = bundle.encoder(), bundle.manifest
    windows = [
        window
        for text in encoder.encode(texts)
        for window in cut(
            text, encoder, max_length=manifest.max_length, overlap=manifest.overlap, reading=manifest.reading
        )
    ]
    chosen = drawn(windows, CALIBRATION_WINDOWS)
    batches = plan([len(window.ids) for window in chosen], token_budget=min(token_budget, _BATCH * manifest.max_length))
    return [
        list(inputs(bundle, collate([chosen[index] for index in part], pad_id=encoder.pad_id)).values())
        for batch in batches
        for part in (batch[begin : begin + _BATCH] for begin in range(0, len(batch), _BATCH))
    ]
