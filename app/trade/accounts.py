"""People's balances: paid in by an invoice, taken out over Lightning, and every move to be seen."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeVar

from app import advance
from app.advance import Act, Applied, Disproved, Missing, Purse, Shell, Short, Unproven
from app.advance.proofs import Proof
from app.ports import UsdcRail
from app.promises.sending import PAUSED, USED, Sending
from app.refusal import Refusal, Why
from app.strict_json import BadInput
from app.trade.approvals import Withdrawal, to_destination, to_invoice, to_wallet
from app.trade.invoicing import Invoicing
from app.trade.once import Before, Beginning, Name, once
from app.trade.proofs import ProofNeeded, disproved
from db import payouts, people, user_balances
from db.engine import Database, Duplicate
from db.invoices import InvoiceRow, MadeInvoice
from db.payouts import PayoutRow
from db.people_tables import IdentityKind
from db.rows import in_one_moment
from db.user_balances import Move
from payments import bolt11
from payments.lnurl import Destination
from payments.usdc.address import Address
from payments.usdc.network import Network
from payments.usdc.refund import refund_to_of
from pricing.money import MicroUsd, MicroUsdc, Msat, sats_down, sats_up, usd_number
from statemachine import account as law
from statemachine.batch import LEAST_REFUND_MICROUSDC
from statemachine.entries import Asset
from statemachine.owner import Purpose

T = TypeVar("T")
MOST_SHOWN = 20  # deposits that wait to be paid


# Returns the second proof that was sent for a withdrawal, if any, where nothing was made before.
Proves = Callable[[Withdrawal], Awaitable[Proof | None]]


async def without_proof(_: Withdrawal) -> None:
    """Return that no second proof was sent."""


class _NotTaken(Exception):
    """Nothing is taken out, so the transaction is rolled back."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__()
        self.refusal = refusal


class Standing(NamedTuple):
    """An account: its balances, its deposits that wait to be paid, and all that went out of it."""

    balances: dict[Asset, int]
    deposits: list[InvoiceRow]
    payouts: list[PayoutRow]


