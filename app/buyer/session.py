"""A session for programs: a deposit paid once, many requests, and smaller macaroons of it.

    import asyncio

    from app.buyer.client import Client
    from app.buyer.session import open_session
    from app.buyer.payer import Payer
    from app.buyer.wallets.stub import StubWallet

    async def main() -> None:
        async with Client("http://127.0.0.1:8402") as client:
            payer = Payer(StubWallet(client))
            session = await open_session(client, 500, payer)
            answer = await session.request("Say hello.")
            helper = session.narrowed(budget_sats=50, endpoints=["request"])  # nobody is asked
            print(answer["result"], helper.id)

    asyncio.run(main())

The holder of the macaroon can spend: it is in no text form of anything here. A deposit and a top-up
are paid for exactly what was asked for, or not at all.
"""

from collections.abc import Iterable
from typing import Any

from app.buyer import answers
from app.buyer.answer_fields import Invoice, is_id
from app.buyer.answers import Answered
from app.buyer.client import Client, new_key, without_none
from app.buyer.failures import Refused, Strange
from app.buyer.payer import Exit, NotPaid, Payer, Stop
from app.buyer.spending import Purpose, Wanted
from app.buyer.wallets.wallet import Wallet
from payments.bolt11 import whole_sats
from payments.grant import caveats_for
from payments.macaroon import Invalid, narrow, read
from payments.session_macaroon import named_by

ARRIVES_AFTER = 12  # looks at the most: 13 s, after which it is on its way


class BadMacaroon(ValueError):
    """This isn't a session's macaroon, or it can't be narrowed like this."""


class Session:
    """One session, as the holder of this macaroon sees it."""

    def __init__(self, client: Client, macaroon: str) -> None:
        held = read(macaroon)
        if isinstance(held, Invalid):
            raise BadMacaroon(held.reason)
        named = named_by(held)
        if isinstance(named, Invalid):
            raise BadMacaroon(named.reason)
        self.id = named.session_id
        self.macaroon = macaroon
        self._client = client

    async def request(
        self, text: str, max_sats: int | None = None, key: str | None = None
    ) -> Answered:
        """Have one request done and wait for it, however long it takes. Paid from the balance."""
        answer = await self.submit(text, max_sats, key)
        while "requestId" in answer and "debitedSats" not in answer:
            answer = await self.follow(answer["requestId"])
        return answer

    async def submit(
        self, text: str, max_sats: int | None = None, key: str | None = None
    ) -> Answered:
        """Have one request begun; return it as it stands right then."""
        parsed = await self._call(
            "POST",
            "/request",
            json=without_none(request=text, maxSats=max_sats),
            headers={"Idempotency-Key": key or new_key(), "Prefer": "respond-async"},
        )
        return self._client.strictly(answers.answered_on_session, parsed)

    async def follow(self, request_id: str, wait_s: int = 30) -> Answered:
        """Wait for a request; return it as it stands then."""
        if not is_id(request_id):
            raise ValueError("the id of a request is 32 hex digits")
        parsed = await self._call("GET", f"/requests/{request_id}", params={"wait": str(wait_s)})
        return self._client.strictly(answers.answered_on_session, parsed)

    async def status(self) -> dict[str, Any]:
        """Return the balance, and what belongs to the session's state."""
        return self._client.strictly(answers.session, await self._call("GET", ""))

    async def top_up(
        self, amount_sats: int, wallet: Wallet | Payer, key: str | None = None
    ) -> dict[str, Any]:
        """Top the session up; return its status once the payment has arrived. Raises Stop."""
        key = key or new_key()
        headers = {"Idempotency-Key": key}
        parsed = await self._call(
            "POST", "/topup", json={"amount_sats": amount_sats}, headers=headers
        )
        invoice = self._client.strictly(answers.topped_up, parsed)
        wanted = Wanted(f"{self.id}:{key}", Purpose.TOP_UP, amount_sats)
        await _pay(Payer.of(wallet), invoice, wanted)
        for attempt in range(ARRIVES_AFTER):
            status = await self.status()
            if "pendingTopup" not in status:
                return await self.status()  # that balance may have been read just before it came
            await self._client.pause(min(0.05 * 2**attempt, 2.0))
        return status

    async def close(self, refund_to: str | None = None) -> dict[str, Any]:
        """Close it. What is left is owed back, and goes to `refund_to` where that is given."""
        body = without_none(refundTo=refund_to)
        return await self._call("POST", "/close", json=body, repeatable=True)

    async def refund(self, bolt11: str) -> dict[str, Any]:
        """Collect what is owed back with an invoice of exactly that amount."""
        return await self._call("POST", "/refund", json={"invoice": bolt11})

    def narrowed(
        self,
        *,
        expires_at: int | None = None,
        max_sats: int | None = None,
        budget_sats: int | None = None,
        tools: Iterable[str] | None = None,
        endpoints: Iterable[str] | None = None,
    ) -> "Session":
        """Return the session under a smaller macaroon, to be handed on. No server is asked."""
        try:
            caveats = caveats_for(
                expires_at=expires_at,
                max_sats=max_sats,
                budget_sats=budget_sats,
                tools=tools,
                endpoints=endpoints,
                child=None if budget_sats is None else new_key()[:8],  # each has its own budget
            )
        except ValueError as wrong:
            raise BadMacaroon(str(wrong)) from wrong
        smaller = narrow(self.macaroon, caveats)
        if isinstance(smaller, Invalid):
            raise BadMacaroon(smaller.reason)
        return Session(self._client, smaller)

    async def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.macaroon}", **options.pop("headers", {})}
        path = f"/api/sessions/{self.id}{path}"
        return await self._client.call(method, path, headers=headers, **options)


