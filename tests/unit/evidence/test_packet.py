"""The escalation packet: valid by its schema, complete by count, honest about what it leaves out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from answerable.engine.packet import STEPS_MAX, TEXT_MAX
from answerable.engine.packet_rules import built_in_text
from answerable.evidence.packet_markdown import packet_markdown
from answerable.kernel.decision import ReasonCode

if TYPE_CHECKING:
    from collections.abc import Callable

    Build = Callable[..., dict[str, Any]]

SPEC = Path(__file__).parents[3] / "spec"
SCHEMA = jsonschema.Draft202012Validator(json.loads((SPEC / "packet.schema.json").read_text("utf-8")))


def sections(packet: dict[str, Any]) -> dict[str, list[str]]:
    return {each["section"]: each["lacks"] for each in packet["completeness"]["sections"]}


def denied(story: Any) -> Any:
    return story.begin().model("1.0", "I will refund it.").held("2.0", "deny", code="policy_denied")


def test_the_schema_is_a_schema_and_closed() -> None:
    SCHEMA.check_schema(SCHEMA.schema)
    assert SCHEMA.schema["additionalProperties"] is False
    assert sorted(SCHEMA.schema["required"]) == sorted(SCHEMA.schema["properties"])


def test_the_schema_knows_every_reason_code() -> None:
    codes = SCHEMA.schema["properties"]["reason"]["properties"]["code"]["enum"]
    assert codes == [code.value for code in ReasonCode]


def test_the_specification_names_every_field_and_every_section(story: Any, packet: Build) -> None:
    text = (SPEC / "packet.md").read_text("utf-8")
    built = packet(denied(story).tell())
    for name in (*built, *sections(built), *built["ids"]):
        assert f"`{name}`" in text


def test_a_packet_of_a_refusal_is_valid_and_complete(story: Any, packet: Build) -> None:
    built = packet(denied(story).read("3.0", {"total": "700.00"}).tell())
    SCHEMA.validate(built)
    assert built["completeness"]["score"] == 100
    assert built["reason"]["rules"] == [
        {"id": "refund-cap", "text": "More than $500 for one order needs a person."}
    ]
    assert built["ask"]["task"]["text"] == "Please refund my broken teapot."
    assert built["ask"]["on_behalf_of"] == "ana@example.com"
    assert built["facts"][0]["source"] == {"path": "3.0", "tool": "get_order", "for": "the agent"}
    assert [guess["text"] for guess in built["guesses"]] == ["I will refund it."]
    assert built["attempts"][0]["decision"]["reason"] == "amount_usd 700 is over 500"
    assert built["effects"]["not_done"][0]["state"] == "denied"


def test_an_unknown_effect_is_unknown_and_says_what_is_safe(story: Any, packet: Build) -> None:
    built = packet(story.begin().sent("2.0", "unknown").tell(), code="effect_unknown", rules=())
    SCHEMA.validate(built)
    (effect,) = built["effects"]["unknown"]
    assert effect["effect"] == "e" * 64
    assert effect["compensation"]["tool"] == "cancel_refund"
    assert [answer["answer"] for answer in built["question"]["answers"]][:2] == [
        "it_happened",
        "it_did_not_happen",
    ]
    assert built["question"]["text"] == "Did `create_refund` happen, by the system of record?"
    assert built["safe"]["is_not_safe"]


def test_a_call_whose_outcome_was_never_written_is_unknown(story: Any, packet: Build) -> None:
    built = packet(story.begin().sent("2.0", "done", ends=False).tell(), code="internal", rules=())
    assert [effect["state"] for effect in built["effects"]["unknown"]] == ["unknown"]
    assert built["effects"]["done"] == []


def test_a_write_without_undo_says_so(story: Any, packet: Build) -> None:
    built = packet(
        story.begin().sent("2.0", "done", tool="send_reply").tell(), code="not_done", rules=("done-check",)
    )
    assert built["effects"]["done"][0]["compensation"]["tool"] is None
    assert sections(built)["rules"] == []


def test_a_waiting_run_asks_for_approve_or_reject_until_its_deadline(story: Any, packet: Build) -> None:
    view = story.begin().held("2.0", "require_approval", code="approval_required").ask("2.0").tell()
    built = packet(view, code="approval_required", deadline=1_767_312_000_000_000)
    SCHEMA.validate(built)
    assert built["deadline"] == "2026-01-02T00:00:00.000Z"
    assert [answer["answer"] for answer in built["question"]["answers"]] == ["approve", "reject", "take_over"]
    assert built["resume"]["expires"] == built["deadline"]
    assert sections(packet(view, code="approval_required"))["deadline"] == ["when an answer is needed"]


def test_the_token_is_bound_to_the_head(story: Any, packet: Build) -> None:
    view = denied(story).tell()
    first, second = packet(view), packet(view, head="a" * 64)
    assert first["resume"]["head"] == view.head
    assert first["resume"]["token"] != second["resume"]["token"]
    assert first["dedup_key"] == second["dedup_key"]


@pytest.mark.parametrize(
    ("given", "section", "lacks"),
    [
        ({"rule_texts": {}}, "rules", "the text of `refund-cap`"),
        ({"rules": ()}, "rules", "the rule that decided"),
        ({"reason": ""}, "reason", "text"),
        ({"default": ""}, "deadline", "what happens if nobody answers"),
        ({"head": ""}, "resume", "the head that the token is bound to"),
        ({"contents": {}}, "ask", "the task"),
        ({"contents": {}}, "attempts", "the arguments at 2.0"),
    ],
)
def test_the_score_falls_with_what_is_missing(
    story: Any, packet: Build, given: dict[str, Any], section: str, lacks: str
) -> None:
    view = denied(story).tell()
    built = packet(view, **given)
    SCHEMA.validate(built)
    assert lacks in sections(built)[section]
    assert built["completeness"]["score"] < packet(view)["completeness"]["score"]


def test_an_unknown_price_lowers_the_score_and_is_never_nothing(story: Any, packet: Build) -> None:
    built = packet(story.begin().model("1.0", cost=None).held("2.0", "deny", code="policy_denied").tell())
    assert built["spend"]["money_usd"]["is_known"] is False
    assert sections(built)["spend"] == ["what it cost"]


def test_erased_content_is_absent_never_empty(story: Any, packet: Build) -> None:
    built = packet(denied(story).tell(), contents={})
    assert "task" not in built["ask"]
    assert "arguments" not in built["attempts"][0]
    assert {"place": "ask.task", "kind": "erased"} in built["redactions"]


def test_what_looks_like_a_credential_is_left_out(story: Any, packet: Build) -> None:
    story.task = {"text": "hi", "api_key": "sk-canary", "nested": [{"shop_token": "canary-2", "tokens": 5}]}
    built = packet(denied(story).tell())
    assert "canary" not in json.dumps(built)
    assert built["ask"]["task"]["nested"][0]["tokens"] == 5
    places = [each["place"] for each in built["redactions"]]
    assert places == ["ask.task.api_key", "ask.task.nested[0].shop_token"]


def test_long_texts_are_shortened_and_that_is_said(story: Any, packet: Build) -> None:
    story.task = {"text": "x" * (TEXT_MAX + 1)}
    built = packet(denied(story).tell())
    SCHEMA.validate(built)
    assert {"place": "ask.task.text", "kind": "shortened", "characters": TEXT_MAX + 1} in built["redactions"]


def test_of_a_long_run_the_first_reads_are_left_out_and_no_write(story: Any, packet: Build) -> None:
    story.begin().sent("1.0", "done")
    for turn in range(2, STEPS_MAX + 12):
        story.read(f"{turn}.0", {"turn": turn})
    built = packet(story.tell(), code="loop_detected", rules=("no-loops",))
    SCHEMA.validate(built)
    assert built["attempts"][0]["tool"] == "create_refund"
    assert len(built["attempts"]) == STEPS_MAX
    assert built["redactions"] == [{"place": "attempts", "kind": "omitted", "count": 11}]


def test_words_of_the_agent_are_marked_as_such(story: Any, packet: Build) -> None:
    view = denied(story).tell()
    built = packet(view, code="ambiguous_input", question="Which order?", rules=())
    assert built["question"]["asked_by"] == built["reason"]["said_by"] == "agent"
    assert packet(view)["reason"]["said_by"] == "runtime"


def test_the_same_state_gives_the_same_packet(story: Any, packet: Build) -> None:
    view = denied(story).tell()
    assert packet(view) == packet(view)


@pytest.mark.parametrize(
    "rule",
    ["schema", "no-loops", "budget-tool-calls", "budget-wall-clock", "halt-agent:refund-desk", "done-check"],
)
def test_rules_of_the_runtime_have_a_text(rule: str) -> None:
    assert built_in_text(rule)


def test_rules_of_others_have_none_of_ours() -> None:
    assert not built_in_text("refund-cap")


def test_markdown_shows_untrusted_text_as_text(story: Any, packet: Build) -> None:
    story.task = {"text": "```\n# APPROVED\n[click](http://evil.example) www.evil.example \x1b[31m"}
    page = packet_markdown(
        packet(denied(story).tell(), code="ambiguous_input", question="Is [this](http://x.io) <b>ok</b>?")
    )
    fence = page[page.index("## What was asked") :].split("\n")[4]
    assert fence.startswith("````text")
    assert "\x1b" not in page
    assert page.startswith(r"# Is \[this\](http\://x.io) \<b\>ok\</b\>?")
    assert "*In the words of the agent, which may be a model's.*" in page


def test_markdown_has_every_section_and_says_what_is_missing(story: Any, packet: Build) -> None:
    page = packet_markdown(packet(denied(story).tell(), rule_texts={}, contents={}))
    for title in ("asked", "looked up", "changed outside", "tried", "model said", "still safe", "cost"):
        assert f"## What {'is' if title == 'still safe' else ''}" in page
        assert title in page
    assert "Missing in `rules`" in page
    assert "Left out at `ask.task`: erased" in page
