"""What the holder of a session does over HTTP, each step so that it may be done again.

A key names each of them: sent again after a crash, it is the same request and the same invoice.
"""

import itertools
import re

from payments.macaroon import narrow
from tests.runs.crash_buyer import FINAL, Buyer, Json
from tests.world.patience import patiently
from tests.world.paying import credential, payment_in

HELD_S = 1_000  # longer than a call may be held
IDLE_S = 25 * 3_600
_OFFER = re.compile('L402 macaroon="([^"]+)"')
PROOFS = "L402", "Payment"


async def opened(buyer: Buyer, sats: int = 3_000, **more: str) -> None:
    """Open a session, pay its deposit, and hold its macaroon."""
    body = {"amount_sats": sats, **more}
    made = await buyer.send("/api/sessions", body, f"{buyer.key} session")
    assert made.status_code == 201, made.text
    session = made.json()
    buyer.path = f"/api/sessions/{session['sessionId']}"
    await buyer.pay(session["invoice"])
    async for _ in patiently("the deposit was never seen"):
        preimage = buyer.preimages[session["invoice"]["paymentRequest"]]
        if (await _shown(buyer, preimage))["state"] != "awaiting_payment":
            return


async def _shown(buyer: Buyer, preimage: str) -> Json:
    """Return the session, and hold its macaroon; the newest is shown to whoever paid."""
    proof = {"X-Payment-Preimage": preimage}
    shown = await buyer.call("GET", buyer.path, headers=proof)
    if shown.status_code == 401:
        buyer.headers.clear()
        shown = await buyer.call("GET", buyer.path, headers=proof)
    assert shown.status_code == 200, shown.text
    session: Json = shown.json()
    if "macaroon" in session:
        buyer.headers["Authorization"] = f"Bearer {session['macaroon']}"
    return session


async def requested(buyer: Buyer, text: str, key: str) -> Json:
    """Have a request done, and return what came of it."""
    answer = await buyer.send(f"{buyer.path}/request", {"request": text}, f"{buyer.key} {key}")
    assert answer.status_code in (200, 202), answer.text
    said: Json = answer.json()
    where = f"{buyer.path}/requests/{said['requestId']}"
    async for look in patiently("the request does not end"):
        if said["state"] in FINAL:
            break
        look.saw = said = (await buyer.call("GET", where, params={"wait": "2"})).json()
    return said


async def topped_up(buyer: Buyer, sats: int, key: str) -> None:
    """Ask for a top-up, pay it, and wait until it is booked."""
    answer = await buyer.send(f"{buyer.path}/topup", {"amount_sats": sats}, f"{buyer.key} {key}")
    assert answer.status_code == 200, answer.text
    invoice = answer.json()["topup"]
    await buyer.pay(invoice)
    await booked(buyer, invoice)


async def booked(buyer: Buyer, invoice: Json) -> None:
    """Wait until a payment is in the books."""
    query = f"SELECT 1 FROM invoice WHERE bolt11 = '{invoice['paymentRequest']}'"
    async for _ in patiently("a payment was never seen", pause_s=0.1):
        if await buyer.books.ask(f"{query} AND settled_at IS NOT NULL"):
            return
        assert (await buyer.call("GET", "/api/healthz")).status_code == 200


async def closed(buyer: Buyer) -> None:
    """Close the session, and take what is left of it."""
    answer = await buyer.post("close")
    assert answer.status_code == 200, answer.text
    await all_ended(buyer)
    await buyer.take_refunds()


async def withheld(buyer: Buyer) -> None:
    """Take a session's rest for less than it is, and then what its way did not cost of that."""
    await opened(buyer)
    answer = await buyer.post("close")
    assert answer.status_code == 200, answer.text
    await buyer.take_refunds(least=True)
    assert await buyer.books.ask("SELECT 1 FROM payout WHERE reason = 'change'")


