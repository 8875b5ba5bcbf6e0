"""The refund desk over HTTP: from a ticket to a journal, with a server that behaves and one that does not."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from provider_desk import KEY, MODEL, TICKET, good_day, look, price, refund, work
from tests.scenarios_provider.openai_server import Call, Reply, Server, Stall, Status, Tokens, start_server

from answerable import Budget
from answerable.journal.verify import verify_database
from answerable.kernel import events
from answerable.kernel.money import from_micros
from answerable.models.port import ModelRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provider_desk import Day

pytest.importorskip("pydantic_ai")
pytest.importorskip("openai")
pytest.importorskip("genai_prices")

REPOSITORY = Path(__file__).parents[2]
DESK = REPOSITORY / "examples" / "refund_desk"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Start a server with a script, or with a function from request to answer."""
    with contextlib.ExitStack() as stack:

        def start(*script: Any) -> Server:
            is_function = len(script) == 1 and callable(script[0])
            server = stack.enter_context(start_server(script[0] if is_function else script))
            monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
            return server

        yield start


def told(server: Server, number: int) -> list[str]:
    """What the model was told of its last calls, in the request of that number."""
    tail: list[str] = []
    for message in reversed(server.requests[number].body["messages"]):
        if message["role"] == "assistant":
            break
        tail.append(str(message["content"]))
    return tail[::-1]


def check_journal(directory: Path) -> None:
    """The independent reader agrees, and the provider's key is in no file."""
    assert verify_database(directory / "desk.db").findings == ()
    for path in directory.rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path


def failures(day: Day) -> list[str]:
    """What went wrong with each attempt, in order; an empty text where it replied."""
    return [event.failure or "" for event in day.replies]


def test_proper_calls_end_in_a_refund(serve: Any, tmp_path: Path) -> None:
    """Look up, refund, answer: the shop paid once, the run succeeded by the shop's own records."""
    server = serve(*good_day())
    day = asyncio.run(work(tmp_path))

    assert (day.outcome.name, day.outcome.answer) == ("succeeded", "Refunded $48.00 for O-1001.")
    assert [str(each.amount) for each in day.refunds] == ["48.00"]
    assert len(server.requests) == 3
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    check_journal(tmp_path)


def test_usage_and_cost_are_what_the_server_said_times_the_price_table(serve: Any, tmp_path: Path) -> None:
    """Tokens are the server's; each cost is theirs at the public price, cached input included."""
    serve(*good_day())
    day = asyncio.run(work(tmp_path))
    said = [
        Tokens(input=1200, output=21),
        Tokens(input=1400, output=63, cached=1152),
        Tokens(input=1533, output=12),
    ]

    assert [(event.tokens_in, event.tokens_out) for event in day.replies] == [
        (t.input, t.output) for t in said
    ]
    assert [event.cost for event in day.replies] == [price(each) for each in said]
    assert all(event.table.startswith("genai-prices ") and not event.scripted for event in day.replies)
    assert day.outcome.cost_usd == from_micros(price(*said)) > 0


def test_what_was_reserved_is_settled_at_what_was_used(serve: Any, tmp_path: Path) -> None:
    """Every attempt reserves at least what it then uses, and gives back the rest."""
    serve(*good_day())
    day = asyncio.run(work(tmp_path))

    for intent, ended in zip(day.attempts, day.replies, strict=True):
        reserved = {unit: amount for _, unit, amount, _ in intent.reserve}
        settled = {unit: (of, spent) for _, unit, of, spent in ended.settle}
        assert settled["tokens"] == (reserved["tokens"], ended.tokens_in + ended.tokens_out)
        assert settled["money"] == (reserved["money"], ended.cost)
        assert reserved["tokens"] >= ended.tokens_in + ended.tokens_out
        assert reserved["money"] >= (ended.cost or 0) > 0


def test_bad_json_is_told_and_tried_again(serve: Any, tmp_path: Path) -> None:
    """Arguments that are not JSON are answered with what is wrong; a second, better try goes through."""
    server = serve(Call("get_order", '{"order_id": "O-1001"'), look(), refund(), Reply("Done."))
    day = asyncio.run(work(tmp_path))

    assert day.outcome.name == "succeeded"
    assert ["not JSON" in text for text in told(server, 1)] == [True]
    assert ['"ok":true' in text for text in told(server, 2)] == [True]
    check_journal(tmp_path)


def test_bad_json_for_ever_goes_to_a_person(serve: Any, tmp_path: Path) -> None:
    """Three unusable proposals in a row, each told, and somebody takes over; nothing was done."""
    server = serve(*[Call("create_refund", '{"order_id": "O-1001", "amount_usd": 48.0')] * 5)
    day = asyncio.run(work(tmp_path))

    assert (day.outcome.name, day.outcome.code) == ("escalated", "invalid_call")
    assert len(server.requests) == 3
    assert day.refunds == []
    assert not [event for event in day.events if isinstance(event, events.CallIntended)]
    check_journal(tmp_path)


