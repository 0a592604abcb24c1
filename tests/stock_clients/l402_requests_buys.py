"""Buys with the stock client l402-requests, and shows each proof again.

On standard input, JSON: `url` and `asks`, each with a `method` and a `request`, or with a `path`
and a `body`. On standard output, for each: what was bought, and what the proof was answered with
when it was shown again.
"""

import json
import sys

from l402_requests import L402Client
from stub_wallet import StubWallet


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
