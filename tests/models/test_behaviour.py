"""Cases are what they say, and a model that ignores a word is caught by the test that is about that word."""

from collections.abc import Sequence

import pytest

from models.behaviour import COVERED, Ask, Probe, Reply, behaviour, cases_of, fill


def answering(positive: str, negative: str) -> Ask:
    """A model that looks for two words."""

    def ask(probes: Sequence[Probe]) -> list[Reply]:
        found = []
        for probe in probes:
            label = "positive" if positive in probe.text else "negative" if negative in probe.text else "neutral"
            found.append(Reply(labels=(label,), scores=({"positive": 0.9, "negative": -0.9}.get(label, 0.0),)))
        return found

    return ask


@pytest.mark.parametrize("task", COVERED)
def test_cases_are_distinct_and_their_names_stand_where_they_say(task: str) -> None:
    texts = [tuple(probe.text for probe in case.probes) for case in cases_of(task)]
    assert len(texts) == len(set(texts)) >= 30
    assert {case.test for case in cases_of(task)} == {"negation", "entity swap", "number change", "passive"}
    for case in cases_of(task):
        assert all("{" not in probe.text for probe in case.probes)
        assert all(probe.text[start:end][0].isupper() for probe in case.probes for start, end in probe.spans)
        assert len({len(probe.spans) for probe in case.probes}) == 1


def test_a_model_that_overhears_the_negation_fails_just_there() -> None:
    found = {(one.test, one.kind): one for one in behaviour("sentiment", answering("win", "loss"))}
    negation = found["negation", "MFT"]
    assert 0 < negation.passed < negation.total
    assert "did not win the contract" in negation.failures[0].texts[0]
    assert (negation.failures[0].expected, negation.failures[0].said) == ("not positive", ("positive (+0.90)",))
    assert len(negation.failures) <= 5
    assert found["passive", "INV"].passed == found["passive", "INV"].total


def test_a_model_that_knows_a_name_fails_the_swap() -> None:
    found = {(one.test, one.kind): one for one in behaviour("sentiment", answering("Norvane", "Brackwell"))}
    assert found["entity swap", "INV"].passed == 0


def test_a_model_that_finds_no_name_passes_no_test_of_names() -> None:
    def ask(probes: Sequence[Probe]) -> list[Reply]:
        return [Reply(labels=("none",) * len(probe.spans)) for probe in probes]

    assert {one.passed for one in behaviour("ner", ask)} == {0}


def test_slots_keep_their_order_whatever_their_place() -> None:
    probe = fill("{1} was sued by {0}.", "Norvane", "Tessaly")
    assert probe.text == "Tessaly was sued by Norvane."
    assert [probe.text[start:end] for start, end in probe.spans] == ["Norvane", "Tessaly"]
