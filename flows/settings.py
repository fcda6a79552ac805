"""The settings of a desk: one TOML file and `NIGHTDESK_*` environment variables, composed from the parts' own configurations.

The only reader of the process environment. A setting is taken from the call, else from the environment (`NIGHTDESK_LAKE`,
`NIGHTDESK_CLUSTER__WORKERS`), else from the TOML file, else from its default. The file is the one named, else `NIGHTDESK_SETTINGS`, else
`nightdesk.toml` in the working directory, else in the home, else the shipped sample's; its relative paths start at its own folder. A name that is
no setting is refused. Secrets are written in the file as `${NAME}` and read from the environment here and nowhere else; `{home}` stands for the
home. It does not check the outside world: `nightdesk doctor` does.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import tomllib
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from data_contracts.errors import Fatal
from flows.operate.chosen import server_chosen
from flows.operate.places import running
from flows.sections import Alerting, Limits, Operate, Scoring
from flows.silence import SILENCE
from tasks.cluster import ClusterConfig
from tasks.gate import Gate
from tasks.secrecy import keep
from tasks.sources import SourceConfig

PACKAGE = Path(__file__).resolve().parent
SAMPLE = PACKAGE / "sample"
SAMPLE_SETTINGS = SAMPLE / "nightdesk.toml"
SECRET = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
PASSWORD = re.compile(r"[\w+.-]+://[^:/@]*:([^@]+)@")  # as SQLAlchemy reads it: `/` and `#` may stand in it as they are


class SettingsRefused(Fatal):
    """A settings file or variable is wrong: the text names it, what was given and what is allowed."""


class Settings(BaseSettings):
    """Everything a night needs to know."""

    model_config = SettingsConfigDict(env_prefix="NIGHTDESK_", env_nested_delimiter="__", extra="forbid", frozen=True)
    home: Path = Field(description="local state: the model registry, checkpoints, the default lake")
    lake: str = Field(description="where the tables are: a directory or any fsspec/pyarrow URL")
    timezone: str = Field("America/New_York", description="the zone of the cut-off (IANA name)")
    cutoff: dt.time = Field(dt.time(22, 0), description="the local time at which a night ends")
    keep_raw: bool = Field(False, description="keep title, body and row as delivered beside the normalised text")
    sources: tuple[SourceConfig, ...] = Field(min_length=1)
    limits: Limits = Limits()
    scoring: Scoring = Scoring()
    alerting: Alerting = Alerting()
    cluster: ClusterConfig = ClusterConfig()
    operate: Operate = Operate()
    promotion: Gate = Field(Gate(), description="what a candidate must show to take the champion's place")
    tracking_uri: str | None = Field(
        None, description="an MLflow tracking server; by default operate.database, else a file in the home"
    )
    allow_hub: bool = Field(False, description="let trunks be fetched from a model hub by name")

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{value!r} is no IANA time zone such as 'America/New_York'") from error
        return value

    @field_validator("sources")
    @classmethod
    def _distinct_names(cls, value: tuple[SourceConfig, ...]) -> tuple[SourceConfig, ...]:
        names = [source.name for source in value]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two sources are named {', '.join(twice)}; each needs its own name")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment goes before the file, whose contents are the init arguments."""
        return env_settings, init_settings

    @property
    def zone(self) -> ZoneInfo:
        """The zone of the cut-off."""
        return ZoneInfo(self.timezone)

    @property
    def mlflow_uri(self) -> str:
        """Where MLflow keeps runs and the registry."""
        if self.tracking_uri or not self.operate.database:
            return self.tracking_uri or f"sqlite:///{self.home / 'mlflow.db'}"
        return self.operate.database_of("mlflow")

    def sources_of(self, night: dt.date) -> tuple[SourceConfig, ...]:
        """The sources, with the places that they have on this night."""
        return tuple(source.on(night) for source in self.sources)


