"""`policy prove` and `policy diff` on the refund desk: words, JSON, and exit codes that a pipeline can rely on."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from answerable.cli.main import call
from answerable.prove import invariants
from answerable.prove.claims import Open

EXAMPLE = Path(__file__).parents[2] / "examples" / "refund_desk"
NUMBERS = itertools.count(1)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the desk to be changed; a process loads each folder once, so each has a name of its own."""
    folder = tmp_path / f"proven-{next(NUMBERS)}"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("*.db*", "__pycache__"))
    monkeypatch.chdir(folder)
    monkeypatch.delenv("ANSWERABLE_DATABASE_URL", raising=False)
    return folder


def rules_of(folder: Path) -> Path:
    """The file with the desk's rules."""
    return folder / "policy" / "refund_desk.cedar"


def change(path: Path, old: str, new: str, to: Path | None = None) -> None:
    """Write the file with one change."""
    text = path.read_text("utf-8")
    assert old in text
    (to or path).write_text(text.replace(old, new), "utf-8")


def said(capsys: pytest.CaptureFixture[str], *line: str, code: int = 0) -> str:
    """What a verb prints, with the exit code that it must have."""
    capsys.readouterr()
    found = call(list(line))
    out = capsys.readouterr()
    assert found == code, out.out + out.err
    return out.out


def data(capsys: pytest.CaptureFixture[str], *line: str, code: int = 0) -> Any:
    """What a verb prints as JSON."""
    return json.loads(said(capsys, *line, "--json", code=code))


