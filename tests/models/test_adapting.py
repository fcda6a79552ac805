"""A trunk learns from texts without labels, goes on where it stood, and is a trunk like any other afterwards."""

import dataclasses
import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from models.adaptation.output import AdaptedRefused
from models.adaptation.run import Adaptation
from models.adapting import AdaptProgress, AdaptRecipe, Texts, adapt, identity, read_manifest
from models.checkpoint import CheckpointRefused, standing
from models.encoder import TrunkRefused, load_trunk
from models.recipe import RecipeRefused
from models.training import Recipe, TaskData, fit

SENTENCES = (
    "profit rises sharply in the north and shares of the bank falls on monday",
    "the bank of the city said loss rises in the river and profit falls",
    "shares of the north river bank falls sharply on monday said the city",
    "a loss in the city and a profit in the north said the bank on monday",
    "on monday the river rises sharply and the city falls in the north",
    "the bank said shares rises and profit of the city rises on monday",
    "north and city and river and bank on monday said profit falls sharply",
    "the loss of a bank rises on monday and shares of the city falls",
    "said the bank of the north profit falls and the loss rises sharply",
    "in the city the river falls and in the north a bank rises on monday",
)
HEADLINES = Texts(SENTENCES, SENTENCES)
ARTICLES = Texts(
    [f"{one.capitalize()}. {other.capitalize()}." for one, other in itertools.pairwise(SENTENCES)] * 2,
    [f"{one.capitalize()}. {other.capitalize()}." for one, other in itertools.pairwise(SENTENCES)],
)
FIRST = ("Profit rises", "Loss falls", "Shares rises", "Profit falls", "Loss rises", "Shares falls")
SECOND = ("The river in the city.", "The north of a city.", "The city on the river.", "A river in the north.")
ORDERED = Texts(*[[f"{one}.\n{other}" for one in FIRST for other in SECOND]] * 2)
KINDS = [(one, other) for kind in (("profit", "loss"), ("river", "city")) for one in kind for other in kind]
OF_A_KIND = Texts(
    *[
        [f"The {one} and a {other}.\nThe {other} of the {one}." for one, other in KINDS]
        + [f"A {one} and the {other}.\nThe {other} on a {one}." for one, other in KINDS]
    ]
    * 2
)
TINY = AdaptRecipe(
    objectives=("mlm",),
    learning_rate=5e-3,
    epochs=60,
    batch_tokens=200,
    max_length=64,
    dropout=0.0,
    precision="float32",
    checkpoint_steps=1_000,
)


def recipe(*objectives: str, **changes: Any) -> AdaptRecipe:
    return dataclasses.replace(TINY, objectives=objectives, **changes)


@pytest.mark.parametrize("objectives", [("mlm",), ("whole_word",), ("span", "span_boundary")], ids="+".join)
def test_a_masking_is_learnt(objectives: tuple[str, ...], tiny_trunk: Path, tmp_path: Path) -> None:
    output = adapt(trunk=str(tiny_trunk), texts=HEADLINES, recipe=recipe(*objectives), output=tmp_path / "trunk")
    manifest = read_manifest(output)
    for name in objectives:
        assert manifest.after[f"{name}.loss"] < 0.6 * manifest.before[f"{name}.loss"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("objectives", "texts", "epochs"),
    [
        (("sentence_order",), ORDERED, 80),
        (("next_sentence",), OF_A_KIND, 200),
        (("whole_word", "sentence_order"), ORDERED, 150),
    ],
    ids=["sentence_order", "next_sentence", "whole_word+sentence_order"],
)
def test_a_pairing_is_learnt(
    objectives: tuple[str, ...], texts: Texts, epochs: int, tiny_trunk: Path, tmp_path: Path
) -> None:
    settings = recipe(*objectives, epochs=epochs, learning_rate=2e-3)
    output = adapt(trunk=str(tiny_trunk), texts=texts, recipe=settings, output=tmp_path / "trunk")
    manifest = read_manifest(output)
    assert manifest.after[f"{objectives[-1]}.accuracy"] > 0.85
    for name in objectives:
        assert manifest.after[f"{name}.loss"] < 0.9 * manifest.before[f"{name}.loss"]


@pytest.mark.slow
def test_the_masked_language_model_recovers_the_hidden_tokens_of_ten_sentences(
    tiny_trunk: Path, tmp_path: Path
) -> None:
    settings = recipe("whole_word", epochs=500, batch_tokens=100, checkpoint_steps=200)
    output = adapt(trunk=str(tiny_trunk), texts=HEADLINES, recipe=settings, output=tmp_path / "trunk")
    manifest = read_manifest(output)
    assert manifest.after["whole_word.accuracy"] >= 0.9
    assert manifest.after["whole_word.perplexity"] < 2
    assert manifest.before["whole_word.accuracy"] < 0.2


