"""The pages have no log-in: what they say of a lake names no user, password or key."""

from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from flows.operate.pages import Pages, app
from flows.settings import load
from tasks.lake.errors import LakeUnreachable

LAKE = "sftp://desk:hunter22@store.example/lake"


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setattr("tasks.secrecy._kept", ())
    monkeypatch.setenv("NIGHTDESK_LAKE", LAKE)
    return TestClient(app(load()), base_url="http://127.0.0.1")


def test_the_index_names_the_lake_without_its_credentials(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pages, "_opened", lambda pages: SimpleNamespace(published_nights=list))
    told = client.get("/").text
    assert "0 published in sftp://store.example/lake" in told
    assert "hunter22" not in told


@pytest.mark.parametrize("path", ["/", "/reports/2026-03-02/report.html"])
def test_a_lake_that_does_not_answer_is_told_without_its_credentials(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    def away(pages: Any) -> None:
        raise LakeUnreachable(f"no answer for {LAKE}/_lake.json")

    monkeypatch.setattr(Pages, "_opened", away)
    told = client.get(path)
    assert (told.status_code, told.text.partition(":")[0]) == (503, "the lake cannot be read")
    assert "hunter22" not in told.text
