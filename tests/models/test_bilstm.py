"""The BiLSTM is a trunk like any other: it learns, is saved and loaded, and reads no padding."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from models.backends.torch import TorchBackend
from models.bilstm import BiLstm, BiLstmConfig, BiLstmRefused, bilstm_after
from models.bundle import load
from models.encoder import load_trunk
from models.passes import run
from models.recipe import Recipe, TaskData
from models.scoring import Scorer
from models.training import fit

Data = dict[str, TaskData]
CONFIG = BiLstmConfig(vocab_size=50, embedding_size=12, hidden_size=16)


@pytest.fixture(scope="module")
def learnt(tiny_trunk: Path, tiny_data: Data, tiny_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = dataclasses.replace(tiny_recipe, learning_rate=1e-2, epochs=40)
    output = tmp_path_factory.mktemp("bilstm") / "bundle"
    return fit(trunk=f"bilstm@{tiny_trunk}", data=tiny_data, recipe=recipe, output=output)


def test_it_learns_ten_examples_of_each_task_by_heart(learnt: Path) -> None:
    bundle = load(learnt)
    assert (bundle.metrics["sentiment"]["macro_f1"], bundle.metrics["ner"]["micro_f1"]) == (1.0, 1.0)
    assert bundle.manifest.trunk_kind == "bilstm"


def test_its_bundle_scores_like_any_other_and_does_not_look_at_neighbours(learnt: Path) -> None:
    scorer = Scorer(load(learnt), token_budget=2048, max_windows=None)
    assert isinstance(scorer.backend.network.trunk.encoder, BiLstm)
    texts = ["profit rises sharply", "the bank said on monday " * 9, "loss"]
    together, alone = scorer.score(texts), [scorer.score([text])[0] for text in texts]
    for one, other in zip(together, alone, strict=True):
        assert one.error is None
        assert one.probabilities["sentiment"] == pytest.approx(other.probabilities["sentiment"], abs=1e-5)


def test_padding_has_no_effect_and_no_state() -> None:
    trunk = BiLstm(CONFIG).eval()
    ids = torch.randint(1, 50, (1, 5))
    padded = torch.cat([ids, torch.randint(1, 50, (1, 4))], dim=1)
    mask = torch.tensor([[1] * 5 + [0] * 4])
    alone = trunk(ids, attention_mask=torch.ones(1, 5, dtype=torch.int64)).last_hidden_state
    among = trunk(padded, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(among[:, :5], alone)
    assert not among[:, 5:].any()


def test_it_begins_with_the_word_embeddings_of_the_trunk_beside_it(tiny_trunk: Path) -> None:
    trunk = load_trunk(tiny_trunk)
    student = bilstm_after(trunk)
    theirs = trunk.get_parameter("embeddings.word_embeddings.weight")
    assert torch.equal(student.get_input_embeddings().weight, theirs)
    assert student.config.hidden_size == 32


def test_bf16_and_word_shapes_work_with_it(
    tiny_trunk: Path, tiny_data: Data, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    recipe = dataclasses.replace(tiny_recipe, learning_rate=1e-2, epochs=2, precision="bf16", layer_decay=0.9)
    output = fit(trunk=f"bilstm@{tiny_trunk}", data=tiny_data, recipe=recipe, output=tmp_path / "bundle")
    network = load(output).network()
    assert network.trunk.shapes is not None
    assert network.trunk.shapes.weight.any()
    assert run(TorchBackend(network), [], pad_id=0, token_budget=64) == []


def test_what_is_no_bilstm_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BiLstmRefused, match="an even width"):
        dataclasses.replace(CONFIG, hidden_size=7)
    (tmp_path / "config.json").write_text(json.dumps({"vocab_size": 3, "colour": "red"}))
    with pytest.raises(BiLstmRefused, match="no configuration of a BiLSTM"):
        BiLstmConfig.read(tmp_path / "config.json")
    bare = nn.Module()
    bare.get_input_embeddings = lambda: nn.Linear(2, 2)  # type: ignore[assignment]
    with pytest.raises(BiLstmRefused, match="no word embeddings"):
        bilstm_after(bare)