async def open_session(
    client: Client, amount_sats: int, wallet: Wallet | Payer, refund_to: str | None = None
) -> Session:
    """Open a session and pay its deposit. Raises Stop, which names the session."""
    payer = Payer.of(wallet)
    if payer.wallet.is_by_hand:
        raise Stop(Exit.REFUSED, "A session is opened by a wallet that proves its payment.")
    made = await client.call(
        "POST",
        "/api/sessions",
        json=without_none(amount_sats=amount_sats, refundTo=refund_to),
        headers={"Idempotency-Key": new_key()},
    )
    session_id, invoice = client.strictly(answers.opened, made)
    try:
        wanted = Wanted(session_id, Purpose.DEPOSIT, amount_sats)
        preimage = await _pay(payer, invoice, wanted)
    except Stop as stop:
        raise stop.of(f"The session is {session_id}.") from stop
    proof = {"X-Payment-Preimage": preimage}
    while True:
        parsed = await client.call(
            "GET", f"/api/sessions/{session_id}", params={"wait": "30"}, headers=proof
        )
        shown = client.strictly(answers.session, parsed)
        if "macaroon" in shown:
            return _session_of(client, session_id, shown["macaroon"])
        if shown["state"] != "awaiting_payment":
            raise Refused(410, {"error": f"The session {session_id} is {shown['state']}."})


async def _pay(payer: Payer, invoice: Invoice, wanted: Wanted) -> str:
    """Pay exactly what was asked for; return the preimage. Raises Stop."""
    if invoice["amountSats"] != wanted.limit_sats:
        raise NotPaid(
            f"The server asks for {whole_sats(invoice['amountSats'])} for a {wanted.purpose} of"
            f" {whole_sats(wanted.limit_sats)}. It was not paid."
        )
    paid = await payer.pay(invoice, wanted)
    return "" if paid is None else paid.preimage


def _session_of(client: Client, session_id: str, macaroon: str) -> Session:
    """Return the session that was paid for, by the macaroon that was shown. Raises Strange."""
    try:
        session = Session(client, macaroon)
    except BadMacaroon as bad:
        raise Strange(client.url, f"the macaroon of the session: {bad}") from bad
    if session.id != session_id:
        raise Strange(client.url, "it shows the macaroon of another session")
    return session
