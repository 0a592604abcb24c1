"""The words and shapes of the 004 surface that more than one of its files speaks."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict

from pricing.money import msat_to_sats, usd_number
from pricing.quote import Quote

MOST_CHARACTERS = 20_000
# Control characters other than white space, and halves of surrogate pairs.
_NOT_TEXT = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


class Body(BaseModel):
    """A request body: nothing unknown, nothing converted from another type."""

    model_config = ConfigDict(extra="forbid", strict=True)


def _request_text(text: str) -> str:
    """Return the trimmed text, or raise ValueError with a sentence for its sender."""
    trimmed = text.strip()
    if not trimmed:
        raise ValueError("The field 'request' is empty. Say what you want done.")
    if len(trimmed) > MOST_CHARACTERS:
        raise ValueError(
            f"The field 'request' has {len(trimmed)} characters, and at most {MOST_CHARACTERS}"
            " are read. Shorten it."
        )
    odd = _NOT_TEXT.search(text)  # before trimming, which takes some of these for white space
    if odd:
        raise ValueError(
            f"The field 'request' holds the character U+{ord(odd[0]):04X}, which is not text."
            " Take it out."
        )
    return trimmed


RequestText = Annotated[str, AfterValidator(_request_text)]


def moment(at: datetime) -> str:
    """Return a time as the wire writes it (RFC 3339, UTC, milliseconds)."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


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
