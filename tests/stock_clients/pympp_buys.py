"""Buys with the stock client pympp, whose lightning method is made here, and shows each credential
again: it ships methods of other networks only, and has its users bring their own.

On standard input, JSON: `url`, `asks`, each with a `method`, a `request` (or a `path` and a `body`)
and maybe `headers`, and maybe `lnbits`, the wallet that pays, with its `url` and `key`. On standard
output, for each: what was bought, and what the credential was answered with when it was shown
again; and what the receipts refer to.
"""

import asyncio
import json
import sys
from typing import Any

import httpx
from bolthub.wallets import LnbitsWallet
from mpp import Credential, Receipt
from mpp.client import ClientMethod, CredentialParams, Mpp
from mpp.methods import Method
from pydantic import BaseModel


class Request(BaseModel):
    """What is asked for."""

    amount: str
    currency: str
    methodDetails: dict[str, str]


class Payload(BaseModel):
    """What proves that it was paid."""

    preimage: str


class Buyer:
    """Pays challenges, by the stub's own wallet or by one of LNbits."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self.asked, self.spent_sats = asked, 0
        self.shown: dict[str, str] = {}

    async def pay(self, params: CredentialParams) -> str:
        """Pay, and return the credential."""
        request = params.challenge.request
        details = request["methodDetails"]
        if "lnbits" in self.asked:
            wallet = LnbitsWallet(self.asked["lnbits"]["url"], self.asked["lnbits"]["key"])
            preimage = await asyncio.to_thread(wallet.pay_invoice, details["invoice"])
        else:
            async with httpx.AsyncClient(base_url=self.asked["url"]) as http:
                paid = await http.post(f"/api/dev/stub/pay/{details['paymentHash']}")
            preimage = str(paid.raise_for_status().json()["preimage"])
        self.spent_sats += int(request["amount"])
        echo = params.challenge.to_echo()
        credential = Credential(challenge=echo, payload={"preimage": preimage})
        proof = str(credential.to_authorization())
        self.shown = {params.challenge.credential_header: proof}
        return proof


async def main() -> None:
    """Buy."""
    asked = json.load(sys.stdin)
    buyer = Buyer(asked)
    lightning = Method(
        name="lightning", intent="charge", request_model=Request, payload_model=Payload
    )
    told, receipts = [], []
    methods = [ClientMethod(method=lightning, create_credential=buyer.pay)]
    async with Mpp(methods=methods) as mpp, httpx.AsyncClient(timeout=60) as plain:
        for ask in asked["asks"]:
            url = f"{asked['url']}{ask.get('path', '/api/ask')}"
            how = "params" if ask["method"] == "GET" else "json"
            sent: dict[str, Any] = {how: ask.get("body") or {"request": ask["request"]}}
            beside = ask.get("headers", {})
            async with mpp.client(timeout=60) as http:
                bought = await http.request(ask["method"], url, headers=beside, **sent)
            headers = {**beside, **buyer.shown}
            again = await plain.request(ask["method"], url, headers=headers, **sent)
            answers = (bought, again)
            told.append([[answer.status_code, answer.json()] for answer in answers])
            for answer in answers:
                read = Receipt.from_payment_receipt(answer.headers["Payment-Receipt"])
                receipts.append(read.reference)
    print(json.dumps({"told": told, "spentSats": buyer.spent_sats, "receipts": receipts}))


asyncio.run(main())
