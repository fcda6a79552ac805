"""Every method trains only what it says, learns, and leaves a bundle that is one like any other."""

import dataclasses
import gc
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from data_contracts.errors import Fatal
from models import tuning
from models.batching import collate
from models.bilstm import bilstm_after
from models.bundle import load
from models.encoder import Encoder, load_trunk
from models.evaluation import evaluate
from models.fitting import Fitting
from models.heads import HeadOptions
from models.network import Network, Trunk
from models.training import Progress, Recipe, RecipeRefused, TaskData, fit, identity
from models.tuning import METHODS, prepare, trainable
from models.windows import cut

Data = dict[str, TaskData]
RATES = {"lora": 1e-2, "adalora": 2e-2, "ia3": 5e-2, "prompt": 5e-2, "prefix": 5e-2, "bitfit": 2e-2, "top_layers": 5e-3}
LEARNS = {
    "lora": r"lora_[AB]",
    "adalora": r"lora_[ABE]",
    "ia3": "ia3_l",
    "prompt": "trainable_tokens_delta",
    "prefix": "trunk.prefix.values",
    "bitfit": r"\.bias$",
    "top_layers": r"encoder\.layer\.1\.",
}


def recipe_of(tiny_recipe: Recipe, method: str, **changes: object) -> Recipe:
    given = {"tuning": method, "tuning_rank": 1 if method == "top_layers" else 4, "learning_rate": RATES[method]}
    return dataclasses.replace(tiny_recipe, **{**given, "shape_rate_factor": 1.0, **changes})  # type: ignore[arg-type]


def network_of(trunk: Path, recipe: Recipe) -> tuple[Network, Encoder]:
    torch.manual_seed(0)
    body = Trunk(load_trunk(trunk, dropout=0.0), word_shapes=recipe.word_shapes)
    return Network(body, ("ner", "sentiment"), HeadOptions(dropout=0.0)).eval(), Encoder.from_directory(trunk)


def logits(network: Network, encoder: Encoder, recipe: Recipe) -> torch.Tensor:
    texts = encoder.encode(["Profit rises sharply in Oslo", "shares of Acme falls"])
    windows = [
        cut(one, encoder, max_length=recipe.max_length, overlap=recipe.overlap, reading="whole")[0] for one in texts
    ]
    with torch.inference_mode():
        return network.all_logits(collate(windows, pad_id=encoder.pad_id, device=network.device))["sentiment"]


@pytest.mark.parametrize("method", METHODS)
def test_only_what_the_method_says_learns_and_the_heads(method: str, tiny_trunk: Path, tiny_recipe: Recipe) -> None:
    recipe = recipe_of(tiny_recipe, method)
    network, encoder = network_of(tiny_trunk, recipe)
    whole = trainable(network)
    prepare(network, encoder, recipe)
    learning = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    beside = {name for name in learning if name.startswith(("heads.", "trunk.shapes."))}
    assert len(beside) == 5
    assert learning > beside
    assert all(re.search(LEARNS[method], name) for name in learning - beside), learning
    assert whole.learn == whole.total
    assert trainable(network).learn < 0.7 * whole.total
    assert network.trunk.layers() is not None


