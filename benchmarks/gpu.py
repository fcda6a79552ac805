"""On a GPU: what share of the measured matrix peak scoring and fine-tuning reach, for the shapes of BERT-base and MiniLM with random weights.

    ids       token ids on the host to scores on the host, at 16, 128 and 512 tokens and at mixed lengths, by each of `--backends`, against a
              plain loop in bfloat16 (batches of 64 in the order given, padded to the longest, torch's fused attention)
    text      from a table of texts to tables of scores by the Predictor, at 128 tokens, against transformers' pipeline (batch 32, bfloat16); and
              what the host alone, making texts into batches, could feed
    training  optimiser steps of models.stepping at 128 tokens with and without torch.compile, against a plain loop in bfloat16 (autocast, AdamW)

Tokens are real ones: padding counts for nothing. A share is model FLOPs over the seconds and over the fastest square matrix product in bfloat16 on
this machine (models.throughput has the formula; a forward pass is a third of a step). The figure is that of BERT-base at 128 tokens, ids to
scores, by the fastest backend; everything else stands beside it. Without a GPU a small size runs on the CPU, which says that it
runs and nothing else. Needs torch, transformers, pyarrow and numpy alone. Does not cover: several GPUs, what entity heads find.

Run `python -m benchmarks.gpu --json`: some eight minutes on an H200, by its peak. Awaiting a GPU.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from benchmarks.figure import Figure, against, command, rates, start
from benchmarks.gpu_inputs import BERT_BASE, LONGEST, MINILM, SMALL, Shape, bundle, mixed, texts
from data_contracts.labelled import SentimentExample
from data_contracts.labels import SENTIMENT
from models.backends import Backend, open_backend
from models.backends.torch import GPU_TOKENS, compiled
from models.batching import Batch
from models.bundle import Bundle
from models.engine import Predictor
from models.fitting import Fitting
from models.reader import Reader
from models.recipe import Recipe, TaskData
from models.stepping import take
from models.throughput import Cost, matrix_peak
from models.training import identity

_AT = 128  # tokens, of texts and of training
_PLAIN, _PIPELINE = 64, 32  # windows a batch
_REACH = {"ids": 0.60, "text": 0.40, "training": 0.45}  # BERT-base at 128 tokens, shares of the peak


def measure(*, runs: int, tokens: int, backends: Sequence[str]) -> Figure:
    """Everything; `tokens` a run, 0 for as many as suit the machine."""
    gpu = torch.cuda.is_available()
    tokens = tokens or (4_000_000 if gpu else 8_000)
    shapes = (BERT_BASE, MINILM) if gpu else (SMALL,)
    also: dict[str, Any] = {"matrix peak in bfloat16, TFLOP/s": _peak() / 1e12}
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for shape in shapes:
            made = bundle(shape, Path(folder) / shape.name)
            for name, lengths in _lengths(tokens, gpu=gpu).items():
                found[shape.name, name] = _ids(shape, made, lengths, backends, runs=runs)
            found[shape.name, "text"] = _text(shape, made, tokens, backends, runs=runs)
            found[shape.name, "training"] = _training(shape, made, tokens, runs=runs)
    for (shape_name, what), values in found.items():
        for who, shares in values.items():
            also[f"{shape_name}, {what}, {who}"] = median(shares)
    first = shapes[0].name
    values = found[first, str(_AT)]
    ours = {
        part: _best(found[first, name])
        for part, name in (("ids", str(_AT)), ("text", "text"), ("training", "training"))
    }
    if gpu:
        also |= {f"reached: {part} >= {_REACH[part]}": median(one) >= _REACH[part] for part, one in ours.items()}
    return against(
        "gpu",
        "share of the matrix peak",
        {"ours": ours["ids"], "peer": values["plain loop"]},
        reach=f"ours >= {_REACH['ids']}" if gpu else "",
        also=also,
        notes=(
            f"{first}, {_AT} tokens, token ids to scores, by the fastest of {', '.join(backends)}; the peer is the plain loop",
            "on a GPU" if gpu else "no GPU here: a small network on the CPU, to show that it runs; it awaits a GPU",
        ),
    )


def _lengths(tokens: int, *, gpu: bool) -> dict[str, list[int]]:
    fixed = (16, _AT, LONGEST) if gpu else (16, _AT)
    return {str(length): [length] * max(1, tokens // length) for length in fixed} | {"mixed": mixed(tokens)}


def _best(values: dict[str, list[float]]) -> list[float]:
    """The runs of ours that are fastest by their median."""
    return max((shares for who, shares in values.items() if who.startswith("ours")), key=median)


def _ids(
    shape: Shape, made: Bundle, lengths: list[int], backends: Sequence[str], *, runs: int
) -> dict[str, list[float]]:
    """Token ids to scores: shares of the peak, by contestant."""
    batches = _batches(made, texts(shape, lengths))
    share = _forward(made, lengths) / _peak()
    contestants: dict[str, Callable[[], float]] = {
        f"ours, {name}": _served(open_backend(name, made, token_budget=_budget()), batches, share) for name in backends
    }
    contestants["plain loop"] = _plain(made, lengths, share)
    return rates(contestants, runs=runs)


def _batches(made: Bundle, given: list[str]) -> Sequence[Batch]:
    return Reader.of(made, token_budget=_budget(), max_windows=None).read(given).work.batches


def _served(backend: Backend, batches: Sequence[Batch], share: float) -> Callable[[], float]:
    """As the engine asks a backend: a thread a stream."""
    pool = ThreadPoolExecutor(max_workers=backend.streams)

    def once() -> float:
        deque(pool.map(backend.run, batches), maxlen=0)
        return share

    return once


def _plain(made: Bundle, lengths: list[int], share: float) -> Callable[[], float]:
    """Batches in the order given, one after the other, as a plain program has it."""
    network = made.network().to(_device(), torch.bfloat16)
    draw = np.random.default_rng(0)
    rows = [torch.from_numpy(draw.integers(5, made.manifest.vocabulary, length)) for length in lengths]

    def once() -> float:
        with torch.inference_mode():
            for begin in range(0, len(rows), _PLAIN):
                some = rows[begin : begin + _PLAIN]
                for one in network.all_logits(_padded(some)).values():
                    one.float().cpu().numpy()
        return share

    return once


def _text(shape: Shape, made: Bundle, tokens: int, backends: Sequence[str], *, runs: int) -> dict[str, list[float]]:
    """A table of texts to tables of scores: shares of the peak, by contestant; `host` is what the host alone could feed."""
    lengths = [_AT] * max(1, tokens // _AT)
    given = texts(shape, lengths)
    share = _forward(made, lengths) / _peak()
    table = pa.table({"id": range(len(given)), "title": given, "body": pa.nulls(len(given), pa.string())})
    reader = Reader.of(made, token_budget=_budget(), max_windows=None)
    part = max(1, len(given) // 8)  # enough of a slower peer

    def predicted(predictor: Predictor) -> Callable[[], float]:
        return lambda: share * (predictor.predict(table).articles.num_rows / len(given))

    def host() -> float:
        reader.read(given)
        return share

    def piped() -> float:
        deque(pipe(given[:part], batch_size=_PIPELINE), maxlen=0)
        return share * part / len(given)

    pipe = _pipeline(made, shape)
    ours = {f"ours, {name}": predicted(Predictor([made], backend=name, token_budget=_budget())) for name in backends}
    return rates(ours | {"host": host, "pipeline": piped}, runs=runs)


def _pipeline(made: Bundle, shape: Shape) -> Any:
    """transformers' pipeline for the sentiment alone, of the same trunk with a head of its own."""
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, pipeline
    from transformers.utils import logging as library

    library.set_verbosity_error()
    config = BertConfig.from_pretrained(made.path / "trunk", num_labels=len(SENTIMENT))
    model = BertForSequenceClassification(config).eval().to(torch.bfloat16)
    tokenizer = AutoTokenizer.from_pretrained(made.path.parent / "trunk")
    return pipeline("text-classification", model=model, tokenizer=tokenizer, device=_device())


