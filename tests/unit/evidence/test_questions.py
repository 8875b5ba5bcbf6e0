"""The ten questions: one test each, on journals whose every entry is known, and on those that are not finished."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from answerable.errors import JournalError, JournalUnreadable
from answerable.evidence.questions import QUESTIONS, answers, answers_json
from answerable.kernel import events

if TYPE_CHECKING:
    from answerable.evidence.view import RunView


def said(view: RunView, key: str) -> str:
    return answers(view)[key].answer


def cited(view: RunView, key: str) -> list[tuple[str, int, str]]:
    return [(place.stream.partition("/")[0], place.seq, place.path) for place in answers(view)[key].evidence]


def test_who_names_agent_release_process_and_model(story: Any) -> None:
    view = story.begin().model("1.0").end("succeeded").tell()
    assert said(view, "who") == (
        "The agent `refund-desk`, release ffffffffffff, autonomy `capped`. It was driven by `own_first`."
        " It was told what to do by the model `openai:small`."
    )
    assert cited(view, "who") == [("run", 1, ""), ("run", 2, ""), ("run", 3, "1.0")]


def test_who_names_the_release_that_began_it_where_another_accepted_it(story: Any) -> None:
    story.begun_by = "e" * 64
    view = story.begin().tell()
    assert said(view, "who").startswith(
        "The agent `refund-desk`, release eeeeeeeeeeee, autonomy `capped`. Release ffffffffffff accepted the run, and did"
        " not begin it."
    )


def test_for_whom_names_the_user_and_whose_data_it_is(story: Any) -> None:
    story.requested_by = "help-desk"
    view = story.begin().tell()
    assert said(view, "for_whom") == (
        "On behalf of `ana@example.com`. The person whose data this is has the random name `sub_ana`."
        " It was requested by `help-desk`."
    )
    assert cited(view, "for_whom") == [("run", 1, "")]


def test_asked_is_the_task_in_the_words_it_came_in(story: Any) -> None:
    view = story.begin().tell()
    assert "(untrusted)" in said(view, "asked")
    assert "“Please refund my broken teapot.”" in said(view, "asked")


def test_asked_shows_control_characters_and_never_sends_them(story: Any) -> None:
    story.task = {"text": "pay \x1b[2J 9.00\u202e1"}
    view = story.begin().tell()
    assert "pay <U+001B>[2J 9.00<U+202E>1" in said(view, "asked")


def test_changed_says_what_was_done_and_how_that_is_known(story: Any) -> None:
    view = story.begin().sent("2.0", "done", via="probe").end("succeeded").tell()
    assert said(view, "changed") == (
        "`create_refund` at 2.0 (amount_usd 48, order_id O-1001) was done: the system of record was asked and said so."
    )
    assert cited(view, "changed") == [("run", 3, "2.0"), ("run", 4, "2.0")]


def test_changed_says_that_nothing_was_changed(story: Any) -> None:
    view = (
        story.begin().held("2.0", "deny", code="policy_denied").end("escalated", code="policy_denied").tell()
    )
    assert said(view, "changed") == "Nothing was changed outside.\n1 write was proposed and not done."


def test_rules_quote_the_rule_that_refused_and_its_text(story: Any) -> None:
    view = (
        story.begin()
        .held("2.0", "deny", code="policy_denied")
        .end("escalated", code="policy_denied", rules=("refund-cap",))
        .tell()
    )
    assert said(view, "rules") == (
        "At 2.0 `create_refund` was refused: `refund-cap` (“More than $500 for one order needs a person.”)."
    )
    assert cited(view, "rules") == [("run", 3, "2.0"), ("run", 4, "")]


def test_rules_name_those_that_allowed_where_none_refused(story: Any) -> None:
    view = story.begin().sent("2.0", "done").end("succeeded").tell()
    assert said(view, "rules") == (
        "No rule refused anything, and none asked for a person. Allowed by `may-refund`."
    )


def test_rules_of_the_runtime_itself_have_their_text_too(story: Any) -> None:
    view = story.begin().end("escalated", code="not_done", rules=("done-check",)).tell()
    assert "“The work is done when the system of record says so" in said(view, "rules")


def test_approvals_say_whose_yes_it_was_and_for_which_rule(story: Any) -> None:
    story.begin().held("2.0", "require_approval", code="approval_required").ask("2.0")
    view = story.answer("2.0", "grant", "granted", note="looks right").tell()
    assert said(view, "approvals") == (
        "At 2.0 `create_refund`: `dana` (“looks right”) said yes and signed it, for `refund-cap`."
    )
    assert ("inbox", 1, "") in cited(view, "approvals")


def test_approvals_say_who_said_no(story: Any) -> None:
    story.begin().held("2.0", "require_approval", code="approval_required").ask("2.0")
    view = story.answer("2.0", "deny", "denied").end("escalated", code="approval_denied", epoch=2).tell()
    assert "`dana` said no and signed it, to `refund-cap`." in said(view, "approvals")


def test_approvals_say_whom_a_waiting_run_waits_for(story: Any) -> None:
    view = story.begin().held("2.0", "require_approval", code="approval_required").ask("2.0").tell()
    assert said(view, "approvals") == (
        "At 2.0 `create_refund`: waiting for 1 person from `support-lead` (by `refund-cap`), until"
        " 2026-01-02 00:00:00 UTC. After that the answer is no."
    )


def test_approvals_say_that_nobody_was_needed(story: Any) -> None:
    assert said(story.begin().tell(), "approvals") == "Nobody's: no yes was needed."


def test_cost_counts_money_tokens_calls_and_time(story: Any) -> None:
    view = story.begin().model("1.0").read("2.0", {"total": "48.00"}).end("succeeded").tell()
    assert said(view, "cost") == "$0.0015. 1 model call with 120 tokens, 1 tool call, 3.0 s at work."


def test_cost_that_is_not_known_is_said_to_be_unknown(story: Any) -> None:
    view = story.begin().model("1.0", cost=None).end("succeeded").tell()
    assert said(view, "cost").startswith("At least $0.00: one price or more is not known.")


def test_unknown_says_what_may_have_happened_and_what_not_to_do(story: Any) -> None:
    view = story.begin().sent("2.0", "unknown").end("escalated", code="effect_unknown").tell()
    assert said(view, "unknown") == (
        "Whether `create_refund` at 2.0 (amount_usd 48, order_id O-1001) happened."
        " It must not be sent again under another key: look in the system of record."
    )
    assert "may have been done: nobody knows yet" in said(view, "changed")


def test_an_intent_without_an_outcome_is_unknown(story: Any) -> None:
    view = story.begin().sent("2.0", "unknown", ends=False).tell()
    assert said(view, "unknown").startswith("Whether `create_refund` at 2.0")


def test_unknown_says_that_nothing_is(story: Any) -> None:
    view = story.begin().sent("2.0", "done").end("succeeded").tell()
    assert said(view, "unknown") == "Nothing: every effect that was sent has a known outcome."


@pytest.mark.parametrize("tool", ["create_refund", "send_reply"])
def test_undoable_says_what_takes_a_change_back(story: Any, tool: str) -> None:
    view = story.begin().sent("2.0", "done", tool=tool).end("escalated", code="not_done").tell()
    expected = {
        "create_refund": "can be taken back with `cancel_refund`, through the same gates.",
        "send_reply": "cannot be undone by a tool.",
    }
    assert said(view, "undoable").endswith(expected[tool])


def test_undoable_says_that_there_is_nothing(story: Any) -> None:
    assert said(story.begin().end("succeeded").tell(), "undoable") == "There is nothing to undo."


def test_ended_says_why_a_run_succeeded(story: Any) -> None:
    view = story.begin().end("succeeded", reason="O-1001 is refunded in full").tell()
    assert said(view, "ended") == (
        "It succeeded: the done check, which looks only at the system of record, said yes. O-1001 is refunded in full."
    )


def test_ended_says_why_a_run_was_handed_over(story: Any) -> None:
    view = story.begin().held("2.0", "deny", code="policy_denied")
    view = view.end(
        "escalated", code="policy_denied", reason="amount_usd 700 is over 500", rules=("refund-cap",)
    ).tell()
    assert said(view, "ended") == (
        "It stopped and was handed to a person. A rule refused a call. Amount_usd 700 is over 500."
    )
    assert cited(view, "ended") == [("run", 4, ""), ("run", 3, "2.0")]


def test_ended_says_what_a_waiting_run_waits_for(story: Any) -> None:
    view = story.begin().held("2.0", "require_approval", code="approval_required").ask("2.0").tell()
    assert said(view, "ended").startswith(
        "It has not ended. It waits for a person to answer until 2026-01-02"
    )


def test_ended_says_who_has_a_running_run(story: Any) -> None:
    view = story.begin().tell()
    assert "`own_first` took it at epoch 1" in said(view, "ended")


def test_ended_names_the_halt_and_whoever_raised_it(story: Any) -> None:
    halt = events.HaltRaised(scope="agent:refund-desk", epoch=1, by="root", reason="trying it out")
    view = story.begin().write(halt, stream="tenant/default").end("halted", code="halted").tell()
    assert "A halt of `agent:refund-desk` by `root` is in force: “trying it out”." in said(view, "ended")
    assert ("tenant", 2, "") in cited(view, "ended")


def test_a_lifted_halt_is_no_reason(story: Any) -> None:
    story.begin().write(
        events.HaltRaised(scope="all", epoch=1, by="root", reason="x"), stream="tenant/default"
    )
    story.write(events.HaltLifted(scope="all", epoch=2, by="root", reason="y"), stream="tenant/default")
    assert "halt" not in said(story.tell(), "ended")


def test_erased_contents_are_said_to_be_erased_and_nothing_is_guessed(story: Any) -> None:
    story.begin().held("2.0", "deny", code="policy_denied").end(
        "escalated", code="policy_denied", rules=("refund-cap",)
    )
    task = {"task": story.task, "on_behalf_of": story.on_behalf_of, "requested_by": ""}
    why = {
        "reason": "amount_usd 700 is over 500",
        "rules": {"refund-cap": "More than $500 for one order needs a person."},
        "policy": "b" * 64,
    }
    view = story.erase(task).erase(why).erase({"answer": None, "reason": ""}).tell()
    assert said(view, "asked").startswith("[erased]")
    assert said(view, "for_whom").endswith("Who that is has been erased.")
    assert (
        said(view, "rules") == "At 2.0 `create_refund` was refused: by `refund-cap`; the words are [erased]."
    )
    assert "teapot" not in str(answers_json(view))


def test_the_json_form_has_ten_keys_in_order_each_with_evidence(story: Any) -> None:
    found = answers_json(story.begin().tell())
    assert list(found) == list(QUESTIONS)
    for answer in found.values():
        assert isinstance(answer, dict)
        assert set(answer) == {"answer", "evidence"}
        assert answer["answer"]
        assert all(set(place) == {"stream", "seq", "path"} for place in answer["evidence"])
        assert answer["evidence"]


def test_a_run_that_does_not_exist_is_an_error_that_says_so(story: Any) -> None:
    with pytest.raises(JournalError, match="there is no run"):
        story.tell()


def test_content_that_was_changed_is_refused_not_shown(story: Any) -> None:
    task = {"task": story.task, "on_behalf_of": story.on_behalf_of, "requested_by": ""}
    with pytest.raises(JournalUnreadable, match="is not what its entry committed to"):
        story.begin().forge(task, b'{"task":{}}').tell()
