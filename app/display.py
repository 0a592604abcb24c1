"""Shows a purchase to a person: drawn on a terminal, plain lines anywhere else."""

import contextlib
import io
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.status import Status
from rich.table import Table

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
    """One purchase, as it goes on."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = None
        self._state, self._price_sats, self._paid_sats, self._cost = "", 0, 0, ""

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
        self._console.print(f"  {sentence}", markup=False, soft_wrap=True)

    def begun(self, what: str, name: str, how_to_go_on: str) -> None:
        """Show what it is called, before anything is paid: it is not lost if this ends here."""
        self._console.print(f"[bold]{what}[/bold] {name}", soft_wrap=True)
        if how_to_go_on:
            self.say(f"if this is interrupted: {how_to_go_on}")

    def state(self, state: str) -> None:
        """Show a state when it is another one."""
        if state != self._state:
            self._state = state
            self._console.print(f"  [cyan]{state}[/cyan]: {SAYS.get(state, state)}")
        self._update()

    def progress(self, told: Mapping[str, Any]) -> None:
        """Show what the work has cost so far, where something moves."""
        self._cost = f"{told.get('outputTokens', 0)} tokens, {told.get('costSats', 0)} sats so far"
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
        table.add_row("model", price["model"])
        tokens = f"{price['inputTokens']} in, at most {price['maxOutputTokens']} out"
        table.add_row("tokens", tokens)
        table.add_row("tokens cost", f"${price['tokenCostUsd']:.6f}")
        table.add_row("infrastructure", f"${price['infraUsd']:.6f}")
        table.add_row("margin", f"{price['marginPct']} %")
        sources = ", ".join(price["priceSources"])
        table.add_row("bitcoin", f"${price['btcPriceUsd']:,.2f} ({sources})")
        if "priceNote" in price:
            table.add_row("", price["priceNote"])
        table.add_row("total", f"{price['totalSats']} sats")
        self._console.print(table)

    def end(self, told: Mapping[str, Any]) -> None:
        """Show what came of it, and what it cost."""
        for name in ("reason", "errorMessage"):
            if name in told:
                self._console.print(f"[bold]{name}[/bold]: ", end="")
                self._console.print(told[name], markup=False, highlight=False, soft_wrap=True)
        if "result" in told:
            self._console.rule("result", align="left")
            self._console.print(told["result"], markup=False, highlight=False)
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

    def _update(self) -> None:
        if self._status is None:
            return
        parts = [SAYS.get(self._state, self._state or "waiting")]
        if self._price_sats:
            parts.append(f"at most {self._price_sats} sats")
        if self._paid_sats:
            parts.append(f"paid {self._paid_sats}")
        self._status.update(" · ".join([*parts, *filter(None, [self._cost])]))
