"""Every notice is accepted by both kinds of receivers, and by Standard Webhooks; none that was
changed is."""

import base64
import hmac
import json
import re
import textwrap
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from payments.webhook_payload import MOST_BYTES, is_sendable, sendable, written
from payments.webhook_signature import headers_of, new_secret, signed_body
from tests.world.receivers import Sent, in_javascript, in_python

PAYLOADS = 10_000
SCRIPTS = (
    (0x20, 0x7E), (0x00, 0x1F), (0x7F, 0x9F), (0xA0, 0x24F), (0x370, 0x5FF), (0x600, 0x6FF),
    (0x900, 0xDFF), (0xE00, 0xEFF), (0x10A0, 0x139F), (0x1780, 0x18AF), (0x2000, 0x206F),
    (0x3040, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xD800, 0xDFFF), (0xFE00, 0xFFFF),
    (0x10000, 0x1047F), (0x1F300, 0x1FAFF), (0x20000, 0x2A6DF), (0xE0000, 0xE007F),
)  # fmt: skip
PLAIN = "abc XYZ 019 _-/\\\"'<>&{}[]:,.\n\t\r\b\f"


def text(random: Random) -> str:
    """Return a text of one script, of several, or of none but ASCII."""
    length = random.choice((0, 1, 3, 12, 60))
    if random.random() < 0.5:
        return "".join(random.choice(PLAIN) for _ in range(length))
    scripts = random.sample(SCRIPTS, random.choice((1, 2, 4)))
    return "".join(chr(random.randint(*random.choice(scripts))) for _ in range(length))


def value(random: Random, depth: int = 0) -> Any:
    """Return any value that a tool may have made."""
    kind = random.randrange(9 if depth < 3 else 7)
    match kind:
        case 0:
            return random.choice((None, True, False))
        case 1:
            return random.choice((0, 1, -1, 100, 2**31, 2**53 - 1, 2**53, -(2**63), 10**21))
        case 2:
            return random.randint(-(10**6), 10**6)
        case 3:
            return random.choice((0.0, -0.0, 1.0, 0.1 + 0.2, 1e-5, 1e-7, 5e-324, 1e16, 1e21, 1e300))
        case 4:
            return random.uniform(-1, 1) * 10 ** random.randint(-9, 18)
        case 5 | 6:
            return text(random)
        case 7:
            return [value(random, depth + 1) for _ in range(random.randrange(4))]
        case _:
            return fields(random, depth + 1)


def fields(random: Random, depth: int = 0) -> dict[str, Any]:
    """Return an object, whose keys may look like places of an array."""
    names = ("0", "12", "4294967294", "01", "signature", "__proto__", "constructor", "data")
    keys = [random.choice(names) if random.random() < 0.3 else text(random) for _ in range(4)]
    return {key: value(random, depth) for key in keys[: random.randrange(5)]}


def payload(random: Random) -> dict[str, Any]:
    """Return what a notice may say."""
    return {
        "event": "generation.completed",
        "generationId": f"{random.getrandbits(128):032x}",
        "outputs": [value(random) for _ in range(random.randrange(3))],
        "costUsd": random.randrange(100_000) / 10_000,
        **fields(random),
        "timestamp": "2025-01-27T12:34:56.789Z",
    }


def secret_of(random: Random) -> str:
    """Return a secret as a caller may have one."""
    if random.random() < 0.5:
        return new_secret()
    return "".join(chr(random.randint(0x21, 0x7E)) for _ in range(random.randint(8, 60)))


def sent_now(random: Random) -> Sent:
    """Return a notice that is signed and sent."""
    secret = secret_of(random)
    body = signed_body(payload(random), secret)
    headers = headers_of(body, secret, "n", datetime.now(UTC))
    return Sent(body, headers["X-Webhook-Signature"], secret)


def with_another_byte(random: Random, sent: Sent) -> Sent:
    """Return the same with one byte of what is signed changed, or of its signature."""
    if random.random() < 0.1:
        at = random.randrange(len("sha256="), len(sent.signature))
        other = random.choice([c for c in "0123456789abcdef" if c != sent.signature[at]])
        signature = sent.signature[:at] + other + sent.signature[at + 1 :]
        return Sent(sent.body, signature, sent.secret)
    body = bytearray(sent.body)
    at = random.randrange(sent.body.rindex(b',"signature":"'))
    body[at] = random.choice([byte for byte in range(256) if byte != body[at]])
    return Sent(bytes(body), sent.signature, sent.secret)


