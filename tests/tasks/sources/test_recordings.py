"""Every source file over its recordings: a folder a case, with `input.*`, the settings it needs, and what must come out of it."""

import dataclasses
import json
from pathlib import Path

import pytest

from tasks.fetch import Fetcher, Limits
from tasks.sources import Delivered, SourceConfig, Unreadable, kinds, reader

RECORDINGS = Path(__file__).parents[2] / "recordings"
CASES = sorted(path.parent.relative_to(RECORDINGS).as_posix() for path in RECORDINGS.glob("*/*/expected.json"))


def read_case(case: str) -> list[dict[str, object]]:
    folder = RECORDINGS / case
    settings = folder / "settings.json"
    more = json.loads(settings.read_text()) if settings.exists() else {}
    (location,) = folder.glob("input.*")
    config = SourceConfig(name="recorded", kind=case.split("/")[0], location=str(location), **more)
    items = reader(config.kind)(config, Fetcher(Limits()))
    return [as_expected(item, location) for item in items]


def as_expected(item: object, location: Path) -> dict[str, object]:
    """The item without what is empty, its path shortened to the file's name, its payload left to other tests where it can be read."""
    assert isinstance(item, Delivered | Unreadable)
    parts = {
        name: value for name, value in dataclasses.asdict(item).items() if value is not None and value is not False
    }
    text = json.dumps(parts, ensure_ascii=True).replace(location.as_posix(), location.name)
    shortened: dict[str, object] = json.loads(text)
    if isinstance(item, Delivered) and item.parse_error is None:
        shortened.pop("payload")
    return shortened


@pytest.mark.parametrize("kind", kinds())
def test_every_source_has_a_recording(kind: str) -> None:
    assert [case for case in CASES if case.startswith(f"{kind}/")]


@pytest.mark.parametrize("case", CASES)
def test_a_recording_gives_what_is_expected(case: str) -> None:
    expected = json.loads((RECORDINGS / case / "expected.json").read_text(encoding="utf-8"))
    assert read_case(case) == expected


@pytest.mark.parametrize("case", CASES)
def test_a_row_that_can_be_read_keeps_its_payload(case: str) -> None:
    (location,) = (RECORDINGS / case).glob("input.*")
    settings = RECORDINGS / case / "settings.json"
    more = json.loads(settings.read_text()) if settings.exists() else {}
    config = SourceConfig(name="recorded", kind=case.split("/")[0], location=str(location), **more)
    for item in reader(config.kind)(config, Fetcher(Limits())):
        if isinstance(item, Delivered) and item.parse_error is None:
            assert item.payload
            json.loads(item.payload)
