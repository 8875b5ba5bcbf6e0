"""One attempt against a server on loopback: what goes out, what comes back, and what each failure means."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from answerable.errors import ConfigError
from answerable.models.catalog import resolve_model
from answerable.models.port import Message, ModelReply, ModelRequest, ToolCall, ToolOffer, Usage
from answerable.models.providers import PydanticAiModel
from answerable.models.structured import Problem, parse_json

from .asking import GET_ORDER, KEY, MODEL, ask, fail
from .openai_server import Call, Raw, Reply, Server, Status, Tokens, start_server

pytest.importorskip("pydantic_ai")
pytest.importorskip("openai")


def test_plain_prose_comes_back_as_text(serve: Any) -> None:
    """A model that answers prose gives text and no calls, with what it says about itself."""
    serve(Reply("Hello there.", model="house-model-2026"))
    reply = ask()
    assert reply == ModelReply(
        text="Hello there.", usage=Usage(input=20, output=5), model="house-model-2026", finish_reason="stop"
    )


def test_the_request_says_what_the_port_says(serve: Any) -> None:
    """System and user text, tools, bound and temperature reach the wire; the wire is Chat Completions."""
    server = serve(Reply("ok"))
    ask(tools=(GET_ORDER,), tokens_max=77, temperature="0.2")
    request = server.requests[0]
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    body = request.body
    assert body["model"] == "house-model"
    assert [(m["role"], m["content"]) for m in body["messages"]] == [
        ("system", "Be brief."),
        ("user", "Hello"),
    ]
    assert body["tools"][0]["function"]["name"] == "get_order"
    assert body["tools"][0]["function"]["parameters"]["required"] == ["order_id"]
    assert body["max_completion_tokens"] == 77
    assert body["temperature"] == 0.2
    assert "store" not in body


def test_a_tool_call_keeps_its_arguments_as_written(serve: Any) -> None:
    """The JSON text arrives byte for byte, spaces and number forms included."""
    written = '{ "order_id":"A-1",  "amount": 1.50, "note": "\\u00e9 caf\u00e9" }'
    serve(Call("get_order", written, id="call_x"))
    reply = ask(tools=(GET_ORDER,))
    assert reply.calls == (ToolCall(id="call_x", name="get_order", arguments=written),)
    assert reply.finish_reason == "tool_call"


@pytest.mark.parametrize(
    "written",
    ['{"order_id": "A-1"', "", "order A-1", '{"a":1,"a":2}', '{"a":NaN}', "[1]", '{"a":"\\ud800"}', "null"],
)
def test_bad_json_in_arguments_reaches_us_untouched(serve: Any, written: str) -> None:
    """What the model wrote is not repaired or refused on the way; judging it is the schema gate's work."""
    serve(Call("get_order", written))
    assert ask(tools=(GET_ORDER,)).calls[0].arguments == written


def test_a_lone_surrogate_in_arguments_becomes_its_escape(serve: Any) -> None:
    """Text with no UTF-8 form could not be journaled; its escape can, and is refused when it is parsed."""
    serve(Call("get_order", '{"order_id": "\ud800"}'))
    arguments = ask(tools=(GET_ORDER,)).calls[0].arguments
    assert arguments == '{"order_id": "\\ud800"}'
    assert isinstance(parse_json(arguments), Problem)


def test_several_calls_in_a_turn_keep_their_order(serve: Any) -> None:
    """All calls of a turn come back, in the order of the model, beside the text."""
    calls = tuple(Call("get_order", f'{{"order_id":"A-{n}"}}', id=f"c{n}") for n in range(3))
    serve(Reply("Looking.", calls=calls))
    reply = ask(tools=(GET_ORDER,))
    assert reply.text == "Looking."
    assert [call.id for call in reply.calls] == ["c0", "c1", "c2"]


def test_call_ids_are_made_distinct(serve: Any) -> None:
    """A server that leaves ids empty or repeats them does not make two results answer one call."""
    serve(Reply(calls=(Call("get_order", id="same"), Call("get_order", id="same"), Call("get_order", id=""))))
    ids = [call.id for call in ask(tools=(GET_ORDER,)).calls]
    assert len(set(ids)) == 3
    assert all(ids)


