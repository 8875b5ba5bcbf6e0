"""`answerable.toml`: what may stand in it. An unknown key or a value of the wrong type is an error."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from answerable.errors import ConfigError

CONFIG = "answerable.toml"
DOOR_NAME = r"^[a-z0-9][a-z0-9_-]{0,63}$"
HEADER = r"^[A-Za-z0-9-]{1,64}$"
VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
TABLE = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?$"
TAKE_MAX = 200
"""Rows that a watcher takes at a time, at most: they are held until their runs are in the journal."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ProjectTable(_Strict):
    """`[project]`."""

    name: str
    tenant: str = "default"
    module: str = "agent.py"
    journal: str = "sqlite:///journal.db"
    tickets: str | None = None
    tasks: str | None = None
    prices: str | None = None


class ApproverTable(_Strict):
    """`[[approvers]]`."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    roles: list[str] = Field(min_length=1)
    public_key: str


class NotifyTable(_Strict):
    """`[notify]`."""

    command: list[str] | None = None
    webhook: str | None = None
    secret_env: str | None = None


class WebhookTable(_Strict):
    """`[[intake.webhook]]`."""

    name: str = Field(pattern=DOOR_NAME)
    agent: str | None = None
    secret_env: str = Field(pattern=VARIABLE)
    old_secret_env: str | None = Field(default=None, pattern=VARIABLE)
    scheme: Literal["answerable", "standard", "stripe", "slack", "github"] = "answerable"
    signature_header: str | None = Field(default=None, pattern=HEADER)
    timestamp_header: str | None = Field(default=None, pattern=HEADER)
    event_header: str | None = Field(default=None, pattern=HEADER)
    window: str = "5m"


class QueueTable(_Strict):
    """`[[intake.queue]]`."""

    name: str = Field(pattern=DOOR_NAME)
    agent: str | None = None
    database: str | None = None
    database_env: str | None = Field(default=None, pattern=VARIABLE)
    table: str = Field(pattern=TABLE)
    look_every: str = "1s"
    take: int = Field(default=50, ge=1, le=TAKE_MAX)


class ScheduleTable(_Strict):
    """`[[intake.schedule]]`."""

    name: str = Field(pattern=DOOR_NAME)
    agent: str | None = None
    every: str | None = None
    daily_at: str | None = Field(default=None, pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")
    cron: str | None = None
    timezone: str = "UTC"
    catch_up: Literal["one", "none", "all"] = "one"
    task: dict[str, Any]


class IntakeTable(_Strict):
    """`[intake]`."""

    max_open: int | None = Field(default=None, ge=1)
    webhook: list[WebhookTable] = Field(default_factory=list[WebhookTable])
    queue: list[QueueTable] = Field(default_factory=list[QueueTable])
    schedule: list[ScheduleTable] = Field(default_factory=list[ScheduleTable])


class ProjectFile(_Strict):
    """The whole file."""

    project: ProjectTable
    approvers: list[ApproverTable] = Field(default_factory=list[ApproverTable])
    notify: NotifyTable = Field(default_factory=NotifyTable)
    retention: dict[str, str] = Field(default_factory=dict[str, str])
    intake: IntakeTable = Field(default_factory=IntakeTable)


def read_settings(directory: Path) -> ProjectFile:
    """The settings of a project folder. Raises `ConfigError` for whatever is missing or misspelt."""
    path = directory / CONFIG
    try:
        return ProjectFile.model_validate(tomllib.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        raise ConfigError(
            f"there is no `{CONFIG}` in `{directory}`",
            hint="name a project folder; `answerable init NAME` makes one",
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"`{path.name}` cannot be read: {error}", hint="correct the line") from None
    except ValidationError as error:
        raise ConfigError(
            f"`{path.name}`: {problems(error)}", hint="correct the file; unknown keys are refused"
        ) from None


def problems(error: ValidationError) -> str:
    """What a model found wrong, by field, without the values that were given."""
    return "; ".join(
        f"`{'.'.join(str(part) for part in problem['loc'])}`: {problem['msg'].lower()}"
        for problem in error.errors(include_url=False, include_input=False)
    )
