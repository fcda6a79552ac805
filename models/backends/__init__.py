"""Backends: one bundle's network on one runtime, each a file of this folder behind the one protocol `Backend`.

A backend's name is its runtime, which is the file's name, and after a hyphen how that runtime computes:

    torch           float32: the reference that every other is held against
    torch-bf16      bfloat16 in the trunk; heads, as everywhere, in float32
    torch-compile   the same network compiled, in bfloat16 or float32, whichever is faster
    onnx            ONNX Runtime, float32
    onnx-int8       ONNX Runtime, weights of eight bits, activations quantised as they come
    openvino        OpenVINO, in bfloat16 where the machine computes in it, else float32
    openvino-int8   OpenVINO, weights and activations of eight bits, calibrated on real windows

A runtime's library is imported by its own file when a backend is opened, never before; torch alone is always there. Which backend may serve is
for models.backends.agreement to say, and which is fastest for models.backends.auto. Does not cover: cutting texts and batching windows
(models.passes), other machines than the one at hand.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import Fatal
from models.batching import Batch

if TYPE_CHECKING:
    from models.bundle import Bundle

AUTO = "auto"
REFERENCE = "torch"
NAMES = (REFERENCE, "torch-bf16", "torch-compile", "onnx", "onnx-int8", "openvino", "openvino-int8")


class BackendRefused(Fatal):
    """No backend of that name, or it cannot serve this bundle on this machine; the text says what can."""


class Backend(Protocol):
    """Turns a batch of windows into every head's logits. One bundle's network on one runtime."""

    @property
    def name(self) -> str:
        """One of NAMES."""

    @property
    def streams(self) -> int:
        """How many threads should run batches at once: 1 where a batch takes all cores, or where the order of calls matters."""

    def run(self, batch: Batch) -> dict[str, NDArray[np.float32]]:
        """A batch on the CPU -> by task the logits (windows, outputs) or (windows, tokens, outputs); of document heads (windows, hidden).

        Raises whatever the runtime raises where the batch is too large for the memory or breaks a kernel.
        """


def open_backend(
    name: str,
    bundle: Bundle,
    *,
    threads: int | None = None,
    token_budget: int = 2048,
    cache: Path | None = None,
    texts: Sequence[str] = (),
) -> Backend:
    """A bundle on a backend by its name, whether it agrees with the reference or not.

    Args:
        name: one of NAMES, or "auto": what models.backends.auto has settled on for this machine, the reference where it has not.
        bundle: whose network it computes.
        threads: of the CPU; what the runtime takes by itself where left out.
        token_budget: the largest batch to expect, in tokens with their padding.
        cache: a directory for exports where none can be written beside the bundle.
        texts: real ones, which an eight-bit export is calibrated on where there is none yet.

    Raises:
        BackendRefused: there is no such backend, its library is not installed, or it cannot compute this bundle.
    """
    if name == AUTO:
        from models.backends.auto import serving

        name = serving(name, bundle, cache=cache)
    if name not in NAMES:
        raise BackendRefused(f"no backend {name!r}; allowed are {AUTO}, {', '.join(NAMES)}")
    runtime = name.partition("-")[0]
    opened: Backend = pkgutil.resolve_name(f"models.backends.{runtime}:open_backend")(
        name, bundle, threads=threads, token_budget=token_budget, cache=cache, texts=texts
    )
    return opened
