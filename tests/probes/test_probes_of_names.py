"""Probes on names: an action in another case, no action at all, and a tool under a name that is not quite its own."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.engine.workshop import Task, make_agent, runtime_of
from tests.probes.probe_till import (
    CAPS,
    OPEN,
    TOOLS,
    Till,
    change_plan,
    forbid,
    query,
    refund,
    refused_when_read,
    send_mail,
    slipped,
    through,
)

from answerable import EffectKey, Run, tool
from answerable.errors import ConfigError, PolicyError, ToolError
from answerable.gates.policy import load_bundle
from answerable.models.port import Message, ModelReply, ToolCall
from answerable.testing import ScriptedModel, say, use

if TYPE_CHECKING:
    from pathlib import Path

ALLOWED_ACTIONS = (
    '@id("reads") @text("Reading tables.")\n'
    'permit (principal, action == Action::"query", resource)\n'
    'when { ["read", "count"].contains(context.args.action) };\n'
)


async def test_p10_another_case_of_a_word_is_not_permitted(tmp_path: Path) -> None:
    """Against a list of what is permitted, `DROP`, `Drop`, `drop ` and `dr\u200bop` are all just not on it; nor is `READ`."""
    words = ("drop", "DROP", "Drop", "dROP", "drop ", " drop", "drop;", "READ", "Read", "read ", "read\n", "ｒead", "rеad", "read\u200b", "")  # fmt: skip
    came = await through(
        tmp_path,
        "model",
        {repr(word): (query, json.dumps({"action": word, "table": "t"})) for word in words},
        policy=ALLOWED_ACTIONS,
    )
    good = await through(
        tmp_path, "model", {"read": (query, '{"action": "read", "table": "t"}')}, policy=ALLOWED_ACTIONS
    )

    assert slipped(came) == {}
    assert good["read"].sent == (("read", "t"),)


async def test_p10_where_a_list_is_closed_no_other_case_gets_to_the_rules(tmp_path: Path) -> None:
    """A closed list in the tool's own type makes even a list of what is forbidden hold."""
    no_paid = OPEN + forbid("no-paid", "change_plan", 'when { context.args.plan == "paid" }')
    words = ("paid", "PAID", "Paid", "paid ", "ｐaid", "pаid", "paid\u200b", "premium", "")
    came = await through(
        tmp_path,
        "model",
        {repr(word): (change_plan, json.dumps({"plan": word})) for word in words},
        policy=no_paid,
    )

    assert slipped(came) == {}
    assert came["'paid'"].rules == ("no-paid",)
    assert "is never" in refused_when_read(
        OPEN + forbid("mine", "change_plan", 'when { context.args.plan == "PAID" }')
    )


async def test_p11_a_call_in_the_documented_style_is_matched_by_the_rules_of_its_tool(tmp_path: Path) -> None:
    """There is no `action` argument that a caller could leave out: the action is the tool, and nothing else."""
    no_mail = (
        OPEN + '@id("no-mail") @text("N.")\nforbid (principal, action == Action::"send_mail", resource);\n'
    )
    came = await through(
        tmp_path,
        "program",
        {
            "as documented": (send_mail, {"to": ["ana@corp.example"], "body": "x"}),
            "with an action": (send_mail, {"to": ["ana@corp.example"], "body": "x", "action": "read"}),
            "with an action type": (
                send_mail,
                {"to": ["ana@corp.example"], "body": "x", "action": {"type": "read"}},
            ),
        },
        policy=no_mail,
    )
    told = await through(
        tmp_path,
        "model",
        {
            "an action beside": (send_mail, '{"to": ["ana@corp.example"], "body": "x", "action": "read"}'),
            "a tool beside": (send_mail, '{"to": ["ana@corp.example"], "body": "x", "tool": "query"}'),
            "a name beside": (send_mail, '{"to": ["ana@corp.example"], "body": "x", "name": "query"}'),
        },
        policy=no_mail,
    )

    assert slipped(came) == {}
    assert slipped(told) == {}
    assert came["as documented"].rules == ("no-mail",)
    assert "`action.type` does not exist" in refused_when_read(
        OPEN + forbid("mine", "send_mail", 'when { action.type == "send_mail" }')
    )