def test_too_many_requests_waits_as_long_as_it_is_told(serve: Any, tmp_path: Path) -> None:
    """429 with Retry-After: the next attempt, an intent of its own, comes after it; the first is free."""
    at: list[float] = []
    answers: Iterator[Any] = iter(
        [Status(code=429, message="slow down", headers={"retry-after": "1"}), *good_day()]
    )

    def answer(_: object) -> Any:
        at.append(time.monotonic())
        return next(answers)

    serve(answer)
    day = asyncio.run(work(tmp_path))

    assert day.outcome.name == "succeeded"
    assert at[1] - at[0] >= 1.0
    assert [(intent.path, intent.attempt) for intent in day.attempts[:2]] == [("1.0", 1), ("1.0", 2)]
    assert failures(day) == ["rate_limited", "", "", ""]
    assert day.replies[0].table == "not billed"
    assert {unit: spent for _, unit, _, spent in day.replies[0].settle}["money"] == 0
    check_journal(tmp_path)


def test_a_server_error_is_tried_again_and_counted_at_its_bound(serve: Any, tmp_path: Path) -> None:
    """500 may have been billed: the attempt counts as if all it had reserved was spent."""
    serve(Status(code=500), *good_day())
    day = asyncio.run(work(tmp_path))

    assert day.outcome.name == "succeeded"
    assert failures(day) == ["upstream", "", "", ""]
    assert all(of == spent for _, _, of, spent in day.replies[0].settle)
    check_journal(tmp_path)


def test_server_errors_for_ever_fail_the_run(serve: Any, tmp_path: Path) -> None:
    """Three attempts, each with an intent, then the run fails and says why; nothing was done."""
    server = serve(*[Status(code=500, message="on fire")] * 5)
    day = asyncio.run(work(tmp_path))

    assert (day.outcome.name, day.outcome.code) == ("failed", "model_failure")
    assert "500" in day.outcome.reason
    assert len(server.requests) == len(day.attempts) == 3
    assert day.refunds == []
    check_journal(tmp_path)


