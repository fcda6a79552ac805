"""Several models of one task made into one: an ensemble that asks them all, or a soup of their weights. Bundles and labelled files in, a bundle out.

What either is, is said in models.ensemble and models.soup. A combination is named by its members and the dev examples it was calibrated on, so
that one made before is found and not made again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from data_contracts.errors import Fatal
from tasks.narrow import narrowed
from tasks.step import step
from tasks.train import MAX_REJECTED_SHARE, read_part

How: TypeAlias = Literal["ensemble", "soup"]


@step("combine")
def combine(
    models: Sequence[str],
    *,
    how: How,
    task: str,
    dev: Sequence[str],
    storage: str,
    max_rejected_share: float = MAX_REJECTED_SHARE,
) -> str:
    """The directory of the bundle that some bundles make together.

    Args:
        models: their directories; of a joint model only the head of `task` is taken.
        how: "ensemble" or "soup".
        task: what they answer.
        dev: labelled files to calibrate and measure on.
        storage: where rejected lines and the combination go.
        max_rejected_share: of a file's lines, 0 to 1.

    Raises:
        EnsembleRefused: they cannot be combined.
    """
    from models.bundle import load
    from models.ensemble import build
    from models.evaluation import data_hash
    from models.soup import soup

    ways = {"ensemble": build, "soup": soup}
    if how not in ways:
        raise Fatal(f"combine as {how!r}; allowed: {', '.join(ways)}")
    read = read_part(dev, task, rejects=Path(storage) / "rejected", max_rejected_share=max_rejected_share)
    paths = [narrowed(Path(one), [task], Path(storage) / "narrowed") for one in models]
    digests = sorted(load(path).digest for path in paths)
    told = hashlib.sha256("\n".join([*digests, data_hash(read.examples)]).encode()).hexdigest()[:16]
    output = Path(storage) / "combined" / f"{how}-{task}-{told}"
    if not (output / "manifest.json").is_file():
        ways[how](paths, output, {task: read.examples})
    return str(output)
