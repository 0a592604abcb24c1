"""What somebody with an account does over HTTP, each step so that it may be done again.

What a crash has cut off is found by what the server takes: the password of before, or the next.
"""

from typing import Any

import httpx2
from cryptography.hazmat.primitives.asymmetric import ec

from payments.siwe import personal_digest
from payments.usdc.address import address_of_key
from payments.usdc.authorization import signature_of
from tests.runs.crash_buyer import KNOWN_S, Buyer
from tests.world.lightning_wallet import key_of, signature
from tests.world.patience import patiently

NAME, FIRST, SECOND, THIRD = "agent", "the first password", "the second password", "the third one"

KEY = bytes(range(1, 33))


async def lived(buyer: Buyer) -> None:
    """An account is opened, its password changed, and then lost; its last login is ended."""
    if "opened" not in buyer.done:
        assert await entered(buyer, FIRST)
        buyer.done.add("opened")
    if "changed" not in buyer.done:
        await _changed(buyer)
        buyer.done.add("changed")
    if "recovered" not in buyer.done:
        sent = {"username": NAME, "recoveryCode": buyer.made["code"], "newPassword": THIRD}
        answer = await _post(buyer, "recover", sent)
        assert answer.status_code in (200, 401), answer.text  # it is good once
        buyer.done.add("recovered")
    assert await entered(buyer, THIRD)
    await _paid_in_and_out(buyer)
    await join_wallet(buyer, KEY)
    assert (await _post(buyer, "siwe", await _signed(buyer, KEY))).json()["created"] is False
    await _scanned(buyer)
    await _keyed(buyer)
    await _connected(buyer)
    assert (await _post(buyer, "logout", {})).status_code == 200
    assert (await buyer.call("GET", "/api/auth/me")).status_code == 401


async def _paid_in_and_out(buyer: Buyer) -> None:
    """Pay in; take a part out to an invoice, and the rest as it may be fetched."""
    await _paid_in(buyer)
    if "invoice" not in buyer.made:
        buyer.made["invoice"] = await buyer.side.make_invoice(10, KNOWN_S)
    for name, body in (
        ("to an invoice", {"invoice": buyer.made["invoice"]}),
        ("to be fetched", {"amountSats": 2_990}),
    ):
        sent = await buyer.send("/api/account/withdrawals", body, name)
        assert sent.status_code == 201, sent.text
    buyer.path = "/api/account"
    await buyer.take_refunds()


async def _paid_in(buyer: Buyer) -> None:
    if "some" in buyer.done:  # its name may be forgotten by now
        return
    asked = await buyer.send("/api/account/deposits", {"amountSats": 3_000}, "deposit")
    assert asked.status_code == 201, asked.text
    await buyer.pay(asked.json()["invoice"])
    async for _ in patiently("the deposit is never there"):
        if (await _standing(buyer))["balanceSats"] == 3_000:
            break
        buyer.clock.forward(2)
    buyer.done.add("some")


async def proven(buyer: Buyer) -> None:
    """More is taken out than without a second proof: the wallet that opens the account approves it,
    and a day after it was joined a Lightning wallet. Each proof is good once.
    """
    if "opened" not in buyer.done:
        opened = await _post(buyer, "siwe", await _signed(buyer, KEY))
        buyer.headers["Authorization"] = f"Bearer {opened.json()['sessionToken']}"
        buyer.done.add("opened")
    await _paid_in(buyer)
    if "a day later" not in buyer.done:
        await _scanned(buyer, ("join",))
        buyer.clock.forward(25 * 3_600)
        buyer.done.add("a day later")
    if "code" not in buyer.made:
        buyer.made["signed"] = await _signed(buyer, KEY, amountSats=1_000)
        buyer.made["code"] = (await _post(buyer, "lnurl", {"action": "auth"})).json()
    made = buyer.made["code"]
    for name, body in (
        ("by a wallet", {"amountSats": 1_000, **buyer.made["signed"]}),
        ("by a code", {"amountSats": 2_000, "k1": made["k1"], "secret": made["secret"]}),
    ):
        query = {**_signature(made["k1"]), "action": "auth"}
        await _sent(buyer, "GET", f"/api/lnurl/auth/{made['k1']}", params=query)
        sent = await buyer.send("/api/account/withdrawals", body, name)
        assert sent.status_code == 201, sent.text
    assert (await _standing(buyer))["balanceSats"] == 0
    buyer.path = "/api/account"
    await buyer.take_refunds()


async def _scanned(buyer: Buyer, paths: tuple[str, ...] = ("join", "login")) -> None:
    """Join a Lightning wallet, and then sign in with it; a code that is spoilt is made anew."""
    for path in paths:
        async for look in patiently("no wallet is let in", pause_s=0.2):
            code = (await _post(buyer, "lnurl", {})).json()
            query = _signature(code["k1"])
            at = f"/api/lnurl/auth/{code['k1']}"
            look.saw = (await _sent(buyer, "GET", at, params=query))["status"]
            sent = {"k1": code["k1"], "secret": code["secret"]}
            if (await _post(buyer, f"lnurl/{path}", sent)).status_code == 200:
                break


