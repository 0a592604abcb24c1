"""Those who lend machines: registered, told apart by their tokens, changed, and paid.

A token is known by its hash alone. Whoever registers with a secret of their own can be told it
again: it is made of that secret, which is kept nowhere.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass

from app import advance
from app.advance import Act, Applied, Shell, Short
from app.advance.pay_destinations import Named, Unsigned
from app.advance.workers import Change, Nowhere
from app.keys import api_keys as credential
from app.keys.api_keys import Prefix
from app.keys.pay_signatures import is_signed
from app.ports import Clock
from app.refusal import Refusal, Why
from app.trade.once import Before, Beginning, Name, once
from db import leases, worker_payouts, workers
from db.engine import Database
from db.leases import Named as NamedLease
from db.pay_destinations import as_after, directions_of
from db.worker_payouts import FROM_THE_NEWEST, Mark, Purse, Sent
from db.workers import NewWorker, WorkerRow
from payments.usdc.address import Address
from payments.usdc.network import Network
from payments.usdc.refund import refund_to_of
from pricing.money import MicroUsd, sats_down, usd_number
from statemachine import pay_destination as law
from statemachine.account import withdrawal_id
from statemachine.entries import Asset
from statemachine.worker import WorkerState

SHOWN = 20  # payouts of a page


@dataclass(frozen=True, slots=True)
class Registration:
    """What a new worker is called, where its pay goes, and how that is guarded."""

    name: str
    pay_to: str
    usdc_to: Address | None = None
    payout_key: str | None = None  # Ed25519, 64 hex digits
    secret: str | None = None  # 64 hex digits: who sends them again is told the token again


@dataclass(frozen=True, slots=True)
class Redirection:
    """Where a worker's pay is to go, as a request says it, and its signature."""

    pay_to: str | None = None
    usdc_to: Address | None = None
    signature: str | None = None
    pay_to_as_sent: str | None = None  # what is signed
    usdc_to_as_sent: str | None = None


