"""The rules of the house that no linter knows."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("data_contracts", "models", "tasks", "flows")
MODULES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
TEXTS = [
    p
    for p in subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    if (ROOT / p).is_file()
]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_says_what_it_is_and_stays_readable(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if text:
        assert text.startswith(('"""', 'r"""')), "open with a docstring that says what, why and what not"
    assert len(text.splitlines()) <= 300, "split it by noun"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_environment_is_read_in_the_settings_alone(path: Path) -> None:
    """Ray and MLflow read some switches from nowhere else: `tasks.switches` sets and restores those."""
    if path.relative_to(ROOT).as_posix() not in ("flows/settings.py", "flows/doctor.py", "tasks/switches.py"):
        assert not re.search(r"os\.environ\b|os\.getenv\b|environ\.get\(", path.read_text(encoding="utf-8"))


def test_no_room_has_a_junk_drawer() -> None:
    assert not [p for p in MODULES if p.stem in ("utils", "util", "common", "helpers", "constants", "misc")]


def test_no_file_in_flows_hides_a_package() -> None:
    """Prefect puts `flows/` first on the path of a worker, so `flows/x.py` would be imported in place of the package x."""
    script = (
        "import importlib.util,sys; sys.exit(' '.join(n for n in sys.argv[1:] if importlib.util.find_spec(n)) or 0)"
    )
    names = [p.stem for p in (ROOT / "flows").iterdir() if p.suffix in ("", ".py") and not p.stem.startswith("_")]
    done = subprocess.run(
        [sys.executable, "-P", "-c", script, *names], cwd=ROOT / "tests", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_nothing_names_a_machine_or_is_left_undone() -> None:
    forbidden = re.compile(
        r"(^|[^\w.-])/(work|farm|root)/|\b(TO" + "DO|FIX" + "ME|XX" + r"X)\b|Not" + "ImplementedError"
    )
    found = []
    for name in TEXTS:
        if name.endswith((".py", ".md", ".toml", ".yaml", ".yml", "Makefile")) or name == ".ci/run":
            lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
            found += [
                f"{name}:{i}: {line.strip()[:100]}" for i, line in enumerate(lines, start=1) if forbidden.search(line)
            ]
    assert not found, "\n".join(found)
