"""The wallet beside the stub rail, which lives in the server: nothing here is real money."""

from app.buyer.client import Client
from app.buyer.failures import Away, Refused
from app.buyer.wallets.wallet import proves
from payments.bolt11 import Invoice
from payments.rail import NO_FEE, Absent, Failed, Outcome, Settled, Unavailable, Unknown


class StubWallet:
    """Pays through the doors that a server in development has."""

    name = "stub"
    is_by_hand = False
    network: str | None = "bcrt"

    def __init__(self, client: Client) -> None:
        self._client = client

    async def pay(self, invoice: Invoice) -> Outcome:
        """See Wallet."""
        try:
            paid = await self._client.stub_pay(invoice.payment_hash)
        except Refused as refused:
            return Failed(str(refused))
        except Away as away:
            return Unknown(str(away))
        preimage = paid.get("preimage")
        if not isinstance(preimage, str) or not proves(preimage, invoice.payment_hash):
            return Unknown("the stub wallet shows no preimage of the payment")
        return Settled(invoice.payment_hash, invoice.amount_msat or NO_FEE, preimage)

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
