"""Shows a purchase to a person: drawn on a terminal, plain lines anywhere else.

How it goes on is for a person, on one console; the result alone is what was bought, on another.
What a server or an agent says is a stranger's text: no markup, and nothing that steers a terminal.
"""

import contextlib
import io
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.console import Console, Group
from rich.status import Status
from rich.table import Table
from rich.text import Text

from app.buyer.draft import Draft
from app.plain_text import harmless, one_line
from payments.bolt11 import Invoice, in_sats, whole_sats

SAYS = {
    "awaiting_eval_payment": "waiting for the evaluation to be paid",
    "evaluating": "an agent is reading the request",
    "awaiting_work_payment": "accepted and priced; waiting for the work to be paid",
    "executing": "an agent is working",
}
NAMES = {"reason": "reason", "errorMessage": "error"}
_LNURL = re.compile("lnurl1[02-9ac-hj-np-z]{20,2000}", re.IGNORECASE)


class Display:
    """One purchase, as it goes on. What the agent writes meanwhile is drawn if `drafts` says so.

    `out` gets the result; without it, that is shown with the rest.
    """

    def __init__(
        self, console: Console, *, drafts: bool = True, out: Console | None = None
    ) -> None:
        self._console, self._out = console, out or console
        self._draft = Draft() if drafts and console.is_terminal else None
        self._status: Status | None = None
        self._state, self._price_sats, self._paid_sats, self._cost = "", 0, 0, ""

    @property
    def draws(self) -> bool:
        """Whether something moves here: whether progress is worth asking for."""
        return self._draft is not None

    @contextlib.contextmanager
    def going_on(self) -> Iterator[None]:
        """Show, for as long as the block lasts, that something is awaited."""
        with self._console.status("waiting") as self._status:
            try:
                yield
            finally:
                self._status = None

    @contextlib.contextmanager
    def counting(self, total: int) -> Iterator[Callable[[float, str], None]]:
        """Yield what shows how many of a total are there, and how the rest goes on: as a bar that
        fills, where something moves. What is half done fills half of its part."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}", markup=False)
        with Progress(*columns, console=self._console, transient=True) as bar:
            task = bar.add_task("", total=total)
            yield lambda done, says: bar.update(task, completed=done, description=one_line(says))

    def say(self, sentence: str) -> None:
        """Show a line."""
        self._console.print(Text(f"  {one_line(sentence)}"), soft_wrap=True)

    def begun(self, what: str, name: str, how_to_go_on: str) -> None:
        """Show its id before anything is paid, so that it isn't lost if this ends here."""
        self._console.print(Text.assemble((what, "bold"), f" {one_line(name)}"), soft_wrap=True)
        if how_to_go_on:
            self.say(f"if this is interrupted: {how_to_go_on}")

    def state(self, state: str) -> None:
        """Show a state when it is another one."""
        if state != self._state:
            self._state = state
            if self._draft is not None:
                self._draft = Draft()
            self._console.print(Text.assemble("  ", (_said(state), "cyan")))
        self._update()

    def progress(self, event: Mapping[str, Any]) -> None:
        """Show what the work has cost so far and what is written of it, where something moves."""
        tokens, cost_sats = event.get("outputTokens", 0), event.get("costSats", 0)
        self._cost = f"{_tokens(tokens)}, {whole_sats(cost_sats)} so far"
        if self._draft is not None:
            self._draft.add(event)
        self._update()

    def paid(self, amount_sats: int, what: str) -> None:
        """Show a payment."""
        self._paid_sats += amount_sats
        self._console.print(f"  paid {whole_sats(amount_sats)} for the {what}")
        self._update()

    def estimate(self, estimate: Mapping[str, Any]) -> None:
        """Show what it may cost."""
        self._price_sats = estimate["totalSats"]
        self._console.print(f"  {estimate_in_words(estimate)}")

    def invoice(self, invoice: Invoice) -> None:
        """Show an invoice to a person who pays it."""
        self._console.print(f"  pay {in_sats(invoice.amount_msat or 0)}:")
        self._code(invoice.bolt11)

    def owed(self, amount_sats: int, code: str, by_hand: str) -> None:
        """Show the refund, as a code for a wallet to scan where there is one."""
        amount, be = whole_sats(amount_sats), "is" if amount_sats == 1 else "are"
        if not _LNURL.fullmatch(code):  # an invoice, say, which would be paid, not received
            self.say(f"{amount} {be} owed back to you: {by_hand}")
            return
        self.say(f"{amount} {be} owed back to you. Scan this with a wallet to receive:")
        self._code(code)

    def _code(self, text: str) -> None:
        """Show a code to scan, and the text in it."""
        import segno

        picture = io.StringIO()
        segno.make(text.upper()).terminal(picture, compact=True)
        self._console.print(picture.getvalue(), highlight=False, markup=False)
        self._console.print(Text(text), soft_wrap=True)

    def price(self, price: Mapping[str, Any]) -> None:
        """Show how the price of the work was made."""
        table = Table(
            title="price of the work (a ceiling)", title_justify="left", show_header=False
        )
        tokens = f"{price['inputTokens']} in, at most {price['maxOutputTokens']} out"
        sources = ", ".join(price["priceSources"])
        rows = {
            "model": price["model"],
            "tokens": tokens,
            "cost of tokens": f"${price['tokenCostUsd']:.6f}",
            "infrastructure": f"${price['infraUsd']:.6f}",
            "margin": f"{price['marginPct']} %",
            "bitcoin": f"${price['btcPriceUsd']:,.2f} ({sources})",
            "": price.get("priceNote"),
            "total": whole_sats(price["totalSats"]),
        }
        for name, value in rows.items():
            if value is not None:
                table.add_row(name, Text(one_line(value)))
        self._console.print(table)

    def end(self, job: Mapping[str, Any], paid: Mapping[str, int] | None = None) -> None:
        """Show the result and what it cost: `paid` for each purpose."""
        for name, said in NAMES.items():
            if name in job:
                text = Text.assemble(f"  {said}: ", harmless(job[name]))
                self._console.print(text, soft_wrap=True)
        if "result" in job:
            self._console.rule("result", align="left")
            self._result(job["result"])
            self._console.rule()
            if job.get("truncated"):
                self.say("the result was cut off: it is as long as an answer may be here")
        if "debitedSats" in job:
            self.say(
                f"the session paid {whole_sats(job['debitedSats'])}, and has"
                f" {whole_sats(job['balanceRemaining'])} left"
            )
        elif job["state"] in ("complete", "rejected", "failed"):
            for sentence in _sums(job, paid or {}):
                self.say(sentence)

    def _result(self, text: str) -> None:
        """Show the result whole: to a person so that it fits, to a file as it is."""
        if self._out.is_terminal:
            self._out.print(Text(harmless(text)))
        else:
            self._out.out(harmless(text), highlight=False)

    def _update(self) -> None:
        if self._status is None:
            return
        parts = [_said(self._state) or "waiting"]
        if self._price_sats:
            parts.append(f"at most {whole_sats(self._price_sats)}")
        if self._paid_sats:
            parts.append(f"paid {whole_sats(self._paid_sats)}")
        line = Text(" · ".join([*parts, *filter(None, [self._cost])]))
        draft = self._draft if self._draft is not None and self._draft.text else None
        self._status.update(line if draft is None else Group(line, draft))


