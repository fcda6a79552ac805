"""The places of the Apprise sink as notification blocks on the server, which keeps them encrypted: through them it can send when nobody else can.

One block a place, made of Prefect's `SlackWebhook`. Of the stock classes, which are all that a server can load, it hands any URL to Apprise as
it is; so the UI shows it as a Slack webhook whatever it reaches. A block whose place is gone from the settings is removed, by its prefix;
others are never touched. Not covered: the sink `jsonl`, since a server writes no file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from uuid import UUID

from flows.operate.changes import Change
from flows.settings import Settings
from tasks import plugins

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

PREFIX = "nightdesk-place-"
KIND = "slack-webhook"


def urls_of(settings: Settings) -> dict[str, str]:
    """The Apprise URLs by place, as the sink itself reads them from its settings."""
    given = settings.alerting.sinks.get("apprise")
    return dict(plugins.configure("tasks.sinks", "apprise", given).urls) if given is not None else {}


def block_name(place: str) -> str:
    """What a place's block is called: small letters, digits and dashes; two places never share one."""
    plain = re.sub(r"[^a-z0-9]+", "-", place.lower()).strip("-")
    return PREFIX + (plain if plain == place else f"{plain}-{hashlib.sha256(place.encode()).hexdigest()[:8]}")


def apply_blocks(client: SyncPrefectClient, urls: Mapping[str, str]) -> tuple[list[Change], list[UUID]]:
    """Make, change and remove blocks; returns what became of each, and the ids of those there are, in the order of the places."""
    from prefect.blocks.notifications import SlackWebhook
    from pydantic import SecretStr

    held = {one.name: one for one in client.read_block_documents_by_type(KIND) if (one.name or "").startswith(PREFIX)}
    changes: list[Change] = []
    ids: list[UUID] = []
    for place, url in sorted(urls.items()):
        name = block_name(place)
        before = held.pop(name, None)
        if before is not None and (before.data.get("url"), before.data.get("notify_type")) == (url, "failure"):
            changes.append(Change(kind="block", name=name, what="unchanged", details=f"apprise/{place}"))
            ids.append(before.id)
            continue
        SlackWebhook(url=SecretStr(url), notify_type="failure").save(name, overwrite=True)
        changes.append(
            Change(kind="block", name=name, what="changed" if before else "made", details=f"apprise/{place}")
        )
        ids.append(client.read_block_document_by_name(name, KIND, include_secrets=False).id)
    for gone in held.values():
        client.delete_block_document(gone.id)
        changes.append(Change(kind="block", name=gone.name or "", what="removed"))
    return changes, ids