def test_a_resumed_adaptation_ends_where_an_undisturbed_one_does(tiny_trunk: Path, tmp_path: Path) -> None:
    settings = recipe("span", "span_boundary", epochs=4, batch_tokens=64, dropout=0.1, accumulate=2, checkpoint_steps=3)
    seen: list[AdaptProgress] = []

    def keep(progress: AdaptProgress, checkpoint: Path | None) -> None:
        seen.append(progress)
        if progress.step == 6:  # in the midst of an epoch
            assert checkpoint is not None
            shutil.copytree(checkpoint, tmp_path / "kept")

    whole = adapt(
        trunk=str(tiny_trunk), texts=HEADLINES, recipe=settings, output=tmp_path / "whole", on_checkpoint=keep
    )
    assert [one.step for one in seen[:-1]] == list(range(3, seen[-1].steps, 3))
    assert seen[-1].finished
    assert seen[-1].step == seen[-1].steps
    again = adapt(
        trunk=str(tiny_trunk),
        texts=HEADLINES,
        recipe=settings,
        output=tmp_path / "again",
        resume_from=tmp_path / "kept",
    )
    for name in ("model.safetensors", "objectives.safetensors"):
        one, other = load_file(whole / name), load_file(again / name)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)
    first, second = (dataclasses.replace(read_manifest(path), created="") for path in (whole, again))
    assert first == second
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "kept", "whole"]


def test_a_checkpoint_that_is_being_replaced_is_never_lost(
    tiny_trunk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, folder = Path.rename, tmp_path / ".trunk.checkpoint"

    def killed_before_the_new_one_takes_its_place(path: Path, target: Path) -> Path:
        if path.name.endswith(".new") and (tmp_path / ".trunk.checkpoint.old").is_dir():
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", killed_before_the_new_one_takes_its_place)
    settings = recipe("mlm", epochs=4, checkpoint_steps=1)
    with pytest.raises(KeyboardInterrupt):
        adapt(trunk=str(tiny_trunk), texts=HEADLINES, recipe=settings, output=tmp_path / "trunk")
    monkeypatch.undo()
    assert not folder.exists()
    found = standing(folder)
    assert found is not None
    seen: list[AdaptProgress] = []
    adapt(
        trunk=str(tiny_trunk), texts=HEADLINES, recipe=settings, output=tmp_path / "trunk", resume_from=found,
        on_checkpoint=lambda progress, _: seen.append(progress),
    )  # fmt: skip
    assert seen[0].started_at_step == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["trunk"]


def test_a_checkpoint_of_another_recipe_or_other_texts_is_refused(tiny_trunk: Path, tmp_path: Path) -> None:
    start = {"trunk": str(tiny_trunk), "output": tmp_path / "trunk"}

    def keep(progress: AdaptProgress, checkpoint: Path | None) -> None:
        assert checkpoint is not None
        shutil.copytree(checkpoint, tmp_path / "kept", dirs_exist_ok=True)

    adapt(texts=HEADLINES, recipe=recipe("mlm", epochs=1), on_checkpoint=keep, **start)
    with pytest.raises(RecipeRefused, match=r"another recipe \(seed differ"):
        adapt(texts=HEADLINES, recipe=recipe("mlm", epochs=1, seed=1), resume_from=tmp_path / "kept", **start)
    with pytest.raises(RecipeRefused, match="other texts"):
        adapt(texts=ARTICLES, recipe=recipe("mlm", epochs=1), resume_from=tmp_path / "kept", **start)
    (tmp_path / "kept" / "state.json").unlink()
    with pytest.raises(CheckpointRefused, match="no complete checkpoint"):
        adapt(texts=HEADLINES, recipe=recipe("mlm", epochs=1), resume_from=tmp_path / "kept", **start)


def test_a_bundle_is_fine_tuned_from_the_adapted_trunk(
    tiny_trunk: Path, tiny_data: dict[str, TaskData], tiny_recipe: Recipe, tmp_path: Path
) -> None:
    output = adapt(trunk=str(tiny_trunk), texts=ARTICLES, recipe=recipe("mlm", epochs=2), output=tmp_path / "trunk")
    before, after = (dict(load_trunk(path).named_parameters()) for path in (tiny_trunk, output))
    assert before.keys() == after.keys()
    assert not torch.equal(
        before["encoder.layer.0.attention.self.query.weight"], after["encoder.layer.0.attention.self.query.weight"]
    )
    bundle = fit(
        trunk=str(output), data=tiny_data, recipe=dataclasses.replace(tiny_recipe, epochs=1), output=tmp_path / "bundle"
    )
    assert (bundle / "manifest.json").is_file()


def test_the_weights_saved_are_those_of_the_checkpoint_with_the_least_loss(tiny_trunk: Path, tmp_path: Path) -> None:
    seen: list[AdaptProgress] = []
    settings = recipe("mlm", epochs=40, checkpoint_steps=7, learning_rate=2e-2)
    output = adapt(
        trunk=str(tiny_trunk),
        texts=Texts(SENTENCES[:5], SENTENCES[5:]),
        recipe=settings,
        output=tmp_path / "trunk",
        on_checkpoint=lambda progress, _: seen.append(progress),
    )
    manifest, best = read_manifest(output), min(seen, key=lambda one: one.metrics["mlm.loss"])
    assert manifest.best_step == best.step < manifest.steps
    assert manifest.after["mlm.loss"] == best.metrics["mlm.loss"]
    again = adapt(
        trunk=str(output), texts=Texts(SENTENCES[:5], SENTENCES[5:]), recipe=settings, output=tmp_path / "again"
    )
    assert read_manifest(again).before == pytest.approx(manifest.after)
    assert len(read_manifest(again).warm_heads) == 5


def test_parts_of_a_step_add_up_to_the_whole_step(tiny_trunk: Path, tmp_path: Path) -> None:
    weights = []
    for parts in (1, 3):
        output = adapt(
            trunk=str(tiny_trunk),
            texts=ARTICLES,
            recipe=recipe("whole_word", "sentence_order", steps=3, accumulate=parts, learning_rate=1e-3),
            output=tmp_path / str(parts),
        )
        weights.append(load_file(output / "model.safetensors"))
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], atol=2e-4, rtol=1e-2)


