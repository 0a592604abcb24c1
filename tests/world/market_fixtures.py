"""A market for the tests: batches that are ordered, paid for, made and looked through."""

import hashlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from app import advance
from app.advance import Act, Applied, Payer, Shell, Short, Spending, Terms
from app.advance.batches import Ordered
from db import batches, items, lanes, ledger, people
from db.artifacts import Artifact
from db.audit import audit
from db.authorizations import AuthorizationRow
from db.batches import BatchView
from db.claims import Claim
from db.engine import Database, Tx
from db.items import ItemView, NewItem
from db.promises import Outbox
from payments import rail
from payments.usdc.address import address_of_key
from payments.usdc.network import BASE_SEPOLIA
from pricing.money import Msat
from statemachine.account import deposit_invoice_id as deposit_of
from statemachine.batch import invoice_id
from statemachine.entries import Asset
from statemachine.owner import Owner, OwnerKind
from statemachine.session import deposit_invoice_id
from tests.world.clock import Clock

LANE = "scene-1/standard"
QUOTE = {  # as `BatchQuote.to_json` tells one
    "total_microusd": 2_000,
    "total_msat": 2_000,
    "microusd_per_btc": 100_000_000_000,
    "price_at": "2026-06-01T12:00:00+00:00",
    "price_sources": ["kraken"],
    "price_note": "",
}
NETWORK, PAYER = BASE_SEPOLIA.caip2, address_of_key(b"a payer of the market's, who has USDC"[:32])


def hashed(text: str) -> str:
    """Return a hash that stands for some bytes."""
    return hashlib.sha256(text.encode()).hexdigest()


def priced(batch_id: str, shares: Sequence[int], lane: str = LANE) -> list[NewItem]:
    """Return items of a batch with these shares, a turn each."""
    return [
        NewItem(
            f"{batch_id}i{place:03}",
            lane,
            1,
            share,
            {"model": "scene-1", "prompt": f"a cat, {place}"},
        )
        for place, share in enumerate(shares, start=1)
    ]


