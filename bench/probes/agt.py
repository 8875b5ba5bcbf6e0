"""Microsoft's Agent Governance Toolkit, as its own tutorials use it: `govern(function, policy=...)`.

`--style tutorial` writes rules as the README and tutorials 36 to 38 do: `default_action: allow`, and rules that deny
or ask. `--style allow-list` states `default_action: deny` and rules that allow, both bounds given: stricter than the
tutorials, and the product's own default where none is stated. Functions take `action` and are called with named
arguments, as in the tutorials, except where leaving that out is the probe.
"""

from __future__ import annotations

from argparse import ArgumentParser
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from agentmesh.governance import ApprovalDecision, CallbackApproval, GovernanceDenied, govern
from agentmesh.governance.approval_protocol import (
    ApprovalChain,
    ApprovalCoordinator,
    ApprovalStage,
    InMemoryApprovalStore,
)
from pydantic import BaseModel, Field

from bench.probes.seen import Seen, Till, not_applicable, report, shorten

if TYPE_CHECKING:
    from collections.abc import Callable

TILL = Till()
FULL_WIDTH = "\uff19\uff19\uff19\uff19"
ZERO_WIDTH = "sala\u200bries"
CYRILLIC = "\u0430na@corp.example"
CAP = "action.type == 'refund' and amount.value > 500"
WITHIN = "action.type == 'refund' and amount.value >= 0 and amount.value <= 500"


def refund(action: str, order_id: str, amount: Any = 9999, **more: Any) -> str:
    """Pay back."""
    return TILL.take(action, order_id, amount, more)


class Refund(BaseModel):
    """A tool's own model, with an alias."""

    order_id: str
    amount: float = Field(default=0, alias="amt")


def refund_by_model(action: str, **fields: Any) -> str:
    """Pay back what the model says."""
    return TILL.take(action, Refund(**fields).amount)


def transfer(action: str, order: Any) -> str:
    """Pay an order."""
    return TILL.take(action, order)


def query(action: str, table: str = "orders") -> str:
    """Do something to a table."""
    return TILL.take(action, table)


def send_email(to: Any, body: str, action: str = "") -> str:
    """Send a letter."""
    return TILL.take(action, to, body)


def policy(*rules: str, default: str | None) -> str:
    """A policy file in the product's own form."""
    stated = f"default_action: {default}\n" if default else ""
    return f'apiVersion: governance.toolkit/v1\nname: probes\nagents: ["*"]\n{stated}rules:\n' + "".join(
        rules
    )


def rule(condition: str, action: str = "deny", **more: str) -> str:
    """One rule."""
    lines = "".join(f"    {name}: {value}\n" for name, value in more.items())
    return f'  - name: probe\n    condition: "{condition}"\n    action: {action}\n{lines}    priority: 100\n'


