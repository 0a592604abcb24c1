"""How a notice is signed: for receivers that write its JSON again, and by Standard Webhooks.

The first signature is in the body, as its last field, and in the header X-Webhook-Signature: the
HMAC-SHA256 of the body without that field. The second one is over id, time and the raw bytes, by
https://www.standardwebhooks.com, so that nobody can send an old notice again as a new one.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from payments.webhook_payload import sendable, written

PREFIX: Final = "whsec_"
FIELD: Final = "signature"
LEAST, MOST = 8, 200  # characters of a secret
SECRET: Final = re.compile(rf"[!-~]{{{LEAST},{MOST}}}")  # a header and a variable can hold it
_SIGNED: Final = re.compile(rb',"signature":"([0-9a-f]{64})"\}')


def new_secret() -> str:
    """Return a secret of 256 bits, as Standard Webhooks writes one."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def signed_body(payload: dict[str, Any], secret: str) -> bytes:
    """Return the bytes to send: a payload in its sendable form, and its signature at its end."""
    told = sendable({key: value for key, value in payload.items() if key != FIELD})
    return written({**told, FIELD: _hex(secret, written(told))})


def headers_of(body: bytes, secret: str, notice_id: str, at: datetime) -> Mapping[str, str]:
    """Return the headers that go with a signed body, sent at this moment."""
    signed = _SIGNED.search(body, len(body) - 80)
    if signed is None:
        raise ValueError("the body is not signed")
    moment = str(int(at.timestamp()))
    told = b".".join((notice_id.encode(), moment.encode(), body))
    mac = hmac.digest(_standard_key(secret), told, "sha256")
    return {
        "X-Webhook-Signature": f"sha256={signed.group(1).decode()}",
        "webhook-id": notice_id,
        "webhook-timestamp": moment,
        "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
    }


def _hex(secret: str, told: bytes) -> str:
    return hmac.new(secret.encode(), told, hashlib.sha256).hexdigest()


def _standard_key(secret: str) -> bytes:
    """Return the key of a secret: what `whsec_…` encodes, else the bytes of the secret itself."""
    if secret.startswith(PREFIX):
        # As its libraries read it: with or without padding.
        with suppress(ValueError):
            return base64.b64decode(secret.removeprefix(PREFIX) + "==") or secret.encode()
    return secret.encode()