def test_prove_says_what_holds_and_what_it_rests_on(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each invariant; then the assumptions."""
    text = said(capsys, "policy", "prove")
    lines = text.splitlines()

    assert lines[0].startswith(
        "✓ refund-desk: all 11 invariants hold, over every call that there can be; rules "
    )
    assert "  ✓ never-unpaid: No money goes back for an order that was never paid." in lines
    assert "assumed of every call:" in lines
    assert any("`args.amount_usd` is > 0, ≤ 20,000" in line for line in lines)
    assert any("random requests" in line for line in lines)
    report = data(capsys, "policy", "prove", str(desk), "--agent", "refund-desk")
    assert report["is_proven"] is True
    assert [each["status"] for each in report["agents"][0]["invariants"]] == ["holds"] * 11


def test_prove_shows_the_call_that_breaks_an_invariant_and_exits_1(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In plain words below the invariant, with what was demanded and where."""
    change(rules_of(desk), "context.facts.order.is_paid &&", "true &&")
    lines = said(capsys, "policy", "prove", code=1).splitlines()
    at = lines.index("  ✗ never-unpaid: No money goes back for an order that was never paid.")

    assert lines[0].startswith("✗ refund-desk: 10 of 11 invariants hold")
    assert lines[at + 1] == "      demanded (invariants/money.cedar:46): never, whoever says yes"
    assert lines[at + 2] == "      but `create_refund` by `refund-desk` is sent with nobody asked, with"
    assert "        facts.order.is_paid = false" in lines
    report = data(capsys, "policy", "prove", code=1)
    broken = [each for each in report["agents"][0]["invariants"] if each["status"] == "refuted"]
    assert [each["id"] for each in broken] == ["never-unpaid"]
    assert broken[0]["counterexample"]["context"]["facts"]["order"]["is_paid"] is False
    assert broken[0]["counterexample"]["answer"]["is_sent_with_nobody_asked"] is True


def test_prove_demands_people_by_name(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Who had to be asked, and who is."""
    change(rules_of(desk), '@approvers("finance")\n@count("2")', '@approvers("finance")')
    text = said(capsys, "policy", "prove", code=1)

    assert "never without 2 people of finance" in text
    assert "sent once support-lead and finance said yes" in text


@pytest.mark.parametrize(
    ("file", "text", "said_so"),
    [
        ("invariants/money.cedar", "permit (principal, action, resource);", "an invariant is a `forbid`"),
        (
            "invariants/money.cedar",
            "forbid (principal, action, resource) when { context.args.x == 1 };",
            "`context.args.x` does not exist",
        ),
        (
            "refund_desk.cedar",
            "forbid (principal, action, resource) when { context.x };",
            "`context.x` does not exist",
        ),
    ],
)
def test_prove_refuses_what_it_cannot_read(
    desk: Path, capsys: pytest.CaptureFixture[str], file: str, text: str, said_so: str
) -> None:
    """With the place, and exit 1: nothing is proven."""
    (desk / "policy" / file).write_text(f'@id("odd") @text("odd") {text}')
    assert said_so in said(capsys, "policy", "prove", code=1)
    report = data(capsys, "policy", "prove", code=1)["agents"][0]
    assert report["is_proven"] is False
    assert report["error"].startswith(f"{file}:1: rule `odd`")
    assert report["hint"]


def test_without_invariants_nothing_is_proven(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty proof is no success."""
    shutil.rmtree(desk / "policy" / "invariants")
    assert "there is no invariant to prove" in said(capsys, "policy", "prove", code=1)
    assert call(["policy", "prove", "--agent", "nobody"]) == 3


def test_invariants_are_never_loaded_as_rules(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They stand below the rules and change nothing but what is proven."""
    report = data(capsys, "policy", "check")
    shutil.rmtree(desk / "policy" / "invariants")

    assert "never-unpaid" not in report["agents"][0]["rules"]
    other = desk.parent / f"{desk.name}-bare"
    shutil.copytree(desk, other)
    assert data(capsys, "policy", "check", str(other)) == report


def test_diff_shows_what_a_change_lets_through(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Changed rules, and for each way in which an answer changes a call with both answers."""
    candidate = desk / "candidate"
    candidate.mkdir()
    change(rules_of(desk), 'decimal("500.00")', 'decimal("600.00")', candidate / "rules.cedar")
    text = said(capsys, "policy", "diff", "--candidate", str(candidate))
    lines = text.splitlines()

    assert lines[0].startswith("✗ refund-desk: calls are answered otherwise, some more freely; ")
    assert "  rule `refund-cap` changed: conditions" in lines
    assert "! `create_refund` by `refund-desk`: newly allowed, a person was asked" in lines
    assert (
        "    was sent once support-lead said yes; would be sent with nobody asked, for instance with" in lines
    )
    assert '      args.amount_usd = "500.01"' in lines
    assert said(capsys, "policy", "diff", "--candidate", str(candidate), "--fail-on-new-allow", code=1) != ""
    report = data(capsys, "policy", "diff", "--candidate", str(candidate))["agents"][0]
    assert [each["kind"] for each in report["transitions"]] == ["ask_to_allow"]
    assert report["transitions"][0]["before"]["needs"] == [
        {"rule": "refund-cap", "approvers": ["support-lead"], "count": 1},
        {"rule": "refund-customer-day", "approvers": ["support-lead"], "count": 1},
    ]


def test_diff_of_a_stricter_change_passes(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is newly asked about is shown, and is no failure."""
    candidate = desk / "candidate"
    candidate.mkdir()
    change(rules_of(desk), 'decimal("500.00")', 'decimal("400.00")', candidate / "rules.cedar")
    text = said(capsys, "policy", "diff", "--candidate", str(candidate), "--fail-on-new-allow")

    assert "calls are answered otherwise, none more freely" in text
    assert "· `create_refund` by `refund-desk`: newly asked, was allowed" in text


def test_diff_of_the_same_rules_is_empty(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Proven, whatever the files are called."""
    candidate = desk / "candidate"
    candidate.mkdir()
    shutil.copy(rules_of(desk), candidate / "other_name.cedar")
    text = said(capsys, "policy", "diff", "--candidate", str(candidate), "--fail-on-new-allow")
    report = data(capsys, "policy", "diff", "--candidate", str(candidate))["agents"][0]

    assert text.startswith("✓ refund-desk: every call is answered as before; ")
    assert (report["rules"], report["transitions"], report["is_proven"]) == ([], [], True)


def test_diff_says_why_a_candidate_cannot_be_loaded(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With file, line and rule; exit 1."""
    candidate = desk / "candidate"
    candidate.mkdir()
    change(rules_of(desk), "context.args.amount_usd", "context.args.amount_us", candidate / "rules.cedar")
    text = said(capsys, "policy", "diff", "--candidate", str(candidate), code=1)

    assert "the candidate cannot be loaded: rules.cedar:" in text
    report = data(capsys, "policy", "diff", "--candidate", str(desk / "nowhere"), code=1)
    assert report["is_ok"] is False
    assert call(["policy", "diff", "--candidate", str(candidate), "--agent", "nobody"]) == 3
    assert call(["policy", "diff"]) == 2


def test_what_takes_too_long_is_not_proven(
    desk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is open, said so, and no success. (That z3 gives up in time is tested with the proofs.)"""
    monkeypatch.setattr(invariants, "settle", lambda *_: Open("timeout"))
    lines = said(capsys, "policy", "prove", "--timeout", "5", code=1).splitlines()

    assert lines[0].startswith("✗ refund-desk: 0 of 11 invariants hold")
    assert "  ? never-unpaid: No money goes back for an order that was never paid." in lines
    assert "      `create_refund` for `refund-desk`: z3 gave up: timeout" in lines
    assert call(["policy", "prove", "--timeout", "0"]) == 2


def test_z3_is_imported_by_a_proof_and_by_nothing_else() -> None:
    """Without the extra everything else works."""
    code = (
        "import sys, answerable, answerable.cli.policy, answerable.prove.invariants, answerable.prove.diff;"
        "assert 'z3' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_the_extra_the_verb_says_what_to_install(
    desk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error with a hint, and no traceback."""
    monkeypatch.setitem(sys.modules, "z3", None)
    assert call(["policy", "prove"]) == 3
    assert "answerable[prove]" in capsys.readouterr().err
