"""Networks with the shapes of public ones and random weights, and texts of known lengths: what benchmarks.gpu computes where nothing can be fetched.

How fast a network is does not hang on its weights. The tokenizer is a WordPiece of as many entries as BERT's, most of them invented words; the texts
are drawn from those, so that each has as many tokens as asked for. The entity heads hardly ever see an entity: how what they find is put together is
measured on real weights (benchmarks.headlines). Needs torch, transformers and numpy alone.
"""

from __future__ import annotations

import json
import string
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers import models as token_models
from torch import nn

from models.batching import Batch, default_budget
from models.bundle import Bundle, save
from models.encoder import Encoder, load_trunk
from models.heads import head_class
from models.manifest import Manifest, package_versions
from models.network import Network, Trunk
from models.throughput import matrix_peak

TASKS = ("ner", "sentiment")
LONGEST = 512
AT = 128  # tokens, of texts and of training
PLAIN = 64  # windows a batch of a plain program
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A BERT's sizes."""

    name: str
    hidden: int
    layers: int
    heads: int
    vocabulary: int = 30_522


BERT_BASE = Shape(name="bert-base", hidden=768, layers=12, heads=12)
MINILM = Shape(name="minilm", hidden=384, layers=6, heads=12)
SMALL = Shape(name="small", hidden=64, layers=2, heads=2, vocabulary=2_000)
SHAPES = {shape.name: shape for shape in (BERT_BASE, MINILM, SMALL)}


def bundle(shape: Shape, folder: Path) -> Bundle:
    """A bundle of that shape with the heads of TASKS, written to `folder`; it reads a text whole, in windows of 512."""
    from transformers import BertConfig, BertModel
    from transformers.utils import logging as library

    library.disable_progress_bar()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=shape.vocabulary,
            hidden_size=shape.hidden,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            intermediate_size=4 * shape.hidden,
            max_position_embeddings=LONGEST,
            pad_token_id=0,
        )
        BertModel(config).save_pretrained(folder / "trunk")
        _tokenizer(shape).save(str(folder / "trunk" / "tokenizer.json"))
        (folder / "trunk" / "tokenizer_config.json").write_text(
            json.dumps(
                {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "model_max_length": LONGEST}
            )
        )
        manifest = Manifest(
            trunk=shape.name,
            labels={task: head_class(task).labels for task in TASKS},
            temperatures=dict.fromkeys(TASKS, 1.0),
            max_length=LONGEST,
            overlap=64,
            reading="whole",
            pooling="mean",
            word_shapes=False,
            crf=False,
            vocabulary=shape.vocabulary,
            examples=dict.fromkeys(TASKS, 0),
            metrics={},
            recipe={},
            packages=package_versions(),
        )
        network = Network(Trunk(load_trunk(folder / "trunk"), word_shapes=False), TASKS, manifest.head_options())
        with torch.no_grad():
            network.head("ner").linear.bias[0] = 5.0  # O
    encoder = Encoder.from_directory(folder / "trunk")
    return save(folder / "bundle", network=network, encoder=encoder, manifest=manifest, training_texts={})


def words(shape: Shape) -> list[str]:
    """The invented words of a shape's vocabulary, each one token."""
    letters = np.asarray(list(string.ascii_lowercase))
    draw = np.random.default_rng(0)
    found: dict[str, None] = {}
    while len(found) < shape.vocabulary - len(_SPECIAL) - 2 * len(letters):
        found.setdefault("".join(draw.choice(letters, draw.integers(3, 10))))
    return list(found)


def texts(shape: Shape, lengths: Sequence[int], *, seed: int = 0) -> list[str]:
    """A text of each length in tokens, the two special ones included."""
    known, draw = np.asarray(words(shape)), np.random.default_rng(seed)
    return [" ".join(draw.choice(known, length - 2)) for length in lengths]


def mixed(tokens: int, *, seed: int = 0) -> list[int]:
    """Lengths in tokens, of `tokens` in all or a little more, as of news: half below 24, one in ten above 200, 512 at most."""
    draw, found = np.random.default_rng(seed), 0
    lengths: list[int] = []
    while found < tokens:
        lengths.append(int(np.clip(draw.lognormal(np.log(24), 1.65), 4, LONGEST)))
        found += lengths[-1]
    return lengths


def _tokenizer(shape: Shape) -> Tokenizer:
    letters = string.ascii_lowercase
    entries = [*_SPECIAL, *letters, *(f"##{letter}" for letter in letters), *words(shape)]
    tokenizer = Tokenizer(token_models.WordPiece({entry: n for n, entry in enumerate(entries)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.add_special_tokens(list(_SPECIAL))
    return tokenizer


def padded(rows: Sequence[torch.Tensor]) -> Batch:
    """Ids as one batch where networks are computed, padded to the longest, as a plain program has it."""
    ids = nn.utils.rnn.pad_sequence(list(rows), batch_first=True).to(device())
    mask = nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True).to(device())
    return Batch(ids, mask, torch.zeros_like(ids), torch.arange(len(rows)).to(device()))


def standing(contestants: Mapping[str, Callable[[], float]]) -> dict[str, Callable[[], float]]:
    """Those that run, once each; what breaks is said and left out, so that one that a machine cannot run costs the others nothing."""
    found = {}
    for name, once in contestants.items():
        try:
            once()
        except Exception as error:  # whatever a kernel, a compiler or an allocator raises
            sys.stderr.write(f"{name} is left out: {type(error).__name__}: {str(error)[:500]}\n")
        else:
            found[name] = once
    return found


def device() -> str:
    """Where networks are computed: "cuda" where there is a GPU, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def peak() -> float:
    """FLOPs a second of the fastest matrix product in bfloat16 there."""
    return matrix_peak(device(), torch.bfloat16, torch.get_num_threads())


def budget() -> int:
    """Tokens of a batch there."""
    return default_budget()
