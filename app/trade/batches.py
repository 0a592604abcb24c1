"""Batches at work: priced, placed once for each Idempotency-Key, cancelled, and shown by the page.

The rail makes the invoice before anything is written; what a session pays for begins at once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from app import advance
from app.advance import Act, Applied, Outcome, Payer, Shell, Short
from app.advance.batches import Ordered
from app.advance.casts import CastOf
from app.ports import Wanted
from app.promises.leases import asked_of
from app.promises.settling import authorization_of
from app.refusal import Refusal, Why, unavailable
from app.strict_json import BadInput
from app.telemetry.logs import about
from app.till import Till
from app.trade.accounts import too_little
from app.trade.catalogue import Kind, Offering, Surface
from app.trade.gathering import Gathered, Gathering
from app.trade.holds import check_most, refused, spending_of
from app.trade.inputs import pictures_in, wanted, with_defaults
from app.trade.invoicing import Invoicing, check_open
from app.trade.makers import Makers
from app.trade.model_inputs import MOST_SEED
from app.trade.once import Before, Beginning, Name, once
from app.trade.usdc_sales import Thing
from db import batches, items, lanes
from db.artifacts import Artifact
from db.batches import BatchView
from db.engine import Database
from db.invoices import MadeInvoice
from db.items import ItemView, NewItem
from db.webhooks import NewWebhook
from payments.session_macaroon import Verified
from payments.usdc.payment import Payment
from payments.usdc.refund import refund_to_of
from pricing.batch_quote import BatchQuote
from pricing.money import MicroUsd, Msat, sats_to_msat, sats_up, usd_in_usdc
from statemachine.batch import MOST_ITEMS, invoice_id
from statemachine.entries import Asset
from statemachine.filling import Outputs, fill
from statemachine.owner import Owner, OwnerKind, Purpose

PAGE = 100  # items that are shown at once
ROOM_S = 10  # when to come back, with so much under way
QUEUE_FULL_S = 30  # and while the queue is full


@dataclass(frozen=True, slots=True)
class Line:
    """One item as it is ordered: what is wanted, in which lane it waits, and what it costs."""

    wanted: Wanted
    lane: str
    price_microusd: MicroUsd
    pictures: tuple[str, ...] = ()  # fields of its inputs that hold pictures
    step: int | None = None  # of the cast that it is of
    needs: tuple[int, ...] = ()  # steps among these lines that must be made first


def line_of(offering: Offering, surface: Surface, given: Mapping[str, Any], chance: str) -> Line:
    """Return an item as it is ordered; `chance`: hex digits, for what its buyer leaves to it.

    Raises BadInput with a sentence that names the field.
    """
    schema = offering.inputs[surface]
    inputs = with_defaults(schema, given)
    if surface is Surface.TOOLS:
        return run_of(offering, inputs, chance)
    wish = wanted(offering.id, inputs, int(chance, 16) & MOST_SEED)
    return Line(wish, offering.id, offering.price_microusd(inputs))


def run_of(offering: Offering, inputs: dict[str, Any], chance: str) -> Line:
    """Return a run of a tool as it is ordered, with inputs that were judged."""
    schema = offering.inputs[Surface.TOOLS]
    if "seed" in schema["properties"]:
        inputs = {"seed": int(chance, 16) & MOST_SEED, **inputs}
    price, pictures = offering.price_microusd(inputs), tuple(pictures_in(schema))
    return Line(Wanted(offering.id, inputs=inputs), offering.id, price, pictures)


@dataclass(frozen=True, slots=True)
class Order:
    """What a buyer asks for."""

    lines: Sequence[Line]
    payer: str  # whose turn the items are, and whose limits hold
    kind: Kind = Kind.IMAGE  # of all of them
    refund_to: str | None = None
    tools: tuple[str, ...] = ()  # what a session's macaroon must allow, where it is not the kind
    cast: CastOf | None = None  # whose steps the lines are
    made: Outputs = field(default_factory=dict)  # of its steps, that were made before
    webhook: NewWebhook | None = None  # who is told of its end
    max_sats: int | None = None  # that its buyer wants to pay
    price_msat: Msat | None = None  # where it is fixed in sats, as that of credits is
    told: Mapping[str, Any] = field(default_factory=dict)  # what its quote says beside the price

    @property
    def named(self) -> tuple[str, ...]:
        """Return what a session's macaroon must allow."""
        return self.tools or (self.kind.value,)

    @property
    def lanes(self) -> set[tuple[str, str]]:
        """Return which models are asked for, each with where it waits."""
        return {(line.wanted.model, line.lane) for line in self.lines}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one payer may have under way, and how much may wait in the lanes of one batch.

    What is not paid for is not under way: it is limited by how often anybody may ask.
    """

    batches: int = 10
    items: int = 1_000
    waiting: int = 50_000


class _NotSpent(Exception):
    """The session doesn't pay, so the transaction is rolled back."""

    def __init__(self, outcome: Outcome | Short) -> None:
        super().__init__()
        self.outcome = outcome


