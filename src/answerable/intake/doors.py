"""The doors of a project: what is written in `answerable.toml`, checked and ready to be used, or refused."""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, cast
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from answerable.engine.agent import seconds
from answerable.errors import ConfigError
from answerable.intake.ticks import Every, Ticks, cron
from answerable.intake.webhook import SCHEMES, Scheme, named_headers
from answerable.journal.opening import POSTGRES, SQLITE, resolve_journal
from answerable.kernel.encoding import encode_payload
from answerable.kernel.tool import TemplateError, fields_of, render
from answerable.settings import problems

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from answerable.engine.agent import Agent
    from answerable.project import Project
    from answerable.settings import QueueTable, ScheduleTable, WebhookTable

SECRET_BYTES_MIN = 16
_MAKE_ONE = "make one with `openssl rand -hex 32`, and give the sender the same"


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """`POST /intake/NAME`."""

    name: str
    agent: Agent
    scheme: Scheme
    secrets: tuple[bytes, ...] = field(repr=False)
    """The secret, and while it is changed the old one too."""
    window_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A table in a database of yours, whose rows become runs."""

    name: str
    agent: Agent
    database: str = field(repr=False)
    """Its address, with a password perhaps."""
    table: str
    look_every_s: float
    take: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A task that comes with the clock."""

    name: str
    agent: Agent
    ticks: Ticks
    zone: ZoneInfo
    catch_up: Literal["one", "none", "all"]
    task: Mapping[str, Any]

    def source(self, tick: datetime) -> str:
        """The event that a tick is: the same in every process."""
        return f"schedule:{self.name}:{_stamp(tick)}"

    def task_at(self, tick: datetime) -> object:
        """The task of a tick: `{tick}` is its moment in UTC, `{date}` its day in the schedule's zone."""
        words = {"tick": _stamp(tick), "date": tick.astimezone(self.zone).date().isoformat()}
        return _filled(dict(self.task), words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """Every door of a project."""

    webhooks: Mapping[str, Webhook]
    queues: tuple[Queue, ...]
    schedules: tuple[Schedule, ...]


def doors_of(project: Project, *, environ: Mapping[str, str] | None = None) -> Doors:
    """The doors that a project declares.

    Raises `ConfigError` for a door that cannot be used safely: without a secret, without the name of an event, or
    with a task that is not one of its agent.
    """
    known = os.environ if environ is None else environ
    tables = project.intake
    for kind, named in (("webhook", tables.webhook), ("queue", tables.queue), ("schedule", tables.schedule)):
        names = [table.name for table in named]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ConfigError(
                f"two doors of `[[intake.{kind}]]` are called {sorted(twice)}", hint="rename one"
            )
    return Doors(
        webhooks={table.name: _webhook(table, project, known) for table in tables.webhook},
        queues=tuple(_queue(table, project, known) for table in tables.queue),
        schedules=tuple(_schedule(table, project) for table in tables.schedule),
    )


def _agent(project: Project, name: str | None, door: str) -> Agent:
    agents = project.agents
    if name is None and len(agents) == 1:
        return next(iter(agents.values()))
    found = agents.get(name or "")
    if found is None:
        raise ConfigError(
            f"the door `{door}` is for no agent of the project" + (f": `{name}`" if name else ""),
            hint=f"set `agent` to one of {', '.join(agents)}",
        )
    return found


def _webhook(table: WebhookTable, project: Project, environ: Mapping[str, str]) -> Webhook:
    agent = _agent(project, table.agent, table.name)
    builtin = SCHEMES[table.scheme]
    if (table.event_header or table.timestamp_header) and table.scheme not in ("answerable", "standard"):
        raise ConfigError(
            f"the webhook `{table.name}` names a header that `{table.scheme}` does not sign",
            hint="leave `event_header` and `timestamp_header` out; the agent's `source` names the event",
        )
    scheme = named_headers(
        builtin,
        signature=table.signature_header,
        timestamp=table.timestamp_header,
        event=table.event_header,
    )
    if not scheme.event_header and not agent.source:
        raise ConfigError(
            f"nothing names the event of the webhook `{table.name}`: a delivery that is repeated would be another run",
            hint=f'give the agent `{agent.name}` a `source`, as in source="{{id}}", or set `event_header`',
        )
    names = [table.secret_env, *([table.old_secret_env] if table.old_secret_env else [])]
    secrets = tuple(_secret(name, table.name, scheme, environ) for name in names)
    return Webhook(
        name=table.name, agent=agent, scheme=scheme, secrets=secrets, window_s=seconds(table.window)
    )


def _secret(name: str, door: str, scheme: Scheme, environ: Mapping[str, str]) -> bytes:
    text = environ.get(name, "")
    if not text:
        raise ConfigError(
            f"`{name}` is not set: the webhook `{door}` has no secret", hint=f"set it; {_MAKE_ONE}"
        )
    secret = text.encode()
    if scheme.is_secret_base64:
        try:
            secret = base64.b64decode(text.removeprefix("whsec_"), validate=True)
        except (ValueError, binascii.Error):
            raise ConfigError(
                f"`{name}` is not base64", hint="this scheme writes secrets as `whsec_` and base64"
            ) from None
    if len(secret) < SECRET_BYTES_MIN:
        raise ConfigError(f"`{name}` is shorter than {SECRET_BYTES_MIN} bytes", hint=_MAKE_ONE)
    return secret


def _queue(table: QueueTable, project: Project, environ: Mapping[str, str]) -> Queue:
    if (table.database is None) == (table.database_env is None):
        raise ConfigError(
            f"the queue `{table.name}` needs one of `database` and `database_env`",
            hint="an address with a password belongs into the environment: `database_env`",
        )
    url = table.database if table.database_env is None else environ.get(table.database_env, "")
    if not url:
        raise ConfigError(
            f"`{table.database_env}` is not set: the queue `{table.name}` has no database",
            hint="it holds the address: sqlite:///PATH or postgresql://USER@HOST/DATABASE",
        )
    if not url.startswith((SQLITE, *POSTGRES)):
        raise ConfigError(
            f"the queue `{table.name}` is in a kind of database that cannot be watched",
            hint="write sqlite:///PATH or postgresql://USER@HOST/DATABASE",
        )
    if table.database is not None and "@" in url and ":" in url.partition("://")[2].partition("@")[0]:
        raise ConfigError(
            f"the address of the queue `{table.name}` holds a password",
            hint="put it into the environment, and name the variable: `database_env`",
        )
    return Queue(
        name=table.name,
        agent=_agent(project, table.agent, table.name),
        database=resolve_journal(url, project.data),
        table=table.table,
        look_every_s=seconds(table.look_every),
        take=table.take,
    )


def _schedule(table: ScheduleTable, project: Project) -> Schedule:
    agent = _agent(project, table.agent, table.name)
    kinds: dict[str, tuple[str | None, Callable[[str], Ticks]]] = {
        "every": (table.every, lambda text: _every(text, table)),
        "daily_at": (table.daily_at, lambda text: _daily(text, table.timezone)),
        "cron": (table.cron, lambda text: cron(text, table.timezone)),
    }
    chosen = [(text, make) for text, make in kinds.values() if text is not None]
    if len(chosen) != 1:
        raise ConfigError(
            f"the schedule `{table.name}` needs exactly one of {', '.join(f'`{name}`' for name in kinds)}",
            hint='as in every = "15m", daily_at = "07:30" or cron = "30 7 * * MON-FRI"',
        )
    ticks = chosen[0][1](chosen[0][0])
    schedule = Schedule(
        name=table.name,
        agent=agent,
        ticks=ticks,
        zone=ZoneInfo("UTC") if isinstance(ticks, Every) else ticks.zone,
        catch_up=table.catch_up,
        task=table.task,
    )
    _try(schedule)
    return schedule


def _every(text: str, table: ScheduleTable) -> Every:
    wanted = seconds(text)
    if wanted < 1 or wanted != int(wanted):
        raise ConfigError(f"the schedule `{table.name}` cannot come every {text}", hint="whole seconds")
    if table.timezone != "UTC":
        raise ConfigError(
            f"the schedule `{table.name}` has `every` and a time zone",
            hint="`every` is counted in UTC; use `daily_at` or `cron` for times of a day",
        )
    return Every(int(wanted))


def _daily(text: str, timezone: str) -> Ticks:
    hour, minute = text.split(":")
    return cron(f"{int(minute)} {int(hour)} * * *", timezone)


def _try(schedule: Schedule) -> None:
    """Make one task now: a mistake is found when it is read, and not at half past seven."""
    agent = schedule.agent
    try:
        given = schedule.task_at(datetime(2026, 1, 1, tzinfo=UTC))
        fields = fields_of(agent.task.model_validate_json(encode_payload(given)))
        for template in (agent.subject, agent.on_behalf_of):
            render(template, fields)
    except ValidationError as error:
        why = problems(error)
    except (TemplateError, ValueError, TypeError) as error:
        why = str(error)
    else:
        return
    raise ConfigError(
        f"`task` of the schedule `{schedule.name}` is not a `{agent.task.__name__}`: {why}",
        hint="`{tick}` and `{date}` may stand in a text",
    )


def _filled(value: object, words: Mapping[str, str]) -> object:
    if isinstance(value, str):
        return render(value, words)
    if isinstance(value, dict):
        return {key: _filled(each, words) for key, each in cast("dict[str, object]", value).items()}
    if isinstance(value, list):
        return [_filled(each, words) for each in cast("Sequence[object]", value)]
    return value


def _stamp(tick: datetime) -> str:
    return tick.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
