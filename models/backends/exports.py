"""A network as other runtimes take it: tensors in, tensors out, traced once and kept on disk.

Exports lie in `exports/<first of the bundle's digest>/` in the bundle's own directory, which its digest does not count, or, where nothing can be
written there, in the same folders of a cache. An export's name says the runtime's version, so a new version makes a new one; it is written under
a temporary name and renamed, so two processes may export at once and neither reads half a file.

Traced are BERT-like trunks of float32 weights with their word shapes, all five heads, ensembles and, for ONNX, learnt prefixes. Not exported: a
BiLSTM, whose packed rows no runtime takes, and bundles of eight-bit weights, whose products are PyTorch's own. Those stay with "torch".
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from models.backends import BackendRefused
from models.batching import Batch, collate
from models.bilstm import KIND as BILSTM
from models.bundle import Bundle
from models.network import Network
from models.windows import cut

FOLDER = "exports"
_PROBE = ("a longer text with some more words in it than the other has", "a text")


class Flat(nn.Module):
    """A network that takes ids, mask and, where it reads them, shapes, (windows, tokens) each, and gives its tasks' logits in a tuple."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, ids: torch.Tensor, mask: torch.Tensor, shapes: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, ...]:
        """Logits (windows, outputs) or (windows, tokens, outputs), or vectors (windows, hidden), by task in the order of their names."""
        given = torch.zeros_like(ids) if shapes is None else shapes
        found = self.network.all_logits(Batch(ids, mask, given, ids[:, 0]))
        return tuple(found[task] for task in self.network.tasks)


def inputs(bundle: Bundle, batch: Batch) -> dict[str, NDArray[np.int64]]:
    """What an exported network of the bundle is fed with, by name."""
    fed = {"ids": batch.ids.numpy(), "mask": batch.mask.numpy()}
    return {**fed, "shapes": batch.shapes.numpy()} if bundle.manifest.word_shapes else fed


def example(bundle: Bundle) -> Batch:
    """A small batch of two lengths, to trace with."""
    encoder, manifest = bundle.encoder(), bundle.manifest
    windows = [
        cut(text, encoder, max_length=manifest.max_length, overlap=manifest.overlap, reading=manifest.reading)[0]
        for text in encoder.encode(_PROBE)
    ]
    return collate(windows, pad_id=encoder.pad_id)


def traceable(name: str, bundle: Bundle) -> Network:
    """The bundle's network, to be exported for the backend `name`; BackendRefused where that cannot be."""
    for one in (bundle, *bundle.members()):
        kind = "a BiLSTM" if one.manifest.trunk_kind == BILSTM else "weights of eight bits"
        if one.manifest.trunk_kind == BILSTM or one.manifest.quantization:
            raise BackendRefused(f"{one.path} has {kind}, which {name} cannot compute; the backend that can is torch")
    return bundle.network()


@contextmanager
def tracing() -> Iterator[None]:
    """No gradients, and none of the warnings that tracing gives about what is constant on purpose."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def places(bundle: Bundle, cache: Path | None) -> list[Path]:
    """The directories in which the bundle's exports may lie, the first first."""
    return [root / FOLDER / bundle.digest[:16] for root in (bundle.path, cache) if root is not None]


def place(bundle: Bundle, cache: Path | None) -> Path:
    """The first of them in which something can be written, made if need be; BackendRefused where there is none."""
    for directory in places(bundle, cache):
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(directory, os.W_OK):
            return directory
    raise BackendRefused(
        f"nothing can be written in {bundle.path}, nor in {cache or 'a cache, since none is named'}; an export needs a place"
    )


def kept(bundle: Bundle, cache: Path | None, name: str, make: Callable[[Path], None]) -> Path:
    """The bundle's export of that name, a folder; made by `make`, which fills the folder it is given, where it is in no place yet."""
    for directory in places(bundle, cache):
        if (directory / name).is_dir():
            return directory / name
    there = place(bundle, cache) / name
    with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=there.parent, ignore_cleanup_errors=True) as folder:
        draft = Path(folder) / name
        draft.mkdir()
        make(draft)
        try:
            draft.rename(there)
        except OSError:  # another process was first
            if not there.is_dir():
                raise
    return there
