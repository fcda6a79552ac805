"""What `docs/adding_a_source.md` says is run."""

import json
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from tasks.fetch import Fetcher, Limits
from tasks.sources import Delivered, SourceConfig

PAGE = Path(__file__).parents[3] / "docs" / "adding_a_source.md"
BLOCKS = dict(re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL))


@pytest.fixture
def source(tmp_path: Path) -> SourceConfig:
    (settings,) = tomllib.loads(BLOCKS["toml"])["sources"]
    (tmp_path / "input.ticks").write_text(BLOCKS["text"], encoding="utf-8")
    return SourceConfig(**{**settings, "location": str(tmp_path)})


def test_the_source_of_the_page_reads_its_recording_as_the_page_says(source: SourceConfig) -> None:
    module = ModuleType(source.kind)
    exec(compile(BLOCKS["python"], PAGE.name, "exec"), module.__dict__)
    expected = json.loads(BLOCKS["json"])
    items = list(module.read(source, Fetcher(Limits())))
    for item, wanted in zip(items, expected, strict=True):
        assert isinstance(item, Delivered)
        for name in ("position", "url", "title", "published_text", "parse_error"):
            assert getattr(item, name) == wanted.get(name)
        assert Path(item.origin).name == wanted["origin"]
        assert item.payload == wanted.get("payload", item.payload)


def test_the_page_names_places_that_are_there() -> None:
    root = PAGE.parents[1]
    for path in ("tasks/sources/__init__.py", "tests/tasks/sources/test_recordings.py", "tests/recordings"):
        assert path in PAGE.read_text(encoding="utf-8")
        assert (root / path).exists()
