"""One purchase of a run of a tool or of a cast, from the price to the files and the refund.

A wallet pays one invoice, after the id is shown; or a purse pays at once, after its key is shown:
so one that was interrupted is gone on with, and never paid for twice. What is made is saved whole,
under names of ours, as soon as it is there; what is there already is not fetched again.
"""

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import IO, Any

from rich.console import Console

from app.buyer import spell_answers, tool_answers
from app.buyer.answer_fields import Invoice, is_id
from app.buyer.answers import BatchShown, Item
from app.buyer.batch import DELIVERED, ENDED, Batch
from app.buyer.client import Client, new_key, without_none
from app.buyer.display import Display
from app.buyer.drawing import SAYS, come
from app.buyer.failures import ClientError, Refused, Strange
from app.buyer.files import Folder, fetched
from app.buyer.payer import Exit, Payer, Stop
from app.buyer.purse import Purse
from app.buyer.refunds import take_back
from app.buyer.spell_answers import MOST_STEPS, CastShown, Spell
from app.buyer.spells import AT, Cast, quoted, spell
from app.buyer.spending import MOST_SATS, Purpose, Wanted
from app.buyer.tool_answers import Output, Tool
from app.buyer.tools import RUNS, runs, tool
from app.buyer.waiting import no_longer_than, until_of
from app.plain_text import one_line
from payments.bolt11 import whole_sats
from statemachine.public_id import public_id

ARTIFACTS = "/api/v1/artifacts"
PLAIN = ("txt", "json")  # endings of what is no file of the server's


@dataclass(frozen=True, slots=True)
class Errand:
    """What is to be bought: where, by which body, and for how much at most."""

    purpose: Purpose
    path: str
    body: Mapping[str, Any]
    most_sats: int
    id_in: Callable[[Mapping[str, Any]], str]  # of an answer that says it is paid for


@dataclass(slots=True)
class Saved:
    """What was saved of one run, or of one step."""

    step: int  # 0: it is a run alone
    outputs: list[dict[str, Any]]


