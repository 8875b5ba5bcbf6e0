"""Every provider that pydantic-ai-slim knows, behind the one port. Only its wire formats are used.

pydantic-ai and the provider's SDK are imported when a model is first prepared, not when this module is.

One call of `request` is one attempt: `max_retries=0` goes with it, so the SDKs of OpenAI and everything
compatible, Anthropic, Google, Groq, Mistral and Cohere send one HTTP request. Bedrock gets a client that was
built without retries. Hugging Face's client has none. **xAI's gRPC channel may retry an unavailable server
by itself**, and pydantic-ai offers no switch: an attempt there can be several on the wire.

`openai:` speaks Chat Completions, not the Responses API as in pydantic-ai: every compatible server behind
`OPENAI_BASE_URL` understands it, it keeps no state, and the vendor does not store it by default.
`openai-responses:` is there for models that only answer on the Responses API; storing is switched off.

What a port message cannot hold is not sent back in the next turn: hidden reasoning and its signatures.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
from decimal import Decimal, InvalidOperation
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn, cast
from weakref import WeakKeyDictionary

from answerable.errors import ConfigError, ModelFailed
from answerable.kernel.encoding import scrub
from answerable.models.port import Cost, Message, ModelReply, ModelRequest, ToolCall, ToolOffer, Usage
from answerable.models.prices import Prices

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic_ai.exceptions import ModelAPIError
    from pydantic_ai.messages import ModelMessage, ModelRequestPart, ModelResponse, ModelResponsePart
    from pydantic_ai.models import Model, ModelRequestParameters
    from pydantic_ai.providers import Provider
    from pydantic_ai.settings import ModelSettings
    from pydantic_ai.usage import RequestUsage

INSTALL_HINT = 'install the provider support: pip install "answerable[models]"'
DETAIL_LENGTH_MAX = 240

_WIRE = {"openai": "openai-chat"}
"""Where our provider name and pydantic-ai's differ."""
_ENVIRONMENT_NAME = re.compile(r"`([A-Z][A-Z0-9_]+)`")
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)
_SECRET_LENGTH_MIN = 6
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")

_REQUEST_OVERHEAD = 2_048
_MESSAGE_OVERHEAD = 64
_CALL_OVERHEAD = 96
_TOOL_OVERHEAD = 128
_ARGUMENTS_FACTOR = 4
_SCHEMA_FACTOR = 2


