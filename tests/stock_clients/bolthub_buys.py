"""Buys with the stock client bolthub, whose wallet is one of LNbits, and shows each proof again.

On standard input, JSON: `url`, `lnbits` with its `url` and `key`, and `asks`, each with a `method`
and a `request`, or with a `path` and a `body`. On standard output, for each: what was bought, and
what the proof was answered with when it was shown again.
"""

import json
import sys

import httpx
from bolthub.client import L402Client
from bolthub.wallets import LnbitsWallet


def main() -> None:
    """Buy."""
    asked = json.load(sys.stdin)
    told = []
    wallet = LnbitsWallet(asked["lnbits"]["url"], asked["lnbits"]["key"])
    client = L402Client(wallet, budget_sats=1000, timeout=60)
    for ask in asked["asks"]:
        url = f"{asked['url']}{ask.get('path', '/api/ask')}"
        if ask["method"] == "GET":
            sent = {"params": {"request": ask["request"]}}
        else:
            sent = {"json": ask.get("body") or {"request": ask["request"]}}
        bought = client.request(ask["method"], url, **sent)
        proof = {"Authorization": bought.request.headers["Authorization"]}
        again = httpx.request(ask["method"], url, headers=proof, timeout=60, **sent)
        told.append([[answer.status_code, answer.json()] for answer in (bought, again)])
    print(json.dumps({"told": told, "spentSats": client.total_spent}))


main()