def default_home(environ: Mapping[str, str]) -> Path:
    """`NIGHTDESK_HOME`, else `.nightdesk` in the checkout this runs from, else in the user's home; a worker's directory plays no part."""
    if given := environ.get("NIGHTDESK_HOME"):
        return Path(given).expanduser().resolve()
    checkout = PACKAGE.parent
    return (checkout if (checkout / "pyproject.toml").is_file() else Path.home()) / ".nightdesk"


def home_of(given: str | None = None, environ: Mapping[str, str] | None = None) -> Path:
    """The home that `load` would find, without looking at any other setting; a file that `load` refuses names none."""
    environ = os.environ if environ is None else environ
    with suppress(OSError, ValueError, SettingsRefused):
        path = find_file(given, environ)
        return _home(tomllib.loads(path.read_text(encoding="utf-8")), path, environ)
    return default_home(environ)


def _home(values: Mapping[str, Any], path: Path, environ: Mapping[str, str]) -> Path:
    """The environment's home, else the file's own, else where it is by default."""
    own = values.get("home")
    if "NIGHTDESK_HOME" in environ or not isinstance(own, str):
        return default_home(environ)
    return Path(_absolute(own, base=path.parent)).resolve()


def inherited() -> dict[str, str]:
    """A copy of this process's environment, for the programs that `nightdesk up` starts."""
    return dict(os.environ)


def find_file(given: str | None, environ: Mapping[str, str]) -> Path:
    """The settings file: the one given, else the environment's, the working directory's, the home's, the shipped sample's.

    Raises:
        SettingsRefused: a file that was named is not there.
    """
    if named := given or environ.get("NIGHTDESK_SETTINGS"):
        path = Path(named).expanduser().resolve()
        if not path.is_file():
            raise SettingsRefused(
                f"the settings file {path} is not there; name a TOML file, or leave it out to use the shipped sample's"
            )
        return path
    for path in (Path("nightdesk.toml").resolve(), default_home(environ) / "nightdesk.toml"):
        if path.is_file():
            return path
    return SAMPLE_SETTINGS


def load(given: str | None = None, *, lake: str | None = None) -> Settings:
    """Compose the settings.

    Args:
        given: a TOML file; see the module's text for what is used without one.
        lake: goes before `NIGHTDESK_LAKE` and the file.

    Raises:
        SettingsRefused: the file is not TOML, a name is no setting, a value is not allowed, or a secret is not set. No secret is shown.
    """
    environ = os.environ
    path = find_file(given, environ)
    try:
        written = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsRefused(f"the settings file {path} is not TOML: {error}") from error
    secrets: dict[str, str] = {}
    values = _resolve_secrets(written, environ, path, secrets)
    keep(secrets.values())
    _refuse_unknown_variables(environ, secrets)
    home = _home(values, path, environ)
    values = _fill(values, "{home}", str(home))
    from_file = values.get("lake")
    in_file = _absolute(from_file, base=path.parent) if isinstance(from_file, str) else str(home / "lake")
    outside = lake or environ.get("NIGHTDESK_LAKE")
    values |= {"home": home, "lake": _absolute(outside) if outside else in_file}
    sources = values.get("sources")
    for source in sources if isinstance(sources, list) else ():
        if isinstance(source, dict) and isinstance(place := source.get("location"), str):
            source["location"] = _absolute(place, base=path.parent)
    try:
        settings = Settings(**values)
    except ValidationError as error:
        said = f"the settings in {path} are not allowed:\n  " + "\n  ".join(
            _said(problem, secrets) for problem in error.errors()
        )
        raise SettingsRefused(said) from None
    keep(_passwords(settings.operate.database, settings.tracking_uri, values["lake"]))
    return settings.model_copy(update={"home": home, "lake": values["lake"]})


def _passwords(*places: str | None) -> list[str]:
    """Those of the databases and the lake, which a variable of the environment may have given as a whole."""
    return [unquote(found[1]) for place in places if place and (found := PASSWORD.match(place))]