class PydanticAiModel:
    """One model of one provider. Meets `ModelPort`.

    Keeps one HTTP client per event loop, so that connections are reused; `aclose` gives them back.
    """

    def __init__(self, name: str, *, prices: Prices | None = None) -> None:
        """`name` is `PROVIDER:NAME`. Nothing is imported or looked up yet; `prepare` does that."""
        self.name = name
        self._prices = prices or Prices()
        self._prepared: Model | None = None
        self._models: WeakKeyDictionary[asyncio.AbstractEventLoop, Model] = WeakKeyDictionary()

    def prepare(self) -> None:
        """Import the provider and read its key, so that a run never starts with a model it cannot ask.

        Raises `ConfigError` where the package or the key is missing.
        """
        if self._prepared is None and not self._models:
            self._prepared = _build(self.name)

    async def request(self, request: ModelRequest) -> ModelReply:
        """One attempt: one request on the wire (see the module for the provider that does not keep to it).

        Raises `ModelFailed`, and `ConfigError` if the model could not be prepared or is another one.
        """
        if request.model != self.name:
            message = f"a request for `{request.model}` reached the adapter of `{self.name}`"
            raise ConfigError(message)
        model = self._model()
        from pydantic_ai.direct import model_request

        messages, parameters, settings = _outgoing(model, request)
        try:
            response = await model_request(
                model,
                messages,
                model_settings=settings,
                model_request_parameters=parameters,
                instrument=False,  # the journal is the trace; anything global would copy content elsewhere
            )
        except Exception as error:  # noqa: BLE001 - the port promises one kind of failure; see `_fail`
            _fail(self.name, error)
        return self._reply(response, request)

    def tokens_bound(self, request: ModelRequest) -> int:
        """An upper bound of the input tokens of `request`.

        Why it bounds: a token stands for at least one byte of the text that the model is shown, and that
        text is the request's own (messages, tool schemas, the shape of the answer) plus what the provider
        wraps around it. Counted are the bytes of the request as JSON, where a text is never shorter than
        plain; schemas twice and arguments four times, since a provider may rewrite them (`maximum` into
        prose, `1e15` into its digits); and a fixed allowance for each message, call and tool, and for the
        provider's own hidden instructions, of which the longest published ones take some hundreds of
        tokens. The allowance is an assumption about providers; the rest holds for any tokenizer.
        """
        counted = sum(_message_bound(message) for message in request.messages)
        counted += sum(_tool_bound(tool) for tool in request.tools)
        if request.output_schema is not None:
            counted += len(_ANSWER_INSTRUCTION) + _SCHEMA_FACTOR * _json_bytes(request.output_schema)
        return _REQUEST_OVERHEAD + counted

    def cost(self, model: str, usage: Usage) -> Cost:
        """The price of `usage`; see `Prices.cost`."""
        return self._prices.cost(model, usage)

    def cost_bound(self, model: str, *, input_tokens: int, output_tokens: int) -> Cost:
        """What so many tokens cost at most; see `Prices.cost_bound`."""
        return self._prices.cost_bound(model, input_tokens=input_tokens, output_tokens=output_tokens)

    async def aclose(self) -> None:
        """Close the connections that this event loop opened. The model can be used again afterwards."""
        model = self._models.pop(asyncio.get_running_loop(), None)
        if model is not None:
            async with model:
                pass

    def _model(self) -> Model:
        """The model of the running event loop: a connection belongs to the loop that opened it."""
        loop = asyncio.get_running_loop()
        model = self._models.get(loop)
        if model is None:
            model, self._prepared = self._prepared or _build(self.name), None
            self._models[loop] = model
        return model

    def _reply(self, response: ModelResponse, request: ModelRequest) -> ModelReply:
        if response.state != "complete":
            message = f"`{self.name}` stopped in the middle of its reply (`{response.state}`)"
            raise ModelFailed(message, failure="upstream", retryable=True)
        text, calls = _incoming(self.name, response.parts)
        return ModelReply(
            text=text,
            calls=calls,
            usage=self._usage(response.usage, request),
            model=scrub(response.model_name or ""),
            finish_reason=response.finish_reason or "",
        )

    def _usage(self, usage: RequestUsage, request: ModelRequest) -> Usage:
        """The tokens of the attempt; where a provider does not say, the upper bound and never zero."""
        read, write = max(usage.cache_read_tokens, 0), max(usage.cache_write_tokens, 0)
        if usage.unmeasured_requests or usage.input_tokens <= 0:
            return Usage(input=self.tokens_bound(request), output=request.tokens_max)
        return Usage(
            input=max(usage.input_tokens, read + write),
            output=max(usage.output_tokens, 0),
            cache_read=read,
            cache_write=write,
        )


# --- preparing ------------------------------------------------------------------------------------------


def _build(name: str) -> Model:
    try:
        from pydantic_ai.exceptions import UserError
        from pydantic_ai.models import infer_model
    except ImportError:
        message = f"`{name}` needs the provider support, which is not installed"
        raise ConfigError(message, hint=INSTALL_HINT) from None
    provider, _, model_name = name.partition(":")
    try:
        return infer_model(f"{_WIRE.get(provider, provider)}:{model_name}", provider_factory=_provider)
    except ImportError:
        message = f"the package behind the provider `{provider}` is not installed"
        hint = f'try: pip install "pydantic-ai-slim[{provider.partition("-")[0]}]"'
        raise ConfigError(message, hint=hint) from None
    except UserError as error:
        _refuse(name, error.message.partition(" To try Pydantic AI")[0])
    except Exception as error:  # noqa: BLE001 - each SDK has its own way to say that it was not given credentials
        _refuse(name, str(error))


