"""Who signed a delivery: each scheme against the figures that its makers publish, and nothing else passes."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from answerable.intake.webhook import SCHEMES, Scheme, Unsigned, check, named_headers, sign

NOW = 1_700_000_000
SECRETS = (b"the-new-secret-0123456789", b"the-old-secret-0123456789")
BODY = b'{"id":"T-1"}'

STANDARD = (
    "standard",
    base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v1,bm9ldHUjKzFob2VudXRob2VodWU=",
    },
    b'{"test": 2432232314}',
    1614265330,
)
GITHUB = (
    "github",
    b"It's a Secret to Everybody",
    {"x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
    b"Hello, World!",
    0,
)
SLACK = (
    "slack",
    b"8f742231b10e8888abcd99yyyzzz85a5",
    {
        "x-slack-request-timestamp": "1531420618",
        "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    },
    (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
        b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
        b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554"
        b"%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    ),
    1531420618,
)


def checked(
    scheme: Scheme,
    headers: dict[str, list[str]],
    body: bytes = BODY,
    *,
    secrets: tuple[bytes, ...] = SECRETS,
    now: float = NOW,
) -> str:
    """What the check says of a delivery."""
    return check(scheme, secrets, lambda name: headers.get(name, []), body, now_s=now, window_s=300)


def ours(secret: bytes = SECRETS[0], body: bytes = BODY, at: int = NOW) -> dict[str, list[str]]:
    """A delivery as our own scheme signs it."""
    signature = sign(SCHEMES["answerable"], secret, str(at).encode() + b"." + body).decode()
    return {"answerable-timestamp": [str(at)], "answerable-signature": [f"sha256={signature}"]}


@pytest.mark.parametrize(("name", "secret", "headers", "body", "at"), [STANDARD, GITHUB, SLACK])
def test_published_figures_pass(
    name: str, secret: bytes, headers: dict[str, str], body: bytes, at: int
) -> None:
    """The examples in the senders' own manuals."""
    given_ = {key: [value] for key, value in headers.items()}
    assert checked(SCHEMES[name], given_, body, secrets=(secret,), now=at + 1) == headers.get(
        "webhook-id", ""
    )
    with pytest.raises(Unsigned):
        checked(SCHEMES[name], given_, body + b" ", secrets=(secret,), now=at + 1)


def test_two_secrets_pass_while_one_is_changed() -> None:
    for secret in SECRETS:
        assert checked(SCHEMES["answerable"], ours(secret)) == ""
    with pytest.raises(Unsigned, match="not that of this body"):
        checked(SCHEMES["answerable"], ours(SECRETS[1]), secrets=SECRETS[:1])


@pytest.mark.parametrize("off", [-301, 301, -(10**6), 10**6])
def test_what_was_signed_at_another_time_is_refused(off: int) -> None:
    with pytest.raises(Unsigned, match="too long ago"):
        checked(SCHEMES["answerable"], ours(at=NOW + off))


@pytest.mark.parametrize("off", [-300, 0, 300])
def test_what_was_signed_within_the_window_passes(off: int) -> None:
    assert checked(SCHEMES["answerable"], ours(at=NOW + off)) == ""


@pytest.mark.parametrize("name", ["answerable-timestamp", "answerable-signature"])
def test_a_header_is_there_once(name: str) -> None:
    """Of two, nobody knows which one a proxy before us has looked at."""
    for values, said in (([], "missing"), ([*ours()[name] * 2], "more than once")):
        with pytest.raises(Unsigned, match=said):
            checked(SCHEMES["answerable"], {**ours(), name: values})


@pytest.mark.parametrize("stamp", ["", "now", "-1", "1e9", "1700000000.5", "\u0661700000000", "9" * 13])
def test_a_time_is_a_number_of_seconds(stamp: str) -> None:
    with pytest.raises(Unsigned):
        checked(SCHEMES["answerable"], {**ours(), "answerable-timestamp": [stamp]})


@given(st.data())
def test_a_changed_byte_is_refused(data: st.DataObject) -> None:
    """In the body, the time or the signature."""
    headers = ours()
    what = data.draw(st.sampled_from(["body", "answerable-timestamp", "answerable-signature"]))
    before = BODY if what == "body" else headers[what][0].encode()
    at = data.draw(st.integers(0, len(before) - 1))
    byte = data.draw(st.integers(1, 127).filter(lambda b: b != before[at]))
    after = before[:at] + bytes([byte]) + before[at + 1 :]
    if what != "body":
        headers[what] = [after.decode("latin-1")]
    with pytest.raises(Unsigned):
        checked(SCHEMES["answerable"], headers, after if what == "body" else BODY)


@given(st.binary(max_size=60), st.text(max_size=40), st.text(max_size=200), st.sampled_from(sorted(SCHEMES)))
def test_no_bytes_make_the_check_fail_otherwise(body: bytes, stamp: str, signature: str, name: str) -> None:
    """Whatever comes is refused as unsigned; nothing else is ever raised."""
    scheme = SCHEMES[name]
    headers = {scheme.timestamp_header: [stamp], scheme.event_header: [stamp]}
    headers[scheme.signature_header] = [scheme.prefix + signature]
    with pytest.raises(Unsigned):
        checked(scheme, headers, body)


def test_an_event_id_counts_because_it_is_signed() -> None:
    """The same body under another id is another event only if the sender said so."""
    scheme = SCHEMES["standard"]

    def delivery(event: str) -> dict[str, list[str]]:
        signature = sign(scheme, SECRETS[0], f"{event}.{NOW}.".encode() + BODY).decode()
        return {
            "webhook-id": [event],
            "webhook-timestamp": [str(NOW)],
            "webhook-signature": [f"v1,{signature}"],
        }

    assert checked(scheme, delivery("msg_1")) == "msg_1"
    with pytest.raises(Unsigned):
        checked(scheme, {**delivery("msg_1"), "webhook-id": ["msg_2"]})
    with pytest.raises(Unsigned, match="no event id"):
        checked(scheme, delivery("msg.1"))


def test_stripe_puts_both_into_one_header() -> None:
    scheme = SCHEMES["stripe"]
    signature = sign(scheme, SECRETS[0], f"{NOW}.".encode() + BODY).decode()
    for header in (f"t={NOW},v1={signature}", f"t={NOW},v1=00,v1={signature},v0=11"):
        assert checked(scheme, {"stripe-signature": [header]}) == ""
    for header in (f"v1={signature}", f"t={NOW},t={NOW},v1={signature}", f"t={NOW},v0={signature}"):
        with pytest.raises(Unsigned):
            checked(scheme, {"stripe-signature": [header]})


def test_a_sender_may_call_its_headers_otherwise() -> None:
    scheme = named_headers(SCHEMES["answerable"], signature="X-Sign", timestamp="X-Time", event="X-Event")
    assert replace(scheme, signs=()) == Scheme(
        signature_header="x-sign",
        prefix="sha256=",
        timestamp_header="x-time",
        event_header="x-event",
        signs=(),
    )
    signature = sign(scheme, SECRETS[0], f"e-1.{NOW}.".encode() + BODY).decode()
    headers = {"x-sign": [f"sha256={signature}"], "x-time": [str(NOW)], "x-event": ["e-1"]}
    assert checked(scheme, headers) == "e-1"