def test_a_turn_with_results_goes_out_in_order(serve: Any) -> None:
    """Calls and their results go back to the model with their ids, in one conversation."""
    server = serve(Reply("Shipped."))
    ask(
        messages=(
            Message(role="user", text="Where is A-1?"),
            Message(
                role="assistant",
                text="Let me look.",
                calls=(ToolCall(id="c1", name="get_order", arguments='{"order_id":"A-1"}'),),
            ),
            Message(role="tool", text='{"state":"shipped"}', call_id="c1", tool="get_order"),
            Message(role="user", text="And?"),
        ),
        tools=(GET_ORDER,),
    )
    user, assistant, tool, again = server.requests[0].body["messages"]
    assert user["content"] == "Where is A-1?"
    assert assistant["content"] == "Let me look."
    assert assistant["tool_calls"][0]["id"] == "c1"
    assert json.loads(assistant["tool_calls"][0]["function"]["arguments"]) == {"order_id": "A-1"}
    assert tool == {"role": "tool", "tool_call_id": "c1", "content": '{"state":"shipped"}'}
    assert again["content"] == "And?"


def test_broken_arguments_in_the_history_do_not_break_the_request(serve: Any) -> None:
    """After a model wrote bad JSON, the conversation with it and the refusal can still be sent."""
    server = serve(Reply("Sorry."))
    ask(
        messages=(
            Message(role="user", text="Where is A-1?"),
            Message(role="assistant", calls=(ToolCall(id="c1", name="get_order", arguments='{"order'),)),
            Message(role="tool", text="refused: not JSON", call_id="c1", tool="get_order"),
        )
    )
    assert "order" in server.requests[0].body["messages"][1]["tool_calls"][0]["function"]["arguments"]


def test_usage_counts_cached_tokens_inside_input(serve: Any) -> None:
    """Cached tokens are part of the input, never added to it."""
    serve(Reply("ok", tokens=Tokens(input=320, output=40, cached=128)))
    assert ask().usage == Usage(input=320, output=40, cache_read=128)


def test_a_reply_without_usage_is_taken_at_its_upper_bound(serve: Any) -> None:
    """A server that does not count makes the attempt dearer in our books, not free."""
    serve(Reply("ok", tokens=None))
    usage = ask(tokens_max=50).usage
    assert usage.input > 1_000
    assert usage.output == 50


def test_structured_output_is_asked_for_natively_without_tools(serve: Any) -> None:
    """Where no tool is offered, the provider is given the schema of the answer."""
    server = serve(Reply('{"a":1}'))
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    assert ask(output_schema=schema).text == '{"a":1}'
    assert server.requests[0].body["response_format"]["json_schema"]["schema"]["required"] == ["a"]


def test_structured_output_beside_tools_is_asked_for_in_words(serve: Any) -> None:
    """With tools on offer the schema goes into the instructions: an answer format can switch tools off."""
    server = serve(Reply('{"a":1}'))
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    ask(output_schema=schema, tools=(GET_ORDER,))
    body = server.requests[0].body
    assert "response_format" not in body
    assert json.dumps(schema) in "".join(m["content"] for m in body["messages"] if m["role"] == "system")


def test_one_adapter_serves_several_event_loops(serve: Any) -> None:
    """A runtime that is started again in the same process finds its model usable, closed or not."""
    server = serve(Reply("one"), Reply("two"), Reply("three"))
    port = PydanticAiModel(MODEL)
    request = ModelRequest(model=MODEL, messages=(Message(role="user", text="Hi"),))

    async def once() -> str:
        text = (await port.request(request)).text
        await port.aclose()
        return text

    assert [asyncio.run(once()) for _ in range(3)] == ["one", "two", "three"]
    assert len(server.requests) == 3


def test_concurrent_attempts_share_an_adapter(serve: Any) -> None:
    """A batch of reads or runs asks at the same time through one port."""
    serve(*[Reply("ok")] * 8)

    async def batch() -> list[ModelReply]:
        port = PydanticAiModel(MODEL)
        request = ModelRequest(model=MODEL, messages=(Message(role="user", text="Hi"),))
        replies = await asyncio.gather(*(port.request(request) for _ in range(8)))
        await port.aclose()
        return replies

    assert {reply.text for reply in asyncio.run(batch())} == {"ok"}


def test_a_request_for_another_model_is_refused(serve: Any) -> None:
    """An adapter never answers for a model that was not asked for."""
    server = serve(Reply("ok"))

    async def attempt() -> None:
        await PydanticAiModel(MODEL).request(ModelRequest(model="openai:other", messages=()))

    with pytest.raises(ConfigError):
        asyncio.run(attempt())
    assert server.requests == []


