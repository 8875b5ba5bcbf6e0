"""CTRLRun, as its README and cookbook use it: a policy file, `@protect` on the function, a context.

`--style bands` writes rules as its documentation does: each band of amounts has both ends, and what no band holds is
denied ("an upper bound alone lets a negative amount through"). `--style deny-first` writes the same intent as a rule
that denies and one that allows the rest, which the documentation does not recommend. Amounts are whole cents, as
there; approvals are given by `store.grant_approval`, as in the cookbook.
"""

from __future__ import annotations

import tempfile
from argparse import ArgumentParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ctrlrun
from ctrlrun import Control, Policy, SQLiteStateStore

from bench.probes.seen import Seen, Till, not_applicable, report, shorten

if TYPE_CHECKING:
    from collections.abc import Callable

TILL = Till()
CYRILLIC = "\u0430na@corp.example"
ZERO_WIDTH = "sala\u200bries"
FULL_WIDTH = "\uff19\uff19\uff19\uff19\uff19\uff19"
NO_LANGUAGE = "conditions are keys such as `amount_lte: 50000`; there are no expressions to be misread"
NOT_NESTED = "conditions read whole arguments: a cap on an amount inside one cannot be written"


def refund(payment_id: str, amount: Any = 999900) -> str:
    """Pay back, in cents."""
    return TILL.take(payment_id, amount)


def query(action: str, table: str = "orders") -> str:
    """Do something to a table."""
    return TILL.take(action, table)


def send_email(to: Any, body: str) -> str:
    """Send a letter."""
    return TILL.take(to, body)


def pay_in(payment_id: str, currency: str) -> str:
    """Pay five cents of a currency."""
    return TILL.take(payment_id, currency)


def by_alias(**fields: Any) -> str:
    """Pay back what its own model makes of the fields."""
    return TILL.take(fields)


def policy(name: str, *rules: tuple[str, str]) -> str:
    """A policy file with one action; a rule is its condition, empty for none, and its decision."""
    lines = [
        f"      - when: {{ {when} }}\n        decision: {decision}\n"
        if when
        else f"      - decision: {decision}\n"
        for when, decision in rules
    ]
    return f"schema: ctrlrun.policy/v2\nactions:\n  {name}:\n    rules:\n{''.join(lines)}"


class Product:
    """The product under one style of rules."""

    def __init__(self, style: str) -> None:
        self.is_banded = style == "bands"

    def rules(self, name: str, deny: str, allow: str) -> str:
        """The same intent in the style: what is permitted, or what is forbidden."""
        if self.is_banded:
            return policy(name, (allow, "allow"), ("", "deny"))
        return policy(name, (deny, "deny"), ("", "allow"))

    def cap(self) -> str:
        """A cap of 500.00 on refunds."""
        return self.rules("refund", "amount_gt: 50000", "amount_gte: 0, amount_lte: 50000")

    def asks(self) -> str:
        """Refunds above 500.00 need a person, as in the README."""
        return policy(
            "refund",
            ("amount_gte: 0, amount_lte: 50000", "allow"),
            ("amount_gte: 0, amount_lte: 1000000", "approve"),
            ("", "deny"),
        )

    def ask(
        self,
        function: Callable[..., str],
        text: str | None,
        *calls: tuple[tuple[Any, ...], dict[str, Any]],
        name: str = "refund",
        answer: Callable[[Any, str], object] | None = None,
    ) -> Seen:
        """Protect the function under these rules and make the calls; `answer` is what a person does when asked."""
        TILL.got.clear()
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "ctrlrun.yaml"
            if text is not None:
                file.write_text(text, "utf-8")
            try:
                store = SQLiteStateStore(Path(folder) / "state.db")
                safe = ctrlrun.protect(name, control=Control(Policy.from_file(file), store))(function)
            except Exception as error:  # noqa: BLE001 - whatever a policy or a function is refused with
                return Seen("refused at load", shorten(f"{type(error).__name__}: {error}"))
            return self._call(safe, store, calls, answer)

    def _call(self, safe: Any, store: Any, calls: Any, answer: Any) -> Seen:
        did, how, granted = "denied", "", ""
        with ctrlrun.context(agent="support-agent"):
            for args, kwargs in calls:
                try:
                    if granted:
                        with ctrlrun.with_approval(granted):
                            safe(*args, **kwargs)
                    else:
                        safe(*args, **kwargs)
                except ctrlrun.ApprovalRequired as pending:
                    did, how = "waits", shorten(pending)
                    if answer is not None:
                        answer(store, pending.request_id)
                        granted = pending.request_id
                        try:
                            with ctrlrun.with_approval(granted):
                                safe(*args, **kwargs)
                        except ctrlrun.CTRLRunError as refused:
                            did, how = "denied", shorten(f"{type(refused).__name__}: {refused}")
                except ctrlrun.CTRLRunError as refused:
                    did, how = "denied", shorten(f"{type(refused).__name__}: {refused}")
                except Exception as error:  # noqa: BLE001 - the function's own error, after it was let through
                    did, how = "failed", shorten(f"{type(error).__name__}: {error}")
        if TILL.got:
            return Seen("done", shorten(f"the function ran with {TILL.got[-1]}"), len(TILL.got))
        return Seen(did, how)  # type: ignore[arg-type]

    def amount(self, value: Any) -> Callable[[], Seen]:
        """A refund of so many cents under the cap."""
        return lambda: self.ask(refund, self.cap(), ((), {"payment_id": "o", "amount": value}))

    def spelt(self, text: str) -> Callable[[], Seen]:
        """A refund of 9999 under these rules."""
        return lambda: self.ask(refund, text, ((), {"payment_id": "o", "amount": 999900}))


