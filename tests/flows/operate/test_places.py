"""The key to the Prefect server: made once, whole or not at all, and nobody else's to read."""

import os
import stat
from pathlib import Path

import pytest

from flows.operate import places


@pytest.mark.parametrize("left", ["", "\n", "nightdesk", "nightdesk:\n", ":key\n", "\0\0\0"])
def test_what_is_left_of_a_key_by_an_interrupted_up_is_none(tmp_path: Path, left: str) -> None:
    places.folder(tmp_path).mkdir()
    places.auth_file(tmp_path).write_text(left, encoding="utf-8")
    places.make(tmp_path)
    assert places.KEY.fullmatch(places.auth_file(tmp_path).read_text(encoding="utf-8"))


def test_a_key_stays_and_is_its_owners_alone(tmp_path: Path) -> None:
    places.make(tmp_path)
    file = places.auth_file(tmp_path)
    key = file.read_bytes()
    places.make(tmp_path)
    assert file.read_bytes() == key
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_an_up_that_is_killed_before_the_key_is_on_the_disk_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(descriptor: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            places.make(tmp_path)
    assert not places.auth_file(tmp_path).exists()
    places.make(tmp_path)
    assert places.auth_file(tmp_path).stat().st_size > len(places.USER)


def test_only_one_up_makes_a_key(tmp_path: Path) -> None:
    places.make(tmp_path)
    with places.alone(tmp_path), pytest.raises(places.Busy):
        places.make(tmp_path)


def test_a_seal_tells_texts_apart_and_is_another_in_each_home(tmp_path: Path) -> None:
    homes = (tmp_path / "one", tmp_path / "two")
    assert places.seal(homes[0], "a secret") == "", "without a key everybody could guess"
    for home in homes:
        places.make(home)
    seals = [places.seal(home, text) for home in homes for text in ("a secret", "another", "a secret")]
    assert (seals[0], seals[3]) == (seals[2], seals[5])
    assert len(set(seals)) == 4
