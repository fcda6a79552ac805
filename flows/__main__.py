"""The command line `nightdesk`: what people and scripts call.

Thin: each command (a file of flows/commands) reads the settings, calls a flow or a part, and prints. Exit codes: 0 done, 1 failed, 2 bad usage.
Where a command promises JSON, it is the last line of standard output; everything said to people goes to standard error.
"""

from __future__ import annotations

import pkgutil
import sys

import typer

from data_contracts.errors import NightdeskError
from flows.arguments import spread, value_of
from flows.settings import quiet
from flows.showing import tell

COMMANDS = (
    "run", "backfill", "score", "evaluate", "explain", "finetune", "adapt", "search", "distil", "compress", "combine", "promote", "rollback",
    "sql", "report", "doctor", "bench", "up", "down", "status", "deploy", "watchdog", "cleanup",
)  # fmt: skip

app = typer.Typer(
    name="nightdesk",
    help="The desk that reads the world's financial news overnight: Parquet in the lake, scored by BERT models, with alerts and a report.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for name in COMMANDS:
    module = pkgutil.resolve_name(f"flows.commands.{name}")
    app.command(name, epilog=module.EXAMPLES)(getattr(module, name))


def main() -> None:
    """The console script."""
    quiet(settings_file=value_of("--settings", sys.argv[1:]))
    try:
        app(args=spread(sys.argv[1:]))
    except NightdeskError as error:
        tell((type(error).__name__, "bold red"), f": {error}")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        tell(("the system refused", "bold red"), f": {where}{' '.join((error.strerror or str(error)).split())}")
    except KeyboardInterrupt:
        tell("interrupted; run the same command again to go on")
    else:
        return
    sys.exit(1)


if __name__ == "__main__":
    main()