def test_the_responses_api_is_there_and_does_not_store(serve: Any) -> None:
    """`openai-responses:` asks the other API of OpenAI, once, and asks it not to keep the conversation."""
    server = serve(
        Reply(
            "Looking.", calls=(Call("get_order", '{"order_id": "A-1"}', id="c1"),), tokens=Tokens(cached=4)
        ),
        Status(code=500),
    )
    reply = ask("openai-responses:house-model", tools=(GET_ORDER,))
    assert reply.text == "Looking."
    assert [(call.name, call.arguments) for call in reply.calls] == [("get_order", '{"order_id": "A-1"}')]
    assert reply.usage == Usage(input=20, output=5, cache_read=4)
    assert server.requests[0].path == "/v1/responses"
    assert server.requests[0].body["store"] is False
    assert fail("openai-responses:house-model").retryable is True
    assert len(server.requests) == 2


def test_resolving_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing key is said before any run starts, with the variable to set."""
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(ConfigError) as caught:
        resolve_model(MODEL)
    assert "no key" in str(caught.value)
    assert "OPENAI_API_KEY" in caught.value.hint


def test_a_local_server_needs_no_key(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a base URL of one's own, a key is the server's business."""
    serve(Reply("ok"))
    monkeypatch.delenv("OPENAI_API_KEY")
    resolve_model(MODEL)
    assert ask().text == "ok"


def test_the_bound_covers_the_body_on_the_wire(serve: Any) -> None:
    """Every byte of what was sent is inside the bound, with tools rewritten for the provider and odd text."""
    server = serve(Reply("ok"), Reply("ok"))
    fields: dict[str, Any] = {
        f"field_{n}": {"type": "number", "minimum": 0, "maximum": 10**6, "description": "Größe in \u2318"}
        for n in range(30)
    }
    offer = ToolOffer(
        name="create_refund",
        description="Refund.\n" * 20,
        parameters={"type": "object", "properties": fields},
    )
    numbers = json.dumps({"values": [10**15] * 50}).replace("1000000000000000", "1e15")
    request: dict[str, Any] = {
        "messages": (
            Message(role="system", text='Quote "these" \\ and \n these \U0001f600' * 50),
            Message(role="user", text="\ud800 lone"),
            Message(role="assistant", calls=(ToolCall(id="c1", name="create_refund", arguments=numbers),)),
            Message(role="tool", text="ok", call_id="c1", tool="create_refund"),
            Message(role="assistant", calls=(ToolCall(id="c2", name="create_refund", arguments='{"x'),)),
            Message(role="tool", text="no", call_id="c2", tool="create_refund"),
        ),
        "tools": (offer,),
        "output_schema": {"type": "object", "properties": fields},
    }
    ask(**request)
    bound = PydanticAiModel(MODEL).tokens_bound(ModelRequest(model=MODEL, **request))
    request["tools"] = ()
    ask(**request)
    unoffered = PydanticAiModel(MODEL).tokens_bound(ModelRequest(model=MODEL, **request))
    assert len(server.requests[0].raw) <= bound
    assert len(server.requests[1].raw) <= unoffered


