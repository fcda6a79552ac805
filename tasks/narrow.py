"""A joint bundle reduced to some of its heads.

Two joint models may each be the better one at one task. Then each serves its task alone, and a scorer that were given both whole would have
two answers to every question. The narrowed bundle has the same trunk, the same weights and so the same scores, and a digest of its own.

Not covered: joining heads of different trunks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path

from data_contracts.errors import Fatal
from models.bundle import load, save, save_ensemble
from models.network import Network


def narrowed(bundle_dir: Path, tasks: Collection[str], root: Path) -> Path:
    """The bundle itself when it serves just `tasks`; else a copy with their heads alone, kept under `root` by digest and tasks."""
    bundle = load(bundle_dir)
    heads = tuple(sorted(tasks))
    if heads == bundle.heads:
        return bundle_dir
    if missing := sorted(set(heads) - set(bundle.heads)) or not heads:
        raise Fatal(
            f"{bundle_dir} has the heads {', '.join(bundle.heads)}; asked for {', '.join(heads) or 'none'} (missing {missing})"
        )
    target = root / f"{bundle.digest[:16]}-{'-'.join(heads)}"
    if (target / "manifest.json").is_file():
        return target
    whole_manifest = bundle.manifest
    manifest = dataclasses.replace(
        whole_manifest,
        labels={task: whole_manifest.labels[task] for task in heads},
        temperatures={task: whole_manifest.temperatures[task] for task in heads},
        examples={task: whole_manifest.examples[task] for task in heads},
        metrics={task: whole_manifest.metrics[task] for task in heads},
        ece_before={task: whole_manifest.ece_before[task] for task in heads},
    )
    if whole_manifest.members:
        members = {
            name: load(narrowed(member.path, heads, root))
            for name, member in zip(whole_manifest.members, bundle.members(), strict=True)
        }
        return save_ensemble(target, members=members, manifest=manifest).path
    whole = bundle.network()
    small = Network(whole.trunk, heads, bundle.manifest.head_options())
    small.load_state_dict({name: value for name, value in whole.state_dict().items() if name in small.state_dict()})
    texts = {task: bundle.learnt() for task in heads}  # the trunk they share has seen them all
    save(
        target,
        network=small,
        encoder=bundle.encoder(),
        manifest=manifest,
        training_texts=texts,
    )
    return target
