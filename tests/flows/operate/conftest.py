"""One running desk a module: server, worker, MLflow and pages take most of a minute to start."""

from collections.abc import Iterator

import pytest

from tests.flows.operate.running import RunningDesk, desk_at, running


@pytest.fixture(scope="module")
def running_desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDesk]:
    """`nightdesk up` on free ports in a home of its own; stopped, and whatever it left killed, after the module."""
    with running(desk_at(tmp_path_factory.mktemp("up") / "home")) as desk:
        yield desk
