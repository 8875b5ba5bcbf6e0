"""What the recorded shop's policy document says and a rule can check, as rules.

Who talks must have been found first; only their own orders and profile; two reasons to cancel; an explicit
yes before each write. What needs an order's status is left to the shop, whose records are cut off before it.
"""

from __future__ import annotations

_HEAD = """
@id("{id}")
@owner("retail")
@text("{text}")
"""


def make_policy(agent: str, writes: list[str], *, handover: str) -> dict[str, str]:
    """The rules over these writes. `handover`, which passes the user on to a person, is always permitted."""
    may_write = _actions([*writes, handover])
    of_orders = [name for name in writes if name != "modify_user_address"]
    return {
        "retail.cedar": "".join(
            (
                _head("may-read", "The desk may look things up."),
                f'permit (principal == Agent::"{agent}", action in Action::"read", resource);\n',
                _head("may-write", "The desk may do what its tools do, within the rules below."),
                f'permit (principal == Agent::"{agent}", action in {may_write}, resource);\n',
                _head("authenticate-first", "Nothing is changed before the user has been found."),
                _forbid(writes, 'when { context.facts.session.user_id == "" }'),
                _head("own-orders-only", "Only the orders of the user who is talking."),
                _forbid(of_orders, "unless { context.facts.order.user_id == context.facts.session.user_id }"),
                _head("own-profile-only", "Only the profile of the user who is talking."),
                _forbid(
                    ["modify_user_address"],
                    "unless { context.args.user_id == context.facts.session.user_id }",
                ),
                _head("two-reasons", "An order is cancelled as no longer needed, or as ordered by mistake."),
                _forbid(
                    ["cancel_pending_order"],
                    'unless { ["no longer needed", "ordered by mistake"].contains(context.args.reason) }',
                ),
                _head("explicit-yes", "The customer says yes before each change."),
                '@decision("require_approval")\n@approvers("customer")\n',
                _forbid(writes, ""),
            )
        )
    }


def _head(id_: str, text: str) -> str:
    return _HEAD.format(id=id_, text=text)


def _actions(names: list[str]) -> str:
    return "[" + ", ".join(f'Action::"{name}"' for name in names) + "]"


def _forbid(names: list[str], condition: str) -> str:
    return f"forbid (principal, action in {_actions(names)}, resource) {condition};\n"