def _said(problem: Mapping[str, Any], secrets: Mapping[str, str]) -> str:
    """One thing that is wrong, with what was given where that is short and plain; secrets go before anything is cut or quoted."""
    where, given, message = ".".join(str(part) for part in problem["loc"]), str(problem["input"]), problem["msg"]
    for name, secret in secrets.items():
        if secret:
            given, message = (part.replace(secret, f"${{{name}}}") for part in (given, message))
    plain = isinstance(problem["input"], str | int | float) and "://" not in given  # a URL may hold a password
    shown = f" (given: {given[:80]!r})" if plain else ""
    return f"{where}: {message}{shown}"


def _refuse_unknown_variables(environ: Mapping[str, str], secrets: Mapping[str, str]) -> None:
    """A misspelt `NIGHTDESK_*` variable would be ignored in silence; one that the file reads as a secret is no setting."""
    known = {"HOME", "SETTINGS", "LAKE", *(name.upper() for name in Settings.model_fields)}
    for name in sorted(environ):
        setting = name.removeprefix("NIGHTDESK_").partition("__")[0]
        if name.startswith("NIGHTDESK_") and setting not in known and name not in secrets:
            near = get_close_matches(setting, known, n=1)
            meant = f"; did you mean NIGHTDESK_{near[0]}?" if near else f"; there are {', '.join(sorted(known))}"
            raise SettingsRefused(f"the environment's {name} is no setting{meant}")


def quiet(environ: MutableMapping[str, str] | None = None, *, settings_file: str | None = None) -> None:
    """Switch off, before they are imported, all usage statistics of the libraries; show our own logs; keep Prefect's state in the home.

    While the home's desk runs (`nightdesk up`), its Prefect server is the one that is talked to, unless the environment or the user's Prefect
    profile names another, which is never given the desk's key. Prefect's directory is left alone where a user chose one, a server, or has
    profiles. What is set already is never overwritten.
    """
    environ = os.environ if environ is None else environ
    for name, value in SILENCE.items():
        environ.setdefault(name, value)
    environ.setdefault("PREFECT_LOGGING_EXTRA_LOGGERS", "flows,tasks,models")
    # the default of 20 seconds is too short for a busy machine
    environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "180")
    home = home_of(settings_file, environ)
    if not server_chosen(environ) and (desk := running(home)):
        for name, value in (desk.environ() | {"PREFECT_HOME": str(home / "prefect")}).items():
            environ.setdefault(name, value)
    chosen = (
        "PREFECT_HOME" in environ
        or "PREFECT_API_URL" in environ
        or (Path.home() / ".prefect" / "profiles.toml").is_file()
    )
    if not chosen:
        environ["PREFECT_HOME"] = str(home / "prefect")
        environ.setdefault("PREFECT_LOGGING_TO_API_ENABLED", "false")
    # Prefect makes no parents; a home that cannot be written is for `nightdesk doctor` to name
    if "PREFECT_HOME" in environ:
        with suppress(OSError):
            Path(environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)


def _absolute(place: str, base: Path | None = None) -> str:
    """A URL as it is; a path made absolute, relative to `base` or the working directory."""
    return place if "://" in place else str((base or Path.cwd()) / Path(place).expanduser())


def _fill(value: Any, mark: str, text: str) -> Any:
    """`mark` replaced by `text` in every text of a nested value."""
    if isinstance(value, dict):
        return {key: _fill(item, mark, text) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, mark, text) for item in value]
    return value.replace(mark, text) if isinstance(value, str) else value


def _resolve_secrets(value: Any, environ: Mapping[str, str], path: Path, found: dict[str, str]) -> Any:
    """`${NAME}` in any text replaced by the environment's value, which is also put into `found`."""
    if isinstance(value, dict):
        return {key: _resolve_secrets(item, environ, path, found) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolve_secrets(item, environ, path, found) for item in value]
    if not isinstance(value, str):
        return value

    def resolve(match: re.Match[str]) -> str:
        if match[1] not in environ:
            raise SettingsRefused(
                f"{path} asks for the secret ${{{match[1]}}}, but the environment has no variable {match[1]}"
            )
        found[match[1]] = environ[match[1]]
        return environ[match[1]]

    return SECRET.sub(resolve, value)
