"""Fine-tuning in real tokens a second, on one worker and on two, against transformers' `Trainer` with the same network, batch and precision.

Both fine-tune the same network (the default trunk, a sentiment head over the mean of its states) on the same sentences, `--batch` a step over all
workers, in bfloat16 by autocast with AdamW and clipping, an epoch a run, in turn, in the same processes. A token counts if it is learnt from:
padding does not. `Trainer` is left at its defaults otherwise: batches in random order, padded to their longest, torch's fused attention. Ours
groups by length, spells attention out, and lets only the embedding rows that occur learn (models.schedule, models.dropout, models.rows); dropout is
0.1 for both, and drawn by torch's own generator. Workers are processes that average their gradients over gloo, the cores shared evenly among
them; Ray Train starts the same processes in use, and its start-up is no part of the figure. The figure is the number of workers with the lower
ratio. Needs accelerate, as `Trainer` does. Does not cover: evaluation on dev, checkpoints, a GPU (benchmarks.gpu).

Run `python -m benchmarks.training --json`.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import os
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.distributed
import torch.multiprocessing
from torch import nn

from benchmarks.figure import Figure, Missing, against, command, rates, start
from benchmarks.texts import SAMPLE
from data_contracts.labelled import read_labelled
from models.batching import Batch
from models.fitting import Fitting
from models.items import Item, head_options
from models.network import Network
from models.recipe import TaskData, recipe_for
from models.starting import begin
from models.stepping import take
from models.training import identity
from tasks.cluster.trainer import joined

_TASK = "sentiment"


@dataclasses.dataclass(frozen=True)
class _Given:
    """What every worker is told."""

    file: Path
    rows: int
    runs: int
    batch: int
    precision: str
    trunk: str
    world: int
    results: Path


def measure(
    *, rows: int, runs: int, data: Path | None, batch: int, precision: str, workers: Sequence[int], trunk: str
) -> Figure:
    """Tokens a second of both, for each number of workers; rows are training sentences."""
    file = (data or SAMPLE) / "labelled" / (f"{_TASK}/phrasebank.train.jsonl" if data else f"{_TASK}.train.jsonl")
    if not file.is_file():
        raise Missing(f"{file} is not there; --data names a directory that has it; without it the sample's is read")
    found = {world: _run(_Given(file, rows, runs, batch, precision, trunk, world, Path())) for world in workers}
    ratios = {world: median(one["rates"]["ours"]) / median(one["rates"]["peer"]) for world, one in found.items()}
    worst = min(ratios, key=lambda world: ratios[world])
    also: dict[str, Any] = {}
    for world, one in found.items():
        named = f"with {world} worker{'s' * (world > 1)}"
        also[f"ratio {named}"] = ratios[world]
        also[f"ours {named}, tokens/s"] = median(one["rates"]["ours"])
        also[f"peer {named}, tokens/s"] = median(one["rates"]["peer"])
        also[f"flops utilisation {named}"] = one["utilisation"]
        also[f"padding in the peer's batches {named}"] = one["padding"]
    return against(
        "training",
        "tokens/s",
        found[worst]["rates"],
        reach="ratio >= 1.3",
        also=also,
        notes=(
            f"{rows} sentences of {file.name}, {batch} a step over all workers, {precision}; runs are those with {worst} worker(s)",
            "the peer: transformers Trainer at its defaults, same network, batch and precision",
        ),
    )


def _run(given: _Given) -> dict[str, Any]:
    """One number of workers, in processes of their own."""
    with tempfile.TemporaryDirectory() as folder:
        given = dataclasses.replace(given, results=Path(folder) / "results.json")
        torch.multiprocessing.spawn(_worker, args=(given,), nprocs=given.world)
        found: dict[str, Any] = json.loads(given.results.read_text(encoding="utf-8"))
        return found


def _worker(rank: int, given: _Given) -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(max(1, cores // given.world))
    os.environ["OMP_NUM_THREADS"] = str(torch.get_num_threads())  # Trainer's accelerate sets it otherwise
    if given.world > 1:
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
        for name, value in (("RANK", rank), ("WORLD_SIZE", given.world)):  # as accelerate asks for them
            os.environ[name] = os.environ[f"LOCAL_{name}"] = str(value)
        meet = f"file://{given.results.with_name('meet')}"
        torch.distributed.init_process_group("gloo", meet, rank=rank, world_size=given.world)
    found = _rates(rank, given)
    if rank == 0:
        given.results.write_text(json.dumps(found), encoding="utf-8")
    if given.world > 1:
        gc.collect()  # a wrapped network that outlives its group may wait, in the group's destructor, for a thread that waits for the GIL
        torch.distributed.destroy_process_group()


def _rates(rank: int, given: _Given) -> dict[str, Any]:
    """Tokens a second of every run of both, the share of the flops ours used, and that of the peer's places that were padding."""
    examples = read_labelled(str(given.file), _TASK).examples[: given.rows]
    data = {_TASK: TaskData(examples, examples[:2])}
    recipe = recipe_for((_TASK,), batch_size=given.batch, precision=given.precision, epochs=given.runs + 1)
    fitting = Fitting.start(
        trunk=given.trunk,
        data=data,
        recipe=recipe,
        output=given.results.parent / str(rank),
        rank=rank,
        world=given.world,
        wrap=joined if given.world > 1 else identity,
        allow_hub=False,
    )
    tokens = sum(item.length for item in fitting.items[_TASK])
    peer = _Model(begin(given.trunk, (_TASK,), head_options(data, recipe), word_shapes=False).network)
    trainer = _trainer(peer, fitting, given)

    def ours() -> float:
        _epoch(fitting)
        return _met(tokens, given.world)

    def theirs() -> float:
        trainer.train()
        return _met(tokens, given.world)

    return {
        "rates": rates({"ours": ours, "peer": theirs}, runs=given.runs),
        "utilisation": fitting.throughput.figures()["flops_utilisation"],
        "padding": 1 - peer.tokens / peer.places,
    }