async def all_ended(buyer: Buyer) -> None:
    """Wait until nothing runs any more; what a dead process held is let go of in time."""
    queries = (
        "SELECT 1 FROM hold WHERE state = 'held'",
        f"SELECT 1 FROM job WHERE state NOT IN {FINAL}",
    )
    turn = 0
    async for _ in patiently("something is held for ever", pause_s=0.1):
        running = [row for query in queries for row in await buyer.books.ask(query)]
        if not running:
            return
        turn += 1
        if turn == 10:
            buyer.outwait_the_dead(HELD_S)
        assert (await buyer.call("GET", "/api/healthz")).status_code == 200


async def left_alone(buyer: Buyer) -> None:
    """Let so much time pass that the session is over, and take what is left of it."""
    if "left alone" not in buyer.done:
        buyer.done.add("left alone")
        buyer.clock.forward(IDLE_S)
    await buyer.until(lambda now: now["state"] == "expired")
    await all_ended(buyer)
    await buyer.take_refunds()


async def conversed(buyer: Buyer) -> None:
    """Hear an answer piece by piece; one that broke off is asked for under another name."""
    made = await buyer.send(
        "/api/gemini/conversations", {"title": "a talk"}, f"{buyer.key} conversation"
    )
    if made.status_code == 404:
        return  # it was deleted already
    assert made.status_code == 201, made.text
    path = f"/api/gemini/conversations/{made.json()['id']}"
    for n in range(4):
        key = f"{buyer.key} message {n}"
        answer = await buyer.send(f"{path}/messages", {"content": "hello"}, key)
        if answer.status_code == 200:
            assert '"done":true' in answer.text, answer.text
            break
        assert answer.status_code == 409, answer.text
    drawn = await buyer.call("POST", "/api/gemini/generate-image", json={"prompt": "a dot"})
    assert drawn.status_code == 200, drawn.text
    assert (await buyer.call("DELETE", path)).status_code in (204, 404)


async def demonstrated(buyer: Buyer) -> None:
    """Try it out, at the cost of the house."""
    answer = await buyer.call("GET", "/api/demo", params={"request": "hello"})
    assert answer.status_code in (200, 429), answer.text


async def revoked(buyer: Buyer) -> None:
    """Hand a child on and revoke it, and then all of them for a new macaroon."""
    whole = buyer.headers["Authorization"].removeprefix("Bearer ")
    child = narrow(whole, ["max_sats=5"])
    answer = await buyer.post("revoke", {"macaroon": child})
    assert answer.status_code == 200, answer.text
    answer = await buyer.post("revoke")
    assert answer.status_code == 200, answer.text
    buyer.headers["Authorization"] = f"Bearer {answer.json()['macaroon']}"


async def offered(buyer: Buyer) -> None:
    """Pay for one job by the call, and keep what proves it, by L402 and by MPP."""
    if not buyer.preimages.keys() >= {*PROOFS}:
        offer = await buyer.send("/api/ask", {"request": "hello"}, f"{buyer.key} ask")
        assert offer.status_code == 402, offer.text
        lines = offer.headers["www-authenticate"]
        found = _OFFER.search(lines)
        assert found is not None
        await buyer.pay(offer.json())
        preimage = buyer.preimages[offer.json()["paymentRequest"]]
        by_mpp = f"Payment {credential(payment_in(lines), preimage)}"
        buyer.preimages |= dict(zip(PROOFS, (f"L402 {found[1]}:{preimage}", by_mpp), strict=True))


async def asked(buyer: Buyer) -> None:
    """Buy one job by the call, show its proofs until it is done, take what it did not need."""
    await offered(buyer)
    proofs = itertools.cycle(PROOFS)
    async for _ in patiently("what was asked for by the call never ended"):
        buyer.headers = {"Authorization": buyer.preimages[next(proofs)]}
        answer = await buyer.send("/api/ask?wait=2", {"request": "hello"}, f"{buyer.key} ask")
        assert answer.status_code in (200, 202), answer.text
        said = answer.json()
        buyer.path = f"/api/jobs/{said['jobId']}"
        if said["state"] in FINAL:
            break
    await buyer.take_refunds()
