"""Fixtures every room's tests share: no test leaves this machine, and none touches the desk of the person who runs it."""

import atexit
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from xdist.scheduler import LoadFileScheduling

from flows.silence import SILENCE

GUARD = Path(__file__).parent / "guard"


LONGEST = ("test_kills.py", "test_night.py", "test_first_run.py", "test_browser.py", "test_watchdog.py")
OF_ONE_DESK = tuple(
    f"tests/flows/test_{name}.py" for name in ("night", "backfill", "commands")
)  # it is trained for minutes


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first, so that in the end no worker waits for another."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


class ByFile(LoadFileScheduling):
    """A file is one process's; so are those that share a desk of the session."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return OF_ONE_DESK[0] if file in OF_ONE_DESK else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFile:
    return ByFile(config, log)


def pytest_configure(config: pytest.Config) -> None:
    """Refuse outbound connections in this process and in every Python process it starts, from before the first import of a library."""
    spec = importlib.util.spec_from_file_location("nightdesk_guard", GUARD / "sitecustomize.py")
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(GUARD), os.environ.get("PYTHONPATH")]))
    os.environ.update(SILENCE)
    hypothesis.settings.register_profile(
        "here",
        deadline=None,
        derandomize=True,
        suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture],
    )  # the same examples in each run, however busy the machine
    hypothesis.settings.load_profile("here")
    for name in [name for name in os.environ if name.startswith(("NIGHTDESK_", "PREFECT_API"))]:
        del os.environ[name]
    if "PYTEST_XDIST_WORKER" in os.environ:  # one of several: a temporary directory of its own, and one core
        own = tempfile.mkdtemp(prefix="nt-")
        atexit.register(shutil.rmtree, own, ignore_errors=True)  # after what others have registered later
        os.environ["TMPDIR"] = tempfile.tempdir = own
        os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(scope="session", autouse=True)
def _own_homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """State of Prefect and of the desk goes to a temporary folder; models are computed by the reference, not by what is fastest here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NIGHTDESK_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
        patch.setenv("NIGHTDESK_SCORING__BACKEND", "torch")
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The public data sets beside the checkout; they are never shipped, so a test that needs them skips where they are missing."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the public data sets in {folder.parent.name}/{folder.name} beside the checkout")
    return folder