def _met(tokens: int, world: int) -> float:
    """The tokens that a run took, once every worker has done its part of it."""
    if world > 1:
        torch.distributed.barrier()
    return float(tokens)


def _epoch(fitting: Fitting) -> None:
    """All steps of an epoch, as Fitting.epoch takes them, without the evaluation that follows."""
    fitting.wrapped.train()
    fitting.throughput += take(
        fitting, fitting.epochs.steps(fitting.epochs_done), fitting.epochs.items(fitting.epochs_done)
    )
    fitting.epochs_done, fitting.epoch_step = fitting.epochs_done + 1, 0


def _trainer(model: _Model, fitting: Fitting, given: _Given) -> Any:
    """A `Trainer` of a model on the items of a fitting."""
    from transformers import PrinterCallback, Trainer, TrainingArguments
    from transformers.utils import logging as library

    library.set_verbosity_error()
    arguments = TrainingArguments(
        output_dir=str(given.results.parent / "peer"),
        num_train_epochs=1,
        per_device_train_batch_size=max(1, given.batch // given.world),
        bf16=given.precision == "bf16",
        use_cpu=True,
        ddp_backend="gloo" if given.world > 1 else None,
        ddp_find_unused_parameters=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
    )
    pad = partial(nn.utils.rnn.pad_sequence, batch_first=True)

    def collated(items: list[Item]) -> dict[str, torch.Tensor]:
        """Padded to the longest, as DataCollatorWithPadding does."""
        rows = [torch.from_numpy(item.windows[0].ids) for item in items]
        return {
            "input_ids": pad(rows, padding_value=fitting.encoder.pad_id),
            "attention_mask": pad([torch.ones_like(row) for row in rows]),
            "labels": torch.tensor([int(item.targets[0][0]) for item in items]),
        }

    trainer = Trainer(model=model, args=arguments, train_dataset=_Items(fitting.items[_TASK]), data_collator=collated)
    trainer.remove_callback(PrinterCallback)
    return trainer


class _Items(torch.utils.data.Dataset[Item]):
    """Items by number."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Item:
        return self.items[index]


class _Model(nn.Module):
    """A network as `Trainer` takes a model: a loss from ids, mask and labels. It counts its tokens, and its places, padding included."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network, self.tokens, self.places = network, 0, 0

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor) -> dict[str, Any]:
        """Ids and mask (windows, tokens), labels (windows,)."""
        self.tokens += int(attention_mask.sum())
        self.places += attention_mask.numel()
        batch = Batch(input_ids, attention_mask, torch.zeros_like(input_ids), torch.arange(len(input_ids)))
        logits = self.network(_TASK, batch)
        return {"loss": self.network.head(_TASK).loss(logits, labels), "logits": logits}


def _command() -> argparse.ArgumentParser:
    parser = command(__doc__, rows=1024)
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="see benchmarks/texts.py; else the shipped sample's sentences"
    )
    parser.add_argument("--batch", type=int, default=32, help="sentences a step, over all workers (32)")
    parser.add_argument("--precision", choices=("bf16", "float32"), default="bf16")
    parser.add_argument("--workers", type=int, nargs="+", default=(1, 2), metavar="N", help="one after the other (1 2)")
    parser.add_argument("--trunk", default="minilm", help="a name of models.starting (minilm)")
    return parser


if __name__ == "__main__":
    start(measure, _command())
