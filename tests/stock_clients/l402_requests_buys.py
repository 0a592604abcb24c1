"""Buys with the stock client l402-requests, and shows each proof again.

On standard input, JSON: `url` and `asks`, each with a `method` and a `request`, or with a `path`
and a `body`. On standard output, for each: what was bought, and what the proof was answered with
when it was shown again.
"""

import json
import sys

import httpx
from l402_requests import L402Client
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


def main() -> None:
    """Buy."""
    asked = json.load(sys.stdin)
    url, told = asked["url"], []
    client = L402Client(wallet=StubWallet(url), timeout=60)
    for ask in asked["asks"]:
        if ask["method"] == "GET":
            sent = {"params": {"request": ask["request"]}}
        else:
            sent = {"json": ask.get("body") or {"request": ask["request"]}}
        path = ask.get("path", "/api/ask")
        # It keeps its proof of an address, and shows it first.
        answers = [client.request(ask["method"], f"{url}{path}", **sent) for _ in "12"]
        told.append([[answer.status_code, answer.json()] for answer in answers])
    spent = client.spending_log.total_spent()
    print(json.dumps({"told": told, "spentSats": spent}))


main()