class Making:
    """Buys from one instance with one wallet or purse, and saves what is made in a folder.

    `name` is the id of what is being bought, once the server has given it one.
    """

    def __init__(
        self,
        client: Client,
        payer: Payer,
        folder: Path,
        display: Display | None = None,
        *,
        purse: Purse | None = None,
        max_sats: int = MOST_SATS,
        wait_s: int | None = None,
    ) -> None:
        self._client, self._payer, self._purse = client, payer, purse
        self._folder = Folder(folder)
        self._shows = display or Display(Console(quiet=True))
        self._max_sats, self._wait_s = max_sats, wait_s
        self._saved: dict[str, Saved] = {}
        self._lost: set[str] = set()  # items that are not made, or could not be fetched
        self._aside: tuple[str, int] | None = None  # what a purse was counted for
        self._asked: set[str] = set()  # batches whose invoice was given to the payer
        self._purpose = Purpose.RUN
        self.name = ""

    async def tool(self, tool_id: str) -> Tool:
        """Return a tool with the rules of its inputs. Raises Refused."""
        return await tool(self._client, tool_id)

    async def spell(self, slug: str) -> Spell:
        """Return a spell with the rules of its parameters. Raises Refused."""
        return await spell(self._client, slug)

    # -------------------------------------------------------------------- runs

    async def run(
        self,
        wanted: Tool,
        inputs: Mapping[str, Any],
        *,
        refund_to: str | None = None,
        key: str = "",
    ) -> dict[str, Any]:
        """Buy a run of a tool and save what it makes; return how it ended."""
        body = without_none(toolId=wanted["toolId"], inputs=dict(inputs), refundTo=refund_to)
        most_sats = wanted.get("mostSats", self._max_sats)
        path, id_in = f"{RUNS}/execute", tool_answers.accepted
        errand = Errand(Purpose.RUN, path, body, most_sats, id_in)
        return await self.follow_run(await self._bought(errand, key))

    async def follow_run(self, run_id: str) -> dict[str, Any]:
        """Wait for a run, pay what it still asks for, and save what it makes."""
        self._begin(Purpose.RUN, run_id)
        batch = self._batch(run_id)
        shown = await self._followed(batch, {})
        told = {"runId": run_id, "status": shown["job"]["status"]}
        return await self._ended(told, [shown])

    async def cancel_run(self, run_id: str) -> dict[str, Any]:
        """Cancel a run that nobody makes yet; save one that is being made all the same."""
        self._begin(Purpose.RUN, run_id)
        await self._batch(run_id).cancel()
        return await self.follow_run(run_id)

    def price_of(self, wanted: Tool) -> int:
        """Return the most that a run costs, in sats. Raises Stop where that is more than may be."""
        if (most_sats := wanted.get("mostSats")) is None:
            raise Stop(Exit.FAILED, "The server has no price of a bitcoin now: try again soon.")
        self._check(most_sats)
        return most_sats

    # ------------------------------------------------------------------- casts

    async def cast(
        self,
        slug: str,
        overrides: Mapping[str, Any],
        *,
        refund_to: str | None = None,
        key: str = "",
    ) -> dict[str, Any]:
        """Buy a cast of a spell and save what it makes; return how it ended."""
        price_sats = await self.price(slug, overrides)
        context = {"context": {"parameterOverrides": dict(overrides)}}
        body = without_none(slug=slug, refundTo=refund_to, **context)
        errand = Errand(Purpose.CAST, f"{AT}/cast", body, price_sats, spell_answers.begun)
        return await self.follow_cast(await self._bought(errand, key))

    async def price(self, slug: str, overrides: Mapping[str, Any]) -> int:
        """Return what a cast costs, in sats; raise Stop when that is more than is allowed."""
        price_sats = (await quoted(self._client, slug, overrides))["totalSats"]
        self._shows.say(f"it costs {whole_sats(price_sats)}")
        self._check(price_sats)
        await self._payer.check(price_sats)
        return price_sats

    async def resume(
        self, cast_id: str, *, refund_to: str | None = None, key: str = ""
    ) -> dict[str, Any]:
        """Buy the steps that are missing of a cast that failed; of any other, only follow it."""
        self._begin(Purpose.CAST, cast_id)
        cast = self._cast(cast_id)
        shown = await cast.show()
        if not shown["resumable"] and not key:
            return await self.follow_cast(cast_id)
        price = await quoted(self._client, shown["slug"], shown["parameters"])
        path, body = f"{cast.at}/resume", without_none(refundTo=refund_to)
        most_sats = price["totalSats"]  # of all of its steps
        await self._bought(
            Errand(Purpose.CAST, path, body, most_sats, spell_answers.begun), key, cast_id
        )
        return await self.follow_cast(cast_id)

    async def follow_cast(self, cast_id: str) -> dict[str, Any]:
        """Wait for a cast, pay what it still asks for, and save what its steps make."""
        self._begin(Purpose.CAST, cast_id)
        cast = self._cast(cast_id)
        shown = await cast.show()
        *before, last = shown["batchIds"]
        parts = [await self._followed(self._batch(last), _steps(shown))]
        shown = await cast.show()
        made = {one["generationId"] for one in shown["steps"] if one["status"] == DELIVERED}
        await self._take(sorted(made - {*self._saved} - self._lost), _steps(shown))
        for part in reversed(before):  # what an earlier part of it owes back
            seen = await self._batch(part).show()
            await take_back(self._client, self._payer, self._shows, part, seen.get("refunds"))
            parts.append(seen)
        told = {"castId": cast_id, "status": shown["status"], "resumable": shown["resumable"]}
        if shown["resumable"]:
            self._shows.say(f"to make what is missing: {self._command('resume')}")
        return await self._ended(told, parts)

    async def cancel(self, cast_id: str) -> dict[str, Any]:
        """Cancel a cast; wait for what is being made, save it, and take back the rest."""
        self._begin(Purpose.CAST, cast_id)
        await self._cast(cast_id).cancel()
        return await self.follow_cast(cast_id)

    # ------------------------------------------------------------------ buying

    def _begin(self, purpose: Purpose, name: str) -> None:
        if not is_id(name):
            raise Stop(Exit.REFUSED, f"The id of a {purpose} is 32 hex digits.")
        self._folder.check()
        self._purpose, self.name = purpose, name

    def _check(self, price_sats: int) -> None:
        if price_sats > self._max_sats:
            raise Stop(
                Exit.REFUSED,
                f"It costs {whole_sats(price_sats)}, more than your limit of {self._max_sats}"
                " (--max-sats). Nothing was paid.",
            )

    async def _bought(self, errand: Errand, key: str, name: str = "") -> str:
        """Return the id of what is bought: `name`, where it is a part of that."""
        self._folder.check()
        self._purpose = errand.purpose
        if self._purse is not None:
            self.name = await self._from_purse(errand, self._purse, key or new_key())
            self._shows.begun(errand.purpose, self.name, self._command("follow"))
            return self.name
        headers = {"Idempotency-Key": key or new_key()}
        refused = await self._client.priced(errand.path, dict(errand.body), headers)
        invoice, _ = self._client.offered(refused)
        batch_id = str(refused.body.get("instance", "")).rpartition("/")[2]
        if not is_id(batch_id):
            raise Strange(self._client.url, "it does not say where what is to be paid for is")
        self._check(invoice["amountSats"])
        self.name = name or batch_id
        self._shows.begun(errand.purpose, self.name, self._command("follow"))
        await self._pay(self._batch(batch_id), invoice)
        return self.name

    async def _from_purse(self, errand: Errand, purse: Purse, key: str) -> str:
        """Have a purse pay. What it may cost is counted until it is known what was charged."""
        name = f"{purse.name}:{key}"
        before = (await self._payer.paid_for(name)).get(Purpose.REQUEST.value)
        aside_sats = min(errand.most_sats, self._max_sats) if before is None else before
        await self._payer.set_aside(name, aside_sats, Wanted(name, Purpose.REQUEST, aside_sats))
        self._aside = name, aside_sats
        self._shows.say(f"the same command with --key {key} buys nothing a second time")
        headers = {**purse.pays, "Idempotency-Key": key}
        body = {**errand.body, **purse.limit}
        try:
            made = await self._client.call("POST", errand.path, json=body, headers=headers)
        except Refused as refused:
            if refused.status < 500:  # else it may have been taken all the same
                await self._payer.settle_aside(name, 0)
            if refused.status in (402, 403, 409):
                raise Stop(Exit.REFUSED, f"{refused} {refused.next_step}".strip()) from refused
            raise
        return self._client.strictly(errand.id_in, made)

    async def _pay(self, batch: Batch, invoice: Invoice) -> None:
        async def has_arrived() -> bool:
            try:
                status = (await batch.show())["job"]["status"]
            except ClientError:
                return False
            return status not in ("awaiting_payment", "cancelled")

        if batch.id in self._asked:  # and the server has not seen it yet
            return
        self._asked.add(batch.id)
        wanted = Wanted(batch.id, self._purpose, self._max_sats)
        await self._payer.pay(invoice, wanted, has_arrived)
        if not self._payer.wallet.is_by_hand:
            self._shows.paid(invoice["amountSats"], self._purpose)

    def _command(self, word: str) -> str:
        """Return the command by which this is gone on with."""
        group = "cast" if self._purpose is Purpose.CAST else "tools"
        if self._purse is not None:
            who = f" --{self._purse.name}" if self._purse.reads or word == "resume" else ""
        else:
            by_hand = self._payer.wallet.is_by_hand
            who = "" if by_hand else f" --wallet {self._payer.wallet.name}"
        return f"boltwork {group} {word} {self.name} --out {quote(str(self._folder.path))}{who}"

    def _batch(self, batch_id: str) -> Batch:
        return Batch(self._client, batch_id, most=MOST_STEPS, headers=self._reads)

    def _cast(self, cast_id: str) -> Cast:
        return Cast(self._client, cast_id, self._reads)

    @property
    def _reads(self) -> Mapping[str, str]:
        return self._purse.reads if self._purse is not None else {}

    # --------------------------------------------------------------- following

    async def _followed(self, batch: Batch, steps: Mapping[str, int]) -> BatchShown:
        """Save what is made as it comes, until all has ended; then take back what is owed."""
        shown = await batch.show()
        if shown["job"]["status"] == "awaiting_payment" and "invoice" in shown:
            await self._pay(batch, shown["invoice"])
        async with no_longer_than(until_of(self._wait_s), self._command("follow")):
            with self._shows.counting(shown["job"]["total"]) as count:
                async for shown in batch.watch():
                    done, says = come(shown)
                    count(done, SAYS.get(shown["job"]["status"], says))
                    await self._look_at(shown["items"], steps)
        await take_back(self._client, self._payer, self._shows, batch.id, shown.get("refunds"))
        return shown

    async def _look_at(self, items: Sequence[Item], steps: Mapping[str, int]) -> None:
        """Save what items have made, once; say of one that failed why, once."""
        new = [
            item
            for item in items
            if item["status"] in ENDED
            and item["id"] not in self._saved
            and item["id"] not in self._lost
        ]
        for item in new:
            if item["status"] != DELIVERED:
                self._lost.add(item["id"])
                why = one_line(item.get("error", ""))
                self._shows.say(f"{_label(steps.get(item['id'], 0))}not made. {why}".rstrip())
        await self._take([item["id"] for item in new if item["status"] == DELIVERED], steps)

    async def _take(self, run_ids: Sequence[str], steps: Mapping[str, int]) -> None:
        """Save what runs have made that are completed."""
        if not run_ids:
            return
        for run in await runs(self._client, run_ids, self._reads):
            run_id, step = run["generationId"], steps.get(run["generationId"], 0)
            if run["status"] != DELIVERED:
                raise Strange(self._client.url, "it says of a run that it is made, and is not")
            self._saved[run_id] = saved = Saved(step, [])
            for number, output in enumerate(run["outputs"], 1):
                try:
                    saved.outputs.append(await self._keep(output, step, number))
                except Refused as refused:  # it was kept for its time, say
                    self._lost.add(run_id)
                    self._shows.say(f"{_label(step)}{refused}")

    async def _keep(self, output: Output, step: int, number: int) -> dict[str, Any]:
        """Save one thing that was made, unless it is there; return what is told of it."""
        stem = public_id(self.name)[:8]
        stem += (f"-{step:02}" if step else "") + (f"-{number}" if number > 1 else "")
        told: dict[str, Any] = {"step": step} if step else {}
        told |= {name: value for name, value in output.items() if name in _TOLD}

        async def write(into: IO[bytes]) -> str:
            if "artifact" in output:
                path = f"{ARTIFACTS}/{output['artifact']}"
                about = output["mediaType"], output["sha256"]
                return await fetched(self._client, path, *about, into)
            text = output.get("text")
            plain = json.dumps(output.get("values"), indent=2) if text is None else text
            into.write(plain.encode() + b"\n")
            return PLAIN[text is None]

        path = self._folder.there(stem, *PLAIN) or await self._folder.keep(stem, write)
        said = output.get("text") or ("values" in output and json.dumps(output["values"])) or ""
        self._shows.say(f"{_label(step)}{path}" + (f": {one_line(said)}" if said else ""))
        return {**told, "file": str(path)}

    async def _ended(self, told: dict[str, Any], parts: Sequence[BatchShown]) -> dict[str, Any]:
        """Return how it ended, after what a purse was charged is known."""
        if self._aside is not None and self._purse is not None:
            name, aside_sats = self._aside
            charged_sats = parts[0].get("chargedSats", aside_sats)
            await self._payer.settle_aside(name, charged_sats)
            with contextlib.suppress(ClientError):  # all is there, whatever is left of it
                left = whole_sats(await self._purse.left())
                paid = f"the {self._purse.name} paid {whole_sats(charged_sats)}"
                self._shows.say(f"{paid}, and has {left} left")
        in_order = sorted(self._saved.values(), key=lambda each: each.step)
        outputs = [output for each in in_order for output in each.outputs]
        sums: dict[str, int] = {}
        if all("priceSats" in part and "chargedSats" in part for part in parts):
            sums["priceSats"] = sum(part["priceSats"] for part in parts)
            sums["chargedSats"] = sum(part["chargedSats"] for part in parts)
        return {**told, **sums, "outputs": outputs, "missing": len(self._lost)}


_TOLD = ("type", "text", "values")


def _label(step: int) -> str:
    return f"step {step}: " if step else ""


def _steps(shown: CastShown) -> dict[str, int]:
    return {step["generationId"]: step["stepId"] for step in shown["steps"]}


def code_of(told: Mapping[str, Any]) -> Exit:
    """Return the exit code of a purchase that has ended: is all of it there?"""
    is_whole = told["status"] == "completed" and not told["missing"]
    return Exit.COMPLETE if is_whole else Exit.FAILED