def _check_limit(order: Order, price_msat: int) -> None:
    if order.max_sats is not None and price_msat > sats_to_msat(order.max_sats):
        price_sats = sats_up(price_msat)
        raise Refusal(
            Why.OVER_MAX_SATS,
            f"This costs {price_sats} sats, more than your maxSats of {order.max_sats}. Nothing was"
            " charged.",
            "Ask again with a higher limit.",
            leastSats=price_sats,
        )


def check_count(lines: Sequence[Line]) -> None:
    """Refuse what is no batch."""
    if not 1 <= len(lines) <= MOST_ITEMS:
        raise BadInput(f"Ask for 1 to {MOST_ITEMS} items at once.")


@dataclass(frozen=True, slots=True)
class Batches:
    """The desk of batches."""

    db: Database
    shell: Shell
    invoicing: Invoicing
    till: Till
    new_id: Callable[[], str]
    makers: Makers
    gathering: Gathering
    limits: Limits = Limits()

    async def quote(self, lines: Sequence[Line], price_msat: Msat | None = None) -> BatchQuote:
        """Return what these items cost together. Raises BadInput, and Refusal (503)."""
        check_count(lines)
        return await self.till.batch([line.price_microusd for line in lines], price_msat)

    async def place(self, order: Order, name: Name | None) -> MadeInvoice:
        """Return the invoice of a new batch, or of the one that this name was given to.

        Raises BadInput, and Refusal: 409 when the name was used for another body, 429 when the
        payer has too much under way, 503 when there is no price, no invoice can be made, or too
        much waits already.
        """
        made = await once(self.shell, name, partial(self._prepare, order))
        if isinstance(made, Before):
            about(batch=made.id)
            made = await self.invoicing.made_before(invoice_id(made.id))
            check_open(made)
        return made

    async def _prepare(self, order: Order) -> Beginning[MadeInvoice]:
        """Return a new batch, with the invoice that the rail has made for it."""
        batch_id, quote, ordered = await self._ordered(order)
        opened = await self.invoicing.new(invoice_id(batch_id), Purpose.BATCH, quote.total_msat)

        async def begin(act: Act) -> MadeInvoice:
            return await advance.batches.begin(act, batch_id, ordered, quote.total_msat, opened)

        return Beginning(batch_id, begin)

    async def place_on(self, holder: Verified, order: Order, name: Name | None) -> str:
        """Have a session pay for a new batch; return its id, or the one of this name.

        Raises as `place` does, and Refusal: 402 when the balance or a budget is too low, 403 when
        it costs more than the credential allows, 409 and 410 when the session is not active.
        """
        try:
            made = await once(self.shell, name, partial(self._prepare_on, holder, order))
        except _NotSpent as not_spent:
            raise await refused(self.db, holder.session_id, not_spent.outcome) from None
        return made.id if isinstance(made, Before) else made

    async def _prepare_on(self, holder: Verified, order: Order) -> Beginning[str]:
        batch_id, quote, ordered = await self._ordered(order)
        check_most(holder.grant, quote.total_msat)
        spending = spending_of(holder.grant)

        async def begin_reserved(act: Act) -> str:
            outcome = await advance.batches.begin_reserved(
                act, batch_id, ordered, quote.total_msat, holder.session_id, spending
            )
            if not isinstance(outcome, Applied):
                raise _NotSpent(outcome)
            return batch_id

        return Beginning(batch_id, begin_reserved)

    async def for_usdc(self, payment: Payment, order: Order, of_account: bool = False) -> Thing:
        """Return a new batch, for which an order in USDC is to be claimed. Raises as `place` does.

        It costs what its items cost in dollars, exactly: no bitcoin price is asked for. What is not
        made goes back to the address that pays. `of_account`: it is the batch of that address's
        account, and nobody else may read it.
        """
        check_count(order.lines)
        await self.makers.check(order.lanes)
        payer = payment.authorization.payer
        refund_to = refund_to_of(payment.network.caip2, payer)
        mine = replace(order, payer=f"evm:{payer}", refund_to=refund_to)
        await self._check_room(mine)
        batch_id, authorization = self.new_id(), authorization_of(payment)
        shares = [usd_in_usdc(line.price_microusd) for line in order.lines]
        lines, files = await self._gathered(order.lines, None)
        ordered = self._items(replace(order, lines=lines), shares)
        told = {"total_microusd": sum(shares), "kind": order.kind.value, **order.told}
        bought = Ordered(
            ordered,
            mine.payer,
            told,
            mine.refund_to,
            cast=order.cast,
            files=files,
            webhook=order.webhook,
        )

        async def begin(act: Act) -> None:
            account_id = await advance.accounts.of_wallet(act, payer) if of_account else None
            mine = replace(bought, account_id=account_id)
            claimed = advance.batches.begin_claimed
            await claimed(act, batch_id, mine, sum(shares), authorization)

        return Thing(Owner(OwnerKind.BATCH, batch_id), begin)

    async def place_for(self, payer: Payer, order: Order, name: Name | None) -> str:
        """Have a person's account pay for a new batch; return its id, or the one of this name.

        What it has in USDC pays where that suffices, else its sats at a locked price; never both.
        What has its price in sats is paid in them.
        Raises as `place` does, and Refusal: 402 when neither is enough, or the key may spend less.
        """
        try:
            made = await once(self.shell, name, partial(self._prepare_for, payer, order))
        except _NotSpent as not_spent:
            assert isinstance(not_spent.outcome, Short), "who is logged in has an account"
            raise too_little(not_spent.outcome) from None
        return made.id if isinstance(made, Before) else made

    async def _prepare_for(self, payer: Payer, order: Order) -> Beginning[str]:
        batch_id, quote, ordered = await self._ordered(order, payer.account_id)
        in_msat = replace(ordered, account_id=payer.account_id)
        shares = [replace(item, share_amount=usd_in_usdc(item.weight)) for item in in_msat.items]
        in_usdc, usdc = replace(in_msat, items=shares), usd_in_usdc(quote.total_microusd)

        async def begin_from_account(act: Act) -> str:
            pay, told = advance.batches.begin_from_account, None
            if order.price_msat is None:
                told = await pay(act, batch_id, in_usdc, Asset.MICROUSDC, usdc, payer)
            if not isinstance(told, Applied):
                total_msat = quote.total_msat
                told = await pay(act, batch_id, in_msat, Asset.MSAT, total_msat, payer)
            if not isinstance(told, Applied):
                raise _NotSpent(told)
            return batch_id

        return Beginning(batch_id, begin_from_account)

    async def _ordered(
        self, order: Order, owner: str | None = None
    ) -> tuple[str, BatchQuote, Ordered]:
        """Return a new batch's id, what it costs, and its items with their shares of that."""
        quote = await self.quote(order.lines, order.price_msat)
        _check_limit(order, quote.total_msat)
        await self.makers.check(order.lanes)
        await self._check_room(order)
        batch_id = self.new_id()
        about(batch=batch_id)
        lines, files = await self._gathered(order.lines, owner)
        ordered = self._items(replace(order, lines=lines), quote.shares_msat)
        told = {**quote.to_json(), "kind": order.kind.value, **order.told}
        bought = Ordered(
            ordered,
            order.payer,
            told,
            order.refund_to,
            cast=order.cast,
            files=files,
            webhook=order.webhook,
        )
        return batch_id, quote, bought

    async def _gathered(
        self, lines: Sequence[Line], owner: str | None
    ) -> tuple[Sequence[Line], list[Artifact]]:
        """Return lines whose pictures are kept here, with the files that are new."""
        into, out = Gathered(), []
        for line in lines:
            if line.pictures:
                inputs = await self.gathering.gather(line.wanted.inputs, line.pictures, owner, into)
                line = replace(line, wanted=replace(line.wanted, inputs=inputs))
            out.append(line)
        return out, into.files

    def _items(self, order: Order, shares: Sequence[int]) -> list[NewItem]:
        """Return items as they are written; a step that needs no other here has all its inputs."""
        ids = [self.new_id() for _ in order.lines]
        of_step = {line.step: item_id for line, item_id in zip(order.lines, ids, strict=True)}
        made = []
        for item_id, line, share in zip(ids, order.lines, shares, strict=True):
            asked = asked_of(line.wanted)
            if line.step is not None and not line.needs:
                asked = fill(asked, order.made)
            needs = tuple(of_step[step] for step in line.needs)
            of_line = line.lane, line.price_microusd, share, asked
            made.append(NewItem(item_id, *of_line, needs=needs, step=line.step))
        return made

    async def _check_room(self, order: Order) -> None:
        """Refuse what is more than one payer may have under way, or than the lanes may hold."""
        load, most = await batches.load_of(self.db, order.payer), self.limits
        if load.batches >= most.batches:
            raise Refusal(
                Why.TOO_MUCH_UNDER_WAY,
                f"You have {load.batches} jobs under way, and may have {most.batches}. Nothing was"
                " charged.",
                "Wait until one of them has ended, or cancel one.",
                {"Retry-After": str(ROOM_S)},
            )
        if load.items + len(order.lines) > most.items:
            raise Refusal(
                Why.TOO_MUCH_UNDER_WAY,
                f"You have {load.items} items under way, and may have {most.items}. Nothing was"
                " charged.",
                "Ask for fewer, or wait until some of them have ended.",
                {"Retry-After": str(ROOM_S)},
            )
        in_lanes = {line.lane for line in order.lines}
        if await lanes.waiting(self.db, in_lanes, most.waiting) >= most.waiting:
            raise unavailable(
                Why.BUSY, "The queue is full just now. Nothing was charged.", QUEUE_FULL_S
            )

    async def cancel(self, batch_id: str) -> Outcome:
        """Cancel a batch; anything but Applied changed nothing. What is held runs to its end."""
        return await self.shell.do(advance.batches.cancel, batch_id)

    async def show(self, batch_id: str) -> BatchView | None:
        """Return a batch as its buyer sees it, without its items."""
        return await batches.view(self.db, batch_id)

    async def page(self, batch_id: str, after: int = 0, most: int = PAGE) -> list[ItemView]:
        """Return the items of a batch that come after a place, in their order."""
        return await items.page(self.db, batch_id, after, min(most, MOST_ITEMS))
