"""Logs for those who operate: one line for each thing that happened, as JSON or as text, on stderr.

A line has the time, a level, the name of the event, the worker, and the run and agent that are being worked on, where
there are any. It never has content: what a run read, wrote or was told is in the journal, behind its keys. So an error
is named by its type, and its words stay out.
"""

from __future__ import annotations

import json
import logging
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Generator

LogFormat = Literal["json", "text"]
Field = str | int | float | bool | None

_logger = logging.getLogger("answerable")
_logger.addHandler(logging.NullHandler())
_about: ContextVar[dict[str, Field]] = ContextVar("answerable_about")


def say(event: str, level: int = logging.INFO, **fields: Field) -> None:
    """Log an event. `fields` are ids, counts and durations: nothing that a person or a model wrote."""
    _logger.log(level, event, extra={"fields": fields})


def warn(event: str, **fields: Field) -> None:
    """Log an event that somebody should look at."""
    say(event, logging.WARNING, **fields)


@contextmanager
def about(run: str) -> Generator[None]:
    """Everything that is logged inside is about this run."""
    token = _about.set({"run": run})
    try:
        yield
    finally:
        _about.reset(token)


def name_agent(run: str, agent: str) -> None:
    """What is logged about the run is about this agent too, once that is known."""
    known = _about.get({})
    if known.get("run") == run:
        known["agent"] = agent


def begin_logs(form: LogFormat, worker: str) -> None:
    """Write the log to stderr from now on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json(worker) if form == "json" else _Text())
    _logger.handlers = [handler]
    _logger.propagate = False
    _logger.setLevel(logging.INFO)


def _parts(record: logging.LogRecord) -> dict[str, Field]:
    fields: dict[str, Field] = getattr(record, "fields", {})
    return _about.get({}) | fields


class _Json(logging.Formatter):
    def __init__(self, worker: str) -> None:
        super().__init__()
        self._worker = worker

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Field] = {
            "time": at.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "worker": self._worker,
        }
        return json.dumps(line | _parts(record), ensure_ascii=True)


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        said = " ".join(f"{name}={value}" for name, value in _parts(record).items())
        mark = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        return f"{at} {mark}{record.getMessage()}{' ' if said else ''}{said}"