def _refuse(name: str, reason: str) -> NoReturn:
    variables = [found for found in _ENVIRONMENT_NAME.findall(reason) if _SECRET_NAME.search(found)]
    if variables:
        message = f"no key for `{name}`"
        raise ConfigError(message, hint=f"set `{variables[0]}` in the environment") from None
    message = f"`{name}` cannot be prepared: {_detail(reason)}"
    raise ConfigError(message, hint="check the provider's environment variables") from None


def _provider(name: str) -> Provider[Any]:
    """The provider as pydantic-ai builds it; Bedrock with its SDK's own retries off."""
    if name == "bedrock":
        from pydantic_ai.providers.bedrock import BedrockProvider

        boto3: Any = import_module("boto3")
        config: Any = import_module("botocore.config")
        once = config.Config(retries={"total_max_attempts": 1})
        return BedrockProvider(bedrock_client=boto3.client("bedrock-runtime", config=once))
    from pydantic_ai.providers import infer_provider

    return infer_provider(name)


# --- outgoing -------------------------------------------------------------------------------------------

_ANSWER_INSTRUCTION = (
    "When you are done, answer with one JSON document and nothing else. It must fit this JSON Schema:\n"
)


def _outgoing(
    model: Model, request: ModelRequest
) -> tuple[list[ModelMessage], ModelRequestParameters, ModelSettings]:
    from pydantic_ai.models import ModelRequestParameters
    from pydantic_ai.output import OutputObjectDefinition
    from pydantic_ai.tools import ToolDefinition

    messages = request.messages
    parameters = ModelRequestParameters(
        function_tools=[
            ToolDefinition(
                name=tool.name, description=tool.description, parameters_json_schema=tool.parameters
            )
            for tool in request.tools
        ]
    )
    if request.output_schema is not None:
        # A native answer format next to tools keeps several servers from calling tools at all, so then it is
        # asked for in words; the engine validates either way.
        if not request.tools and model.profile.get("supports_json_schema_output", False):
            parameters.output_mode = "native"
            parameters.output_object = OutputObjectDefinition(
                json_schema=request.output_schema, name="answer"
            )
        else:
            asked = _ANSWER_INSTRUCTION + json.dumps(request.output_schema, ensure_ascii=False)
            messages = _instructed(messages, asked)
    return _history(messages), parameters, _settings(model, request)


def _instructed(messages: Sequence[Message], text: str) -> tuple[Message, ...]:
    """The messages with `text` after the leading system messages, so that a cached prefix stays stable."""
    leading = 0
    while leading < len(messages) and messages[leading].role == "system":
        leading += 1
    return (*messages[:leading], Message(role="system", text=text), *messages[leading:])


def _history(messages: Iterable[Message]) -> list[ModelMessage]:
    """pydantic-ai's form: what is sent between two replies of the model is one request of several parts."""
    from pydantic_ai import messages as wire

    history: list[ModelMessage] = []
    pending: list[ModelRequestPart] = []
    for message in messages:
        text = scrub(message.text)
        if message.role == "assistant":
            if pending:
                history.append(wire.ModelRequest(parts=pending))
                pending = []
            said: list[ModelResponsePart] = [wire.TextPart(text)] if text else []
            calls = [
                wire.ToolCallPart(call.name, scrub(call.arguments), tool_call_id=call.id)
                for call in message.calls
            ]
            history.append(wire.ModelResponse(parts=[*said, *calls]))
        elif message.role == "tool":
            pending.append(wire.ToolReturnPart(message.tool, text, tool_call_id=message.call_id))
        elif message.role == "system":
            pending.append(wire.SystemPromptPart(text))
        else:
            pending.append(wire.UserPromptPart(text))
    if pending:
        history.append(wire.ModelRequest(parts=pending))
    return history


def _settings(model: Model, request: ModelRequest) -> ModelSettings:
    wanted: dict[str, Any] = {
        "max_tokens": request.tokens_max,
        "max_retries": 0,
        "timeout": request.timeout_s,  # the SDK's own clock, for each wait
        "request_timeout": request.timeout_s,  # a deadline over the whole attempt, whatever the SDK does
    }
    if model.system in {"openai", "azure"} and type(model).__name__ == "OpenAIResponsesModel":
        wanted["openai_store"] = False  # Chat Completions does not store unless asked to
    if request.temperature is not None:
        try:
            wanted["temperature"] = float(Decimal(request.temperature))
        except InvalidOperation:
            message = f"`{request.temperature}` is not a temperature"
            raise ConfigError(message, hint='a temperature is a decimal as text, as in "0.2"') from None
    kept = {name: value for name, value in wanted.items() if name not in model.unsupported_settings}
    return cast("ModelSettings", kept)


