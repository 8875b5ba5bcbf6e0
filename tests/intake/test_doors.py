"""The doors as they are written: strictly, and refused where they could not be used safely."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.intake.offices import OLD_SECRET, SECRET, TICKETS, make_office, project_in

from answerable.cli.main import call
from answerable.errors import ConfigError
from answerable.intake import doors_of

if TYPE_CHECKING:
    from collections.abc import Generator

ENVIRONMENT = {
    "DESK_SECRET": SECRET,
    "OLD_DESK_SECRET": OLD_SECRET,
    "SHORT": "short",
    "WORK_URL": "mysql://x",
}
QUEUE = '[[intake.queue]]\nname = "work"\nagent = "desk"\ntable = "work"\n'
SCHEDULE = '[[intake.schedule]]\nname = "digest"\nagent = "desk"\n'
TASK = 'task = { id = "D-{tick}" }\n'


@pytest.fixture(autouse=True)
def log_as_before() -> Generator[None]:
    """A verb that is called in this process sets the log up for all of it."""
    log = logging.getLogger("answerable")
    before = log.handlers, log.propagate, log.level
    yield
    log.handlers, log.propagate = before[:2]
    log.setLevel(before[2])


@pytest.mark.parametrize(
    ("intake", "said"),
    [
        ("[intake]\nmax_opne = 3\n", "max_opne"),
        ("[intake]\nmax_open = 0\n", "max_open"),
        ("[[intake.webhok]]\n", "webhok"),
        (f"{TICKETS}secret = 'x'\n", "secret"),
        ('[[intake.webhook]]\nname = "tickets"\nagent = "desk"\n', "secret_env"),
        (TICKETS.replace('"tickets"', '"Tickets/.."'), "name"),
        (TICKETS.replace("DESK_SECRET", "NO_SECRET"), "`NO_SECRET` is not set"),
        (TICKETS.replace("DESK_SECRET", "SHORT"), "shorter than 16"),
        (f'{TICKETS}old_secret_env = "NO_SECRET"\n', "`NO_SECRET` is not set"),
        (f'{TICKETS}scheme = "standard"\n', "not base64"),
        (f'{TICKETS}scheme = "paypal"\n', "scheme"),
        (f'{TICKETS}window = "soon"\n', "not a duration"),
        (f'{TICKETS}scheme = "github"\nevent_header = "X-Delivery"\n', "does not sign"),
        (TICKETS + TICKETS, "two doors"),
        (TICKETS.replace('"desk"', '"nobody"'), "no agent of the project"),
        (TICKETS.replace('agent = "desk"\n', ""), "no agent of the project"),
        (TICKETS.replace('"desk"', '"plain"'), "nothing names the event"),
        (QUEUE, "one of `database` and `database_env`"),
        (f'{QUEUE}database = "sqlite:///a"\ndatabase_env = "WORK_URL"\n', "one of `database`"),
        (f'{QUEUE}database_env = "NO_URL"\n', "`NO_URL` is not set"),
        (f'{QUEUE}database_env = "WORK_URL"\n', "cannot be watched"),
        (f'{QUEUE}database = "postgresql://u:secret@h/d"\n', "holds a password"),
        (f'{QUEUE}database = "sqlite:///a"\ntake = 0\n', "take"),
        (f'{QUEUE.replace("work", "work; DROP")}database = "sqlite:///a"\n', "table"),
        (SCHEDULE + TASK, "exactly one of"),
        (f'{SCHEDULE}every = "1m"\ndaily_at = "07:30"\n{TASK}', "exactly one of"),
        (f'{SCHEDULE}every = "1m"\n', "task"),
        (f'{SCHEDULE}every = "500ms"\n{TASK}', "whole seconds"),
        (f'{SCHEDULE}every = "1m"\ntimezone = "Europe/Berlin"\n{TASK}', "has `every` and a time zone"),
        (f'{SCHEDULE}daily_at = "7:30"\n{TASK}', "daily_at"),
        (f'{SCHEDULE}daily_at = "07:30"\ntimezone = "Mars"\n{TASK}', "no time zone"),
        (f'{SCHEDULE}cron = "soon"\n{TASK}', "is no schedule"),
        (f'{SCHEDULE}every = "1m"\ncatch_up = "some"\n{TASK}', "catch_up"),
        (f'{SCHEDULE}every = "1m"\ntask = {{ id = "{{tock}}" }}\n', "tock"),
        (f'{SCHEDULE}every = "1m"\ntask = {{ id = 7 }}\n', "not a `Ticket`"),
    ],
)
def test_a_door_that_is_not_safe_is_refused_with_what_to_do(tmp_path: Path, intake: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        doors_of(project_in(make_office(tmp_path, intake)), environ=ENVIRONMENT)
    assert said in str(refused.value)
    assert refused.value.hint
    assert SECRET not in str(refused.value)


def test_a_door_is_never_shown_with_its_secret(tmp_path: Path) -> None:
    url = "postgresql://u:hidden@h/d"
    folder = make_office(tmp_path, f'{TICKETS}{QUEUE}database_env = "WORK_URL"\n')
    doors = doors_of(project_in(folder), environ={**ENVIRONMENT, "WORK_URL": url})
    assert doors.webhooks["tickets"].secrets == (SECRET.encode(),)
    assert doors.queues[0].database == url
    assert SECRET not in repr(doors)
    assert "hidden" not in repr(doors)


def test_other_verbs_need_no_secret_of_a_door(tmp_path: Path) -> None:
    """Only whoever opens a door must have it."""
    assert len(project_in(make_office(tmp_path, TICKETS)).intake.webhook) == 1


def test_serving_without_a_door_or_a_secret_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DESK_SECRET", raising=False)
    for intake, said in (("", "no webhook to serve"), (TICKETS, "`DESK_SECRET` is not set")):
        assert call(["serve", str(make_office(tmp_path, intake))]) == 3
        told = capsys.readouterr().err
        assert said in told
        assert "hint:" in told
        assert not (tmp_path / "journal.db").exists()


def test_watching_what_is_no_queue_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server does not go on without it."""
    monkeypatch.setenv("DESK_SECRET", SECRET)
    folder = make_office(tmp_path, f'{TICKETS}{QUEUE}database = "sqlite:///none.db"\n')
    assert call(["serve", str(folder), "--port", "0", "--watch"]) == 3
    assert "there is no database" in capsys.readouterr().err


def test_a_port_that_is_taken_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from answerable.server.listen import bound

    monkeypatch.setenv("DESK_SECRET", SECRET)
    with bound("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert call(["serve", str(make_office(tmp_path)), "--port", str(port)]) == 3
    assert f"`127.0.0.1:{port}` cannot be listened on" in capsys.readouterr().err
