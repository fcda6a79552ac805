"""Legal forms of companies (Inc, Corp, Ltd, Plc, AG, ...): whether a word is one, follows one, or stands one or two words before one.

"Halden Marine Holdings plc" is a company to one who has read of none. A form counts as it is written in names: "AG" is one, "ag" is not.
Does not cover: forms of several words ("Sdn Bhd" counts by its first) or with stops inside ("S.A.", which a tokenizer parts).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.features import NONE, Feature

FORMS = (
    "Inc", "Incorporated", "Corp", "Corporation", "Co", "Company", "Ltd", "Limited", "LLC", "LLP", "LP", "Plc",
    "AG", "SE", "GmbH", "KG", "SA", "SAS", "SpA", "SRL", "NV", "BV", "AB", "ASA", "AS", "Oy", "Oyj",
    "KK", "Pty", "Pte", "Bhd", "Sdn", "Tbk", "Group", "Holdings", "Holding", "Partners", "Bancorp",
)  # fmt: skip
_SPELLINGS = {"plc": "Plc", "PLC": "Plc", "INC": "Inc", "CORP": "Corp", "LTD": "Ltd", "CO": "Co", "oyj": "Oyj"}
_NUMBER = {form: number for number, form in enumerate(FORMS, start=1)}
_PLACES = 4  # the word itself, the word after it, the one after that, the word before it


def _numbers(words: Sequence[str]) -> NDArray[np.int64]:
    form = np.asarray([_NUMBER.get(_SPELLINGS.get(word, word), NONE) for word in words], dtype=np.int64)
    around = np.concatenate([[NONE], form, [NONE, NONE]])
    columns = [around[1 + shift : 1 + shift + len(words)] for shift in (0, 1, 2, -1)]
    rows = np.stack(columns, axis=1)
    return np.where(rows == NONE, NONE, rows + np.arange(_PLACES) * len(FORMS))


FEATURE = Feature(width=_PLACES, size=1 + _PLACES * len(FORMS), numbers=_numbers)