# --- incoming -------------------------------------------------------------------------------------------


def _incoming(name: str, parts: Iterable[ModelResponsePart]) -> tuple[str, tuple[ToolCall, ...]]:
    from pydantic_ai import messages as wire

    texts: list[str] = []
    calls: list[ToolCall] = []
    taken: set[str] = set()
    for part in parts:
        if isinstance(part, wire.TextPart):
            texts.append(part.content)
        elif isinstance(part, wire.ToolCallPart):
            call_id = _distinct(part.tool_call_id, taken)
            calls.append(ToolCall(id=call_id, name=scrub(part.tool_name), arguments=_arguments(part.args)))
        elif isinstance(part, wire.NativeToolCallPart):
            message = f"`{name}` used a tool of its provider, `{_detail(part.tool_name)}`, which no gate saw"
            raise ModelFailed(message, failure="permission", hint="switch the provider's own tools off")
    return scrub("".join(texts)), tuple(calls)


def _arguments(written: object) -> str:
    """The JSON text as the model wrote it; providers that hand over an object had it parsed on their side.

    A lone surrogate has no UTF-8 form, so it is written as its JSON escape, which means the same and is
    refused by whoever parses it.
    """
    if written is None:
        return "{}"
    text = written if isinstance(written, str) else json.dumps(written, ensure_ascii=False)
    return _LONE_SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _distinct(call_id: str, taken: set[str]) -> str:
    """`call_id`, or one made from it where a server left it empty or used it twice in a reply."""
    wanted = scrub(call_id) or "call"
    candidate, count = wanted, 1
    while candidate in taken:
        count += 1
        candidate = f"{wanted}-{count}"
    taken.add(candidate)
    return candidate


# --- failing --------------------------------------------------------------------------------------------

_REFUSED = range(400, 500)
_TIMED_OUT = 408
_NOT_FINAL = {_TIMED_OUT, 409, 425}
"""Statuses of the refusing kind that another try may change; the SDKs retry them too."""


def _fail(name: str, error: Exception) -> NoReturn:
    """Raise the `ModelFailed` that `error` means. Whatever is not certainly refused may have been billed.

    Nothing is chained: an SDK's exception carries the request, its headers and the provider's raw answer.
    """
    from pydantic_ai import exceptions as wire

    if isinstance(error, wire.ModelRequestTimeout | wire.ModelTimeoutError):
        sent = not (isinstance(error, wire.ModelTimeoutError) and error.phase in {"pool", "connect"})
        message = f"`{name}` did not answer in time"
        raise ModelFailed(message, failure="timeout", retryable=True, is_billed=sent) from None
    if isinstance(error, wire.ModelConnectionError):
        sent = error.phase not in {"pool", "connect"}
        message = f"the connection to `{name}` failed: {_detail(error.message)}"
        hint = "" if sent else "check the provider's address and the network"
        raise ModelFailed(message, failure="upstream", retryable=True, is_billed=sent, hint=hint) from None
    if isinstance(error, wire.ModelHTTPError):
        raise _refusal(name, error, error.status_code) from None
    if isinstance(error, wire.ModelAPIError) and type(error) is not wire.ModelAPIError:
        raise _refusal(name, error, None) from None
    if isinstance(error, wire.UserError):
        message = f"`{name}` cannot be asked this: {_detail(error.message)}"
        raise ModelFailed(message, failure="schema") from None
    undecodable = isinstance(error.__cause__, json.JSONDecodeError | UnicodeDecodeError)
    known = undecodable or isinstance(error, wire.AgentRunError)
    wrong = "it is not JSON" if undecodable else "it is not what the provider's API promises"
    wrong = wrong if known else f"{wrong} ({type(error).__name__})"
    message = f"the reply of `{name}` is not usable: {wrong}"
    raise ModelFailed(message, failure="schema", retryable=True) from None


