"""MPP as a client does it: reads the challenge, and writes the credential."""

import base64
import json
import re
from collections.abc import Mapping
from typing import Any

_PARAMETER = re.compile(r'(\w+)="([^"]*)"')


def payment_in(lines: str) -> dict[str, str]:
    """Return the parameters of the Payment challenge among those of a 402."""
    _, found, line = f", {lines}".partition(", Payment ")
    assert found, lines
    return dict(_PARAMETER.findall(line.partition(", L402 ")[0]))


def credential(challenge: Mapping[str, str], preimage: str) -> str:
    """Return what proves that a challenge was paid."""
    return encoded({"challenge": dict(challenge), "payload": {"preimage": preimage}})


def encoded(told: Any) -> str:
    """Return JSON in base64url."""
    return base64.urlsafe_b64encode(json.dumps(told).encode()).decode().rstrip("=")


def decoded(text: str) -> Any:
    """Return the JSON in base64url."""
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