@pytest.mark.parametrize("method", METHODS)
def test_a_method_learns_ten_examples_and_scores_as_it_was_trained(
    method: str, tiny_trunk: Path, tiny_data: Data, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    recipe = recipe_of(tiny_recipe, method, epochs=60)
    data = {"sentiment": tiny_data["sentiment"]}
    seen: list[Progress] = []
    output = fit(
        trunk=str(tiny_trunk),
        data=data,
        recipe=recipe,
        output=tmp_path / "bundle",
        on_epoch=lambda one, _: seen.append(one),
    )
    assert (
        evaluate(output, "sentiment", data["sentiment"].train, allow_overlap=True).f1
        == max(one.best for one in seen)
        > 0.85
    )
    assert load(output).metrics["sentiment"]["macro_f1"] == pytest.approx(seen[-1].best)


@pytest.mark.parametrize("shapes", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_merged_logits_equal_those_of_training(
    method: str, shapes: bool, tiny_trunk: Path, tiny_data: Data, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    recipe = recipe_of(tiny_recipe, method, epochs=3, word_shapes=shapes)
    fitting = start(tiny_trunk, tiny_data, recipe, tmp_path / "bundle")
    untouched = logits(fitting.network.eval(), fitting.encoder, recipe)
    while not fitting.finished:
        fitting.epoch()
    fitting.network.load_state_dict(dict(fitting.best_weights))
    learnt = logits(fitting.network.eval(), fitting.encoder, recipe)
    fitting.save()
    assert not any("lora" in name or "base_layer" in name for name in fitting.network.state_dict())
    bundle = load(tmp_path / "bundle")
    assert (learnt - untouched).abs().max() > 1e-3
    assert torch.allclose(logits(bundle.network(), bundle.encoder(), recipe), learnt, atol=1e-5)


def start(trunk: Path, data: Data, recipe: Recipe, output: Path) -> Fitting:
    return Fitting.start(
        trunk=str(trunk), data=data, recipe=recipe, output=output, rank=0, world=1, wrap=identity, allow_hub=False
    )


@pytest.mark.parametrize("method", METHODS)
def test_a_tuning_that_is_resumed_ends_where_one_never_interrupted_does(
    method: str, tiny_trunk: Path, tiny_data: Data, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    recipe = recipe_of(tiny_recipe, method, epochs=4, dropout=0.1)

    def keep(progress: Progress, checkpoint: Path | None) -> None:
        if progress.epoch == 2:
            assert checkpoint is not None
            shutil.copytree(checkpoint, tmp_path / "kept")

    given = {"trunk": str(tiny_trunk), "data": {"sentiment": tiny_data["sentiment"]}, "recipe": recipe}
    whole = fit(**given, output=tmp_path / "whole", on_epoch=keep)  # type: ignore[arg-type]
    resumed = fit(**given, output=tmp_path / "resumed", resume_from=tmp_path / "kept")  # type: ignore[arg-type]
    assert load(resumed).digest == load(whole).digest


@pytest.mark.parametrize("method", ["lora", "adalora", "prompt", "prefix"])
def test_a_launcher_that_joins_ranks_changes_nothing(
    method: str, tiny_trunk: Path, tiny_data: Data, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    given = {"trunk": str(tiny_trunk), "data": tiny_data, "recipe": recipe_of(tiny_recipe, method, epochs=2)}
    alone = fit(**given, output=tmp_path / "alone")  # type: ignore[arg-type]
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'join'}", rank=0, world_size=1)
    try:
        joined = fit(**given, output=tmp_path / "joined", wrap=DistributedDataParallel)  # type: ignore[arg-type]
    finally:
        gc.collect()  # a wrapped network outlives no group: see docs/log.md, 2026-11-29
        torch.distributed.destroy_process_group()
    assert load(joined).digest == load(alone).digest


def test_a_bundle_that_was_tuned_is_scored_where_there_is_no_peft(
    tiny_trunk: Path, tiny_data: Data, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    bundles = [
        fit(
            trunk=str(tiny_trunk),
            data=tiny_data,
            recipe=recipe_of(tiny_recipe, method, epochs=1),
            output=tmp_path / method,
        )
        for method in ("lora", "prompt", "prefix")
    ]
    script = (
        "import sys; sys.modules['peft'] = None\n"
        "import pyarrow as pa; from models.engine import Predictor\n"
        "texts = pa.table({'id': ['a'], 'title': ['profit rises'], 'body': ['in Oslo']})\n"
        "for path in sys.argv[1:]: assert Predictor([path]).predict(texts).articles.num_rows == 1\n"
    )
    root = str(Path(__file__).parents[3])
    done = subprocess.run([sys.executable, "-c", script, *map(str, bundles)], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr


def test_adalora_leaves_the_rank_that_was_asked_for_on_average(
    tiny_trunk: Path, tiny_data: Data, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    recipe = recipe_of(tiny_recipe, "adalora", epochs=10)
    fitting = start(tiny_trunk, {"sentiment": tiny_data["sentiment"]}, recipe, tmp_path / "bundle")
    values = {name: one for name, one in fitting.network.named_parameters() if "lora_E" in name}
    assert {len(one) for one in values.values()} == {6}
    while not fitting.finished:
        fitting.epoch()
    left = [int((one != 0).sum()) for one in values.values()]
    assert sum(left) == 4 * len(values)
    assert len(set(left)) > 1


def test_the_vectors_of_adalora_stay_near_orthogonal(
    tiny_trunk: Path, tiny_data: Data, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    recipe = recipe_of(tiny_recipe, "adalora", epochs=20)

    def apart(network: Network) -> float:
        rows = [one.detach() for name, one in network.named_parameters() if "lora_A" in name]
        return sum(float(torch.linalg.matrix_norm(one @ one.T - torch.eye(len(one)))) for one in rows) / len(rows)

    fitting = start(tiny_trunk, {"sentiment": tiny_data["sentiment"]}, recipe, tmp_path / "bundle")
    before = apart(fitting.network)
    while not fitting.finished:
        fitting.epoch()
    assert apart(fitting.network) < 0.5 * before


def test_a_prompt_stands_behind_the_first_special_token_and_leaves_room_for_the_text(
    tiny_trunk: Path, tiny_recipe: Recipe
) -> None:
    recipe = recipe_of(tiny_recipe, "prompt")
    network, plain = network_of(tiny_trunk, recipe)
    encoder = prepare(network, plain, recipe)
    rows = plain.tokenizer.get_vocab_size()
    assert encoder.prefix == (*plain.prefix, *range(rows, rows + 4))
    assert encoder.suffix == plain.suffix
    text = encoder.encode(["profit [prompt 0] rises " * 20])[0]
    assert set(text.ids.tolist()).isdisjoint(range(rows, rows + 4))
    windows = cut(text, encoder, max_length=16, overlap=2, reading="whole")
    assert {len(window.ids) for window in windows} == {16}
    with pytest.raises(RecipeRefused, match="room for 30"):
        prepare(*network_of(tiny_trunk, recipe), dataclasses.replace(recipe, tuning_rank=30))


def test_a_prefix_takes_no_positions_and_padding_does_not_see_it(tiny_trunk: Path, tiny_recipe: Recipe) -> None:
    recipe = recipe_of(tiny_recipe, "prefix", word_shapes=False)
    network, encoder = network_of(tiny_trunk, recipe)
    prepare(network, encoder, recipe)
    network.eval()
    ids = torch.randint(5, 30, (1, 64))
    mask, shapes = torch.ones_like(ids), torch.zeros_like(ids)
    with torch.inference_mode():
        assert network.trunk(ids, mask, shapes).shape == (1, 64, 32)
        mask[0, 10:] = 0
        padded = network.trunk(ids, mask, shapes)[:, :10]
        short = network.trunk(ids[:, :10], mask[:, :10], shapes[:, :10])
    assert torch.allclose(padded, short, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tuning": "qlora"}, "tuning is 'qlora'; allowed are full, adalora"),
        ({"tuning": "lora", "freeze_layers": 1}, "freeze_layers is 1"),
        ({"tuning": "lora", "tuning_rank": 0}, "tuning_rank is 0; allowed: 1 or more"),
        ({"tuning": "top_layers", "tuning_rank": 9}, "the trunk has 2"),
    ],
)
def test_what_cannot_be_done_is_refused(
    changes: dict[str, object], said: str, tiny_trunk: Path, tiny_recipe: Recipe
) -> None:
    recipe = dataclasses.replace(tiny_recipe, **changes)  # type: ignore[arg-type]
    with pytest.raises(RecipeRefused, match=said):
        prepare(*network_of(tiny_trunk, recipe), recipe)


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"bitfit", "top_layers"}))
def test_what_needs_a_transformer_is_refused_for_a_bilstm(method: str, tiny_trunk: Path, tiny_recipe: Recipe) -> None:
    recipe = recipe_of(tiny_recipe, method)
    body = Trunk(bilstm_after(load_trunk(tiny_trunk), dropout=0.0), word_shapes=False)
    network = Network(body, ("sentiment",), HeadOptions())
    with pytest.raises(Fatal, match="BiLstm"):
        prepare(network, Encoder.from_directory(tiny_trunk), recipe)


def test_every_file_of_the_folder_is_a_method() -> None:
    files = {path.stem for path in Path(tuning.__file__).parent.glob("*.py")} - {"__init__"}
    assert files == set(METHODS)