@dataclass(frozen=True, slots=True)
class Accounts:
    """The desk of people's balances."""

    db: Database
    shell: Shell
    invoicing: Invoicing
    sending: Sending
    usdc: UsdcRail | None
    trouble: Callable[[str], str | None]  # what is wrong with a part now, in words
    unproven: Mapping[Asset, int]  # most that is taken out in a day without a second proof

    @property
    def network(self) -> Network:
        """The chain that USDC is sent on. Raises Refusal (409) where none is."""
        if self.usdc is None:
            raise Refusal(Why.NOT_POSSIBLE_NOW, "This server sends no USDC.")
        return self.usdc.network

    def usdc_unwatched(self) -> str | None:
        """Return why USDC that is sent here without a signed order is not taken in just now; None:
        it is.
        """
        if self.usdc is None:
            return "Nothing can be paid in USDC here."
        return self.trouble("usdc") or self.trouble("deposits")

    async def balances(self, account_id: str) -> dict[Asset, int]:
        """Return what an account has in every asset."""
        return await user_balances.balances(self.db, account_id)

    async def standing(self, account_id: str) -> Standing:
        """Return an account as it stands in one moment: what is on its way in or out is not on its
        balances."""

        async def on_the_way() -> tuple[list[InvoiceRow], list[PayoutRow]]:
            return await self.deposits(account_id), await self.payouts(account_id)

        balances, moving = await in_one_moment(partial(self.balances, account_id), on_the_way)
        return Standing(balances, *moving)

    async def moves(self, account_id: str, before: int, most: int) -> list[Move]:
        """Return what has moved its balances, the newest first."""
        return await user_balances.moves(self.db, account_id, before, most)

    async def deposits(self, account_id: str) -> list[InvoiceRow]:
        """Return its deposits that nobody has paid yet, the newest first."""
        return await user_balances.open_deposits(self.db, account_id, MOST_SHOWN)

    async def payouts(self, account_id: str) -> list[PayoutRow]:
        """Return all that was taken out, or is owed to its holder, the oldest first."""
        return await payouts.of_owner(self.db, account_id)

    async def deposit(self, account_id: str, amount_msat: Msat, name: Name | None) -> MadeInvoice:
        """Return the invoice of a new deposit, or of the one that this name was given to.

        Raises Refusal: 404 when the account was forgotten meanwhile, 409 when the name was used for
        another body, 503 when no invoice can be made.
        """
        made = await self._done(name, partial(self._prepare_deposit, account_id, amount_msat))
        return await self.invoicing.made_before(made.id) if isinstance(made, Before) else made

    async def _prepare_deposit(self, account_id: str, amount_msat: Msat) -> Beginning[MadeInvoice]:
        """Return a new deposit, with the invoice that the rail has made for it."""
        number = self.shell.new_number()
        invoice_id = law.deposit_invoice_id(account_id, number)
        opened = await self.invoicing.new(invoice_id, Purpose.CREDIT, amount_msat)

        async def ask_deposit(act: Act) -> MadeInvoice:
            made = await advance.accounts.ask_deposit(act, account_id, number, opened)
            if isinstance(made, Missing):
                raise _NotTaken(gone())
            return made

        return Beginning(invoice_id, ask_deposit)

    async def withdraw(
        self,
        account_id: str,
        amount_msat: Msat,
        to: Destination | None,
        name: Name | None,
        proves: Proves = without_proof,
    ) -> str:
        """Take money out, to a destination or to whoever scans its code; return its payout's id.

        It goes by itself where there is a destination. Raises Refusal: 402 when the balance is too
        low, 401 when the proof that was sent does not hold, 403 when it is more than is taken out
        without one, 409 when the name was used for another body; and what `proves` raises. A proof
        is spent by what it has taken out, and by nothing else.
        """
        refund_to, told = to.text if to is not None else None, to_destination(amount_msat, to)

        async def prepare() -> Beginning[str]:
            number = self.shell.new_number()
            payout_id = law.withdrawal_id(account_id, number)
            by = await proves(told)

            async def withdraw(act: Act) -> str:
                await self._take(act, account_id, number, told, refund_to, by)
                return payout_id

            return Beginning(payout_id, withdraw)

        return await self._once(name, prepare)

    async def withdraw_usdc(
        self,
        account_id: str,
        amount_microusdc: MicroUsdc,
        to: Address | None,
        name: Name | None,
        proves: Proves = without_proof,
    ) -> str:
        """Take USDC out, to a wallet that opens the account; return its payout's id.

        Without `to` it is the one that does. Raises BadInput where that is not said, or is not so,
        and Refusal: 409 where no USDC is sent from here, else as `withdraw`.
        """
        network = self.network
        if amount_microusdc < LEAST_REFUND_MICROUSDC:
            raise BadInput("Take out 0.01 USDC at the least.")
        names = await people.names_of(self.db, account_id)
        wallets = [one.name for one in names if one.kind is IdentityKind.EVM]
        if to is None and len(wallets) != 1:
            raise BadInput(
                "Say with 'to' which wallet: it must open your account (POST /api/auth/wallets)."
            )
        if to is not None and to not in wallets:
            raise BadInput(
                "USDC goes to a wallet that opens your account: POST /api/auth/wallets joins one."
            )
        where = to or Address(wallets[0])
        told = to_wallet(amount_microusdc, where, network)
        refund_to = refund_to_of(network.caip2, where)

        async def prepare() -> Beginning[str]:
            number = self.shell.new_number()
            payout_id = law.withdrawal_id(account_id, number)
            by = await proves(told)

            async def withdraw_usdc(act: Act) -> str:
                await self._take(act, account_id, number, told, refund_to, by)
                return payout_id

            return Beginning(payout_id, withdraw_usdc)

        return await self._once(name, prepare)

    async def withdraw_to(
        self,
        account_id: str,
        text: str,
        amount_msat: Msat | None,
        name: Name | None,
        proves: Proves = without_proof,
    ) -> str:
        """Take out what an invoice asks for, and send it there; return its payout's id.

        `amount_msat`: take so much at most, where sending has its cost; what that does not need is
        owed to the holder. Raises BadInput for an invoice that can't be paid, and as `withdraw`.
        """
        try:
            invoice = bolt11.decode(text)
        except bolt11.BadInvoice as bad:
            raise BadInput(str(bad)) from bad
        whole_msat = amount_msat or Msat(invoice.amount_msat or 0)
        limit_msat = self.sending.limit_msat(whole_msat)
        told = to_invoice(invoice, whole_msat)

        async def prepare() -> Beginning[str]:
            if not await self.sending.pays_out():
                raise BadInput(PAUSED)
            least_msat = max(1, whole_msat - limit_msat)
            wrong = await self.sending.wrong_with(invoice, whole_msat, least_msat)
            if wrong is not None:
                raise BadInput(wrong.sentence)
            number = self.shell.new_number()
            payout_id = law.withdrawal_id(account_id, number)
            by = await proves(told)

            async def withdraw_to(act: Act) -> str:
                await self._take(act, account_id, number, told, None, by)
                sent = await advance.payouts.send(act, payout_id, invoice, limit_msat)
                if not isinstance(sent, Applied):
                    raise _NotTaken(_dear(whole_msat, limit_msat))
                return payout_id

            return Beginning(payout_id, withdraw_to)

        try:
            return await self._once(name, prepare)
        except Duplicate:
            raise BadInput(USED) from None

    async def _take(
        self,
        act: Act,
        account_id: str,
        number: int,
        out: Withdrawal,
        refund_to: str | None,
        proof: Proof | None,
    ) -> None:
        """Take it out, with the proof that approves it; what is not taken rolls all back."""
        by, asset = proof or self.unproven[out.asset], out.asset
        told = await advance.accounts.withdraw(
            act, account_id, number, out.amount, refund_to, asset, by
        )
        match told:
            case Short():
                raise _NotTaken(too_little(told))
            case Unproven(most):
                raise _NotTaken(_needs_proof(most, asset))
            case Disproved():
                raise _NotTaken(disproved(told))
            case Missing():
                raise _NotTaken(gone())

    async def _once(
        self, name: Name | None, prepare: Callable[[], Awaitable[Beginning[str]]]
    ) -> str:
        made = await self._done(name, prepare)
        return made.id if isinstance(made, Before) else made

    async def _done(
        self, name: Name | None, prepare: Callable[[], Awaitable[Beginning[T]]]
    ) -> T | Before:
        try:
            return await once(self.shell, name, prepare)
        except _NotTaken as not_taken:
            raise not_taken.refusal from None