ANTHROPIC = "anthropic:claude-haiku-4-5"
GOOGLE = "google:gemini-2.5-flash"
BEDROCK = "bedrock:us.amazon.nova-micro-v1:0"
GROQ = "groq:llama-3.3-70b-versatile"
OTHERS = {
    ANTHROPIC: ("anthropic", {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": "{root}"}),
    GOOGLE: ("google.genai", {"GOOGLE_API_KEY": KEY, "GOOGLE_GEMINI_BASE_URL": "{root}"}),
    GROQ: ("groq", {"GROQ_API_KEY": KEY, "GROQ_BASE_URL": "{root}"}),
    BEDROCK: (
        "boto3",
        {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": "{root}",
            "AWS_EC2_METADATA_DISABLED": "true",
        },
    ),
}
"""Other wire formats: the package that the test needs, and the provider's own environment variables."""


def point(monkeypatch: pytest.MonkeyPatch, model: str, server: Server) -> None:
    """Point the provider of `model` at `server`, by the provider's own variables."""
    for name, value in OTHERS[model][1].items():
        monkeypatch.setenv(name, value.format(root=server.base_url.removesuffix("/v1")))


@pytest.mark.parametrize("model", OTHERS)
def test_other_sdks_also_send_once(monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    """Where another provider's SDK is installed, its retries are off too, and its errors mean the same."""
    pytest.importorskip(OTHERS[model][0])
    with start_server([Status(code=503), Status(code=429), Status(code=401)]) as server:
        point(monkeypatch, model, server)
        overloaded, limited, refused = fail(model), fail(model), fail(model)
        assert (overloaded.failure, overloaded.retryable, overloaded.is_billed) == ("upstream", True, True)
        assert (limited.failure, limited.retryable, limited.is_billed) == ("rate_limited", True, False)
        assert (refused.failure, refused.retryable, refused.is_billed) == ("permission", False, False)
        assert len(server.requests) == 3


ANTHROPIC_REPLY = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-haiku-4-5-20251001",
    "content": [
        {"type": "text", "text": "Looking."},
        {"type": "tool_use", "id": "toolu_1", "name": "get_order", "input": {"order_id": "A-1"}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 300,
        "cache_read_input_tokens": 500,
        "cache_creation_input_tokens": 200,
        "output_tokens": 40,
    },
}
GOOGLE_REPLY = {
    "candidates": [
        {
            "content": {
                "role": "model",
                "parts": [
                    {"text": "Looking."},
                    {"functionCall": {"name": "get_order", "args": {"order_id": "A-1"}}},
                ],
            },
            "finishReason": "STOP",
        }
    ],
    "usageMetadata": {
        "promptTokenCount": 1000,
        "cachedContentTokenCount": 500,
        "candidatesTokenCount": 40,
        "totalTokenCount": 1040,
    },
    "modelVersion": "gemini-2.5-flash",
}


@pytest.mark.parametrize(("model", "answer"), [(ANTHROPIC, ANTHROPIC_REPLY), (GOOGLE, GOOGLE_REPLY)])
def test_other_wire_formats_mean_the_same(
    monkeypatch: pytest.MonkeyPatch, model: str, answer: dict[str, Any]
) -> None:
    """Arguments that arrive as an object are JSON text here, and cached tokens are inside the input."""
    pytest.importorskip(OTHERS[model][0])
    history = (
        Message(role="system", text="Be brief."),
        Message(role="user", text="Where is A-1?"),
        Message(role="assistant", calls=(ToolCall(id="c1", name="get_order", arguments='{"order'),)),
        Message(role="tool", text="refused: not JSON", call_id="c1", tool="get_order"),
    )
    with start_server([Raw(body=json.dumps(answer).encode())]) as server:
        point(monkeypatch, model, server)
        reply = ask(model, messages=history, tools=(GET_ORDER,))
        sent = ModelRequest(model=model, messages=history, tools=(GET_ORDER,))
        assert len(server.requests[0].raw) <= PydanticAiModel(model).tokens_bound(sent)
    assert reply.text == "Looking."
    (call,) = reply.calls
    assert (call.name, json.loads(call.arguments)) == ("get_order", {"order_id": "A-1"})
    assert call.id
    assert reply.usage == Usage(
        input=1000, output=40, cache_read=500, cache_write=200 if model == ANTHROPIC else 0
    )


def test_a_tool_that_the_provider_ran_itself_is_not_accepted(serve: Any) -> None:
    """What the provider did on its own passed no gate, so the reply that rests on it is refused."""
    search = {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": {"type": "search", "query": "order A-1"},
    }
    reply = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_700_000_000,
        "model": "house-model",
        "status": "completed",
        "output": [search],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }
    serve(Raw(body=json.dumps(reply).encode()))
    failed = fail("openai-responses:house-model")
    assert "which no gate saw" in str(failed)
    assert (failed.failure, failed.retryable, failed.is_billed) == ("permission", False, True)


def test_a_failure_inside_a_good_status_is_the_same_failure(serve: Any) -> None:
    """The Responses API reports some failures in a 200; they mean what the status would have meant."""
    body: dict[str, Any] = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_700_000_000,
        "model": "house-model",
        "status": "failed",
        "error": {"code": "rate_limit_exceeded", "message": "slow down"},
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }
    serve(Raw(body=json.dumps(body).encode()))
    failed = fail("openai-responses:house-model")
    assert (failed.failure, failed.retryable) == ("rate_limited", True)


def test_an_unknown_model_points_to_the_other_api(serve: Any) -> None:
    """A model that only answers on the Responses API is not found here; the hint says how to reach it."""
    serve(Status(code=404, message="This is not a chat model"))
    assert "openai-responses:NAME" in fail().hint


def test_too_long_a_conversation_says_so(serve: Any) -> None:
    """Asking again would not make it shorter."""
    serve(Status(code=400, message="maximum context length is 8192", error_code="context_length_exceeded"))
    failed = fail()
    assert failed.retryable is False
    assert "too long" in failed.hint


def test_a_redirect_is_not_followed(serve: Any) -> None:
    """A conversation goes to the address that was configured and to no other."""
    server = serve(Status(code=307, headers={"location": "/v1/elsewhere"}))
    fail()
    assert [request.path for request in server.requests] == ["/v1/chat/completions"]


def test_a_temperature_that_is_no_decimal_is_refused(serve: Any) -> None:
    """Nothing is sent with a setting that means nothing."""
    server = serve(Reply("ok"))
    with pytest.raises(ConfigError):
        ask(temperature="warm")
    assert server.requests == []
