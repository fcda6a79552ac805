"""Start the desk's programs from the command line."""

from __future__ import annotations

from flows.commands.options import SettingsOption
from flows.settings import find_file, inherited, load
from flows.showing import tell

EXAMPLES = "Examples:  nightdesk up    nightdesk up --settings desk.toml"


def up(settings: SettingsOption = None) -> None:
    """Start everything a team uses on this machine, and keep it running: Prefect server, worker, MLflow, report pages.

    May be called again. Secrets that the settings name as ${NAME} are taken from the environment of this command.
    """
    from flows.operate.starting import up as start

    environ = inherited()
    found = load(settings)
    where, ran = start(found, find_file(settings, environ), environ, tell)
    tell(
        "everything runs already" if ran else "everything runs", f"; settings {where.settings_file}, lake {where.lake}"
    )
    for name, url in (("Prefect", where.ui_url), ("MLflow", where.mlflow_url), ("pages", where.pages_url)):
        tell(f"  {name:8}{url}")
    tell(f"log in to Prefect with what {where.auth_file} holds; stop everything with `nightdesk down`")
