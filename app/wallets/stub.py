"""The wallet beside the stub rail, which lives in the server: nothing here is real money."""

from app.client import Away, Client, Refused
from payments.bolt11 import Invoice
from payments.rail import Absent, Failed, Outcome, Settled, Unavailable, Unknown
from pricing.money import sats_to_msat


class StubWallet:
    """Pays through the doors that a server in development has."""

    name = "stub"
    is_by_hand = False

    def __init__(self, client: Client) -> None:
        self._client = client

    async def pay(self, invoice: Invoice) -> Outcome:
        """See Wallet."""
        try:
            paid = await self._client.stub_pay(invoice.payment_hash)
            return Settled(
                invoice.payment_hash, sats_to_msat(paid["amountSats"]), str(paid["preimage"])
            )
        except Refused as refused:
            return Failed(str(refused))
        except Away as away:
            return Unknown(str(away))

    async def look_up(self, invoice: Invoice) -> Outcome:
        """See Wallet. There is no door to ask at; but to pay again is a replay."""
        return Absent("the stub wallet keeps no list")

    async def make_invoice(self, amount_sats: int, memo: str) -> str | Unavailable:
        """See Wallet."""
        try:
            return await self._client.stub_invoice(amount_sats)
        except (Refused, Away) as trouble:
            return Unavailable(str(trouble))

    async def close(self) -> None:
        """See Wallet."""
