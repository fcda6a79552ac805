"""A bundle is what it says it is, or it is refused."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from models.bundle import MANIFEST, BundleRefused, load, save
from models.encoder import file_sha256
from models.manifest import Manifest


@pytest.fixture
def copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "copy"))


def _restate(bundle: Path, **changes: object) -> None:
    """Rewrite the manifest with changes and a digest that fits them, as a mistaken program would."""
    manifest = Manifest.from_json((bundle / MANIFEST).read_text())
    manifest = dataclasses.replace(manifest, **changes)  # type: ignore[arg-type]
    manifest = dataclasses.replace(manifest, digest=manifest.computed_digest())
    (bundle / MANIFEST).write_text(manifest.to_json())


def test_a_bundle_comes_back_as_it_was_saved(copy: Path) -> None:
    bundle = load(copy)
    assert bundle.heads == ("ner", "sentiment")
    assert bundle.labels["sentiment"] == ("negative", "neutral", "positive")
    assert bundle.max_length == 32
    again = save(
        copy.parent / "again",
        network=bundle.network(),
        encoder=bundle.encoder(),
        manifest=bundle.manifest,
        training_texts={task: bundle.training_texts(task) for task in bundle.heads},
    )
    changed = {name for name, value in again.manifest.files.items() if value != bundle.manifest.files[name]}
    assert changed <= {"trunk/config.json"}  # the dropout that training set is not brought back for scoring
    assert load(copy.parent / "again").training_texts("ner") == bundle.training_texts("ner")


@pytest.mark.parametrize(
    "name",
    ["trunk/config.json", "trunk/model.safetensors", "tokenizer.json", "heads.safetensors", "training_texts.txt"],
)
def test_a_changed_or_missing_file_is_refused(name: str, copy: Path) -> None:
    with (copy / name).open("r+b") as file:
        file.seek(-2, 2)
        last = file.read(1)
        file.seek(-2, 2)
        file.write(bytes([last[0] ^ 1]))
    with pytest.raises(BundleRefused, match="the manifest states"):
        load(copy)
    (copy / name).unlink()
    with pytest.raises(BundleRefused, match=f"lacks {name}"):
        load(copy)


def test_a_changed_manifest_is_refused(copy: Path) -> None:
    fields = json.loads((copy / MANIFEST).read_text())
    fields["temperatures"]["sentiment"] = 1.5
    (copy / MANIFEST).write_text(json.dumps(fields))
    with pytest.raises(BundleRefused, match="was changed"):
        load(copy)


def test_another_label_order_is_refused(copy: Path) -> None:
    _restate(copy, labels={"ner": load(copy).labels["ner"], "sentiment": ("positive", "negative", "neutral")})
    with pytest.raises(BundleRefused, match="sentiment labels positive, negative, neutral; allowed"):
        load(copy)


def test_an_unknown_task_or_format_is_refused(copy: Path) -> None:
    _restate(copy, labels={"weather": ("a", "b")})
    with pytest.raises(BundleRefused, match="'weather'"):
        load(copy)
    _restate(copy, format_version=99)
    with pytest.raises(BundleRefused, match="format 99; this code reads 3"):
        load(copy)


def test_a_tokenizer_that_is_not_the_models_own_is_refused(copy: Path) -> None:
    tokenizer = Tokenizer.from_file(str(copy / "tokenizer.json"))
    tokenizer.add_tokens(["foreign"])
    tokenizer.save(str(copy / "tokenizer.json"))
    _restate(copy, files={**load_files(copy), "tokenizer.json": file_sha256(copy / "tokenizer.json")})
    with pytest.raises(BundleRefused, match=r"the tokenizer in .* has"):
        load(copy)


def load_files(bundle: Path) -> dict[str, str]:
    return dict(Manifest.from_json((bundle / MANIFEST).read_text()).files)


def test_weights_of_another_network_are_refused(copy: Path) -> None:
    _restate(copy, word_shapes=False)
    with pytest.raises(BundleRefused, match=r"not expected .*trunk.shapes"):
        load(copy).network()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"labels": 3}'])
def test_what_is_no_manifest_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(BundleRefused, match="no bundle"):
        load(tmp_path)
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(BundleRefused, match="not a manifest"):
        load(tmp_path)


def test_saving_replaces_what_was_there_and_leaves_nothing_beside_it(copy: Path) -> None:
    bundle = load(copy)
    (copy / "stale").write_text("old")
    save(copy, network=bundle.network(), encoder=bundle.encoder(), manifest=bundle.manifest, training_texts={})
    assert not (copy / "stale").exists()
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]


def test_the_digest_does_not_depend_on_the_hour(copy: Path) -> None:
    manifest = load(copy).manifest
    assert dataclasses.replace(manifest, created="2001-01-01").computed_digest() == manifest.digest
    assert dataclasses.replace(manifest, overlap=3).computed_digest() != manifest.digest