NOT_THE_TOOL = (
    "Refund", "REFUND", "refund ", " refund", "refund\n", "refund\x00", "re fund", "re_fund", "re-fund", "refund()", "refund:1",
    "rеfund", "ｒefund", "refund\u200b", "\ufeffrefund", "\u202erefund", "mcp__till__refund", "till.refund", "till/refund",
    "functions.refund", "functions__refund", "default_api.refund", "../refund", "refund.v2", "Tool::refund", 'Tool::"refund"',
    'Action::"refund"', "tests.probes.probe_till.refund", "write", "read", "irreversible", "outward", "escalate ", "", "*", "x" * 5000,
)  # fmt: skip


async def test_p16_a_tool_answers_to_exactly_one_name(tmp_path: Path) -> None:
    """Case, spaces, prefixes of gateways, look-alikes: there is no such tool, and none that is like it."""
    raw = '{"order_id": "o", "amount": 1}'
    came = await through(tmp_path, "model", {repr(name)[:40]: (name, raw) for name in NOT_THE_TOOL})
    called = await through(
        tmp_path,
        "program",
        {repr(name)[:40]: (name, {"order_id": "o", "amount": 1}) for name in NOT_THE_TOOL},
    )

    assert len(came) == len(NOT_THE_TOOL)
    assert slipped(came) == {}
    assert slipped(called) == {}
    assert {each.code for each in (*came.values(), *called.values())} == {"invalid_call"}


async def test_p16_a_wrapped_function_is_the_same_tool_under_the_same_rules(tmp_path: Path) -> None:
    """A decorator, a partial, a second import: what it is called decides, and two of one name are refused."""

    async def plain(order_id: str, amount: int, *, key: EffectKey, till: Till) -> str:
        """Pay back."""
        return till.take("refund", (order_id, amount))

    @functools.wraps(plain)
    async def wrapped(*args: Any, **kwargs: Any) -> str:
        return await plain(*args, **kwargs)

    as_refund = tool(mode="native_key", name="refund")(wrapped)
    other = tool(mode="native_key", name="refund_v2")(plain)
    caps = OPEN + forbid("cap", "refund", "when { context.args.amount > 500 }")
    came = await through(
        tmp_path,
        "model",
        {"wrapped": ("refund", '{"order_id": "o", "amount": 9999}')},
        policy=caps,
        tools=[as_refund],
    )
    permit_one = '@id("one") @text("O.")\npermit (principal, action == Action::"refund", resource);\n'
    alias = await through(
        tmp_path,
        "model",
        {"second name": ("refund_v2", '{"order_id": "o", "amount": 1}')},
        policy=permit_one,
        tools=[as_refund, other],
    )

    assert slipped(came) == {}
    assert came["wrapped"].rules == ("cap",)
    assert slipped(alias) == {}
    assert alias["second name"].code == "policy_denied"
    with pytest.raises(ConfigError, match="two tools called"):
        make_agent([refund, as_refund])
    with pytest.raises(PolicyError, match="two tools are called `refund`"):
        load_bundle({"a": OPEN}, [refund.spec, as_refund.spec], ["clerk"])
    with pytest.raises(ToolError):
        tool(mode="native_key")(functools.partial(plain, "o"))


@pytest.mark.parametrize(
    "name", ["Refund", "refund ", "re-fund", "rеfund", "write", "read", "irreversible", ""]
)
def test_p16_a_tool_cannot_be_given_a_name_that_rules_could_mistake(name: str) -> None:
    """One alphabet, one case, and none of the names of groups."""

    async def pay(amount: int, *, key: EffectKey) -> str:
        """Pay."""
        return ""

    pay.__name__ = name
    with pytest.raises((ToolError, PolicyError)):
        load_bundle({"a": OPEN}, [tool(mode="native_key")(pay).spec], ["clerk"])


async def test_p16_a_tool_that_was_not_offered_is_not_called(tmp_path: Path) -> None:
    """A model that was shown some of the tools may propose no others, although the agent has them."""
    till = Till()

    def model(messages: tuple[Message, ...], *_: Any) -> ModelReply:
        if any(message.role == "tool" for message in messages):
            return say("I give up")
        return use(ToolCall(id="", name="refund", arguments='{"order_id": "o", "amount": 1}'))

    async def program(run: Run, task: Task) -> str:
        reply = await run.model([Message(role="user", text="go")], tools=[query])
        (answer,) = await run.propose(reply.calls)
        assert answer.error is not None
        return str(answer.error)

    agent = make_agent(TOOLS, program, policy=CAPS)
    models = {"scripted:clerk": ScriptedModel("clerk", model)}
    async with runtime_of(tmp_path, agent, models=models, resources={"till": till}) as runtime:
        outcome = await runtime.run(agent, Task())

    assert "there is no tool of that name; there are `query`" in str(outcome.answer)
    assert till.got == []
