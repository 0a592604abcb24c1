"""What more than one file of the agent jobs API reads from a request, and says in an answer."""

import hashlib
import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo
from starlette.requests import Request

from app.plain_text import odd_in
from app.refusal import Refusal
from app.strict_json import BadInput, moment
from app.trade.once import Name
from pricing.money import msat_to_sats, usd_number
from pricing.quote import Quote

MOST_CHARACTERS = 20_000


class Body(BaseModel):
    """A request body: nothing unknown, nothing converted from another type."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Foreign(BaseModel):
    """A body of another network's program: what is not read here is ignored, for each version of it
    sends something else.
    """

    model_config = ConfigDict(extra="ignore", strict=True)


def _request_text(text: str, info: ValidationInfo) -> str:
    """Return the trimmed text, or raise ValueError with a sentence for its sender."""
    field = f"The field {info.field_name!r}"
    trimmed = text.strip()
    if not trimmed:
        raise ValueError(f"{field} is empty. Say what you want done.")
    if len(trimmed) > MOST_CHARACTERS:
        raise ValueError(
            f"{field} has {len(trimmed)} characters, and at most {MOST_CHARACTERS} are read."
            " Shorten it."
        )
    odd = odd_in(text)  # before trimming, which takes some of these for white space
    if odd:
        raise ValueError(f"{field} holds the character {odd}, which is not text. Take it out.")
    return trimmed


_ID = re.compile("[0-9a-f]{32}")
LONGEST_WAIT_S = 60
LEAST_KEY = 16  # characters of an Idempotency-Key that nothing else tells from another's
HELD_S = 55  # at most: proxies give up on an answer after 60 s
DEFAULT_HOLD_S = 25  # of what costs money whether its answer arrives or not

Usdc = Annotated[str, Field(pattern=r"^[0-9]{1,9}(\.[0-9]{1,6})?$")]  # an amount, as a decimal
MaxSats = Annotated[int, Field(ge=1, le=100_000_000)]  # most that its buyer wants to pay
RequestText = Annotated[str, AfterValidator(_request_text)]


def is_id(text: str) -> bool:
    """Say whether a text can be an id of ours."""
    return bool(_ID.fullmatch(text))


def path_id(request: Request, unknown: Callable[[], Refusal], name: str = "id") -> str:
    """Return an id in the path, or refuse what can't be one as unknown."""
    given: str = request.path_params[name]
    if not is_id(given):
        raise unknown()
    return given


def seen_tag(request: Request) -> str | None:
    """Return what a caller has seen: If-None-Match, as it came. A poll is hardly more than this."""
    for name, value in request.scope["headers"]:
        if name == b"if-none-match":
            return bytes(value).decode("latin-1")
    return None


def wait_of(request: Request, default_s: int = 0) -> int:
    """Return how long to wait for a caller, in seconds: as long as they say, or nearly."""
    if not request.scope["query_string"]:
        return default_s  # nearly every poll: there is nothing to parse
    given = request.query_params.getlist("wait") or [str(default_s)]
    text = given[0]
    digits = text.isascii() and text.isdecimal() and len(text) < 5
    if len(given) > 1 or not digits or int(text) > LONGEST_WAIT_S:
        raise BadInput(
            f"The parameter 'wait' must be a whole number of seconds, from 0 to {LONGEST_WAIT_S}."
        )
    return min(int(text), HELD_S)


def name_of(request: Request, caller: str, body: bytes, *, is_known: bool = True) -> Name | None:
    """Return what a caller calls this request, where the header Idempotency-Key says it.

    The keys of a credential are its own. For who shows none, the key is the only thing that tells
    its caller from others at the same address: it must be one that no other would choose.
    """
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not 1 <= len(key) <= 255 or not key.isascii() or not key.isprintable():
        raise BadInput("The Idempotency-Key must be 1 to 255 printable ASCII characters.")
    if not is_known and len(key) < LEAST_KEY:
        raise BadInput(
            f"Here an Idempotency-Key must have at least {LEAST_KEY} characters, so that nobody"
            " else sends the same one. Use 32 random hex digits."
        )
    place = f"{request.method} {request.url.path}\n".encode()
    return Name(caller, key, hashlib.sha256(place + body).hexdigest())


def pricing_breakdown(quote: Quote) -> dict[str, Any]:
    """Return a quote in the surface's words, with where its bitcoin price came from."""
    return stored_breakdown(quote.to_json())


def stored_breakdown(quote: dict[str, Any]) -> dict[str, Any]:
    """Return that of a quote as it is stored: a poll has no other use for it."""
    price = quote["price"]
    shape: dict[str, Any] = {
        "estimatedCostUsd": usd_number(quote["charge_microusd"]),
        "marginPct": quote["margin_pct"],
        "btcPriceUsd": usd_number(price["microusd_per_btc"]),
        "totalSats": msat_to_sats(quote["total_msat"]),
        "model": quote["model"],
        "inputTokens": quote["input_tokens"],
        "maxOutputTokens": quote["max_output_tokens"],
        "tokenCostUsd": usd_number(quote["cost_microusd"]),
        "infraUsd": usd_number(quote["infra_microusd"]),
        "inputUsdPerMillionTokens": usd_number(quote["input_microusd_per_mtok"]),
        "outputUsdPerMillionTokens": usd_number(quote["output_microusd_per_mtok"]),
        "priceAt": moment(datetime.fromisoformat(price["at"])),
        "priceSources": price["sources"],
        "expiresAt": moment(datetime.fromisoformat(quote["expires_at"])),
    }
    if price["note"]:
        shape["priceNote"] = price["note"]
    return shape
