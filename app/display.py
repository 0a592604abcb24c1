"""Shows a purchase to a person: drawn on a terminal, plain lines anywhere else.

What a server or an agent says is a stranger's text: no markup, and nothing that steers a terminal.
"""

import contextlib
import io
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console, Group
from rich.status import Status
from rich.table import Table
from rich.text import Text

from app.draft import Draft, harmless
from payments.bolt11 import Invoice

SAYS = {
    "awaiting_eval_payment": "waiting for the evaluation to be paid",
    "evaluating": "an agent reads the request",
    "awaiting_work_payment": "priced; waiting for the work to be paid",
    "executing": "an agent works",
    "complete": "done",
    "rejected": "rejected",
    "failed": "failed",
}


class Display:
    """One purchase, as it goes on. What the agent writes meanwhile is drawn if `drafts` says so."""

    def __init__(self, console: Console, *, drafts: bool = True) -> None:
        self._console = console
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

    def say(self, sentence: str) -> None:
        """Show a line."""
        self._console.print(Text(f"  {harmless(sentence)}"), soft_wrap=True)

    def begun(self, what: str, name: str, how_to_go_on: str) -> None:
        """Show what it is called, before anything is paid: it is not lost if this ends here."""
        self._console.print(Text.assemble((what, "bold"), f" {harmless(name)}"), soft_wrap=True)
        if how_to_go_on:
            self.say(f"if this is interrupted: {how_to_go_on}")

    def state(self, state: str) -> None:
        """Show a state when it is another one."""
        if state != self._state:
            self._state = state
            if self._draft is not None:
                self._draft = Draft()
            said = Text.assemble("  ", (harmless(state), "cyan"), ": ", _said(state))
            self._console.print(said)
        self._update()

    def progress(self, told: Mapping[str, Any]) -> None:
        """Show what the work has cost so far and what is written of it, where something moves."""
        self._cost = f"{told.get('outputTokens', 0)} tokens, {told.get('costSats', 0)} sats so far"
        if self._draft is not None:
            self._draft.add(told)
        self._update()

    def paid(self, amount_sats: int, what: str) -> None:
        """Show a payment."""
        self._paid_sats += amount_sats
        self._console.print(f"  paid {amount_sats} sats for the {what}")
        self._update()

    def estimate(self, told: Mapping[str, Any]) -> None:
        """Show what it may cost."""
        self._price_sats = told["totalSats"]
        self._console.print(
            f"  it costs at most {told['totalSats']} sats: {told['evalSats']} for the evaluation,"
            f" {told['workSats']} for the work"
        )

    def invoice(self, invoice: Invoice) -> None:
        """Show an invoice to a person who pays it."""
        import segno

        self._console.print(f"  pay {-(-(invoice.amount_msat or 0) // 1000)} sats:")
        picture = io.StringIO()
        segno.make(invoice.bolt11.upper()).terminal(picture, compact=True)
        self._console.print(picture.getvalue(), highlight=False, markup=False)
        self._console.print(invoice.bolt11, soft_wrap=True, highlight=False)

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
            "tokens cost": f"${price['tokenCostUsd']:.6f}",
            "infrastructure": f"${price['infraUsd']:.6f}",
            "margin": f"{price['marginPct']} %",
            "bitcoin": f"${price['btcPriceUsd']:,.2f} ({sources})",
            "": price.get("priceNote"),
            "total": f"{price['totalSats']} sats",
        }
        for name, value in rows.items():
            if value is not None:
                table.add_row(name, Text(harmless(value)))
        self._console.print(table)

    def end(self, told: Mapping[str, Any]) -> None:
        """Show what came of it, and what it cost."""
        for name in ("reason", "errorMessage"):
            if name in told:
                said = Text.assemble((name, "bold"), f": {harmless(told[name])}")
                self._console.print(said, soft_wrap=True)
        if "result" in told:
            self._console.rule("result", align="left")
            self._result(told["result"])
            self._console.rule()
        ledger = told.get("costLedger")
        if ledger:
            self.say(
                f"used {ledger['totalTokens']} tokens; paid {ledger['workAmountSats']} sats,"
                f" charged {ledger['actualAmountSats']}, owed back {ledger['refundAmountSats']}"
            )
        if "debitedSats" in told:
            self.say(
                f"the session paid {told['debitedSats']} sats, and has"
                f" {told['balanceRemaining']} left"
            )

    def _result(self, text: str) -> None:
        """Show the result whole: to a person so that it fits, to a file as it is."""
        if self._console.is_terminal:
            self._console.print(Text(harmless(text)))
        else:
            self._console.out(text, highlight=False)

    def _update(self) -> None:
        if self._status is None:
            return
        parts = [_said(self._state) or "waiting"]
        if self._price_sats:
            parts.append(f"at most {self._price_sats} sats")
        if self._paid_sats:
            parts.append(f"paid {self._paid_sats}")
        line = Text(" · ".join([*parts, *filter(None, [self._cost])]))
        draft = self._draft if self._draft is not None and self._draft.text else None
        self._status.update(line if draft is None else Group(line, draft))


def _said(state: str) -> str:
    return SAYS.get(state, harmless(state))
