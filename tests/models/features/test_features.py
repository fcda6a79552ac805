"""Every file in models/features numbers words within its table, and says of them what it says it does."""

import pkgutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import models.features
from models.features import NONE, UnknownFeature, feature, hashed, numbers, table_size
from models.features.shape import pattern

NAMES = sorted(module.name for module in pkgutil.iter_modules(models.features.__path__))


@pytest.mark.parametrize("name", NAMES)
@given(words=st.lists(st.text(min_size=1, max_size=40), max_size=12))
def test_every_word_has_its_numbers_within_the_table(name: str, words: list[str]) -> None:
    one = feature(name)
    found = one.numbers(words).reshape(len(words), one.width)
    assert found.dtype == np.int64
    assert ((found >= 0) & (found < one.size)).all()


def test_features_together_share_no_number() -> None:
    words = ["Acme", "Holdings", "plc", "fell"]
    together = numbers(NAMES, words)
    assert together.shape == (4, sum(feature(name).width for name in NAMES))
    assert together.max() < table_size(NAMES)
    begin, column = 1, 0
    for name in NAMES:
        mine = together[:, column : column + feature(name).width]
        kept = mine[mine != NONE]
        assert ((kept > begin) & (kept < begin + feature(name).size)).all()
        begin, column = begin + feature(name).size, column + feature(name).width
    assert numbers((), words).shape == (4, 0)
    assert table_size(()) == 1


@pytest.mark.parametrize(
    ("word", "drawn"),
    [("Acme", "Xx"), ("ACME", "XX"), ("A", "X"), ("iPhone", "xXx"), ("2026", "d"), ("A.B.", "X.X."), ("USA.B", "XX.X")],
)
def test_a_shape_is_a_collapsed_pattern(word: str, drawn: str) -> None:
    assert pattern(word) == drawn


def test_case_changes_affixes_and_shapes() -> None:
    for name in ("affix", "shape"):
        assert (feature(name).numbers(["Acme"]) != feature(name).numbers(["acme"])).any()


def test_a_company_form_is_seen_from_its_neighbours() -> None:
    found = feature("company_form").numbers(["Halden", "Marine", "Holdings", "plc", "ag", "fell"])
    assert (found != NONE).tolist() == [
        [False, False, True, False],
        [False, True, True, False],
        [True, True, False, False],
        [True, False, False, True],
        [False, False, False, True],
        [False, False, False, False],
    ]
    assert feature("company_form").numbers(["PLC"]).tolist() == feature("company_form").numbers(["Plc"]).tolist()


def test_hashes_are_the_same_in_every_run() -> None:
    assert [hashed("^Ac", 4096), hashed("me$", 4096)] == [93, 1902]
    assert 0 < hashed("\ud800", 4096) < 4096


def test_an_unknown_feature_is_refused_by_name() -> None:
    with pytest.raises(UnknownFeature, match="allowed are affix, company_form, shape"):
        feature("gazetteer")