def gone() -> Refusal:
    """Return what is said of an account that was forgotten while its holder asked for something."""
    return Refusal(Why.UNKNOWN, "This account isn’t there any more.", "Log in again.")


def too_little(short: Short) -> Refusal:
    """Return why an account does not pay: how much is missing, and how sats are paid in; or how
    much more an API key may have it pay.
    """
    if short.purse is Purse.KEY:
        return _beyond_key(short)
    if short.asset is Asset.MICROUSDC:
        needed_usd, left_usd = (usd_number(MicroUsd(each)) for each in (short.needed, short.left))
        sentence = f"This costs {needed_usd} USDC, and your account has {left_usd}."
        return Refusal(Why.BALANCE_TOO_LOW, sentence)
    needed, left = sats_up(short.needed), sats_down(short.left)
    return Refusal(
        Why.BALANCE_TOO_LOW,
        f"This costs {needed} sats, and your account has {left}.",
        f'Pay in with POST /api/account/deposits {{"amountSats": {needed - left}}}.',
        balanceSats=left,
        neededSats=needed,
    )


def _beyond_key(short: Short) -> Refusal:
    if short.asset is Asset.MICROUSDC:
        needed, left = (f"{usd_number(MicroUsd(each))}" for each in (short.needed, short.left))
        unit = "USDC"
    else:
        needed, left, unit = f"{sats_up(short.needed)}", f"{sats_down(short.left)}", "sats"
    return Refusal(
        Why.BUDGET_TOO_LOW,
        f"This costs {needed} {unit}, and this API key may spend {left} more.",
        "Use another key, or make one with a higher spending limit.",
    )


def _needs_proof(most: int, asset: Asset) -> Refusal:
    is_usdc = asset is Asset.MICROUSDC
    shown = f"{usd_number(MicroUsd(most))} USDC" if is_usdc else f"{sats_down(most)} sats"
    return ProofNeeded(
        Why.NOT_ALLOWED,
        f"Taking out more than {shown} within 24 hours needs a second proof.",
        "Send `recoveryCode`; or `message` and `signature` of a wallet that opens your account: GET"
        " /api/auth/nonce writes the message, asked with what is taken out and to where; or `k1`"
        ' and `secret` of a code that your wallet signed: POST /api/auth/lnurl {"action": "auth"}'
        " makes it.",
    )


def _dear(whole_msat: int, limit_msat: int) -> Refusal:
    most = sats_up(whole_msat + limit_msat)
    return Refusal(
        Why.NOT_POSSIBLE_NOW,
        "Sending this may cost more than we bear of it.",
        f"Send `amountSats`, the most that may be taken out for it: {most} is enough. What is not"
        " needed of it is owed to you.",
        neededSats=most,
    )
