"""The benchmark of fine-tuning trains by both, in processes of their own, and keeps every run."""

from pathlib import Path

import pytest

from benchmarks.figure import Missing
from benchmarks.training import measure


@pytest.mark.slow
def test_both_learn_from_the_same_tokens_with_one_worker_and_with_two(tiny_trunk: Path) -> None:
    figure = measure(
        rows=12,
        runs=2,
        data=None,
        batch=4,
        precision="float32",
        workers=(1, 2),
        trunk=str(tiny_trunk),
    )
    assert (figure.name, figure.unit) == ("training", "tokens/s")
    assert {who: len(values) for who, values in figure.runs.items()} == {"ours": 2, "peer": 2}
    assert figure.ratio == min(figure.also["ratio with 1 worker"], figure.also["ratio with 2 workers"])
    assert 0 < figure.also["flops utilisation with 2 workers"] < 1
    assert 0 <= figure.also["padding in the peer's batches with 1 worker"] < 1


def test_a_directory_without_the_set_is_said(tmp_path: Path) -> None:
    with pytest.raises(Missing, match="phrasebank"):
        measure(rows=1, runs=1, data=tmp_path, batch=1, precision="bf16", workers=(1,), trunk="minilm")
