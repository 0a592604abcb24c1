"""Buys with the stock client l402-requests what a server's /llms.txt says how to buy.

On standard input, JSON: `llms`, where that is. On standard output: for the first request that is
shown there, and the first of an image, what was bought, and what it was answered with when it was
sent again.
"""

import json
import re
import sys
from urllib.parse import urlsplit

import httpx
from l402_requests import L402Client
from stub_wallet import StubWallet

SHOWN = re.compile(r"^    (GET|POST) (https?://\S+)(?:\n    (\{.*\}))?$", re.MULTILINE)


def main() -> None:
    """Buy."""
    text = httpx.get(json.load(sys.stdin)["llms"]).raise_for_status().text
    shown = SHOWN.findall(text)
    answer = next(each for each in shown if each[0] == "GET")
    image = next(each for each in shown if "image" in each[1] and each[2])
    parts = urlsplit(answer[1])
    client = L402Client(wallet=StubWallet(f"{parts.scheme}://{parts.netloc}"), timeout=60)
    told = []
    for method, url, body in (answer, image):
        sent = {"json": json.loads(body)} if body else {}
        answers = [client.request(method, url, **sent) for _ in "12"]
        told.append([[each.status_code, each.json()] for each in answers])
    print(json.dumps({"told": told, "spentSats": client.spending_log.total_spent()}))


main()
