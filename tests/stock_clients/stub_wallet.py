"""The buyer's wallet of the stub rail, as l402-requests has wallets."""

import httpx
from l402_requests.wallets import WalletBase

LETTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"  # of bech32, each of them 5 bits


def payment_hash(bolt11: str) -> str:
    """Return the payment hash that an invoice names: its field `p`, 52 letters long."""
    data = bolt11[bolt11.rindex("1") + 1 :]
    at = 7  # behind the time
    while data[at] != "p":
        at += 3 + 32 * LETTERS.index(data[at + 1]) + LETTERS.index(data[at + 2])
    bits = "".join(f"{LETTERS.index(letter):05b}" for letter in data[at + 3 : at + 55])
    return f"{int(bits[:256], 2):064x}"


class StubWallet(WalletBase):
    """The buyer's wallet of the stub rail."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def pay_invoice(self, bolt11: str) -> str:
        """Pay an invoice; return its preimage."""
        path = f"/api/dev/stub/pay/{payment_hash(bolt11)}"
        async with httpx.AsyncClient(base_url=self._url) as http:
            paid = await http.post(path)
        return str(paid.raise_for_status().json()["preimage"])
