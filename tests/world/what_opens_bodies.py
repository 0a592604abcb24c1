"""What a stranger sends to an address: a body that is right for it, whoever sends it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from tests.world.what_opens_things import FRESH, JOB, PASSWORD, PAY_TO, PERSON

ONE = {"model": "scene-1", "prompt": "hello"}
BY_TIER = {"prompt": "hello"}
FILM = {"model": "scene-1-film", "prompt": "hello", "mode": "t2v"}
ELSEWHERE = "thief@example.org"  # where a stranger would have another's pay sent
# A tool opens what the address does that it asks: here it is asked what a balance is.
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "balance"}}
SENDS = ("POST", "PATCH", "PUT")
JSON_AT = ("/api/", "/v1/", "/l402/", "/mcp")
FORM, JSON = "application/x-www-form-urlencoded", "application/json"


@dataclass(frozen=True, slots=True)
class Sent:
    """A request: to which route, what it shows, and what its sender knows."""

    route: str
    headers: Mapping[str, str]
    text: str
    invoice: str
    worker: str

    @property
    def what(self) -> str:
        """The last part of the route."""
        return self.route.rpartition("/")[2]


def takes_of(route: str) -> dict[str, str]:
    """Return what a client of an address must say that it takes."""
    return {"Accept": f"{JSON}, text/event-stream"} if route == "/mcp" else {}


def body_of(sent: Sent) -> tuple[bytes, str]:
    """Return a body that is right for the address, and its media type."""
    if not sent.route.startswith(JSON_AT):
        return urlencode(_form(sent)).encode(), FORM
    return json.dumps(_json(sent), separators=(",", ":")).encode(), JSON


def _form(sent: Sent) -> dict[str, str]:
    cookie = sent.headers.get("Cookie", "").partition("=")[2]
    shown = sent.headers.get("Authorization", "").removeprefix("Bearer ")
    to = {"refund": sent.invoice, "state": "paused", "destination": ELSEWHERE}
    form = {
        "csrf": hashlib.sha256(f"form {cookie}".encode()).hexdigest(),
        "to": to.get(sent.what, ""),
        "request": sent.text,
        "amount": str(FRESH),
        "sure": "yes",
        "macaroon": sent.headers.get("X-Payment-Preimage", shown),
        "secret": sent.headers.get("X-Webhook-Secret", ""),
    }
    if sent.route == "/workers/me/unlock":
        form["token"] = shown
    if sent.route == "/operator/workers":
        form |= {"act": "ban", "worker": sent.worker}
    return form


def _json(sent: Sent) -> dict[str, Any]:
    route, text = sent.route, sent.text
    if route == "/l402/quote":
        wanted = {"path": "/api/ask", "body": {"request": text}}
        return {"service": "boltwork", "resource": wanted}
    bodies: dict[str, dict[str, Any]] = {
        "jobs": BY_TIER if route.startswith("/api/v1/") else {"request": JOB},
        "credits": {"credits": 1},
        "ask": {"request": text},
        "request": {"request": text},
        "estimate": {"request": text},
        "sessions": {"amount_sats": FRESH},
        "topup": {"amount_sats": FRESH},
        "refund": {"invoice": sent.invoice},
        "conversations": {"title": "another"},
        "messages": {"content": "hello"},
        "generate-image": {"prompt": "hello"},
        "quote": {"images": [{"prompt": "hello"}]},
        "generate": FILM if "videos" in route else ONE,
        "invoice": {"amountSats": 1},
        "login": {"username": PERSON, "password": "a guess"},
        "deposits": {"amountSats": FRESH},
        "withdrawals": {"amountSats": 1},
        "withdraw": {"amountSats": 1},
        "execute": {"toolId": "text-to-image", "inputs": {"prompt": "hello"}},
        "status": {"generationIds": ["0" * 32]},
        "recover": {"username": PERSON, "recoveryCode": "0" * 32, "newPassword": PASSWORD},
        "password": {"password": PASSWORD, "newPassword": PASSWORD},
        "workers": {"name": "another", "payTo": PAY_TO},
        "me": {"payTo": ELSEWHERE},
        "claims": {"models": ["no-such"], "maxPixels": 1},
        "heartbeat": {"progress": 1},
        "fail": {"reason": "none"},
        "pop": {"models": [], "max_pixels": 1},
        "submit": {"id": "0" * 32, "state": "faulted"},
        "{id}": {"maintenance": True},
        "mcp": CALL,
    }
    return bodies.get(sent.what, {})
