"""Buys one job at a terminal: pays with the stub wallet, or shows what to scan; prints each state.

On a terminal it draws; anywhere else it prints plain lines.
"""

import io
from typing import Any

import segno
from rich.console import Console
from rich.table import Table

from app.client import Client

SAYS = {
    "awaiting_eval_payment": "waiting for the evaluation to be paid",
    "evaluating": "an agent reads the request",
    "awaiting_work_payment": "priced; waiting for the work to be paid",
    "executing": "an agent works",
    "complete": "done",
    "rejected": "rejected",
    "failed": "failed",
}


class Purchase:
    """One job, from the first invoice to the refund."""

    def __init__(self, client: Client, console: Console) -> None:
        self._client, self._console = client, console
        self._paid: set[str] = set()

    async def buy(self, request: str, max_sats: int | None = None) -> dict[str, Any]:
        """Buy the job; return it in its final state, with its refund taken where that can be."""
        made = await self._client.create(request, max_sats)
        self._console.print(f"[bold]job[/bold] {made['jobId']}")
        await self._pay("evaluation", made["evalInvoice"])
        job: dict[str, Any] = made
        state = ""
        with self._console.status("waiting") as status:
            async for job in self._client.watch(made["jobId"]):
                if job["state"] != state:
                    state = job["state"]
                    status.update(SAYS[state])
                    self._console.print(f"  [cyan]{state}[/cyan]: {SAYS[state]}")
                if "workInvoice" in job:
                    self._show_price(job["pricingBreakdown"])
                    await self._pay("work", job["workInvoice"])
        self._show_end(job)
        await self._take_refund(job)
        return job

    async def _pay(self, what: str, invoice: dict[str, Any]) -> None:
        if invoice["paymentRequest"] in self._paid:
            return
        self._paid.add(invoice["paymentRequest"])
        if "paymentHash" in invoice:
            await self._client.stub_pay(invoice["paymentHash"])
            self._console.print(f"  paid {invoice['amountSats']} sats for the {what}")
            return
        self._console.print(f"  pay {invoice['amountSats']} sats for the {what}:")
        picture = io.StringIO()
        segno.make(invoice["paymentRequest"].upper()).terminal(picture, compact=True)
        self._console.print(picture.getvalue(), highlight=False, markup=False)
        self._console.print(invoice["paymentRequest"], soft_wrap=True, highlight=False)

    def _show_price(self, price: dict[str, Any]) -> None:
        table = Table(
            title="price of the work (a ceiling)", title_justify="left", show_header=False
        )
        table.add_row("model", price["model"])
        table.add_row(
            "tokens", f"{price['inputTokens']} in, at most {price['maxOutputTokens']} out"
        )
        table.add_row("tokens cost", f"${price['tokenCostUsd']:.6f}")
        table.add_row("infrastructure", f"${price['infraUsd']:.6f}")
        table.add_row("margin", f"{price['marginPct']} %")
        table.add_row(
            "bitcoin", f"${price['btcPriceUsd']:,.2f} ({', '.join(price['priceSources'])})"
        )
        if "priceNote" in price:
            table.add_row("", price["priceNote"])
        table.add_row("total", f"{price['totalSats']} sats")
        self._console.print(table)

    def _show_end(self, job: dict[str, Any]) -> None:
        for name in ("reason", "errorMessage"):
            if name in job:
                self._console.print(f"[bold]{name}[/bold]: {job[name]}", markup=True)
        if "result" in job:
            self._console.rule("result", align="left")
            self._console.print(job["result"], markup=False, highlight=False)
            self._console.rule()
        ledger = job.get("costLedger")
        if ledger:
            self._console.print(
                f"  used {ledger['totalTokens']} tokens; paid {ledger['workAmountSats']} sats,"
                f" charged {ledger['actualAmountSats']}, owed back {ledger['refundAmountSats']}"
            )

    async def _take_refund(self, job: dict[str, Any]) -> None:
        for owed in job.get("refunds", ()):
            if owed["refundState"] != "pending" or not self._with_stub(job):
                continue
            invoice = await self._client.stub_invoice(owed["amountSats"])
            taken = await self._client.refund(job["jobId"], invoice)
            self._console.print(f"  refund: {taken['message']}")

    def _with_stub(self, job: dict[str, Any]) -> bool:
        return any(invoice.startswith("lnbcrt") for invoice in self._paid)
