"""The example of a settings file: as it is shipped, and with everything that it shows in comments."""

import re
from pathlib import Path

import pytest

from flows.settings import load
from flows.wiring import refuse_unknown_plugins
from tests.deployments.manifests import DEPLOYMENTS

EXAMPLE = (DEPLOYMENTS / "nightdesk.example.toml").read_text(encoding="utf-8")


def test_every_setting_that_is_shown_in_a_comment_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in re.findall(r"\$\{(\w+)\}", EXAMPLE):
        monkeypatch.setenv(name, "json://127.0.0.1/secret")
    text, shown = re.subn(r"^# (?=\w+ = |\[)", "", EXAMPLE, flags=re.MULTILINE)
    assert shown
    assert not re.findall(r"^# .* = ", text, re.MULTILINE), "none is left out"
    file = tmp_path / "desk.toml"
    file.write_text(text, encoding="utf-8")
    settings = load(str(file))
    refuse_unknown_plugins(settings.model_copy(update={"lake": str(tmp_path / "lake")}))
    assert set(settings.alerting.sinks) == {"jsonl", "apprise"}
    assert settings.lake == "s3://bucket/lake"
