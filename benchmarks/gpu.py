"""On a GPU: what share of the measured matrix peak scoring and fine-tuning reach, for the shapes of BERT-base and MiniLM with random weights.

    ids       token ids on the host to scores on the host, at 16, 128 and 512 tokens and at mixed lengths, by each of `--backends`, against a
              plain loop in bfloat16 (batches of 64 in the order given, padded to the longest, torch's fused attention)
    text      from a table of texts to tables of scores by the Predictor, at 128 tokens, against transformers' pipeline (batch 32, bfloat16); and
              what the host alone, making texts into batches, could feed
    training  optimiser steps at 128 tokens, against a plain loop in bfloat16 (benchmarks.gpu_training)

Tokens are real ones: padding counts for nothing. A share is model FLOPs over the seconds and over the fastest square matrix product in bfloat16 on
this machine (models.throughput has the formula; a forward pass is a third of a step). The figure is that of BERT-base at 128 tokens, ids to
scores, by the fastest backend; everything else stands beside it, and what breaks is left out and named. Without a GPU a small size runs on the CPU,
which says that it runs and nothing else. Needs torch, transformers, pyarrow and numpy alone. Does not cover: several GPUs, what entity heads
find.

Run `python -m benchmarks.gpu --json`; where a command may not take long, a part and a shape at a time. Awaiting a GPU.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from benchmarks.figure import Figure, against, command, rates, start
from benchmarks.gpu_inputs import (
    AT,
    LONGEST,
    PLAIN,
    SHAPES,
    Shape,
    budget,
    bundle,
    device,
    mixed,
    padded,
    peak,
    standing,
    texts,
)
from benchmarks.gpu_training import steps
from data_contracts.labels import SENTIMENT
from models.backends import Backend, BackendRefused, open_backend
from models.batching import Batch
from models.bundle import Bundle
from models.engine import Predictor
from models.reader import Reader
from models.throughput import Cost

_PIPELINE = 32  # texts a batch
_REACH = {"ids": 0.60, "text": 0.40, "training": 0.45}  # BERT-base at 128 tokens, shares of the peak


def measure(*, runs: int, tokens: int, backends: Sequence[str], shapes: Sequence[str], parts: Sequence[str]) -> Figure:
    """What `parts` name, of `shapes`; `tokens` a run, 0 for as many as suit the machine."""
    gpu = torch.cuda.is_available()
    tokens = tokens or (4_000_000 if gpu else 8_000)
    also: dict[str, Any] = {"matrix peak in bfloat16, TFLOP/s": peak() / 1e12}
    figures: dict[tuple[str, str], dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in shapes:
            shape, made = SHAPES[name], bundle(SHAPES[name], Path(folder) / name)
            opened = _opened(made, backends) if {"ids", "text"} & set(parts) else {}
            if "ids" in parts:
                for what, lengths in _lengths(tokens, gpu=gpu).items():
                    figures[name, what] = _ids(shape, made, lengths, opened, runs=runs)
            if "text" in parts:
                figures[name, "text"] = _text(shape, made, tokens, opened, runs=runs)
            if "training" in parts:
                figures[name, "training"] = steps(shape, made, tokens, runs=runs)
    for (name, what), values in figures.items():
        also |= {f"{name}, {what}, {who}": median(shares) for who, shares in values.items()}
        part = what if what in _REACH else "ids"
        if name == "bert-base" and what in (str(AT), "text", "training"):
            also[f"reached: {part} >= {_REACH[part]}"] = median(_best(values)) >= _REACH[part]
    of = (shapes[0], str(AT) if parts[0] == "ids" else parts[0])
    return against(
        "gpu",
        "share of the matrix peak",
        {"ours": _best(figures[of]), "peer": figures[of]["pipeline" if parts[0] == "text" else "plain loop"]},
        reach=f"ours >= {_REACH[parts[0]]}" if shapes[0] == "bert-base" else "",
        also=also,
        notes=(
            f"the figure: {of[0]}, {of[1]}, the fastest of ours against the {'pipeline' if parts[0] == 'text' else 'plain loop'}",
            "on a GPU" if gpu else "no GPU here: a small network on the CPU, to show that it runs; it awaits a GPU",
        ),
    )


def _opened(made: Bundle, backends: Sequence[str]) -> dict[str, Backend]:
    """The backends that can be opened, once for all lengths: compiling takes a minute."""
    found: dict[str, Backend] = {}
    for name in backends:
        try:
            found[name] = open_backend(name, made, token_budget=budget())
        except BackendRefused as refused:
            sys.stderr.write(f"{name} is left out: {refused}\n")
    return found


def _lengths(tokens: int, *, gpu: bool) -> dict[str, list[int]]:
    fixed = (16, AT, LONGEST) if gpu else (16, AT)
    return {str(length): [length] * max(1, tokens // length) for length in fixed} | {"mixed": mixed(tokens)}


def _best(values: dict[str, list[float]]) -> list[float]:
    """The runs of ours that are fastest by their median."""
    return max((shares for who, shares in values.items() if who.startswith("ours")), key=median)


def _ids(
    shape: Shape, made: Bundle, lengths: list[int], opened: Mapping[str, Backend], *, runs: int
) -> dict[str, list[float]]:
    """Token ids to scores: shares of the peak, by contestant."""
    batches = _batches(made, texts(shape, lengths))
    share = _forward(made, lengths) / peak()
    contestants = {f"ours, {name}": _served(backend, batches, share) for name, backend in opened.items()}
    return rates(standing({**contestants, "plain loop": _plain(made, lengths, share)}), runs=runs)


def _batches(made: Bundle, given: list[str]) -> Sequence[Batch]:
    return Reader.of(made, token_budget=budget(), max_windows=None).read(given).work.batches


def _served(backend: Backend, batches: Sequence[Batch], share: float) -> Callable[[], float]:
    """As the engine asks a backend: a thread a stream."""
    pool = ThreadPoolExecutor(max_workers=backend.streams)

    def once() -> float:
        deque(pool.map(backend.run, batches), maxlen=0)
        return share

    return once


def _plain(made: Bundle, lengths: list[int], share: float) -> Callable[[], float]:
    """Batches in the order given, one after the other, as a plain program has it."""
    network = made.network().to(device(), torch.bfloat16)
    draw = np.random.default_rng(0)
    rows = [torch.from_numpy(draw.integers(5, made.manifest.vocabulary, length)) for length in lengths]

    def once() -> float:
        with torch.inference_mode():
            for begin in range(0, len(rows), PLAIN):
                some = rows[begin : begin + PLAIN]
                for one in network.all_logits(padded(some)).values():
                    one.float().cpu().numpy()
        return share

    return once


def _text(
    shape: Shape, made: Bundle, tokens: int, opened: Mapping[str, Backend], *, runs: int
) -> dict[str, list[float]]:
    """A table of texts to tables of scores: shares of the peak, by contestant; `host` is what the host alone could feed."""
    lengths = [AT] * max(1, tokens // AT)
    given = texts(shape, lengths)
    share = _forward(made, lengths) / peak()
    table = pa.table({"id": range(len(given)), "title": given, "body": pa.nulls(len(given), pa.string())})
    reader = Reader.of(made, token_budget=budget(), max_windows=None)
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
    ours = {f"ours, {name}": predicted(Predictor([made], backend=name, token_budget=budget())) for name in opened}
    return rates(standing(ours | {"host": host, "pipeline": piped}), runs=runs)


def _pipeline(made: Bundle, shape: Shape) -> Any:
    """transformers' pipeline for the sentiment alone, of the same trunk with a head of its own."""
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, pipeline
    from transformers.utils import logging as library

    library.set_verbosity_error()
    config = BertConfig.from_pretrained(made.path / "trunk", num_labels=len(SENTIMENT))
    model = BertForSequenceClassification(config).eval().to(torch.bfloat16)
    tokenizer = AutoTokenizer.from_pretrained(made.path.parent / "trunk")
    return pipeline("text-classification", model=model, tokenizer=tokenizer, device=device())


def _forward(made: Bundle, lengths: Sequence[int]) -> float:
    """The FLOPs of one forward pass."""
    return Cost.of(made.network().requires_grad_()).flops(lengths) / 3


def _command() -> argparse.ArgumentParser:
    gpu = torch.cuda.is_available()
    parser = command(__doc__)
    parser.add_argument("--tokens", type=int, default=0, help="a run; 0: 4 million on a GPU, 8,000 without (0)")
    parser.add_argument(
        "--backends",
        nargs="+",
        default=("torch-bf16", "torch-compile") if gpu else ("torch-bf16",),
        metavar="NAME",
        help="of models.backends (torch-bf16, on a GPU torch-compile too)",
    )
    parser.add_argument(
        "--shapes",
        nargs="+",
        choices=tuple(SHAPES),
        default=("bert-base", "minilm") if gpu else ("small",),
        help="(bert-base minilm; small without a GPU)",
    )
    parser.add_argument("--parts", nargs="+", choices=tuple(_REACH), default=tuple(_REACH), help="(all)")
    return parser


if __name__ == "__main__":
    start(measure, _command())