def test_a_stalled_reply_is_given_up_and_tried_again(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silence is a timeout: the connection is closed, the attempt counted at its bound, another one made."""
    monkeypatch.setitem(ModelRequest.__init__.__kwdefaults__, "timeout_s", 0.4)
    server = serve(Stall(), *good_day())
    day = asyncio.run(work(tmp_path))

    assert day.outcome.name == "succeeded"
    assert failures(day) == ["timeout", "", "", ""]
    assert server.requests[0].hung_up.wait(5)
    check_journal(tmp_path)


def test_a_stalled_reply_cannot_outlast_the_wall_clock_budget(serve: Any, tmp_path: Path) -> None:
    """A run with one second of work is not held for a minute by a server that says nothing."""
    serve(Stall(), Stall(), Stall())
    begun = time.monotonic()
    day = asyncio.run(work(tmp_path, budget=Budget(wall_clock="1s")))

    assert time.monotonic() - begun < 10
    assert (day.outcome.name, day.outcome.code) == ("escalated", "budget_exhausted")
    assert failures(day)[0] == "timeout"
    check_journal(tmp_path)


def test_prose_instead_of_a_call_is_not_believed(serve: Any, tmp_path: Path) -> None:
    """A model that claims a refund which it did not make has not succeeded: the shop's records say so."""
    serve(Reply("I have refunded $48.00 for O-1001."))
    day = asyncio.run(work(tmp_path))

    assert (day.outcome.name, day.outcome.code) == ("escalated", "not_done")
    assert day.refunds == []
    check_journal(tmp_path)


def test_an_unknown_tool_is_told_which_there_are(serve: Any, tmp_path: Path) -> None:
    """A made-up tool is answered with the names of those there are, and not with tools it was not shown."""
    server = serve(Call("pay_everybody", "{}"), look(), refund(), Reply("Done."))
    day = asyncio.run(work(tmp_path))
    (said,) = told(server, 1)

    assert day.outcome.name == "succeeded"
    assert "`create_refund`" in said
    assert "get_case" not in said
    check_journal(tmp_path)


def test_a_model_that_never_stops_is_stopped(serve: Any, tmp_path: Path) -> None:
    """A new call each time, for ever: the limit of tool calls ends it, and a person gets the work."""
    numbers = itertools.count(1001)
    server = serve(lambda _: Call("get_order", json.dumps({"order_id": f"O-{next(numbers)}"})))
    day = asyncio.run(work(tmp_path, budget=Budget(tool_calls=12, model_calls=30, money="0.40")))

    assert (day.outcome.name, day.outcome.code) == ("escalated", "budget_exhausted")
    assert len(server.requests) <= 13
    check_journal(tmp_path)


def test_a_model_that_says_nothing_is_stopped(serve: Any, tmp_path: Path) -> None:
    """Empty replies are no work: after three of them a person takes over."""
    server = serve(lambda _: Reply(""))
    day = asyncio.run(work(tmp_path))

    assert (day.outcome.name, day.outcome.code) == ("escalated", "invalid_call")
    assert len(server.requests) == 3


def test_an_unknown_price_under_a_limit_of_money_sends_nothing(serve: Any, tmp_path: Path) -> None:
    """What an attempt would cost at most is not known, so there is no attempt: the server is never asked."""
    server = serve(*good_day())
    day = asyncio.run(work(tmp_path, model="openai:house-model-of-nobody"))

    assert (day.outcome.name, day.outcome.code, day.outcome.rules) == (
        "escalated",
        "budget_exhausted",
        ("budget-price-known",),
    )
    assert server.requests == []
    assert day.attempts == []
    check_journal(tmp_path)


def test_an_unknown_price_without_a_limit_of_money_is_said_to_be_unknown(serve: Any, tmp_path: Path) -> None:
    """The run may go on, and its cost is unknown, never zero."""
    serve(*good_day())
    day = asyncio.run(work(tmp_path, model="openai:house-model-of-nobody", budget=Budget(tool_calls=20)))

    assert day.outcome.name == "succeeded"
    assert day.outcome.cost_usd is None
    assert {event.cost for event in day.replies} == {None}


def test_money_that_is_gone_stops_before_the_next_attempt(serve: Any, tmp_path: Path) -> None:
    """The bound of the next attempt must fit what is left; else it is not made."""
    server = serve(Reply(calls=(look(),), tokens=Tokens(input=60_000, output=900)), *good_day())
    day = asyncio.run(work(tmp_path, budget=Budget(money="0.012")))

    assert (day.outcome.name, day.outcome.code) == ("escalated", "budget_exhausted")
    assert len(server.requests) == 1


# --- the same through the command line ---------------------------------------------------------------


def command(directory: Path, server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`answerable ...` in a process of its own."""
    given = {name: value for name, value in os.environ.items() if name not in PROXIES}
    return subprocess.run(
        [sys.executable, "-m", "answerable", *arguments],
        cwd=directory,
        env=given
        | {
            "OPENAI_BASE_URL": server.base_url,
            "OPENAI_API_KEY": KEY,
            "ANSWERABLE_DATABASE_URL": f"sqlite:///{directory / 'desk.db'}",
            "PYTHONPATH": f"{REPOSITORY / 'src'}",
        },
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def run_by_command(directory: Path, server: Server, model: str = MODEL) -> Any:
    """`answerable run` on the one ticket; the summary that it prints."""
    tickets = directory / "today.jsonl"
    tickets.write_text(json.dumps(TICKET) + "\n", "utf-8")
    told = command(
        directory,
        server,
        "run",
        str(DESK),
        "--dir",
        str(directory),
        "--input",
        str(tickets),
        "--model",
        model,
        "--json",
    )
    assert told.returncode == 0, told.stderr
    assert KEY not in told.stdout + told.stderr
    return json.loads(told.stdout)


def test_run_by_command_succeeds_and_shows_what_it_cost(tmp_path: Path) -> None:
    """`answerable run --model` works a ticket over HTTP; `runs` and `show` tell the provider's cost."""
    said = [
        Tokens(input=1200, output=21),
        Tokens(input=1400, output=63, cached=1152),
        Tokens(input=1533, output=12),
    ]
    with start_server(good_day()) as server:
        summary = run_by_command(tmp_path, server)
        listed = json.loads(command(tmp_path, server, "runs", "--json").stdout)
        shown = command(tmp_path, server, "show", listed[0]["run"], "--json")

    assert (summary["runs"], summary["outcomes"]["succeeded"]) == (1, 1)
    assert summary["cost_per_success"] == str(from_micros(price(*said)))
    assert (listed[0]["outcome"], listed[0]["cost"]) == ("succeeded", str(from_micros(price(*said))))
    assert shown.returncode == 0
    assert KEY not in shown.stdout
    check_journal(tmp_path)


def test_run_by_command_with_an_unknown_price_asks_nobody(tmp_path: Path) -> None:
    """`answerable run` with a model without a price, under the desk's cap: escalated, no request was sent."""
    with start_server(good_day()) as server:
        summary = run_by_command(tmp_path, server, "openai:house-model-of-nobody")
        requests = len(server.requests)

    assert summary["outcomes"]["escalated"] == 1
    assert summary["cost_per_success"] is None
    assert requests == 0
    check_journal(tmp_path)


def test_run_by_command_tells_bad_json_and_goes_on(tmp_path: Path) -> None:
    """The same repair over the command line: one bad proposal, told, then a refund."""
    with start_server([Call("get_order", "{"), look(), refund(), Reply("Done.")]) as server:
        summary = run_by_command(tmp_path, server)
        said = told(server, 1)

    assert summary["outcomes"]["succeeded"] == 1
    assert ["not JSON" in text for text in said] == [True]
