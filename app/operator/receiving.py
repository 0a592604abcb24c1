"""Receiving wallets, one after the other: the next is opened when one has made enough invoices.

LNbits gets slower with each payment that a wallet has had, whatever it holds. So the rail is given
a new one after some thousands, and what the old one holds is moved there. The old one may still be
paid: it is heard and emptied again until all its invoices have long expired. Then it is closed, and
deleted in LNbits, which on SQLite adds up every wallet that is not. The first one stays there, for
its key is in the settings.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import structlog

from app import advance
from app.advance import Shell
from app.ports import Clock
from app.promises.keeping import SETTLE_MARGIN
from db import receiving_wallets as rows
from db.engine import Database
from db.receiving_tables import WalletTransfer
from db.receiving_wallets import OpenedWallet
from payments import rail
from payments.rail import KnownWallet, Rail, Unavailable, Unknown, Wallets
from payments.seal import Seal
from pricing.money import MSAT_PER_SAT, Msat, sats_to_msat, whole_sats_down
from statemachine.transfer import TransferState
from statemachine.wallet import FIRST, WALLET, WalletState

log = structlog.get_logger("boltwork.receiving")

LOST_AFTER = timedelta(minutes=1)  # whoever set out to open a wallet, and has not, is dead by then
HEARD_FOR = timedelta(hours=1)  # after the invoices of a retired wallet have expired
CLOSED_AFTER = timedelta(days=1)  # after that: nodes take no payment for an invoice that expired
PAUSE = timedelta(minutes=5)  # between two looks into a wallet that may still be paid
TRANSFER_S = 3600  # how long the invoice of a transfer can be paid
MOST_SATS = 5_000_000  # in one transfer: LNbits by itself takes no payment of over ten million


def sealed_as(identity: str) -> str:
    """Return the name that a wallet's key is closed under."""
    return f"key of the receiving wallet {identity}"