class Product:
    """The product under one style of rules."""

    def __init__(self, style: str) -> None:
        self.is_open = style == "tutorial"

    def rules(self, deny: str, allow: str) -> str:
        """The same intent in the style: what is forbidden, or what is permitted."""
        if self.is_open:
            return policy(rule(deny), default="allow")
        return policy(rule(allow, "allow"), default="deny")

    def ask(
        self,
        function: Callable[..., str],
        text: str,
        *calls: tuple[tuple[Any, ...], dict[str, Any]],
        **more: Any,
    ) -> Seen:
        """Govern the function with these rules and make the calls, one after the other."""
        TILL.got.clear()
        try:
            safe = govern(function, policy=text, **more)
        except Exception as error:  # noqa: BLE001 - whatever a policy is refused with
            return Seen("refused at load", shorten(f"{type(error).__name__}: {error}"))
        how, did = "", "denied"
        for args, kwargs in calls:
            try:
                safe(*args, **kwargs)
            except GovernanceDenied as denied:
                how = shorten(denied)
            except Exception as error:  # noqa: BLE001 - the function's own error, after it was let through
                did, how = "failed", shorten(f"{type(error).__name__}: {error}")
        if TILL.got:
            return Seen("done", shorten(f"the function ran with {TILL.got[-1]}"), len(TILL.got))
        return Seen("failed" if did == "failed" else "denied", how)

    def amount(self, value: Any) -> Callable[[], Seen]:
        """A refund of this amount under the cap."""
        return lambda: self.ask(
            refund, self.rules(CAP, WITHIN), ((), {"action": "refund", "order_id": "o", "amount": value})
        )

    def spelt(self, deny: str, allow: str) -> Callable[[], Seen]:
        """A refund of 9999 under a cap that is spelt like this."""
        large = ((), {"action": "refund", "order_id": "o", "amount": 9999})
        return lambda: self.ask(refund, self.rules(deny, allow), large)

    def approved(self, decide: Callable[[Any], ApprovalDecision], *amounts: int, **more: Any) -> Seen:
        """Refunds above 500 need a person, as in tutorial 38; here is what that person says."""
        text = policy(
            rule(CAP, "require_approval", approvers='["cs-manager"]'),
            default="allow" if self.is_open else "deny",
        )
        calls = [((), {"action": "refund", "order_id": "o", "amount": amount}) for amount in amounts]
        return self.ask(refund, text, *calls, approval_handler=CallbackApproval(decide), **more)


def says(approver: str, *amounts: int) -> Callable[[Any], ApprovalDecision]:
    """An approver who says yes to just these amounts, each once, whatever else is asked."""
    left = list(amounts)

    def decide(request: Any) -> ApprovalDecision:
        amount = request.context.get("amount", {}).get("value")
        is_yes = amount in left
        if is_yes:
            left.remove(amount)
        return ApprovalDecision(approved=is_yes, approver=approver, reason="looked at it")

    return decide


def coordinated() -> dict[str, Any]:
    """The action-bound approval of ADR-0030, which only accepts identities that its chain lists."""
    stage = ApprovalStage(0, allowed_identities=frozenset({"cs-manager"}))
    chain = ApprovalChain(chain_id="refunds", version="1", stages=(stage,))
    coordinator = ApprovalCoordinator(InMemoryApprovalStore(), {chain.chain_id: chain})
    return {"approval_coordinator": coordinator, "approval_chain_id": chain.chain_id}


