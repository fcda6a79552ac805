"""What comes before a network: texts become tokens, windows and batches.

Bundles that read alike share a reader, and its work can be done while a network is busy with other texts. Does not cover: what a network says of
the batches (models.scoring).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.bundle import Bundle
from models.cutting import Cuts, cut_all
from models.encoder import Encoder
from models.passes import Work, prepare
from models.tokens import Tokens
from models.windows import Reading


@dataclass(frozen=True, kw_only=True)
class Read:
    """Texts that wait for a network; `errors` says by text why the tokenizer broke on it."""

    tokens: Tokens
    cuts: Cuts
    work: Work
    errors: Mapping[int, str]


@dataclass(frozen=True, kw_only=True)
class Reader:
    """How texts become batches of windows; see models.windows for the lengths, in tokens."""

    encoder: Encoder
    max_length: int
    overlap: int
    reading: Reading
    max_windows: int | None
    token_budget: int

    @classmethod
    def of(cls, bundle: Bundle, *, token_budget: int, max_windows: int | None) -> Reader:
        """As a bundle reads."""
        manifest = bundle.manifest
        return cls(
            encoder=bundle.encoder(),
            max_length=manifest.max_length,
            overlap=manifest.overlap,
            reading=manifest.reading,
            max_windows=max_windows,
            token_budget=token_budget,
        )

    def key(self) -> tuple[object, ...]:
        """Equal for readers that read alike."""
        encoder = self.encoder
        return (encoder.tokenizer.to_str(), encoder.pad_id, encoder.positions, *self._lengths())

    def read(self, texts: Sequence[str]) -> Read:
        """The batches of all windows of some texts."""
        tokens, errors = self._tokens(texts)
        cuts = cut_all(
            tokens,
            self.encoder,
            max_length=self.max_length,
            overlap=self.overlap,
            reading=self.reading,
            max_windows=self.max_windows,
        )
        work = prepare(tokens, cuts, self.encoder, token_budget=self.token_budget)
        return Read(tokens=tokens, cuts=cuts, work=work, errors=errors)

    def _lengths(self) -> tuple[object, ...]:
        return (self.max_length, self.overlap, self.reading, self.max_windows, self.token_budget)

    def _tokens(self, texts: Sequence[str]) -> tuple[Tokens, dict[int, str]]:
        """The tokens; of a text that the tokenizer breaks on none, and why."""
        try:
            return self.encoder.tokens(texts), {}
        except Exception:  # the tokenizer names no text: ask for each alone
            errors = {number: error for number, text in enumerate(texts) if (error := self._complaint(text))}
        return self.encoder.tokens(["" if number in errors else text for number, text in enumerate(texts)]), errors

    def _complaint(self, text: str) -> str | None:
        try:
            self.encoder.tokens([text])
        except Exception as error:
            return f"the tokenizer broke on it: {reason(error)}"
        return None


def reason(error: Exception) -> str:
    """An error's kind and words, short enough for a row."""
    return f"{type(error).__name__}: {error}"[:500]