@dataclass
class Market:
    """The shell over a real Postgres, and a clock that a test moves."""

    db: Database
    shell: Shell
    clock: Clock
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def invoice(self, amount_msat: int) -> rail.Opened:
        """Return an invoice as a rail makes one."""
        payment_hash = hashed(f"invoice {next(self.numbers)}")
        until = self.clock() + timedelta(hours=1)
        return rail.Opened(f"lnbc{payment_hash}", payment_hash, Msat(amount_msat), until)

    async def order(
        self, batch_id: str, shares: Sequence[int], *, payer: str = "p", lane: str = LANE
    ) -> rail.Opened:
        """Order a batch that an invoice pays for, and return that."""
        opened = self.invoice(sum(shares))
        ordered = Ordered(priced(batch_id, shares, lane), payer, QUOTE)
        price = sum(shares)
        await self.shell.do(advance.batches.begin, batch_id, ordered, price, opened)
        return opened

    async def pay(self, name: str, opened: rail.Opened) -> None:
        """Have an invoice paid."""
        paid = rail.Settled(opened.payment_hash, opened.amount_msat, hashed(opened.payment_hash))
        await self.shell.do(advance.invoices.settle, name, paid)

    async def bought(
        self, batch_id: str, shares: Sequence[int], *, payer: str = "p", lane: str = LANE
    ) -> None:
        """Order a batch and pay for it."""
        opened = await self.order(batch_id, shares, payer=payer, lane=lane)
        await self.pay(invoice_id(batch_id), opened)

    async def session(self, session_id: str, amount_msat: int) -> None:
        """Open a session with so much on it."""
        opened = self.invoice(amount_msat)
        await self.shell.do(advance.sessions.begin, session_id, opened, None, "n", "c")
        await self.pay(deposit_invoice_id(session_id), opened)

    async def reserved(self, batch_id: str, shares: Sequence[int], session_id: str) -> None:
        """Buy a batch from a session's balance."""
        ordered = Ordered(priced(batch_id, shares), f"session:{session_id}", QUOTE)
        told = await self.shell.do(
            advance.batches.begin_reserved, batch_id, ordered, sum(shares), session_id, Spending()
        )
        assert told == Applied()

    async def paid(
        self,
        batch_id: str,
        shares: Sequence[int],
        account_id: str | None = None,
        payer: str = PAYER,
    ) -> None:
        """Buy a batch with an authorization in USDC that has settled."""
        number = next(self.numbers)
        authorization = f"{NETWORK}:{payer}:0x{hashed(f'nonce {number}')}"
        assert await self.claimed(batch_id, shares, authorization, account_id, payer=payer)
        settle, txid = advance.authorizations.settle, f"0x{hashed(f'transaction {number}')}"
        assert await self.shell.do(settle, authorization, txid) == Applied()

    async def claimed(
        self,
        batch_id: str,
        shares: Sequence[int],
        authorization: str,
        account_id: str | None = None,
        purchase: str | None = None,
        payer: str = PAYER,
    ) -> AuthorizationRow | None:
        """Claim an authorization for a batch; None where it was claimed before."""
        refund_to, price = f"evm:{NETWORK}:{payer}", sum(shares)
        ordered = Ordered(priced(batch_id, shares), payer, QUOTE, refund_to, account_id)
        told = {
            "id": authorization,
            "purchase": purchase or authorization,
            "pay_to": PAYER,
            "amount_microusdc": price,
            "window_s": 120,
            "valid_after_s": 0,
            "valid_before_s": int(self.shell.clock().timestamp()) + 120,
            "signature": "0x",
        }

        async def claim(act: Act) -> AuthorizationRow | None:
            owner = Owner(OwnerKind.BATCH, batch_id)
            await _there(act, account_id)
            row = await advance.authorizations.claim(act, owner, told, False)
            if row is not None:
                begin = advance.batches.begin_claimed
                await begin(act, batch_id, ordered, price, authorization)
            return row

        return await self.shell.do(claim)

    async def has_msat(self, account_id: str, amount_msat: int) -> None:
        """Have an account that is there pay so much in."""
        number, opened = next(self.numbers), self.invoice(amount_msat)
        await self.shell.do(advance.accounts.ask_deposit, account_id, number, opened)
        await self.pay(deposit_of(account_id, number), opened)

    async def has_usdc(self, account_id: str, amount_microusdc: int) -> None:
        """Give an account so much, less than a cent: the rest of a batch that is not made."""
        batch_id = f"given{next(self.numbers)}"
        await self.paid(batch_id, [amount_microusdc], account_id)
        assert await self.shell.do(advance.batches.cancel, batch_id) == Applied()

    async def from_account(
        self,
        batch_id: str,
        shares: Sequence[int],
        account_id: str,
        asset: Asset,
        key_id: str | None = None,
    ) -> Applied | Short:
        """Buy a batch from what an account has in an asset, where that is enough."""
        ordered = Ordered(priced(batch_id, shares), f"account:{account_id}", QUOTE)
        price, payer = sum(shares), Payer(account_id, key_id)

        async def begin(act: Act) -> Applied | Short:
            await _there(act, account_id)
            begun = advance.batches.begin_from_account
            return await begun(act, batch_id, ordered, asset, price, payer)

        return await self.shell.do(begin)

    async def claim(self, worker: str = "w", most: int = 1, lane: str = LANE) -> list[Claim]:
        """Have a worker claim items."""
        return await self.shell.do(advance.leases.claim, worker, [lane], most)

    async def deliver(self, claim: Claim, worker: str = "w", what: str = "bytes") -> object:
        """Have a worker bring a result."""
        now = self.clock()
        told = hashed(f"{what}, encoded anew"), 5, 8, 8, None, now, now + timedelta(days=1)
        made = Artifact(f"a{claim.id}", "image/png", *told)
        submit, number = advance.leases.submit, claim.number
        return await self.shell.do(submit, claim.id, number, worker, hashed(what), made)

    async def batch(self, batch_id: str) -> BatchView:
        """Return a batch as its buyer sees it."""
        view = await batches.view(self.db, batch_id)
        assert view is not None
        return view

    async def items(self, batch_id: str) -> list[ItemView]:
        """Return all items of a batch."""
        return await items.page(self.db, batch_id, 0, 500)

    async def states(self, batch_id: str) -> Counter[str]:
        """Return how many of its items are in each state."""
        return Counter(item.state.value for item in await self.items(batch_id))

    async def rests_on(self, account: str, asset: Asset = Asset.MSAT) -> int:
        """Return what rests on an account."""
        return await ledger.balance(self.db, account, asset)

    async def move_floors(self) -> None:
        """Do what the loop of the lanes does."""

        async def move(tx: Tx) -> None:
            await lanes.move_floors(tx)

        await self.db.run("floors", move)

    async def is_right(self) -> None:
        """Find nothing wrong with the books, or with what batches say of their items."""
        assert [finding.line for finding in await audit(self.db)] == []


@pytest.fixture
async def market(db: Database) -> AsyncIterator[Market]:
    """A market in an empty database."""
    clock, outbox = Clock(), Outbox(db)
    await outbox.open()
    terms = Terms(session_minimum_msat=1_000, session_idle_s=10**6)
    yield Market(db, Shell(db, outbox, terms, clock), clock)
    await outbox.close()


async def _there(act: Act, account_id: str | None) -> None:
    """Have an account be there, which is that of a person."""
    if account_id is not None and await people.lock(act.tx, account_id) is None:
        await people.insert(act.tx, account_id, act.now)