@pytest.mark.parametrize(
    ("objectives", "texts", "match"),
    [
        (("mlm",), Texts([], SENTENCES), "no train document"),
        (("mlm",), Texts(SENTENCES, ["a"]), "no dev document"),
        (("sentence_order",), HEADLINES, "headlines alone allow maskings"),
        (("next_sentence",), Texts(ARTICLES.train, ARTICLES.dev[:1]), "two dev documents"),
    ],
)
def test_texts_that_teach_nothing_are_refused(
    objectives: tuple[str, ...], texts: Texts, match: str, tiny_trunk: Path, tmp_path: Path
) -> None:
    with pytest.raises(RecipeRefused, match=match):
        adapt(trunk=str(tiny_trunk), texts=texts, recipe=recipe(*objectives), output=tmp_path / "trunk")


def test_a_tokenizer_without_a_mask_token_is_refused(tiny_trunk: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_trunk, tmp_path / "parent")
    path = tmp_path / "parent" / "tokenizer.json"
    path.write_text(path.read_text().replace("[MASK]", "[HIDE]"))
    with pytest.raises(TrunkRefused, match=r"\[MASK\], <mask>"):
        adapt(trunk=str(tmp_path / "parent"), texts=HEADLINES, recipe=TINY, output=tmp_path / "trunk")


def test_an_adapted_trunk_says_how_it_came_to_be_and_shows_changes(tiny_trunk: Path, tmp_path: Path) -> None:
    output = adapt(trunk=str(tiny_trunk), texts=HEADLINES, recipe=recipe("mlm", epochs=1), output=tmp_path / "trunk")
    stated = json.loads((output / "adapt.json").read_text())
    assert stated["objectives"] == ["mlm"]
    assert stated["documents"] == {"train": 10, "dev": 10}
    assert stated["data"] == HEADLINES.digest() != Texts(SENTENCES[1:], SENTENCES).digest()
    assert stated["parent"] == str(tiny_trunk)
    with (output / "config.json").open("a") as file:
        file.write("\n")
    with pytest.raises(AdaptedRefused, match=r"config\.json changed"):
        read_manifest(output)
    with pytest.raises(AdaptedRefused, match="no adapted trunk"):
        read_manifest(tiny_trunk)


def test_every_rank_draws_its_share_and_the_same_steps(tiny_trunk: Path, tmp_path: Path) -> None:
    def start(rank: int, world: int) -> Adaptation:
        return Adaptation.start(
            trunk=str(tiny_trunk), texts=HEADLINES, recipe=TINY, output=tmp_path, rank=rank, world=world, wrap=identity,
            allow_hub=False,
        )  # fmt: skip

    one, two = start(0, 2), start(1, 2)
    assert one.course.batches(3) == two.course.batches(3)
    assert one.train.draw(4, epoch=2).ids.tolist() == two.train.draw(4, epoch=2).ids.tolist()
    for left, right in zip(one.network.parameters(), two.network.parameters(), strict=True):
        assert torch.equal(left, right)
