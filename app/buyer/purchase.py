"""One purchase, from the price to the refund: a job, an ask by the call, or one of a session.

The job's id is shown before anything is paid, so that an interrupted purchase can be resumed. The
whole price is asked for first; the payer decides about each invoice right before it is paid.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from typing import Any, cast

from rich.console import Console

from app.buyer.answer_fields import is_id
from app.buyer.answers import Answered, Estimate, Job
from app.buyer.client import FINAL, Client, new_key
from app.buyer.display import Display
from app.buyer.failures import ClientError, Refused
from app.buyer.payer import Exit, Payer, Stop
from app.buyer.refunds import take_back
from app.buyer.session import Session
from app.buyer.spending import MOST_SATS, Purpose, Wanted
from app.buyer.waiting import no_longer_than, until_of
from payments.bolt11 import whole_sats

_OURS_TO_MEND = range(400, 429)
# The invoices of a job, each with the state in which it is due, and what it is for.
_DUE = {
    "evalInvoice": ("awaiting_eval_payment", Purpose.EVALUATION),
    "workInvoice": ("awaiting_work_payment", Purpose.WORK),
    "invoice": ("awaiting_eval_payment", Purpose.BOTH),
}


class Purchase:
    """Buys from one instance with one wallet, and shows it.

    `job_id` is the id of the job that is being bought, once the server has given it one: from then
    on the purchase can be resumed. `changed` is called with the job each time it changes.
    """

    def __init__(
        self,
        client: Client,
        payer: Payer,
        display: Display | None = None,
        *,
        max_sats: int = MOST_SATS,
        wait_s: int | None = None,
        changed: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        self._client, self._payer = client, payer
        self._shows = display or Display(Console(quiet=True))
        self._max_sats, self._wait_s, self._changed = max_sats, wait_s, changed
        self._nameless = f"ask:{new_key()}"  # what is paid for, where the server names no job
        self._asked: set[str] = set()  # invoices that were given to the payer
        self.job_id = ""

    async def price(self, request: str) -> Estimate:
        """Return the estimate; raise Stop when it is more than the buyer allows."""
        estimate = await self._client.estimate(request)
        self._shows.estimate(estimate)
        self._check(estimate["totalSats"])
        await self._payer.check(estimate["totalSats"])
        return estimate

    async def buy(self, request: str, refund_to: str | None = None) -> Job:
        """Buy a job; return it as it ended, its refund collected where the wallet can do that."""
        estimate = await self.price(request)
        work_sats = self._max_sats - estimate["evalSats"]
        made = await self._client.create(request, max(work_sats, 1), refund_to=refund_to)
        self._begun(made["jobId"])
        self._shows.state("awaiting_eval_payment")
        self._check(made["evalInvoice"]["amountSats"] + estimate["workSats"])
        await self._pay("evalInvoice", made["evalInvoice"])
        return await self._follow()

    async def go_on(self, job_id: str) -> Job:
        """Resume a job: pay its open invoice, wait for its end, and collect the refund."""
        if not is_id(job_id):
            raise Stop(Exit.REFUSED, "A job's id is 32 hex digits, as `boltwork ask` shows it.")
        self.job_id = job_id
        return await self._follow()

    async def buy_by_call(self, request: str, refund_to: str | None = None) -> Job | Answered:
        """Buy one job at a firm price, with the proof of its payment (L402)."""
        await self.price(request)
        offer = await self._client.offer(request, self._max_sats, refund_to)
        self._check(offer.invoice["amountSats"])
        self._begun(offer.job_id)
        paid = await self._pay("invoice", offer.invoice)
        if paid is None or not offer.job_id:
            return await self._unproven(paid, offer.job_id)
        try:
            await self._client.redeem(offer, paid, wait_s=0)
        except ClientError as trouble:  # it is paid for, and its name opens it as well
            self._shows.say(str(trouble))
        return await self._follow()

    async def _unproven(self, preimage: str | None, job_id: str) -> Job:
        """Go on without a proof: the buyer's own wallet has it, and the job's id opens it too."""
        if not job_id:
            shown = "" if preimage is None else f" The payment's proof (preimage): {preimage}."
            raise Stop(
                Exit.UNPAID,
                "The server does not name the job that was bought. Ask its operator, with the"
                f" preimage that your wallet shows of the payment.{shown}",
            )
        return await self._follow()

    async def buy_on_session(self, session: Session, request: str) -> Answered:
        """Have a session pay for one request. What it may cost is counted until it is known."""
        estimate = await self.price(request)
        key = new_key()
        name = f"session:{key}"
        wanted = Wanted(name, Purpose.REQUEST, self._max_sats)
        await self._payer.set_aside(name, estimate["totalSats"], wanted)
        try:
            answer = await session.submit(request, self._max_sats, key)
        except Refused as refused:
            if refused.status < 500:  # else it may have been taken all the same
                await self._payer.settle_aside(name, 0)
            if refused.status == 402:
                raise Stop(Exit.REFUSED, f"{refused} {refused.next_step}".strip()) from refused
            raise
        self.job_id = answer["requestId"]
        self._shows.begun("request", answer["requestId"], f"boltwork watch {self.job_id}")
        until = until_of(self._wait_s)
        with self._shows.going_on():
            async with self._drawn():
                while "debitedSats" not in answer:
                    self._show(answer)
                    async with no_longer_than(until, f"boltwork watch {self.job_id}"):
                        answer = await session.follow(answer["requestId"])
        await self._payer.settle_aside(name, answer["debitedSats"])
        self._show(answer)
        self._shows.end(answer)
        return answer

    # ------------------------------------------------------------------ within

    def _begun(self, job_id: str) -> None:
        self.job_id = job_id
        if job_id:
            with_it = (
                "" if self._payer.wallet.is_by_hand else f" --wallet {self._payer.wallet.name}"
            )
            self._shows.begun("job", job_id, f"boltwork watch {job_id}{with_it}")

    def _check(self, total_sats: int) -> None:
        """Raise Stop before anything is paid, when it would cost too much. `_pay` decides."""
        if total_sats > self._max_sats:
            raise Stop(
                Exit.REFUSED,
                f"It may cost {whole_sats(total_sats)}, more than your limit of {self._max_sats}"
                " (--max-sats). Nothing was paid.",
            )

    def _show(self, job: Mapping[str, Any]) -> None:
        self._shows.state(job["state"])
        if self._changed is not None:
            self._changed(job)

    async def _follow(self) -> Job:
        priced = False
        watched = self._client.watch(self.job_id, self._shows.progress)
        until = until_of(self._wait_s)
        with self._shows.going_on():
            while True:
                async with no_longer_than(
                    until, f"boltwork watch {self.job_id}"
                ):  # never while something is paid
                    job = await anext(watched)
                self._show(job)
                if "workInvoice" in job and not priced:
                    priced = True
                    self._shows.price(job["pricingBreakdown"])
                fields = cast(Mapping[str, Any], job)
                for name, (state, _) in _DUE.items():
                    if name in fields and job["state"] == state:
                        await self._pay(name, fields[name])
                if job["state"] in FINAL:
                    break
        self._shows.end(job, await self._payer.paid_for(self.job_id))
        if await take_back(
            self._client, self._payer, self._shows, job["jobId"], job.get("refunds")
        ):
            job = await self._client.show(self.job_id)
            self._show(job)
        return job

    @contextlib.asynccontextmanager
    async def _drawn(self) -> AsyncIterator[None]:
        """Draw what the job's stream sends in the meantime. Nothing depends on it."""
        if not self._shows.draws:
            yield
            return
        drawing = asyncio.create_task(self._draw())
        try:
            yield
        finally:
            drawing.cancel()
            await asyncio.wait({drawing})

    async def _draw(self) -> None:
        with contextlib.suppress(ClientError):
            async for job in self._client.watch(self.job_id, self._shows.progress):
                if job["state"] not in FINAL:  # the end is shown together with its cost
                    self._shows.state(job["state"])

    async def _pay(self, name: str, invoice: Mapping[str, Any]) -> str | None:
        """Pay an invoice once; return its preimage where the wallet reports one. Raises Stop."""
        if invoice["paymentRequest"] in self._asked:
            return None
        self._asked.add(invoice["paymentRequest"])
        _, purpose = _DUE[name]
        wanted = Wanted(self.job_id or self._nameless, purpose, self._max_sats)
        paid = await self._payer.pay(invoice, wanted, partial(self._has_arrived, name))
        if not self._payer.wallet.is_by_hand:
            self._shows.paid(invoice["amountSats"], purpose)
        return paid.preimage if paid is not None else None

    async def _has_arrived(self, name: str) -> bool:
        """Return whether the server has stopped asking for this payment."""
        if not self.job_id:
            return False
        try:
            job = await self._client.show(self.job_id)
        except ClientError:
            return False
        state, _ = _DUE[name]
        return job["state"] != state and job["state"] not in FINAL


def code_of(state: str) -> Exit:
    """Return the exit code for a job that has ended."""
    return {"complete": Exit.COMPLETE, "rejected": Exit.REJECTED}.get(state, Exit.FAILED)


def code_of_refusal(refused: Refused) -> Exit:
    """Return the exit code of a refusal: can the buyer do something about it?"""
    mendable = refused.status in _OURS_TO_MEND and refused.status != 404
    return Exit.REFUSED if mendable else Exit.FAILED