def _signature(k1: str) -> dict[str, str]:
    """Return what a Lightning wallet signs a code with."""
    wallet = ec.derive_private_key(7, ec.SECP256K1())
    return {"key": key_of(wallet), "sig": signature(k1, wallet)}


async def _keyed(buyer: Buyer) -> None:
    """Make a key, have another stand in its place, use that, and revoke all there are."""
    at = "/api/v1/user/apikeys"
    made = await _sent(buyer, "POST", at)
    rotated = await _sent(buyer, "POST", f"{at}/{made['id']}/rotate")
    used = {"x-api-key": rotated["apiKey"], "Authorization": ""}
    told = await _sent(buyer, "GET", "/api/v1/user/me", headers=used)
    assert told["apiKey"]["id"] == made["id"]
    for key in (await _sent(buyer, "GET", at))["apiKeys"]:
        await _sent(buyer, "DELETE", f"{at}/{key['id']}")
    assert (await _sent(buyer, "GET", at))["apiKeys"] == []


async def _connected(buyer: Buyer) -> None:
    """Connect a wallet by paying from it, and take all out of its account again."""
    at = "/api/v1/wallets/connect"
    if "asked" not in buyer.made:
        buyer.made["asked"] = await _sent(buyer, "POST", f"{at}/initiate")
    asked = buyer.made["asked"]
    if "connected" not in buyer.made:
        await buyer.pay(asked | {"paymentRequest": asked["depositToAddress"]})
        async for look in patiently("it is never connected"):
            look.saw = told = await _sent(buyer, "GET", f"{at}/status/{asked['requestId']}")
            if told["status"] == "COMPLETED":
                break
            buyer.clock.forward(2)
        buyer.made["connected"] = told["apiKey"]
    before = dict(buyer.headers)
    del buyer.headers["Authorization"]
    buyer.headers["x-api-key"] = buyer.made["connected"]
    out = await buyer.send("/api/account/withdrawals", {"amountSats": 1_000}, "all of it")
    assert out.status_code == 201, out.text
    buyer.path = "/api/account"
    await buyer.take_refunds()
    buyer.headers = before


async def _sent(buyer: Buyer, method: str, path: str, **more: Any) -> dict[str, Any]:
    """Ask until there is an answer; what was done by a server that ended then may be done."""
    if method == "POST":
        more["json"] = {}
    async for look in patiently("there is no answer but", pause_s=0.2):
        answer = await buyer.call(method, path, **more)
        if answer.status_code != 503:
            break
        look.saw = answer.text
    assert answer.status_code in (200, 201) or method == "DELETE", answer.text
    return dict(answer.json())


async def _standing(buyer: Buyer) -> dict[str, Any]:
    answer = await buyer.call("GET", "/api/account")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def _changed(buyer: Buyer) -> None:
    """Change the password, which it may be already, and hold the recovery code."""
    for before in (FIRST, SECOND):
        if await entered(buyer, before):
            sent = {"password": before, "newPassword": SECOND}
            answer = await _post(buyer, "password", sent)
            assert answer.status_code == 200, answer.text
            buyer.made["code"] = answer.json()["recoveryCode"]
            return
    raise AssertionError("neither password is taken")


async def join_wallet(buyer: Buyer, key: bytes) -> None:
    """Have a wallet open the account that the buyer is logged into."""
    joined = await _post(buyer, "wallets", await _signed(buyer, key))
    assert joined.status_code == 200, joined.text


async def _signed(buyer: Buyer, key: bytes, **out: Any) -> dict[str, Any]:
    """Return a new message to the server, and its signature by a key of the buyer's."""
    asked = {"address": address_of_key(key), **out}
    told = (await buyer.call("GET", "/api/auth/nonce", params=asked)).json()
    signature = signature_of(key, personal_digest(told["message"]))
    return {"message": told["message"], "signature": signature}


async def entered(buyer: Buyer, password: str) -> bool:
    """Log in, which opens the account at first; False: this password is none of it."""
    buyer.headers.pop("Authorization", None)
    answer = await _post(buyer, "login", {"username": NAME, "password": password})
    if answer.status_code == 200:
        buyer.headers["Authorization"] = f"Bearer {answer.cookies['session']}"
    return answer.status_code == 200


async def _post(buyer: Buyer, what: str, body: dict[str, Any]) -> httpx2.Response:
    async for look in patiently("there is no answer but", pause_s=0.2):
        answer = await buyer.call("POST", f"/api/auth/{what}", json=body)
        if answer.status_code != 503:
            break
        look.saw = answer.text
    return answer
