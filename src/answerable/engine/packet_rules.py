"""The text of the rules that are not in anybody's policy: those of the runtime's own gates."""

from __future__ import annotations

BUILT_IN = {
    "schema": "A call names a tool that is offered, with exactly the arguments that it declares.",
    "facts-complete": "Nothing is decided while a fact that it needs cannot be read in its declared form.",
    "unknown-blocks-target": "While an effect may have happened, its tool is not used on that target again.",
    "effect-once-per-run": "A run does exactly the same effect once.",
    "no-loops": "A run that goes in circles, and gets nowhere, is stopped.",
    "claim": "A target takes an effect once: while one may be happening, or is done, no other is begun.",
    "budget-reserved": "Nothing is begun that does not fit what is left of a budget.",
    "budget-wall-clock": "A run is at work no longer than its limit; waiting for a person does not count.",
    "budget-price-known": "Under a limit of money nothing is bought whose price is not known.",
    "autonomy-propose": "While an agent may only propose, a person says yes to each write.",
    "autonomy-known": "An agent acts only at a level of autonomy that exists.",
    "autonomy-capped-needs-a-cap": "A capped agent moves money only where a total or a business key caps it.",
    "done-check": "The work is done when the system of record says so, whatever the model says.",
}


def built_in_text(rule: str) -> str:
    """The text of a rule of the runtime itself; empty for any other."""
    if rule in BUILT_IN:
        return BUILT_IN[rule]
    kind, _, what = rule.partition("-")
    if kind == "halt" and what:
        return f"A halt of `{what}`, raised by an operator, is in force."
    if kind == "budget" and what:
        return f"A run, or an agent in a day, uses no more {what.replace('-', ' ')} than its limit."
    return ""