def answers(style: str) -> dict[str, Callable[[], Seen]]:
    """What the product does, by case."""
    p = Product(style)
    large = ((), {"action": "refund", "order_id": "o", "amount": 9999})
    by_position = (("refund", "o", 9999), {})

    def approved_by(approver: str) -> Seen:
        simple = p.approved(says(approver, 700), 700, agent_id="support-bot")
        strict = p.approved(says(approver, 700), 700, agent_id="support-bot", **coordinated())
        note = f"; with `approval_coordinator` and a chain: {strict.did}"
        return Seen(simple.did, shorten(simple.how)[:100] + note, simple.effects)

    return {
        "0a": p.amount(5),
        "0b": lambda: p.approved(says("cs-manager", 700), 700),
        "1a": lambda: p.ask(refund, p.rules(CAP, WITHIN), by_position),
        "2a": p.amount("60000"),
        "3a": p.amount("9,999"),
        "3b": p.amount("1e9"),
        "3c": p.amount(FULL_WIDTH),
        "3d": p.amount(" 9999"),
        "4a": p.amount("not-a-number"),
        "5a": p.spelt(CAP.replace(".value", ""), WITHIN.replace(".value", "")),
        "6a": p.spelt("(amount.value > 500)", "(amount.value <= 500)"),
        "7a": p.spelt("not amount.value < 500", "not amount.value > 500"),
        "8a": p.spelt("amount.value > -1", "amount.value > -1 and amount.value <= 500"),
        "8b": p.amount(-5),
        "9a": p.spelt("amount.value >< 500", "amount.value <> 500"),
        "10a": lambda: p.ask(
            query,
            p.rules("action.type == 'drop'", "action.type in ['read', 'count']"),
            ((), {"action": "DROP"}),
        ),
        "11a": lambda: p.ask(
            send_email,
            p.rules("action.type == 'send_email'", "action.type == 'read'"),
            ((), {"to": "x@corp.example", "body": "hello"}),
        ),
        "12a": lambda: p.ask(refund, "", large),
        "12b": lambda: p.ask(refund, policy(rule("action.type == 'read'", "allow"), default=None), large),
        "12c": lambda: p.ask(refund, "no-such-policy.yaml", large),
        "13a": p.spelt(CAP.replace("amount", "amonut"), WITHIN.replace("amount", "amonut")),
        "13b": lambda: p.ask(
            refund,
            p.rules(CAP, WITHIN)
            .replace("action: deny", "action: dney")
            .replace("action: allow\n    priority", "action: alow\n    priority"),
            large,
        ),
        "13c": p.spelt(CAP.replace("refund", "refnud"), WITHIN.replace("refund", "refnud")),
        "14a": lambda: p.ask(refund, p.rules(CAP, WITHIN), ((), {"action": "refund", "order_id": "o"})),
        "15a": lambda: p.ask(
            refund_by_model, p.rules(CAP, WITHIN), ((), {"action": "refund", "order_id": "o", "amt": 9999})
        ),
        "15b": not_applicable("`govern` takes Python arguments, never JSON text"),
        "16a": lambda: p.ask(
            refund, p.rules(CAP, WITHIN), ((), {"action": "Refund", "order_id": "o", "amount": 9999})
        ),
        "17a": lambda: p.ask(
            send_email,
            p.rules("to.value != 'ana@corp.example'", "to.value == 'ana@corp.example'"),
            ((), {"action": "send_email", "to": CYRILLIC, "body": "x"}),
        ),
        "17b": lambda: p.ask(
            query,
            p.rules("table.value == 'salaries'", "table.value in ['orders', 'tickets']"),
            ((), {"action": "read", "table": ZERO_WIDTH}),
        ),
        "18a": lambda: p.ask(
            transfer,
            p.rules("order.amount > 500", "order.amount <= 500"),
            ((), {"action": "transfer", "order": {"amount": 9999}}),
        ),
        "18b": lambda: p.ask(
            send_email,
            p.rules("to.value != 'ana@corp.example'", "to.value == 'ana@corp.example'"),
            (
                (),
                {
                    "action": "send_email",
                    "to": ["ana@corp.example", "eve@evil.example", "ben@corp.example"],
                    "body": "x",
                },
            ),
        ),
        "18c": lambda: p.ask(
            transfer,
            p.rules("order.amount > 500", "order.amount <= 500"),
            ((), {"action": "transfer", "order": '{"amount": 9999}'}),
        ),
        "19a": p.amount(float("nan")),
        "19b": p.amount(float("inf")),
        "19c": p.amount(value=True),
        "19d": lambda: p.ask(
            refund,
            p.rules("currency.value != 'USD'", "currency.value == 'USD'"),
            ((), {"action": "refund", "order_id": "o", "amount": 5, "currency": "usd"}),
        ),
        "19e": p.amount(Decimal("500.00001")),
        "20a": lambda: p.approved(says("cs-manager"), 700, 700),
        "21a": lambda: p.approved(says("cs-manager", 700), 700, 9999),
        "21b": lambda: p.approved(says("cs-manager", 700), 700, 700),
        "21c": lambda: approved_by("support-bot"),
        "21d": lambda: approved_by("somebody-else"),
        "24a": lambda: p.ask(
            refund,
            policy(rule("action.type == 'refund'", "allow", limit='"2/hour"'), default="deny"),
            *[((), {"action": "refund", "order_id": str(number), "amount": 5}) for number in range(3)],
        ),
    }


def main() -> None:
    """Answer every case in one style."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--style", choices=("tutorial", "allow-list"), default="tutorial")
    style = parser.parse_args().style
    report("Agent Governance Toolkit", style, answers(style), ("agent-governance-toolkit-core", "pydantic"))


if __name__ == "__main__":
    main()