def grant(by: str) -> Callable[[Any, str], object]:
    """A yes in this name."""
    return lambda store, request: store.grant_approval(request, by)


def _noted(seen: Seen, note: str) -> Seen:
    return Seen(seen.did, f"{seen.how}; {note}", seen.effects)


def answers(style: str) -> dict[str, Callable[[], Seen]]:
    """What the product does, by case."""
    p = Product(style)

    def approved(*amounts: int, answer: Callable[[Any, str], object]) -> Callable[[], Seen]:
        calls = [((), {"payment_id": "o", "amount": amount}) for amount in amounts]
        return lambda: p.ask(refund, p.asks(), *calls, answer=answer)

    def mail(to: Any) -> Callable[[], Seen]:
        text = p.rules("send", "to_neq: ana@corp.example", "to_eq: ana@corp.example")
        return lambda: p.ask(send_email, text, ((), {"to": to, "body": "x"}), name="send")

    typo = p.rules("refund", "amonut_gt: 50000", "amonut_gte: 0, amonut_lte: 50000")
    word = p.rules("query", "action_eq: drop", "action_in: [read, count]")
    table = p.rules("query", "table_eq: salaries", "table_in: [orders, tickets]")
    currency = p.rules("pay", "currency_neq: USD", "currency_eq: USD")
    large = ((), {"payment_id": "o", "amount": 999900})
    return {
        "0a": p.amount(500),
        "0b": approved(70000, answer=grant("human:ops")),
        "1a": lambda: p.ask(refund, p.cap(), (("o", 999900), {})),
        "2a": p.amount("60000"),
        "3a": p.amount("999,900"),
        "3b": p.amount("1e9"),
        "3c": p.amount(FULL_WIDTH),
        "3d": p.amount(" 999900"),
        "4a": p.amount("not-a-number"),
        "5a": p.spelt(
            p.rules("refund", "args.amount_gt: 50000", "args.amount_gte: 0, args.amount_lte: 50000")
        ),
        "6a": not_applicable(NO_LANGUAGE),
        "7a": not_applicable(NO_LANGUAGE),
        "8a": p.spelt(p.rules("refund", "amount_gt: -1", "amount_gt: -1, amount_lte: 50000")),
        "8b": p.amount(-500),
        "9a": p.spelt(p.cap().replace("_gt:", " >< ").replace("_gte:", " >< ")),
        "10a": lambda: p.ask(query, word, ((), {"action": "DROP"}), name="query"),
        "11a": lambda: p.ask(
            send_email, policy("send", ("", "deny")), ((), {"to": "x@corp.example", "body": "x"}), name="send"
        ),
        "12a": p.spelt(""),
        "12b": p.spelt(policy("query", ("", "allow"))),
        "12c": lambda: p.ask(refund, None, large),
        "13a": p.spelt(typo),
        "13b": p.spelt(
            p.cap().replace("decision: deny", "decision: dney").replace("decision: allow", "decision: alow")
        ),
        "13c": p.spelt(p.cap().replace("  refund:", "  refnud:")),
        "14a": lambda: p.ask(refund, p.cap(), ((), {"payment_id": "o"})),
        "15a": lambda: p.ask(by_alias, p.cap(), ((), {"payment_id": "o", "amt": 999900})),
        "15b": not_applicable("`@protect` takes Python arguments; the gateway for JSON was not run"),
        "16a": not_applicable("the action is named where the function is protected, not by the caller"),
        "17a": mail(CYRILLIC),
        "17b": lambda: p.ask(query, table, ((), {"action": "read", "table": ZERO_WIDTH}), name="query"),
        "18a": not_applicable(NOT_NESTED),
        "18b": mail(["ana@corp.example", "eve@evil.example", "ben@corp.example"]),
        "18c": not_applicable(NOT_NESTED),
        "19a": p.amount(float("nan")),
        "19b": p.amount(float("inf")),
        "19c": p.amount(value=True),
        "19d": lambda: p.ask(pay_in, currency, ((), {"payment_id": "o", "currency": "usd"}), name="pay"),
        "19e": p.amount(50000.001),
        "20a": approved(
            70000, 70000, answer=lambda store, request: store.deny_approval(request, "human:ops")
        ),
        "21a": approved(70000, 999900, answer=grant("human:ops")),
        "21b": approved(70000, 70000, answer=grant("human:ops")),
        "21c": lambda: _noted(
            approved(70000, answer=grant("support-agent"))(),
            "with an `ApproverIdentity` its documentation says that this is refused; that was not set up",
        ),
        "21d": not_applicable(
            "a rule names nobody; who may answer is set up with controls and verified identities"
        ),
        "24a": not_applicable(
            "rules have no rates; a grant of `authority:` can carry a budget, which was not set up"
        ),
    }


def main() -> None:
    """Answer every case in one style."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--style", choices=("bands", "deny-first"), default="bands")
    style = parser.parse_args().style
    report("CTRLRun", style, answers(style), ("ctrlrun",))


if __name__ == "__main__":
    main()
