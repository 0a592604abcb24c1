"""An account for programs: a balance and the API keys that spend it.

    import asyncio

    from app.buyer.account import connect
    from app.buyer.client import Client
    from app.buyer.payer import Payer
    from app.buyer.wallets.stub import StubWallet

    async def main() -> None:
        async with Client("http://127.0.0.1:8402") as client:
            account = await connect(client, 1_000, Payer(StubWallet(client)))
            helper = await account.make_key("helper", limit_sats=200)  # it spends no more than that
            print(await account.balance(), len(helper.key))

    asyncio.run(main())

Whoever has a key has the account, or what the key may spend of it: it is in no text form of
anything here.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from app.buyer import account_answers as answers
from app.buyer.answer_fields import is_id
from app.buyer.client import Client, new_key, without_none
from app.buyer.failures import Refused, Strange
from app.buyer.payer import NotPaid, Payer
from app.buyer.spending import Purpose, Wanted
from app.buyer.wallets.wallet import Wallet
from payments.bolt11 import whole_sats

ARRIVES_AFTER = 12  # looks at the most: 13 s, after which it is on its way
AT, CONNECT = "/api/v1/user", "/api/v1/wallets/connect"
_KEY = re.compile("(sk_live_bw_|uk_)[0-9A-Za-z]{49}")


class BadKey(ValueError):
    """This isn't an API key of a Boltwork."""


def is_key(text: str) -> bool:
    """Say whether a text has the form of an API key."""
    return _KEY.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class MadeKey:
    """A key that was just made."""

    id: str
    key: str = field(repr=False)


class Account:
    """One account, as the holder of this API key sees it."""

    def __init__(self, client: Client, key: str) -> None:
        if not is_key(key):
            raise BadKey("an API key is sk_live_bw_ or uk_, and then 49 letters and digits")
        self.key = key
        self._client = client

    async def show(self) -> dict[str, Any]:
        """Return whose account it is, and what is on it."""
        return self._client.strictly(answers.user, await self._call("GET", f"{AT}/me"))

    async def balance(self) -> int:
        """Return the balance, in sats."""
        return int((await self.show())["balanceSats"])

    async def history(self, unit: str = "month", offset: int = 0) -> dict[str, Any]:
        """Return what was spent in a day, week, month or year; with an offset, one before."""
        params = {"timeUnit": unit, "offset": str(offset)}
        parsed = await self._call("GET", f"{AT}/history", params=params)
        return self._client.strictly(answers.history, parsed)

    async def deposit(self, amount_sats: int, wallet: Wallet | Payer) -> int:
        """Pay into the account; return its balance once that has arrived. Raises Stop."""
        before, key = await self.balance(), new_key()
        parsed = await self._call(
            "POST",
            "/api/account/deposits",
            json={"amountSats": amount_sats},
            headers={"Idempotency-Key": key},
        )
        invoice = self._client.strictly(answers.deposit, parsed)
        if invoice["amountSats"] != amount_sats:
            raise _other_amount(invoice["amountSats"], amount_sats)
        await Payer.of(wallet).pay(invoice, Wanted(key, Purpose.DEPOSIT, amount_sats))
        for attempt in range(ARRIVES_AFTER):
            waiting = await self._call("GET", "/api/account")
            if not any(
                one.get("paymentRequest") == invoice["paymentRequest"]
                for one in self._client.strictly(answers.deposits, waiting)
            ):
                return await self.balance()
            await self._client.pause(min(0.05 * 2**attempt, 2.0))
        return before

    async def withdraw(
        self,
        amount_sats: int | None = None,
        *,
        to: str | None = None,
        invoice: str | None = None,
        key: str | None = None,
    ) -> dict[str, Any]:
        """Take money out: to an invoice, a Lightning address or an LNURL; without any of these the
        answer holds a code for a wallet to scan.
        """
        body = without_none(amountSats=amount_sats, to=to, invoice=invoice)
        headers = {"Idempotency-Key": key or new_key()}
        parsed = await self._call("POST", f"{AT}/withdraw", json=body, headers=headers)
        return self._client.strictly(answers.withdrawn, parsed)

    async def keys(self) -> list[dict[str, Any]]:
        """Return the keys that hold, each by its first and last characters."""
        return self._client.strictly(answers.api_keys, await self._call("GET", f"{AT}/apikeys"))

    async def make_key(self, name: str, limit_sats: int | None = None) -> MadeKey:
        """Make another key; with a limit it buys work for so much, and does nothing else."""
        body = without_none(name=name, spendingLimitSats=limit_sats)
        parsed = await self._call("POST", f"{AT}/apikeys", json=body)
        return MadeKey(*self._client.strictly(answers.made_key, parsed))

    async def rotate_key(self, key_id: str) -> MadeKey:
        """Have another key stand in the place of one, which isn't valid any more."""
        parsed = await self._call("POST", f"{_at_key(key_id)}/rotate")
        return MadeKey(*self._client.strictly(answers.made_key, parsed))

    async def revoke_key(self, key_id: str) -> None:
        """End a key."""
        await self._call("DELETE", _at_key(key_id))

    async def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        headers = {"x-api-key": self.key, **options.pop("headers", {})}
        return await self._client.call(method, path, headers=headers, **options)


async def connect(client: Client, amount_sats: int, wallet: Wallet | Payer) -> Account:
    """Open an account by paying into it over Lightning. Raises Stop.

    Its key is shown for a while: keep it, as nothing else opens the account.
    """
    parsed = await client.call("POST", f"{CONNECT}/initiate", json={"amountSats": amount_sats})
    request_id, invoice = client.strictly(answers.connecting, parsed)
    if invoice["amountSats"] != amount_sats:
        raise _other_amount(invoice["amountSats"], amount_sats)
    await Payer.of(wallet).pay(invoice, Wanted(request_id, Purpose.DEPOSIT, amount_sats))
    for attempt in range(ARRIVES_AFTER):
        shown = await client.call("GET", f"{CONNECT}/status/{request_id}")
        key = client.strictly(answers.connected, shown)
        if key is not None:
            return _account_of(client, key)
        await client.pause(min(0.05 * 2**attempt, 2.0))
    sentence = f"The payment is on its way. Ask for the key: GET {CONNECT}/status/{request_id}"
    raise Refused(202, {"error": sentence})


def _account_of(client: Client, key: str) -> Account:
    try:
        return Account(client, key)
    except BadKey as bad:
        raise Strange(client.url, str(bad)) from bad


def _at_key(key_id: str) -> str:
    if not is_id(key_id):
        raise ValueError("the id of a key is 32 hex digits")
    return f"{AT}/apikeys/{key_id}"


def _other_amount(asked_sats: int, wanted_sats: int) -> NotPaid:
    return NotPaid(
        f"The server asks for {whole_sats(asked_sats)} for a deposit of {whole_sats(wanted_sats)}."
        " It was not paid."
    )
