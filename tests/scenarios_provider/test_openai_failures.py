"""Everything that can go wrong on the way to a model and back: what it is called, and whether it may have been billed."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from answerable.models.port import Message, ModelRequest
from answerable.models.providers import PydanticAiModel

from .asking import KEY, MODEL, fail
from .openai_server import Drop, Raw, Stall, Status, start_server

pytest.importorskip("pydantic_ai")
pytest.importorskip("openai")


def test_rate_limited_waits_as_told_and_is_not_billed(serve: Any) -> None:
    """429 is retryable after the seconds of Retry-After; exactly one request was made."""
    server = serve(Status(code=429, message="slow down", headers={"retry-after": "7"}))
    failed = fail()
    assert (failed.failure, failed.retryable, failed.retry_after_s) == ("rate_limited", True, 7.0)
    assert failed.is_billed is False
    assert "slow down" in str(failed)
    assert len(server.requests) == 1


@pytest.mark.parametrize("said", ["soon", "-3", "inf", "nan"])
def test_an_unreadable_retry_after_is_no_wait(serve: Any, said: str) -> None:
    """A Retry-After that is no number of seconds is left out, not trusted."""
    serve(Status(code=429, headers={"retry-after": said}))
    assert fail().retry_after_s is None


def test_exhausted_quota_is_not_retried(serve: Any) -> None:
    """A 429 that means an empty account will not get better by waiting."""
    serve(Status(code=429, message="You exceeded your current quota", error_code="insufficient_quota"))
    failed = fail()
    assert (failed.failure, failed.retryable, failed.is_billed) == ("permission", False, False)


@pytest.mark.parametrize("code", [500, 502, 503, 529])
def test_a_server_error_may_be_retried_and_may_be_billed(serve: Any, code: int) -> None:
    """5xx says nothing about what was done; the SDK does not try again by itself."""
    server = serve(Status(code=code, message="oops"))
    failed = fail()
    assert (failed.failure, failed.retryable, failed.is_billed) == ("upstream", True, True)
    assert len(server.requests) == 1


@pytest.mark.parametrize("code", [408, 409])
def test_the_sdk_does_not_retry_what_it_usually_would(serve: Any, code: int) -> None:
    """Other codes that SDKs retry on their own are one request here too."""
    server = serve(Status(code=code))
    assert fail().retryable is True
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        (400, "schema"),
        (401, "permission"),
        (403, "permission"),
        (404, "not_found"),
        (413, "schema"),
        (422, "schema"),
    ],
)
def test_a_refusal_is_final_and_not_billed(serve: Any, code: int, failure: str) -> None:
    """A request that the provider refused is not sent again and costs nothing."""
    server = serve(Status(code=code, message="no such luck"))
    failed = fail()
    assert (failed.failure, failed.retryable, failed.is_billed) == (failure, False, False)
    assert len(server.requests) == 1


def test_a_failure_never_quotes_a_key(serve: Any) -> None:
    """A server that echoes the key does not put it into what is journaled or printed, nor into the chain."""
    serve(Status(code=401, message=f"Incorrect API key provided: {KEY}"))
    failed = fail()
    assert KEY not in str(failed)
    assert "[secret]" in str(failed)
    assert failed.__suppress_context__ is True
    assert failed.__cause__ is None


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"id": "x", "choices": [', "application/json"),
        (b"", "application/json"),
        (b"<html>busy</html>", "text/html"),
        (b"[]", "application/json"),
        (b"{}", "application/json"),
        (b'{"choices": []}', "application/json"),
        (b'{"choices": [{"message": 5}]}', "application/json"),
        (b"\xff\xfe", "application/json"),
        (b'"text"', "application/json"),
        (b"null", "application/json"),
    ],
)
def test_a_body_that_is_no_reply_can_be_tried_again(serve: Any, body: bytes, content_type: str) -> None:
    """Bad JSON, or JSON of another shape, is a failure of this attempt, which may have been billed."""
    server = serve(Raw(body=body, content_type=content_type))
    failed = fail()
    assert (failed.failure, failed.retryable, failed.is_billed) == ("schema", True, True)
    assert "busy" not in str(failed)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "start", [b"", b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{"id":']
)
def test_a_stalled_reply_ends_at_the_timeout(serve: Any, start: bytes) -> None:
    """Silent from the start or halfway: the attempt ends in time, hangs up, and may be billed."""
    server = serve(Stall(start=start))
    started = time.monotonic()
    failed = fail(timeout_s=0.2)
    assert time.monotonic() - started < 5
    assert (failed.failure, failed.retryable, failed.is_billed) == ("timeout", True, True)
    assert len(server.requests) == 1
    assert server.requests[0].hung_up.wait(5)


def test_a_dropped_connection_may_be_billed(serve: Any) -> None:
    """The request was sent and the reply never came: nobody knows what was done."""
    server = serve(Drop())
    failed = fail()
    assert (failed.failure, failed.retryable, failed.is_billed) == ("upstream", True, True)
    assert len(server.requests) == 1


def test_a_refused_connection_was_not_billed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens: nothing was sent, so nothing was spent."""
    with start_server([]) as gone:
        address = gone.base_url
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    failed = fail()
    assert (failed.failure, failed.retryable, failed.is_billed) == ("upstream", True, False)


def test_cancelling_closes_the_connection(serve: Any) -> None:
    """A halted run does not keep a request open behind its back."""
    server = serve(Stall())

    async def cancelled() -> None:
        port = PydanticAiModel(MODEL)
        task = asyncio.create_task(
            port.request(ModelRequest(model=MODEL, messages=(Message(role="user", text="Hi"),)))
        )
        await asyncio.to_thread(server.arrived.wait, 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await port.aclose()

    asyncio.run(cancelled())
    assert server.requests[0].hung_up.wait(5)
