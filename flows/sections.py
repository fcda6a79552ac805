"""The sections of the settings file that are no part's own configuration: limits, scoring, alerting, and what is started on this machine."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from tasks.backends import BackendName

LEAST_DAYS_KEPT = 4  # of runs on the server: the watchdog looks for those of the last three days
MONITORS = ("negative_surge", "volume_surge", "contract_failures", "source_silent", "source_failed", "class_shift")


class Limits(BaseModel):
    """When a night fails, and how far back it looks."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    max_failed_share: float = Field(
        0.2, ge=0, le=1, description="the share of a night's rows that may fail their contract"
    )
    lookback_nights: int = Field(30, ge=1, description="earlier nights searched for repeats, versions and copies")


class Scoring(BaseModel):
    """Which models score a night."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    model: str = Field(
        "champion", description="champion, sentiment/3, or a bundle's directory; several with commas, one a task"
    )
    train_if_missing: bool = Field(True, description="fine-tune on the shipped sample when there is no champion")
    min_confidence: float = Field(
        0.0,
        ge=0,
        le=1,
        description="articles whose label is less probable abstain: no count of a label has them; 0: never",
    )
    min_ner_score: float = Field(0.5, ge=0, le=1, description="entities below this probability are left out")
    backend: BackendName = Field(
        "auto", description="what computes the models; auto: the fastest here that agrees with float32"
    )


class Alerting(BaseModel):
    """Which monitors watch a night, and where their alerts go: plugin name -> its own settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    monitors: dict[str, dict[str, Any]] = Field(default_factory=lambda: {name: dict[str, Any]() for name in MONITORS})
    sinks: dict[str, dict[str, Any]] = Field(default_factory=dict)
    cooldown_hours: float = Field(
        24.0, ge=0, description="the same subject is not sent again for a night nearer than this; 24: each night speaks"
    )
    retry_nights: int = Field(3, ge=0, description="undelivered alerts of so many days before are tried again")
    max_alerts: int = Field(50, ge=1, description="more than these in a night are sent as one digest")


class Operate(BaseModel):
    """What `nightdesk up` starts on this machine, and what `nightdesk deploy` tells the Prefect server."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    host: str = Field(
        "127.0.0.1",
        description="the address that server, MLflow and pages listen on; the last two have no login, so from elsewhere rather ssh -L",
    )
    server_port: int = Field(4200, ge=1, le=65535, description="of the Prefect server")
    mlflow_port: int = Field(5000, ge=1, le=65535, description="of the MLflow UI")
    pages_port: int = Field(8300, ge=1, le=65535, description="of the reports and of the metrics for Prometheus")
    database: str | None = Field(
        None,
        repr=False,
        description="postgresql://user:${PASSWORD}@host:5432, the password percent-encoded: a server for Prefect and MLflow with a "
        "database each; by default files in the home",
    )
    pool: str = Field("nightdesk", min_length=1, description="the Prefect work pool")
    schedule: str = Field("15 22 * * *", description="cron of the nightly run, in the settings' timezone")
    retrain: str = Field("0 6 * * 6", description="cron of the weekly fine-tuning, in the settings' timezone")
    labelled: str | None = Field(
        None,
        description="where analysts put TASK.train.jsonl and TASK.dev.jsonl; a relative path starts at the home; by default labelled",
    )
    night_minutes: float = Field(
        240, gt=0, description="a run that lasts longer, nights that it makes up for included, is cancelled and alerted"
    )
    late_minutes: float = Field(60, gt=0, description="a night that has not begun so long after its time is alerted")
    silent_minutes: float = Field(
        5, ge=1, description="a run that sends no heartbeat for so long is taken for dead, and alerted"
    )
    catch_up_nights: int = Field(
        7, ge=0, description="nights before a run's own that are run first when they are missing; 0: never"
    )
    keep_runs_days: int = Field(
        30,
        ge=LEAST_DAYS_KEPT,
        description="finished runs, their logs and artifacts are removed from the server after these; of fewer the watchdog would "
        "take a failed night whose run is gone for one that did not run",
    )
    log_format: Literal["text", "json"] = Field("text", description="json: a line an event, for a log collector")

    @field_validator("schedule", "retrain")
    @classmethod
    def _a_cron(cls, value: str) -> str:
        from prefect.client.schemas.schedules import CronSchedule  # takes a second, and the defaults need no look

        try:
            CronSchedule(cron=value)
        except ValueError:
            raise ValueError(
                "no cron; allowed are minute, hour, day of the month, month and day of the week, such as '15 22 * * *'"
            ) from None
        return value

    @model_validator(mode="after")
    def _a_port_each(self) -> Self:
        ports = (self.server_port, self.mlflow_port, self.pages_port)
        if len(set(ports)) < len(ports):
            given = ", ".join(map(str, ports))
            raise ValueError(f"server_port, mlflow_port and pages_port are {given}; each needs one of its own")
        return self

    @field_validator("database")
    @classmethod
    def _a_server(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            url = make_url(value)
        except (ArgumentError, ValueError):  # the latter quotes what it takes for a port
            url = None
        if url is None or url.get_backend_name() != "postgresql" or url.database or not url.host or "@" in url.host:
            raise ValueError(
                "allowed is a PostgreSQL server without a database, such as postgresql://user@host:5432; "
                "in the password write @ as %40 and % as %25"
            )
        return value

    def database_of(self, whose: Literal["prefect", "mlflow"], *, driver: str = "psycopg2") -> str:
        """The SQLAlchemy URL, password included, of the database that belongs to one of the two; the setting must be given."""
        url = make_url(self.database or "").set(drivername=f"postgresql+{driver}", database=f"nightdesk_{whose}")
        if driver == "asyncpg" and "sslmode" in url.query:  # the same choices under another name
            url = url.difference_update_query(["sslmode"]).update_query_pairs([("ssl", str(url.query["sslmode"]))])
        return url.render_as_string(hide_password=False)
