"""Every backend says what float32 PyTorch says, for every kind of head, trunk and batch, and on real sentences after a training."""

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from data_contracts.labelled import read_labelled
from flows.settings import SAMPLE
from models import ensemble
from models.backends import NAMES, BackendRefused, open_backend
from models.backends.agreement import Check, CheckSet
from models.batching import Batch
from models.bundle import Bundle, load
from models.encoder import DEFAULT_TRUNK
from models.engine import Predictor
from models.recipe import TaskData, recipe_for
from models.training import fit
from tests.models.tables import table_of

Maker = Callable[..., Bundle]
BatchOf = Callable[[Bundle], Batch]

# The largest difference of a logit: of bundles whose logits are of a standard deviation near 3.
TOLERANCE = {"torch": 1e-5, "onnx": 1e-4, "torch-bf16": 0.15, "openvino": 0.15, "onnx-int8": 0.6, "openvino-int8": 0.6}
# On real sentences: the largest and the mean difference of a probability, and the share of examples that may be answered otherwise.
PROBABILITY = {
    "onnx": (0.001, 0.0001, 0.01),
    "torch-bf16": (0.05, 0.005, 0.05),
    "openvino": (0.05, 0.005, 0.05),  # in bfloat16 where the CPU has it
    "onnx-int8": (0.35, 0.03, 0.15),
    "openvino-int8": (0.35, 0.03, 0.15),
}
REAL = ("ner", "sentiment")
EXTRA = {"onnx": ("onnx", "onnxruntime"), "openvino": ("openvino", "nncf")}
TEXTS = ["profit of the bank rises", "the river falls in the north of the city on monday", "Acme said a loss"]


def needs(name: str) -> None:
    for package in EXTRA.get(name.partition("-")[0], ()):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")


def agrees(name: str, bundle: Bundle, batch_of: BatchOf) -> None:
    batch = batch_of(bundle)
    exact, near = open_backend("torch", bundle).run(batch), open_backend(name, bundle, texts=TEXTS).run(batch)
    assert list(near) == list(exact) == list(bundle.heads)
    for task, one in exact.items():
        said = near[task]
        assert said.dtype == np.float32
        assert said.shape == one.shape
        held = batch.mask.numpy().astype(bool) if one.ndim == 3 else np.ones(len(one), dtype=bool)
        assert np.abs(said[held] - one[held]).max() <= TOLERANCE[name], task


@pytest.mark.parametrize("name", TOLERANCE)
def test_says_what_float32_says_of_all_heads(name: str, five: Bundle, batch_of: BatchOf) -> None:
    needs(name)
    agrees(name, five, batch_of)


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_takes_batches_of_any_size_and_without_padding(name: str, five: Bundle, batch_of: BatchOf) -> None:
    needs(name)
    batch, reference, backend = batch_of(five), open_backend("torch", five), open_backend(name, five)
    lengths = batch.mask.sum(dim=1).tolist()
    for row in (0, len(batch.ids) - 1):
        alone = Batch(
            *(one[row : row + 1, : lengths[row]] for one in (batch.ids, batch.mask, batch.shapes)), batch.owners[:1]
        )
        exact, near = reference.run(alone), backend.run(alone)
        for task, one in exact.items():
            assert np.abs(near[task] - one).max() <= TOLERANCE[name], task


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_an_ensemble_is_exported_too(
    name: str, make_bundle: Maker, batch_of: BatchOf, check_set: CheckSet, tmp_path: Path
) -> None:
    needs(name)
    one, other = (make_bundle(tasks=("ner", "sentiment"), seed=seed) for seed in (0, 1))
    agrees(name, load(ensemble.build([one.path, other.path], tmp_path / "both", check_set.examples)), batch_of)


def test_a_learnt_prefix_goes_to_onnx_and_openvino_says_so(make_bundle: Maker, batch_of: BatchOf) -> None:
    bundle = make_bundle(tasks=("ner", "sentiment"), prefix=True)
    needs("openvino")
    with pytest.raises(BackendRefused, match="a learnt prefix, which openvino cannot convert; onnx and torch can"):
        open_backend("openvino", bundle)
    needs("onnx")
    agrees("onnx", bundle, batch_of)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler's own parts
def test_compiled_says_it_too(five: Bundle, batch_of: BatchOf) -> None:
    batch = batch_of(five)
    try:
        backend = open_backend("torch-compile", five)
    except BackendRefused as refused:
        pytest.skip(str(refused))
    exact, near = open_backend("torch", five).run(batch), backend.run(batch)
    for task, one in exact.items():
        held = batch.mask.numpy().astype(bool) if one.ndim == 3 else np.ones(len(one), dtype=bool)
        assert np.abs(near[task][held] - one[held]).max() <= TOLERANCE["torch-bf16"], task


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The default trunk after an epoch on the shipped labelled sentences."""
    data = {task: TaskData(sample(task, "train"), sample(task, "dev")) for task in REAL}
    recipe = recipe_for(REAL, epochs=1)
    return load(fit(trunk=DEFAULT_TRUNK, data=data, recipe=recipe, output=tmp_path_factory.mktemp("learnt") / "bundle"))


@pytest.fixture(scope="module")
def real(learnt: Bundle) -> Check:
    """The shipped dev sentences, which it has not learnt from, answered in float32."""
    return Check(learnt, CheckSet(examples={task: sample(task, "dev") for task in REAL}))


@pytest.mark.slow
@pytest.mark.parametrize("name", PROBABILITY)
def test_says_what_float32_says_of_real_sentences(name: str, learnt: Bundle, real: Check) -> None:
    needs(name)
    held = real.hold(open_backend(name, learnt, texts=[one.text for one in sample("sentiment", "train")]))
    largest, mean, changed = PROBABILITY[name]
    for task, one in held.tasks.items():
        assert one.difference <= largest, f"{task}: {held.sentence()}"
        assert one.changed <= changed * one.examples, f"{task}: {held.sentence()}"
    exact, near = (_sentiments(Predictor([learnt], backend=backend)) for backend in ("torch", name))
    assert np.abs(exact - near).mean() <= mean


def sample(task: str, part: str) -> Sequence[Any]:
    return read_labelled(SAMPLE / "labelled" / f"{task}.{part}.jsonl", task).examples


def _sentiments(predictor: Predictor) -> NDArray[np.float64]:
    """(sentences, 3) the probabilities that an engine gives for the shipped dev sentences."""
    articles = predictor.predict(table_of([one.text for one in sample("sentiment", "dev")])).articles
    return np.asarray([articles[name].to_pylist() for name in ("p_negative", "p_neutral", "p_positive")]).T


def test_every_backend_has_its_test() -> None:
    assert {*TOLERANCE, "torch-compile"} == set(NAMES) == {*PROBABILITY, "torch", "torch-compile"}
