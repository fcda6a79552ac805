"""What agrees with float32 may serve; what does not is refused with its figures."""

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from models.backends import BackendRefused, open_backend
from models.backends.agreement import MOST_CHARACTERS, Agreement, Check, CheckSet, TaskAgreement, begun
from models.batching import Batch, drawn
from models.bundle import Bundle


class Off:
    """The reference with something added to every logit of the first label, for the windows of a batch that are wanted."""

    def __init__(self, bundle: Bundle, *, name: str, by: float) -> None:
        self.name, self.by = name, by
        self.reference = open_backend("torch", bundle)

    def run(self, batch: Batch) -> dict[str, NDArray[np.float32]]:
        found = self.reference.run(batch)
        for one in found.values():
            one[..., 0] += self.by
        return found


def agreement(name: str, *, difference: float = 0.0, f1_change: float = 0.0, changed: int = 0) -> Agreement:
    said = TaskAgreement(difference=difference, f1_change=f1_change, changed=changed, examples=500)
    return Agreement(backend=name, tasks={"ner": said})


def test_the_reference_agrees_with_itself(five: Bundle, check_set: CheckSet) -> None:
    found = Check(five, check_set).hold(open_backend("torch", five))
    assert set(found.tasks) == set(five.heads)
    assert found.refusal() is None
    for one in found.tasks.values():
        assert (one.difference, one.f1_change, one.changed) == (0.0, 0.0, 0)


def test_the_difference_is_that_of_probabilities_at_the_bundles_temperature(five: Bundle, check_set: CheckSet) -> None:
    check = Check(five, check_set)
    found = check.hold(Off(five, name="onnx", by=0.3)).tasks["topics"]
    rows = np.concatenate(check.reference.rows["topics"])
    shifted = rows + np.asarray([0.3, 0.0])
    sigmoid = [1.0 / (1.0 + np.exp(-one / 1.5)) for one in (rows, shifted)]
    assert found.difference == pytest.approx(float(np.abs(sigmoid[0] - sigmoid[1]).max()), abs=1e-6)


def test_a_backend_that_says_something_else_is_refused_with_its_figures(five: Bundle, check_set: CheckSet) -> None:
    found = Check(five, check_set).hold(Off(five, name="onnx", by=5.0))
    refusal = found.refusal()
    assert refusal is not None
    assert "onnx does not agree with float32: " in refusal
    assert "sentiment: probabilities differ by up to 0." in refusal
    assert "allowed are a loss of 0.1 points and a difference of 0.05" in refusal


def test_numbers_that_are_not_finite_are_raised(five: Bundle, check_set: CheckSet) -> None:
    with pytest.raises(FloatingPointError, match="not finite"):
        Check(five, check_set).hold(Off(five, name="onnx", by=float("nan")))


def test_floats_are_held_to_a_tenth_of_a_point_and_a_difference() -> None:
    assert agreement("openvino", difference=0.049, f1_change=-0.0009, changed=4).refusal() is None
    assert agreement("openvino", difference=0.051).refusal() is not None
    assert agreement("openvino", f1_change=-0.0011, changed=4).refusal() is not None
    assert agreement("openvino", f1_change=0.02, changed=4).refusal() is None


def test_eight_bits_are_held_to_half_a_point() -> None:
    assert agreement("openvino-int8", difference=0.3, f1_change=-0.0049, changed=9).refusal() is None
    assert "allowed are a loss of 0.5 points" in str(agreement("openvino-int8", f1_change=-0.0051, changed=9).refusal())


def test_one_example_answered_otherwise_is_let_pass_of_floats_alone() -> None:
    assert agreement("openvino-int8", f1_change=-0.02, changed=1).refusal() is not None
    assert agreement("openvino", f1_change=-0.02, changed=1).refusal() is None


def test_a_task_without_labelled_examples_is_refused(five: Bundle, check_set: CheckSet) -> None:
    lacking = dataclasses.replace(check_set, examples={**check_set.examples, "ner": []})
    with pytest.raises(BackendRefused, match="no labelled examples of ner; needed for each of entity_sentiment, ner"):
        Check(five, lacking)


def test_many_examples_are_drawn_evenly() -> None:
    assert drawn(range(10), 4) == [0, 2, 5, 7]
    assert list(drawn(range(3), 4)) == [0, 1, 2]


def test_of_long_texts_only_the_beginning_is_read() -> None:
    assert begun(["a" * 2_000_000, "short"]) == ["a" * (MOST_CHARACTERS // 2), "short"]
    assert sum(map(len, begun(["word " * 1000] * 300))) <= MOST_CHARACTERS
    assert begun([]) == []