def _refusal(name: str, error: ModelAPIError, status: int | None) -> ModelFailed:
    """The failure that the provider reported itself, with a status or inside a reply."""
    from pydantic_ai import exceptions as wire

    said = _said(error)
    code = f" ({status})" if status is not None else ""
    message = f"`{name}` refused{code}{f': {said}' if said else ''}"
    if isinstance(error, wire.ModelQuotaExceededError):
        hint = "top up or raise the limit of the provider account"
        return ModelFailed(message, failure="permission", is_billed=False, hint=hint)
    if isinstance(error, wire.ModelRateLimitError):
        wait = _wait(error.retry_after)
        return ModelFailed(
            message, failure="rate_limited", retryable=True, retry_after_s=wait, is_billed=False
        )
    if isinstance(error, wire.ModelAuthenticationError):
        hint = "check the provider's key and what it may use"
        return ModelFailed(message, failure="permission", is_billed=False, hint=hint)
    if isinstance(error, wire.ModelNotFoundError):
        hint = "check the model's name and the provider's address"
        if name.startswith("openai:"):
            hint += "; a model that only answers on the Responses API is `openai-responses:NAME`"
        return ModelFailed(message, failure="not_found", is_billed=False, hint=hint)
    if isinstance(error, wire.ModelContextWindowExceededError):
        hint = "the conversation is too long for this model"
        return ModelFailed(message, failure="schema", is_billed=False, hint=hint)
    if isinstance(error, wire.ModelRequestRejectedError):
        return ModelFailed(message, failure="schema", is_billed=False)
    if status in _REFUSED and status not in _NOT_FINAL and not error.in_stream:
        return ModelFailed(message, failure="schema", is_billed=False)
    message = f"`{name}` failed{code}{f': {said}' if said else ''}"
    failure = "timeout" if status == _TIMED_OUT else "upstream"
    return ModelFailed(message, failure=failure, retryable=True, retry_after_s=_wait(error.retry_after))


def _said(error: ModelAPIError) -> str:
    """What the provider said about it: its message where it has the usual shape, else its error code."""
    body: object = error.body
    if isinstance(body, dict):
        fields = cast("dict[str, object]", body)
        inner: object = fields.get("error", fields)
        if isinstance(inner, dict):
            fields = cast("dict[str, object]", inner)
        for key in ("message", "detail"):
            text = fields.get(key)
            if isinstance(text, str) and text:
                return _detail(text)
    return _detail(error.provider_error_code or error.provider_error_type or "")


def _detail(text: str) -> str:
    """One short printable line without secrets: what a provider says may end up in a journal or a packet."""
    for name, value in os.environ.items():
        if len(value) >= _SECRET_LENGTH_MIN and _SECRET_NAME.search(name):
            text = text.replace(value, "[secret]")
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return (
        line if len(line) <= DETAIL_LENGTH_MAX else line[: DETAIL_LENGTH_MAX - 1] + "\N{HORIZONTAL ELLIPSIS}"
    )


def _wait(retry_after: float | None) -> float | None:
    return (
        retry_after if retry_after is not None and math.isfinite(retry_after) and retry_after >= 0 else None
    )


# --- bounding -------------------------------------------------------------------------------------------


def _json_bytes(value: object) -> int:
    """UTF-8 length as JSON. A lone surrogate counts as three bytes, which is what replaces it."""
    return len(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def _message_bound(message: Message) -> int:
    arguments = sum(
        _CALL_OVERHEAD + _json_bytes([call.id, call.name]) + _ARGUMENTS_FACTOR * _json_bytes(call.arguments)
        for call in message.calls
    )
    return _MESSAGE_OVERHEAD + _json_bytes([message.text, message.call_id, message.tool]) + arguments


def _tool_bound(tool: ToolOffer) -> int:
    return (
        _TOOL_OVERHEAD
        + _json_bytes([tool.name, tool.description])
        + _SCHEMA_FACTOR * _json_bytes(tool.parameters)
    )
