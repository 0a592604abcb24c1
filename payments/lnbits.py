"""The rail over LNbits: one wallet after the other.

With each invoice LNbits adds up all payments of the wallet that it is made on, and so with each
payment. A wallet that has had many is slow, so after some thousands the next one takes its place.
The older ones go on: whoever has an invoice of theirs can pay it, and is heard.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Final

from payments.lnbits_http import LnbitsClient, LnbitsHttp, NoAnswer
from payments.lnbits_wallet import LEAST_FEE_LIMIT_MSAT, WALLET, LnbitsWallet
from payments.rail import (
    Absent,
    KnownWallet,
    NewWallet,
    Opened,
    Outcome,
    Settled,
    Unavailable,
    Unknown,
)
from pricing.money import Msat

MOST_UNREAD: Final = 1_000  # pushes that wait for their reader before the channels must wait


class _Woken:
    """Said to a reader of pushes: other wallets are heard from now on."""


_Told = Settled | Exception | _Woken | None


class LnbitsRail:
    """The wallets of one LNbits that are ours: the first, and those opened after it.

    See LnbitsWallet for what is asked of LNbits and of its operator. `token` is an API token of
    the account that new wallets shall belong to; it need only be allowed to write `/api/v1/wallet`.
    """

    name = "lnbits"
    least_fee_limit_msat = LEAST_FEE_LIMIT_MSAT

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        clock: Callable[[], datetime],
        network: str = "bc",
        timeout_s: float = 10,
        token: str = "",
    ) -> None:
        self.network = network
        self._clock = clock
        self._client = LnbitsClient(url, timeout_s)
        self._account = LnbitsHttp(self._client, "Authorization", f"Bearer {token.strip() or '-'}")
        first = self._wallet(api_key)
        self.identity = first.identity
        self._wallets = {first.identity: first}  # the oldest first
        self._newest = first
        self._heard = [first]
        self._counted = [first]
        self._left_msat = Msat(0)  # in those that are not counted
        self._readers: set[asyncio.Queue[_Told]] = set()

    def _wallet(self, key: str) -> LnbitsWallet:
        return LnbitsWallet(self._client, key, clock=self._clock, network=self.network)

    @property
    def wallet(self) -> str:
        """See Rail."""
        return self._newest.identity

    @property
    def push_is_up(self) -> bool:
        """See Rail: of all wallets that may still be paid."""
        return all(wallet.push_is_up for wallet in self._heard)

    async def create_invoice(
        self, key: str, amount_msat: Msat, memo: str, expiry_s: int
    ) -> Opened | Unavailable:
        """See Rail, and LnbitsWallet."""
        return await self._newest.create_invoice(key, amount_msat, memo, expiry_s)

    async def look_up_invoice(self, payment_hash: str, wallet: str | None = None) -> Outcome:
        """See Rail, and LnbitsWallet."""
        # Of a payment to us nobody but its wallet knows, and whoever does can prove it.
        known = wallet if wallet in self._wallets else None
        return await self._asked(known, lambda each: each.look_up_invoice(payment_hash))

    async def pay(self, bolt11: str, fee_limit_msat: Msat, wallet: str | None = None) -> Outcome:
        """See Rail, and LnbitsWallet."""
        payer = self._wallets.get(wallet or self.wallet)
        if payer is None:
            return Unknown(_NOT_OURS)
        return await payer.pay(bolt11, fee_limit_msat)

    async def look_up_payment(self, payment_hash: str, wallet: str | None = None) -> Outcome:
        """See Rail, and LnbitsWallet."""
        return await self._asked(wallet, lambda each: each.look_up_payment(payment_hash))

    async def balance_msat(self) -> Msat | Unknown:
        """See Rail. Wallets that are closed are not asked again."""
        asked = [wallet.balance_msat() for wallet in self._counted]
        held_msat = int(self._left_msat)
        for balance_msat in await asyncio.gather(*asked):
            if isinstance(balance_msat, Unknown):
                return balance_msat
            held_msat += balance_msat
        return Msat(held_msat)

    async def pushes(self) -> AsyncIterator[Settled | None]:
        """See Rail, and LnbitsWallet: what the channels of all wallets that may be paid push."""
        unread: asyncio.Queue[_Told] = asyncio.Queue(MOST_UNREAD)
        ears: dict[str, asyncio.Task[None]] = {}
        self._readers.add(unread)
        try:
            while True:
                heard = {wallet.identity: wallet for wallet in self._heard}
                for identity in ears.keys() - heard.keys():
                    ears.pop(identity).cancel()
                for identity in heard.keys() - ears.keys():
                    ears[identity] = asyncio.create_task(_listen(heard[identity], unread))
                told = await unread.get()
                if isinstance(told, Exception):
                    raise told
                if not isinstance(told, _Woken):
                    yield told
        finally:
            self._readers.discard(unread)
            for ear in ears.values():
                ear.cancel()
            await asyncio.gather(*ears.values(), return_exceptions=True)

    async def healthy(self) -> Unavailable | None:
        """See Rail, and LnbitsWallet: of the wallet that invoices are made on."""
        return await self._newest.healthy()

    async def close(self) -> None:
        """Let go of the connections. The push channels end with whoever reads them."""
        await self._client.close()

    # ------------------------------------------------------------- one after the other

    async def open_wallet(self, name: str) -> NewWallet | Unavailable:
        """See Wallets. The token is used for this alone."""
        try:
            answer = await self._account.ask("POST", WALLET, {"name": name})
        except NoAnswer as lost:
            return Unavailable(str(lost))
        key = answer.text("adminkey")
        if answer.status == 200 and key:
            return NewWallet(self._wallet(key).identity, key)
        if answer.status in {401, 403}:
            return Unavailable(_BAD_TOKEN, 60)
        return self._account.unavailable(answer)

    async def may_open_wallets(self) -> Unavailable | None:
        """Return None when the token would be taken; opens nothing.

        It asks for a wallet whose name is no text, and is told so only when the token is good.
        """
        try:
            answer = await self._account.ask("POST", WALLET, {"name": []})
        except NoAnswer as lost:
            return Unavailable(str(lost))
        if answer.status in {401, 403}:
            return Unavailable(_BAD_TOKEN, 60)
        return None if answer.status in {400, 422} else self._account.unavailable(answer)

    async def balance_of(self, wallet: str) -> Msat | Unknown:
        """See Wallets."""
        known = self._wallets.get(wallet)
        return Unknown(_NOT_OURS) if known is None else await known.balance_msat()

    async def delete_wallet(self, wallet: str) -> Unavailable | None:
        """See Wallets. What LNbits deletes its operator can restore: the payments stay."""
        known = self._wallets.get(wallet)
        if known is None:
            return Unavailable(_NOT_OURS)
        wallet_id = await known.wallet_id()
        if isinstance(wallet_id, Unavailable) or not wallet_id:
            return wallet_id or None
        try:
            answer = await self._account.ask("DELETE", f"{WALLET}/{wallet_id}")
        except NoAnswer as lost:
            return Unavailable(str(lost))
        if answer.status in {401, 403, 404}:  # also when it is another account's
            return Unavailable(_BAD_TOKEN, 60)
        return None if answer.status == 200 else self._account.unavailable(answer)

    def use(self, wallets: Sequence[KnownWallet], left_msat: Msat) -> None:
        """See Wallets."""
        for known in wallets:
            if known.identity not in self._wallets:
                self._wallets[known.identity] = self._wallet(known.key)
        self._newest = self._wallets[wallets[-1].identity]
        self._heard = [self._wallets[known.identity] for known in wallets if known.is_heard]
        self._counted = [self._wallets[known.identity] for known in wallets if known.is_counted]
        self._left_msat = left_msat
        for reader in self._readers:
            if not reader.full():  # else it wakes up anyway
                reader.put_nowait(_Woken())

    # ------------------------------------------------------------------ within

    async def _asked(
        self, wallet: str | None, ask: Callable[[LnbitsWallet], Awaitable[Outcome]]
    ) -> Outcome:
        if wallet is not None:
            known = self._wallets.get(wallet)
            return Unknown(_NOT_OURS) if known is None else await ask(known)
        unsaid: Unknown = Absent("no wallet was asked")
        for each in reversed(list(self._wallets.values())):
            outcome = await ask(each)
            if not isinstance(outcome, Unknown):
                return outcome
            # That nobody knows of it is said only when each of them has said so.
            if isinstance(unsaid, Absent):
                unsaid = outcome
        return unsaid


_NOT_OURS: Final = "it is another wallet's, whose key is not known here"
_BAD_TOKEN: Final = (
    "LNbits does not accept the token: set LNBITS_TOKEN to an API token of the wallets' account"
    f" that may write {WALLET}"
)


async def _listen(wallet: LnbitsWallet, unread: asyncio.Queue[_Told]) -> None:
    try:
        async with aclosing(wallet.pushes()) as pushes:
            async for push in pushes:
                await unread.put(push)
    except Exception as error:
        await unread.put(error)
