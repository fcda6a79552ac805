"""The machine at hand, by what decides which backend is fastest on it. Does not cover: what else runs on it meanwhile."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

_LIBRARIES = ("torch", "transformers", "openvino", "nncf", "onnx", "onnxruntime")
_CPU = Path("/proc/cpuinfo")


def machine() -> dict[str, str]:
    """CPU, cores, GPU and the runtimes' versions, "absent" for what is not there."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "absent"
    found = {"cpu": _cpu(), "cores": str(cores()), "gpu": gpu}
    return {**found, **{name: _version(name) for name in _LIBRARIES}}


def cores() -> int:
    """CPU cores that this process may use; all there are where the system does not tell (macOS, Windows)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def key(described: Mapping[str, str]) -> str:
    """16 hex digits that stand for a machine as described."""
    return hashlib.sha256(
        "\n".join(f"{name} {value}" for name, value in sorted(described.items())).encode()
    ).hexdigest()[:16]


def _cpu() -> str:
    """The model and its instruction sets, where the system tells; two machines of one model may differ in what their host lets them use."""
    try:
        lines = [line.partition(":") for line in _CPU.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return platform.processor() or platform.machine()
    told = {name.strip(): value.strip() for name, _, value in reversed(lines)}
    wide = [flag for flag in told.get("flags", "").split() if flag.startswith(("avx", "amx"))]
    return " ".join([told.get("model name", platform.machine()), *sorted(wide)])


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"