def test_every_payload_is_accepted_by_both_receivers_and_no_changed_one_is() -> None:
    """Ten thousand notices, text of all scripts: none refused; with one byte changed, all are."""
    random = Random(20261130)
    notices = [sent_now(random) for _ in range(PAYLOADS)]
    changed = [with_another_byte(random, each) for each in notices]
    for receiver in (in_javascript, in_python):
        assert set(receiver(notices)) == {200}
        assert 200 not in receiver(changed)


@pytest.mark.parametrize("secret", ["whsec_" + "7a" * 22, "a-secret-of-mine", "whsec_!"])
def test_standard_webhooks_accepts_it_by_its_raw_bytes(secret: str) -> None:
    """Its library verifies what is sent, and refuses any changed byte, an old one, another id."""
    random = Random(7)
    given = secret if secret.startswith("whsec_") and len(secret) > 10 else secret.encode()
    library, now = Webhook(given), datetime.now(UTC)
    for _ in range(200):
        body = signed_body(payload(random), secret)
        headers = dict(headers_of(body, secret, "msg_1", now))
        library.verify(body, headers)
        at = random.randrange(len(body))
        other = bytes([*body[:at], body[at] ^ 1, *body[at + 1 :]])
        for lie in (
            (other, headers),
            (body, headers | {"webhook-id": "msg_2"}),
            (body, headers | {"webhook-timestamp": str(int(now.timestamp()) - 1)}),
        ):
            with pytest.raises(WebhookVerificationError):
                library.verify(*lie)
    with pytest.raises(WebhookVerificationError):
        old = datetime(2026, 1, 1, tzinfo=UTC)
        library.verify(body, dict(headers_of(body, secret, "msg_1", old)))


def test_what_was_escaped_comes_back() -> None:
    """A reader who is told of it has the text as it was, backslashes and quotes included."""
    said = 'C:\\new "größe" \U0001f30d\x7f\x01 \\u0041'
    told = json.loads(signed_body({"result": said, "plain": "a\\b"}, "a-secret"))
    assert told["encoding"] == "json-escaped" and told["result"].isascii()
    assert json.loads(f'"{told["result"]}"') == said
    assert json.loads(f'"{told["plain"]}"') == "a\\b"
    assert "encoding" not in json.loads(signed_body({"result": 'a\\b "c"\n'}, "a-secret"))


def test_the_signature_is_the_last_field_and_bare_hex() -> None:
    """In the body without a prefix, in the header with one; a field of that name is not sent."""
    body = signed_body({"event": "x", "signature": "mine", "last": 1}, "a-secret")
    told = json.loads(body)
    assert list(told) == ["event", "last", "signature"]
    headers = headers_of(body, "a-secret", "n", datetime.now(UTC))
    assert headers["X-Webhook-Signature"] == f"sha256={told['signature']}"


@pytest.mark.parametrize(
    "much",
    [
        {"result": "ж" * 200_000},
        {"outputs": [{"url": f"https://x.example/{n}"} for n in range(9_000)]},
        {"data": {f"k{n}": n for n in range(20_000)}},
        {"a": ["x" * 150] * 3_000, "b": "y" * 70_000},
    ],
)
def test_a_body_has_its_limit(much: dict[str, Any]) -> None:
    """What is more than that is cut, and said to be."""
    told = json.loads(signed_body({"event": "x", **much}, "a-secret"))
    assert len(written(told)) <= MOST_BYTES + 100 and told["truncated"] is True
    assert told["event"] == "x"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_what_can_be_sent_is_sent_as_it_is(value: dict[str, Any]) -> None:
    """The sendable form of a payload is its own; written, it is ASCII and read back the same."""
    told = sendable(value)
    assert is_sendable(told)
    assert json.loads(written(told)) == told
    assert written(told).isascii()


def test_a_made_secret_is_long_enough() -> None:
    """256 bits, as Standard Webhooks writes them."""
    secret = new_secret()
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32 and secret != new_secret()


def test_the_readme_tells_how_to_verify_one() -> None:
    """Its few lines accept what is sent, and nothing that was changed."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    shown = re.search(r"\n    def is_ours.*?\n\n", readme, re.DOTALL)
    assert shown is not None
    names: dict[str, Any] = {"json": json, "hmac": hmac}
    exec(textwrap.dedent(shown[0]), names)
    random = Random(3)
    for _ in range(200):
        sent = sent_now(random)
        assert names["is_ours"](sent.body, sent.signature, sent.secret)
        try:
            other = with_another_byte(random, sent)
            assert not names["is_ours"](other.body, other.signature, other.secret)
        except (ValueError, AttributeError, TypeError):  # it is no JSON any more, or no object
            continue