class Receiving:
    """Keeps the wallets of the rail. Does nothing where the rail has but one for ever."""

    def __init__(
        self,
        db: Database,
        shell: Shell,
        rail: Rail,
        wallets: Wallets | None,
        seal: Seal,
        clock: Clock,
        new_id: Callable[[], str],
        *,
        invoice_expiry_s: int,
        most_invoices: int | None,
        most_sats: int = MOST_SATS,
    ) -> None:
        """`most_invoices`: on one wallet, before the next is opened; None: none is by itself."""
        self._db, self._shell, self._seal = db, shell, seal
        self._rail, self._wallets = rail, wallets
        self._clock, self._new_id = clock, new_id
        self._expiry = timedelta(seconds=invoice_expiry_s)
        self._most_invoices, self._most_sats = most_invoices, most_sats
        self._at = rail.identity
        self._asked = self._heard = 0  # for the wallets; and the last whose answer is used
        self._looked: dict[str, datetime] = {}  # when a retired wallet was last looked into

    async def refresh(self) -> list[OpenedWallet]:
        """Give the rail the list of wallets: another process may have opened one."""
        now = self._clock()
        if self._wallets is None:
            return []
        self._asked += 1
        asked = self._asked
        known = await rows.opened(self._db, self._at)
        if not known:
            await self._shell.do(advance.wallets.offer_first, self._at)
            known = await rows.opened(self._db, self._at)
        if asked < self._heard:
            return known  # who asked later has been answered before
        self._heard = asked
        there = [self._known(wallet, now) for wallet in known if not WALLET.final(wallet.state)]
        self._wallets.use(there, Msat(sum(wallet.left_msat or 0 for wallet in known)))
        return known

    async def turn(self) -> None:
        """Take up what others have done, open the next wallet when it is time, empty old ones."""
        known = await self.refresh()
        if not known:
            return
        for transfer in await rows.live_transfers(self._db, self._at):
            await self._ask(transfer)
        most = self._most_invoices
        if (
            most is not None
            and await rows.invoices_made(self._db, known[-1].identity, most) >= most
        ):
            opened = await self._open(known)
            if isinstance(opened, Unavailable):
                log.warning("wallet_not_opened", reason=opened.reason)
            elif opened is not None:
                known = opened
        await self._gather(known)

    async def open_next(self) -> Unavailable | None:
        """Open the next wallet now, however full the newest is, and empty those before it."""
        known = await self.refresh()
        opened = await self._open(known)
        if opened is None:
            return Unavailable("another process has set out to open it; try again in a minute", 60)
        if isinstance(opened, Unavailable):
            return opened
        await self._gather(opened)
        return None

    def paid(self, wallet: str | None) -> None:
        """Take note of a payment: a wallet that is retired is emptied again at the next turn."""
        if wallet is not None:
            self._looked.pop(wallet, None)

    # ------------------------------------------------------------------ opening

    async def _open(self, known: list[OpenedWallet]) -> list[OpenedWallet] | Unavailable | None:
        """Open the next wallet and return them all; None when another process is about to."""
        number, now = known[-1].number + 1, self._clock()
        assert self._wallets is not None
        wanted = await self._shell.do(advance.wallets.want, self._at, number, now - LOST_AFTER)
        if not isinstance(wanted, advance.Applied):
            return None
        made = await self._wallets.open_wallet(f"Boltwork {number}")
        if isinstance(made, Unavailable):
            return made
        identity = made.identity
        sealed = self._seal.close(sealed_as(identity), made.key.encode())
        await self._shell.do(advance.wallets.open_next, self._at, number, identity, sealed)
        log.info("wallet_opened", number=number)
        return await self.refresh()

    def _known(self, wallet: OpenedWallet, now: datetime) -> KnownWallet:
        key = ""
        if wallet.sealed is not None:
            key = self._seal.open(sealed_as(wallet.identity), wallet.sealed).decode()
        is_heard, is_counted = not self._is_past(wallet, now), wallet.left_msat is None
        return KnownWallet(wallet.identity, key, is_heard, is_counted)

    def _is_past(self, wallet: OpenedWallet, now: datetime) -> bool:
        """Say whether nobody can pay a wallet any more, as far as invoices go."""
        return wallet.retired_at is not None and now > wallet.retired_at + self._expiry + HEARD_FOR

    # ---------------------------------------------------------------- emptying

    async def _gather(self, known: Sequence[OpenedWallet]) -> None:
        now = self._clock()
        live = await rows.live_transfers(self._db, self._at)
        busy = {transfer.from_wallet for transfer in live}
        for wallet in known:
            looked = self._looked.get(wallet.identity)
            waits = looked is not None and timedelta(0) <= now - looked < PAUSE
            if waits or wallet.identity in busy:
                continue
            if wallet.state is WalletState.RETIRED:
                self._looked[wallet.identity] = now
                await self._empty(wallet, known[-1].identity, now)
            elif wallet.state is WalletState.CLOSED and wallet.number != FIRST:
                self._looked[wallet.identity] = now
                await self._delete(wallet, now)

    async def _delete(self, wallet: OpenedWallet, now: datetime) -> None:
        identity = wallet.identity
        assert self._wallets is not None
        held_msat = await self._wallets.balance_of(identity)  # Unknown: it may be gone already
        if not isinstance(held_msat, Unknown) and held_msat != wallet.left_msat:
            log.warning("closed_wallet_was_paid", number=wallet.number, held_msat=held_msat)
            return
        trouble = await self._wallets.delete_wallet(identity)
        if trouble is not None:
            log.warning("wallet_not_deleted", number=wallet.number, reason=trouble.reason)
            return
        await self._shell.do(advance.wallets.note_deleted, self._at, identity)

    async def _empty(self, wallet: OpenedWallet, into: str, now: datetime) -> None:
        """Move the whole sats that a wallet holds to the one that is used, or close it."""
        assert self._wallets is not None
        held_msat = await self._wallets.balance_of(wallet.identity)
        if isinstance(held_msat, Unknown):
            log.warning("wallet_not_looked_into", number=wallet.number, reason=held_msat.reason)
            return
        if held_msat < MSAT_PER_SAT:
            if self._is_past(wallet, now - CLOSED_AFTER):
                closed = await self._shell.do(
                    advance.wallets.close, self._at, wallet.identity, held_msat
                )
                if isinstance(closed, advance.Applied):
                    self.paid(wallet.identity)  # the next turn looks at it again, and deletes it
            return
        amount_msat = min(whole_sats_down(held_msat), sats_to_msat(self._most_sats))
        memo = f"Boltwork: what wallet {wallet.number} held"
        opened = await self._rail.create_invoice(
            f"transfer:{self._new_id()}", amount_msat, memo, TRANSFER_S
        )
        if isinstance(opened, Unavailable):
            log.warning("transfer_not_begun", number=wallet.number, reason=opened.reason)
            return
        if opened.wallet == wallet.identity:
            return
        transfer = WalletTransfer(
            payment_hash=opened.payment_hash,
            bolt11=opened.bolt11,
            rail=self._at,
            from_wallet=wallet.identity,
            to_wallet=opened.wallet or into,
            amount_msat=amount_msat,
            outcome=TransferState.LIVE,
            expires_at=opened.expires_at,
            began_at=now,
        )
        # Committed before the rail is told to pay: after a crash it is asked what became of it.
        if await self._shell.do(advance.transfers.begin, transfer):
            await self._conclude(transfer, await self._pay(transfer))

    async def _pay(self, transfer: WalletTransfer) -> rail.Outcome:
        # Within one LNbits nothing is routed: its reserve for that is not spent.
        limit_msat = Msat(transfer.amount_msat)
        return await self._rail.pay(transfer.bolt11, limit_msat, transfer.from_wallet)

    async def _ask(self, transfer: WalletTransfer) -> None:
        """Bring a transfer to its end that somebody began, perhaps a process that died."""
        now, wallet = self._clock(), transfer.from_wallet
        outcome = await self._rail.look_up_payment(transfer.payment_hash, wallet)
        late = now >= transfer.expires_at + SETTLE_MARGIN
        if isinstance(outcome, rail.Absent) and now < transfer.expires_at:
            outcome = await self._pay(transfer)  # told twice, the wallet pays once
        elif isinstance(outcome, rail.Absent) and late:
            outcome = rail.Failed("it was never sent")
        # That this process sent nothing says nothing of the one that began: believed when late.
        if late or not isinstance(outcome, rail.Failed):
            await self._conclude(transfer, outcome)

    async def _conclude(self, transfer: WalletTransfer, outcome: rail.Outcome) -> None:
        if isinstance(outcome, rail.Settled):
            await self._shell.do(advance.transfers.settle, outcome)
        elif isinstance(outcome, rail.Failed):
            log.warning("transfer_failed", reason=outcome.reason)
            await self._shell.do(advance.transfers.fail, transfer.payment_hash)
        else:
            log.info("transfer_in_flight", outcome=type(outcome).__name__)
