"""What a caller wants to take out of an account: in the body that takes it out, and in the query by
which a wallet's holder is asked to approve it.
"""

import json
import re
from typing import Annotated, Any, Final, Self

from pydantic import Field, model_validator
from starlette.requests import Request

from app.http.body import parse
from app.http.fields import Body, Usdc
from app.strict_json import BadInput
from app.trade.accounts import Accounts
from app.trade.approvals import Withdrawal, to_destination, to_invoice, to_wallet
from app.trade.refunds import Refunds
from payments import bolt11
from payments.usdc.address import Address, read_address
from pricing.money import Msat, microusdc_of, sats_to_msat

MOST_SATS: Final = 10_000_000
Sats = Annotated[int, Field(ge=1, le=MOST_SATS)]
_FIELDS: Final = ("amountSats", "amountUsdc", "invoice", "to")


class Wanted(Body):
    """What is to be taken out: to an invoice, to a destination, or to a code's scanner."""

    amount_sats: Sats | None = Field(None, alias="amountSats")
    amount_usdc: Usdc | None = Field(None, alias="amountUsdc")
    invoice: Annotated[str, Field(min_length=1)] | None = None
    to: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.invoice is not None and self.to is not None:
            raise ValueError("The fields 'invoice' and 'to' exclude each other. Give one.")
        if self.amount_usdc is not None and (self.amount_sats or self.invoice):
            raise ValueError(
                "Take out sats or USDC: 'amountUsdc' excludes the other fields but 'to'."
            )
        if self.invoice is None and self.amount_sats is None and self.amount_usdc is None:
            raise ValueError("The field 'amountSats' is missing. Add it, or 'invoice'.")
        return self

    @property
    def amount_msat(self) -> Msat | None:
        """What is taken out in sats, where that is said."""
        return None if self.amount_sats is None else sats_to_msat(self.amount_sats)

    @property
    def wallet(self) -> Address | None:
        """The wallet that USDC goes to, where that is said. Raises BadInput."""
        wallet = read_address(self.to) if self.to is not None else None
        if self.to is not None and wallet is None:
            raise BadInput("The field 'to' must be an address: 0x and 40 hex digits.")
        return wallet


def to_approve(
    request: Request, accounts: Accounts, refunds: Refunds, signer: Address
) -> Withdrawal | None:
    """Return the withdrawal that a query asks a wallet's holder to approve; None: it names none.

    USDC goes to the wallet that signs, where no other is named. Raises BadInput.
    """
    query = {name: request.query_params.getlist(name) for name in _FIELDS}
    given: dict[str, Any] = {name: texts[0] for name, texts in query.items() if texts}
    if not given:
        return None
    if any(len(texts) > 1 for texts in query.values()):
        raise BadInput(f"Give each of {', '.join(_FIELDS)} once at most.")
    if re.fullmatch("[0-9]{1,9}", given.get("amountSats", "")):
        given["amountSats"] = int(given["amountSats"])
    asked = parse(json.dumps(given).encode(), Wanted)
    if asked.amount_usdc is not None:
        network = accounts.network
        return to_wallet(microusdc_of(asked.amount_usdc), asked.wallet or signer, network)
    if asked.invoice is None:
        assert asked.amount_msat is not None, "it says so"
        to = refunds.destination_of(asked.to) if asked.to is not None else None
        return to_destination(asked.amount_msat, to)
    try:
        invoice = bolt11.decode(asked.invoice)
    except bolt11.BadInvoice as bad:
        raise BadInput(str(bad)) from bad
    return to_invoice(invoice, asked.amount_msat or Msat(invoice.amount_msat or 0))