def _training(shape: Shape, made: Bundle, tokens: int, *, runs: int) -> dict[str, list[float]]:
    """Optimiser steps at 128 tokens, as many tokens a run as half of `tokens`: shares of the peak, by contestant."""
    given = texts(shape, [_AT] * max(2, tokens // 2 // _AT))
    examples = [SentimentExample(text=text, label=SENTIMENT[n % 3]) for n, text in enumerate(given)]
    recipe = Recipe(epochs=2 * (runs + 1), batch_tokens=_budget() // 2, max_length=_AT, overlap=16)
    both = {name: _fitting(made, examples, recipe) for name in ("ours", "ours, compiled", "plain loop")}
    if torch.cuda.is_available():
        compiled(both["ours, compiled"].network)
    else:
        del both["ours, compiled"]
    share = Cost.of(both["ours"].network).flops([_AT] * len(given)) / _peak()

    def stepped(fitting: Fitting) -> Callable[[], float]:
        def once() -> float:
            fitting.wrapped.train()
            take(fitting, fitting.epochs.steps(fitting.epochs_done), fitting.epochs.items(fitting.epochs_done))
            fitting.epochs_done, fitting.epoch_step = fitting.epochs_done + 1, 0
            return share

        return once

    plain = both.pop("plain loop")
    contestants = {name: stepped(fitting) for name, fitting in both.items()}
    return rates({**contestants, "plain loop": _plain_steps(plain, share)}, runs=runs)


def _fitting(made: Bundle, examples: Sequence[SentimentExample], recipe: Recipe) -> Fitting:
    return Fitting.start(
        trunk=str(made.path.parent / "trunk"),
        data={"sentiment": TaskData(examples, examples[:2])},
        recipe=recipe,
        output=made.path.parent / "fitted",
        rank=0,
        world=1,
        wrap=identity,
        allow_hub=False,
    )


def _plain_steps(fitting: Fitting, share: float) -> Callable[[], float]:
    """Batches of 64 in order, autocast, AdamW as it comes: what a plain program has."""
    network, items = fitting.network, fitting.items["sentiment"]
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-5)

    def once() -> float:
        network.train()
        for begin in range(0, len(items), _PLAIN):
            some = items[begin : begin + _PLAIN]
            batch = _padded([torch.from_numpy(item.windows[0].ids) for item in some])
            labels = torch.tensor([int(item.targets[0][0]) for item in some]).to(_device())
            with torch.autocast(_device(), dtype=torch.bfloat16):
                loss = nn.functional.cross_entropy(network("sentiment", batch).float(), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad()
        loss.item()
        return share

    return once


def _padded(rows: Sequence[torch.Tensor]) -> Batch:
    """Ids as one batch where the network is, padded to the longest."""
    ids = nn.utils.rnn.pad_sequence(list(rows), batch_first=True).to(_device())
    mask = nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True).to(_device())
    return Batch(ids, mask, torch.zeros_like(ids), torch.arange(len(rows)).to(_device()))


def _forward(made: Bundle, lengths: Sequence[int]) -> float:
    """The FLOPs of one forward pass."""
    return Cost.of(made.network().requires_grad_()).flops(lengths) / 3


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _peak() -> float:
    return matrix_peak(_device(), torch.bfloat16, torch.get_num_threads())


def _budget() -> int:
    return GPU_TOKENS if torch.cuda.is_available() else 2048


def _command() -> argparse.ArgumentParser:
    parser = command(__doc__)
    parser.add_argument("--tokens", type=int, default=0, help="a run; 0: 4 million on a GPU, 8,000 without (0)")
    parser.add_argument(
        "--backends",
        nargs="+",
        default=("torch-bf16", "torch-compile") if torch.cuda.is_available() else ("torch-bf16",),
        metavar="NAME",
        help="of models.backends (torch-bf16, on a GPU torch-compile too)",
    )
    return parser


if __name__ == "__main__":
    start(measure, _command())