def estimate_in_words(estimate: Mapping[str, Any]) -> str:
    """Return what a request may cost, as a person reads it."""
    return (
        f"it costs at most {whole_sats(estimate['totalSats'])}: {estimate['evalSats']} for the"
        f" evaluation, {estimate['workSats']} for the work"
    )


def _sums(job: Mapping[str, Any], paid: Mapping[str, int]) -> Iterator[str]:
    """Yield what was paid in all, what of it comes back, and so what it has cost."""
    ledger = job.get("costLedger")
    if ledger:
        yield f"used {_tokens(ledger['totalTokens'])}"
    paid_sats = sum(paid.values())
    owed_sats = sum(owed["amountSats"] for owed in job.get("refunds", ()))
    all_is_known = not ledger or paid_sats >= ledger["workAmountSats"]
    if paid and all_is_known:
        parts = " and ".join(f"{sats} for the {what}" for what, sats in paid.items())
        whole = f": {parts}" if len(paid) > 1 else f" for the {next(iter(paid))}"
        come = "comes" if owed_sats == 1 else "come"
        back = f"; {whole_sats(owed_sats)} of that {come} back" if owed_sats else ""
        cost = f"; it cost {whole_sats(max(paid_sats - owed_sats, 0))} in all"
        yield f"paid {whole_sats(paid_sats)}{whole}{back}{cost}"
    elif ledger:  # the rest was paid elsewhere
        yield (
            f"the work: at most {whole_sats(ledger['workAmountSats'])}, charged"
            f" {whole_sats(ledger['actualAmountSats'])}"
        )


def _tokens(count: int) -> str:
    return "1 token" if count == 1 else f"{count:,} tokens"


def _said(state: str) -> str:
    return SAYS.get(state, one_line(state).replace("_", " "))
