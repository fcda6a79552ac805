"""Whether the user chose a Prefect server, in the environment or in the active Prefect profile: it goes before the one of a running desk.

Read from Prefect's own file and without Prefect, which must not be imported before its statistics are off and its directory is known.
Not covered: a server that is named in a `.env`, `prefect.toml` or `pyproject.toml` of the working directory.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path


def server_chosen(variables: Mapping[str, str]) -> bool:
    """True where the environment's `variables` or the profile that is active with them name one."""
    if "PREFECT_API_URL" in variables:
        return True
    folder = Path(variables.get("PREFECT_HOME") or Path.home() / ".prefect")
    path = Path(variables.get("PREFECT_PROFILES_PATH") or folder / "profiles.toml").expanduser()
    with suppress(OSError, ValueError, AttributeError):  # not there, not TOML, or of another form
        held = tomllib.loads(path.read_text(encoding="utf-8"))
        active = variables.get("PREFECT_PROFILE") or held.get("active")
        return bool(held.get("profiles", {}).get(active, {}).get("PREFECT_API_URL"))
    return False