@dataclass(frozen=True, slots=True)
class MadeWorker:
    """A worker that was registered, with its token; None: that is told nobody again."""

    row: WorkerRow
    token: str | None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a worker stands: what it holds, and what it has earned, had and is owed."""

    row: WorkerRow
    held: list[NamedLease]
    purses: list[Purse]
    payouts: list[Sent]  # the newest


@dataclass(frozen=True, slots=True)
class Lenders:
    """The desk of those who lend machines."""

    db: Database
    shell: Shell
    clock: Clock
    new_id: Callable[[], str]
    is_open: bool  # whether strangers may lend machines here
    network: Network | None  # on which USDC is sent

    async def register(self, asked: Registration, name: Name | None = None) -> MadeWorker:
        """Register a worker, or return the one that this name was given to.

        Refuses where none are wanted, and a name that was used for something else.
        """
        if not self.is_open:
            raise closed()

        async def prepare() -> Beginning[tuple[str, str]]:
            worker_id = self.new_id()
            token = self._token(asked.secret, worker_id)
            sha256 = credential.kept_of(token)
            assert sha256 is not None, "it was just made"
            new = NewWorker(
                worker_id,
                self.new_id(),
                asked.name,
                sha256,
                credential.shown(token),
                asked.pay_to,
                self._kept(asked.usdc_to),
                asked.payout_key,
            )

            async def register(act: Act) -> tuple[str, str]:
                await advance.workers.register(act, new)
                return worker_id, token

            return Beginning(worker_id, register)

        made = await once(self.shell, name, prepare)
        if isinstance(made, Before):
            worker_id = made.id
            token = self._token(asked.secret, worker_id) if asked.secret else None
        else:
            worker_id, token = made
        row = await workers.get(self.db, worker_id)
        assert row is not None, "a worker is never deleted"
        return MadeWorker(row, token)

    def _token(self, secret: str | None, worker_id: str) -> str:
        """Return a worker's token: by chance, or made of a secret of its lender's."""
        if secret is None:
            return credential.new_key(Prefix.WK, self.shell.cell)
        chance = hmac.digest(bytes.fromhex(secret), f"worker token {worker_id}".encode(), "sha256")
        return credential.key_of(Prefix.WK, chance, self.shell.cell)

    async def worker(self, token: str) -> WorkerRow | None:
        """Return the worker that a request shows the token of."""
        sha256 = credential.kept_of(token)
        return await workers.by_token(self.db, sha256) if sha256 is not None else None

    async def standing(self, worker: WorkerRow) -> Standing:
        """Return where a worker stands."""
        now = await workers.get(self.db, worker.id) or worker
        return Standing(
            as_after(now, law.at(directions_of(now), self.clock())),
            await leases.held_by(self.db, worker.id),
            await worker_payouts.purses(self.db, worker.id),
            await self.payouts(worker),
        )

    async def payouts(self, worker: WorkerRow, before: Mark = FROM_THE_NEWEST) -> list[Sent]:
        """Return a page of what was sent to a worker, the newest first."""
        return await worker_payouts.page(self.db, worker.account_id, before, SHOWN)

    async def change(self, worker: WorkerRow, asked: Change, to: Redirection | None = None) -> None:
        """Change a worker, and where its pay goes. Refuses what its state does not allow, and what
        its key has not signed.
        """
        named = self._named(worker, to) if to is not None else None
        change = Change(asked.name, named, asked.event)
        told = await self.shell.do(advance.workers.change, worker.id, change)
        match told:
            case Unsigned(signed):
                raise _unsigned(signed, was_sent=to is not None and to.signature is not None)
            case Applied():
                return
        raise paused(worker)

    def _named(self, worker: WorkerRow, to: Redirection) -> Named:
        """Return destinations as they are kept, with the change that they are signed as."""
        now, key = directions_of(worker), worker.payout_key
        signed_as = None
        if key is not None and to.signature is not None:
            text = law.message(worker.id, now.signed, to.pay_to_as_sent, to.usdc_to_as_sent)
            signed_as = now.signed if is_signed(text, key, to.signature) else None
        return Named(to.pay_to, self._kept(to.usdc_to), signed_as)

    def _kept(self, usdc_to: Address | None) -> str | None:
        if usdc_to is None:
            return None
        if self.network is None:
            raise Refusal(Why.NOT_POSSIBLE_NOW, "This server sends no USDC.")
        return refund_to_of(self.network.caip2, usdc_to)

    async def pay_out(
        self, worker: WorkerRow, amount: int | None, name: Name | None, asset: Asset = Asset.MSAT
    ) -> str:
        """Have pay sent to a worker, in the smallest unit of an asset; return its payout's name.

        Refuses more than is free.
        """

        async def prepare() -> Beginning[str]:
            number = self.shell.new_number()
            payout_id = withdrawal_id(worker.account_id, number)

            async def pay_worker(act: Act) -> str:
                told = await advance.workers.pay_out(act, worker.id, number, amount, asset)
                if isinstance(told, Nowhere):
                    raise _nowhere()
                if isinstance(told, Short):
                    raise _too_little(told)
                return payout_id

            return Beginning(payout_id, pay_worker)

        made = await once(self.shell, name, prepare)
        return made.id if isinstance(made, Before) else made


def closed() -> Refusal:
    """Return the refusal of a server that takes no workers."""
    sentence = "This server has its pictures made by nobody else."
    return Refusal(Why.NOT_POSSIBLE_NOW, sentence, "Its operator can set WORKERS=true.")


def paused(worker: WorkerRow) -> Refusal:
    """Return why a worker in this state is given nothing."""
    next_step: str | None = 'Send {"state": "online"} with PATCH /api/v1/workers/me.'
    if worker.state is WorkerState.BANNED:
        next_step = None
    sentence, state = f"This worker is {worker.state}.", worker.state.value
    return Refusal(Why.WORKER_PAUSED, sentence, next_step, state=state)


def _unsigned(signed: int, *, was_sent: bool) -> Refusal:
    sentence = (
        "The signature is not one of this worker's key under this change."
        if was_sent
        else "This worker's key must sign where its pay goes."
    )
    next_step = (
        "Sign with it, in five lines: `boltwork worker pay`, workerId, signedChanges, payTo and"
        " payToUsdc as you send them (an empty line for what you don't); send `signature`, in hex."
    )
    return Refusal(Why.NOT_ALLOWED, sentence, next_step, signedChanges=signed)


def _nowhere() -> Refusal:
    sentence = "This worker has named no address for its pay in USDC."
    return Refusal(
        Why.NOT_POSSIBLE_NOW, sentence, "Name it as `payToUsdc` with PATCH /api/v1/workers/me."
    )


def _too_little(short: Short) -> Refusal:
    if short.asset is Asset.MICROUSDC:
        left = f"{usd_number(MicroUsd(short.left))} USDC"
        return Refusal(Why.BALANCE_TOO_LOW, f"Of your pay {left} is free, and 0.01 is the least.")
    left_sats = sats_down(short.left)
    sentence = f"Of your pay {left_sats} sats are free."
    needed = sats_down(short.needed)
    return Refusal(Why.BALANCE_TOO_LOW, sentence, balanceSats=left_sats, neededSats=needed)
