"""What both kinds of pruning refuse: see models.compress.magnitude and models.compress.structured."""

from __future__ import annotations

from data_contracts.errors import Fatal
from models.bilstm import BiLstm
from models.bundle import Bundle


class PruningRefused(Fatal):
    """The bundle cannot be pruned, or not so much."""


def refuse_unprunable(bundle: Bundle, share: float) -> None:
    """Raise for a share out of range, and for a bundle that is an ensemble, quantised, has no linear layers to prune, or a learnt prefix.

    A prefix holds keys and values for every attention head that there was when it was learnt.
    """
    if not 0 < share < 1:
        raise PruningRefused(f"a share of {share} to prune; allowed: above 0 and below 1")
    manifest = bundle.manifest
    if manifest.members or manifest.quantization or manifest.trunk_kind != "bert":
        what = "an ensemble" if manifest.members else (manifest.quantization or BiLstm.__name__)
        raise PruningRefused(f"{bundle.path} is {what}; allowed: one bundle of a BERT-like trunk with float32 weights")
    if bundle.network().trunk.prefix is not None:
        raise PruningRefused(f"{bundle.path} has a learnt prefix (tuning 'prefix'); allowed: a bundle without one")
