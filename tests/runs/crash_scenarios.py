"""The situations in which the named places are passed, and which one passes which.

A story brings everything to its end from wherever it stands; it is told again after each crash.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from payments.bolt11 import decode
from tests.runs import crash_accounts as accounts
from tests.runs import crash_batches as batches
from tests.runs import crash_casts as casts
from tests.runs import crash_holder as holder
from tests.runs import crash_lent as lending
from tests.runs import crash_notices as notices
from tests.runs import crash_people as people
from tests.runs import crash_strangers as strangers
from tests.runs import crash_trust as trust
from tests.runs import crash_usdc as usdc
from tests.runs.crash_buyer import KNOWN_S, LONG, Buyer
from tests.runs.crash_server import ROTATED
from tests.world.patience import patiently
from tests.world.pay_server import said

MUCH_LATER = 9 * 86_400  # when nobody asks about an invoice any more

Story = Callable[[Buyer], Awaitable[None]]
TOKEN = "the-operators-own-token"


@dataclass(frozen=True)
class Scenario:
    """A story, and what must have gone wrong before for it to pass a place."""

    story: Story
    first: str = ""  # where the process before was ended
    meanwhile: Story | None = None  # what happened while nothing ran
    environment: dict[str, str] = field(default_factory=dict)
    rails: tuple[str, ...] = ("stub", "lnbits")
    rests: bool = False  # what its workers are paid: they do not come for it


def bought(request: str) -> Story:
    """Return the story of a job that is bought as far as it goes, its refund claimed."""

    async def story(buyer: Buyer) -> None:
        await _ended(buyer, request)
        await buyer.take_refunds()

    return story


async def _ended(buyer: Buyer, request: str) -> None:
    made = await buyer.create(request)
    await buyer.pay(made["evalInvoice"])
    await buyer.to_the_end()


async def watched(buyer: Buyer) -> None:
    """A job is bought while somebody looks whether the server is well."""
    made = await buyer.create("hello")
    await buyer.until_ready()
    await buyer.pay(made["evalInvoice"])
    await buyer.to_the_end()
    await buyer.take_refunds()


async def paid_late(buyer: Buyer) -> None:
    """A job whose invoice lapses, and is paid afterwards."""
    made = await buyer.create("hello")
    if "waited" not in buyer.done:
        buyer.done.add("waited")
        buyer.clock.forward(LONG)
    await buyer.until(lambda job: job["state"] == "failed")
    await buyer.pay(made["evalInvoice"])
    buyer.clock.forward(LONG)  # the sweep's next question, where the push was missed
    await buyer.until(lambda job: "refunds" in job)
    await buyer.take_refunds()


async def paid_when_purged(buyer: Buyer) -> None:
    """A job that nobody paid for until nothing of it was left, and then somebody did."""
    if not buyer.made:
        buyer.made = await buyer.create("hello")
        buyer.clock.forward(26 * 3_600)
    if "purged" not in buyer.done:
        await _until_kept(buyer, 1)
        buyer.done.add("purged")
    await buyer.pay(buyer.made["evalInvoice"])
    buyer.clock.forward(7 * 3_600)  # the next question, where the push was missed
    await _until_kept(buyer, 0)
    await buyer.until(lambda job: "refunds" in job)
    await buyer.take_refunds()


async def never_paid(buyer: Buyer) -> None:
    """A job that nobody ever paid for: its rail is asked for the last time, and it is forgotten."""
    if not buyer.made:
        buyer.made = await buyer.create("hello")
        buyer.clock.forward(26 * 3_600)
    if "purged" not in buyer.done:
        await _until_kept(buyer, 1)
        buyer.done.add("purged")
        buyer.clock.forward(7 * 86_400)
    buyer.clock.forward(7 * 3_600)  # the next question, where the answer to the last was lost
    await _until_kept(buyer, 0)
    assert (await buyer.call("GET", buyer.path)).status_code == 404


async def _until_kept(buyer: Buyer, invoices: int) -> None:
    async for _ in patiently(f"not {invoices} invoices are kept of what was purged", pause_s=0.1):
        if len(await buyer.books.ask("SELECT 1 FROM lapsed_invoice")) == invoices:
            return
        assert (await buyer.call("GET", "/api/healthz")).status_code == 200


async def stopped(buyer: Buyer) -> None:
    """The operator stops selling and goes on, and somebody buys a job."""
    for to in ("off", "on"):
        form = {"switch": "selling", "to": to}
        headers = {"Authorization": f"Bearer {TOKEN}"}
        answer = await buyer.call("POST", "/operator/switches", data=form, headers=headers)
        assert answer.status_code == 303, answer.text
    await bought("hello")(buyer)


async def sent_when_the_rail_is_back(buyer: Buyer) -> None:
    """A refund that the rail turns away at first."""
    if "troubled" not in buyer.done:
        buyer.done.add("troubled")
        await buyer.side.trouble("pay")
    await bought("hello")(buyer)


async def sent_by_itself(buyer: Buyer) -> None:
    """A refund that goes where its owner said, without a visit."""
    made = await buyer.create("hello", refundTo=buyer.wallet.url)
    await buyer.pay(made["evalInvoice"])
    await buyer.to_the_end()
    await buyer.receive_refunds()


async def refused_at_first(buyer: Buyer) -> None:
    """A refund whose destination refuses it, and takes it at the second try."""
    if "mended" not in buyer.done:
        buyer.wallet.raw["/pay"] = said({"status": "ERROR", "reason": "not today"})
    made = await buyer.create("hello", refundTo=buyer.wallet.url)
    await buyer.pay(made["evalInvoice"])
    await buyer.to_the_end()
    async for _ in patiently("no destination has refused it", pause_s=0.1):
        if await buyer.books.ask("SELECT 1 FROM payout WHERE failures > 0"):
            break
        assert (await buyer.call("GET", "/api/healthz")).status_code == 200
    buyer.done.add("mended")
    buyer.wallet.raw.clear()
    await buyer.hurry()
    await buyer.receive_refunds()


async def redirected(buyer: Buyer) -> None:
    """A refund whose owner names a destination afterwards."""
    made = await buyer.create("hello")
    await buyer.pay(made["evalInvoice"])
    await buyer.to_the_end()
    answer = await buyer.post("refund", {"refundTo": buyer.wallet.url})
    assert answer.status_code in (200, 202, 409), answer.text
    await buyer.receive_refunds()


async def forgotten(buyer: Buyer) -> None:
    """A refund that was paid after the backup which was restored; its operator writes that down,
    and because the command may have died, once more.
    """
    await buyer.operate("paying-out", "off")  # as after every restore
    made = await buyer.create("hello")
    await buyer.pay(made["evalInvoice"])
    [refund] = (await buyer.to_the_end())["refunds"]
    if not buyer.made:
        [owed] = json.loads(await buyer.operate("payouts", "--json"))["payouts"]
        invoice = await buyer.side.make_invoice(refund["amountSats"], KNOWN_S)
        await buyer.side.send(invoice)
        buyer.made = {"payout": owed["id"], "hash": decode(invoice).payment_hash}
    for _ in range(2):
        said = await buyer.operate("payouts", "paid", buyer.made["payout"], buyer.made["hash"])
        assert said == "It is paid.\n", said
    await buyer.operate("paying-out", "on")
    await buyer.take_refunds()


async def cancelled(buyer: Buyer) -> None:
    """A job that is cancelled, and paid all the same."""
    made = await buyer.create("hello")
    answer = await buyer.post("cancel")
    assert answer.status_code == 200, answer.text
    await buyer.pay(made["evalInvoice"])
    buyer.clock.forward(LONG)  # the sweep's next question, where the push was missed
    await buyer.until(lambda job: "refunds" in job)
    await buyer.take_refunds()


async def with_a_receipt(buyer: Buyer) -> None:
    """A job whose receipt is asked for."""
    await bought("hello")(buyer)
    answer = await buyer.receipt()
    assert answer.status_code == 200, answer.text


async def reviewed(buyer: Buyer) -> None:
    """A job that is bought while the books are reviewed all the time, and nothing is found."""
    await bought("hello")(buyer)
    async for _ in patiently("the books were not compared with the rail", pause_s=0.1):
        lines = (await buyer.call("GET", "/metrics")).text.splitlines()
        if "boltwork_books_rail_compared 1.0" in lines:
            found = [line for line in lines if line.startswith("boltwork_books_findings{")]
            assert found and all(line.endswith(" 0.0") for line in found), found
            return


async def on_wallets(buyer: Buyer) -> None:
    """A job that fills a wallet, which is emptied into the next one and later closed."""
    if "much later" not in buyer.done:
        await _ended(buyer, "hello")
        await buyer.until_there("SELECT 1 FROM wallet_transfer WHERE outcome = 'settled'")
        await _gathered(buyer)
        await buyer.take_refunds()
        buyer.done.add("much later")
        buyer.clock.forward(MUCH_LATER)
    await buyer.until_there("SELECT 1 FROM receiving_wallet WHERE closed_at IS NOT NULL")


async def on_more_wallets(buyer: Buyer) -> None:
    """A job with a wallet for each of its invoices; the second one is in the end deleted."""
    if "much later" not in buyer.done:
        await buyer.create("hello")
        for number in (2, 3):
            there = f"number = {number} AND opened_at IS NOT NULL"
            await buyer.until_there(f"SELECT 1 FROM receiving_wallet WHERE {there}")
            await _ended(buyer, "hello")
        await _gathered(buyer)
        await buyer.take_refunds()
        buyer.done.add("much later")
        buyer.clock.forward(MUCH_LATER)
    await buyer.until_there("SELECT 1 FROM receiving_wallet WHERE deleted_at IS NOT NULL")


async def _gathered(buyer: Buyer) -> None:
    # Before the clock is far ahead, as it may be once refunds are taken: the wallet lives in real
    # time, and its new invoices would look as if they had expired.
    async for _ in patiently("the money is not in one wallet", pause_s=0.1):
        if await buyer.side.is_gathered():
            break
        assert (await buyer.call("GET", "/api/healthz")).status_code == 200


async def held_session(buyer: Buyer) -> None:
    """A session that is opened, used, topped up, used again and closed."""
    await holder.opened(buyer)
    await holder.requested(buyer, "hello", "first")
    await holder.topped_up(buyer, 500, "topup")
    await holder.requested(buyer, "REJECT me", "second")
    await holder.closed(buyer)


async def left_session(buyer: Buyer) -> None:
    """A session that is used, and then left alone; its rest goes where its holder said."""
    if "left alone" not in buyer.done:  # afterwards its names are forgotten
        await holder.opened(buyer, refundTo=buyer.wallet.url)
        await holder.requested(buyer, "BREAK-WORK", "first")
    await holder.left_alone(buyer)
    await buyer.receive_refunds()


async def talked(buyer: Buyer) -> None:
    """A session that pays for a conversation and an image."""
    await holder.opened(buyer)
    await holder.conversed(buyer)
    await holder.closed(buyer)


async def revoking(buyer: Buyer) -> None:
    """A session whose macaroons are revoked, and which its holder closes with a new one."""
    await holder.opened(buyer)
    await holder.revoked(buyer)
    await holder.closed(buyer)


async def tried(buyer: Buyer) -> None:
    """A demo at the cost of the house."""
    await holder.demonstrated(buyer)
    await holder.all_ended(buyer)


async def too_long(buyer: Buyer) -> None:
    """So much time passes that whoever held money for a call is not waited for any more."""
    buyer.clock.forward(holder.HELD_S)


async def later(buyer: Buyer) -> None:
    """A few seconds pass: whatever the sweep should ask about is due."""
    buyer.clock.forward(10)


async def long_after(buyer: Buyer) -> None:
    """So much time passes that what was not sent can't be sent any more."""
    buyer.clock.forward(LONG)


async def transfer_is_stale(buyer: Buyer) -> None:
    """So much time has passed that what was not sent between wallets can't be sent any more."""
    await buyer.books.ask("UPDATE wallet_transfer SET expires_at = now() - interval '1 day'")


async def promises_are_lost(buyer: Buyer) -> None:
    """The task engine's rows are gone, and with them every promise."""
    await buyer.books.ask("DELETE FROM procrastinate_jobs")
    buyer.clock.forward(300)


# What a wallet signs names the server, which has another port once it is started again.
PROVES = {"PROOF_SATS_PER_DAY": "10", "PUBLIC_URL": "https://boltwork.example"}
FILLED, EACH_FILLED = {"LNBITS_WALLET_INVOICES": "2"}, {"LNBITS_WALLET_INVOICES": "1"}
DEAR = {"ROUTING_FREE_SATS": "5"}  # less than the way of a session's rest may cost

SCENARIOS = {
    "bought": Scenario(bought("hello")),
    "watched": Scenario(watched),
    "in USDC": Scenario(usdc.paid_in_usdc, rails=("stub",)),
    "USDC unanswered": Scenario(usdc.answer_lost, rails=("stub",)),
    "USDC refunded": Scenario(usdc.refunded, rails=("stub",)),
    "USDC declined": Scenario(usdc.declined, rails=("stub",)),
    "USDC sent": Scenario(usdc.sent, rails=("stub",)),
    "cast": Scenario(casts.cast, rails=("stub",)),
    "USDC taken back": Scenario(usdc.taken_back, rails=("stub",)),
    "USDC unheard": Scenario(usdc.kept_silent, rails=("stub",)),
    "USDC asked for": Scenario(strangers.paid_on_a_chain, rails=("stub",)),
    "USDC given": Scenario(strangers.given_by_the_operator, rails=("stub",)),
    "USDC reorganised": Scenario(strangers.reorganised, rails=("stub",)),
    "asked for in vain": Scenario(strangers.paid_too_late, rails=("stub",)),
    "no contract": Scenario(strangers.not_its_contract, rails=("stub",)),
    "never back": Scenario(strangers.never_back, rails=("stub",)),
    "withdrawn": Scenario(strangers.withdrawn, rails=("stub",)),
    "USDC in part": Scenario(usdc.delivered_in_part, rails=("stub",)),
    "rejected": Scenario(bought("REJECT me")),
    "broken": Scenario(bought("BREAK-WORK")),
    "flaky": Scenario(bought("FLAKY")),
    "paid late": Scenario(paid_late),
    "paid when purged": Scenario(paid_when_purged),
    "never paid": Scenario(never_paid),
    "stopped": Scenario(stopped, environment={"OPERATOR_TOKEN": TOKEN, "HISTORY_MONTHS": "1"}),
    "rail away": Scenario(sent_when_the_rail_is_back),
    "push missed": Scenario(bought("hello"), "commit invoices.book: before", later),
    "worker died": Scenario(bought("hello"), "agent judge: before"),
    "promise lost": Scenario(bought("hello"), "agent work: before", promises_are_lost),
    "by itself": Scenario(sent_by_itself),
    "refused": Scenario(refused_at_first),
    "redirected": Scenario(redirected),
    "forgotten": Scenario(forgotten),
    "cancelled": Scenario(cancelled),
    "told": Scenario(notices.told, rails=("stub",)),
    "not told": Scenario(
        notices.told, "webhook post: before", notices.notices_are_lost, rails=("stub",)
    ),
    "receipt": Scenario(with_a_receipt),
    "reviewed": Scenario(reviewed, environment={"RECONCILE_S": "1"}),
    "reviewed in USDC": Scenario(reviewed, environment={"RECONCILE_S": "1"}, rails=("stub",)),
    "wallets": Scenario(on_wallets, environment=FILLED, rails=("lnbits",)),
    "more wallets": Scenario(on_more_wallets, environment=EACH_FILLED, rails=("lnbits",)),
    "not moved": Scenario(
        on_wallets,
        "commit transfers.begin: after",
        transfer_is_stale,
        environment=FILLED,
        rails=("lnbits",),
    ),
    "session": Scenario(held_session),
    "left alone": Scenario(left_session),
    "talk": Scenario(talked),
    "answer broken off": Scenario(talked, "chat piece: before", too_long),
    "withheld": Scenario(holder.withheld, environment=DEAR),
    "not withheld": Scenario(holder.withheld, "rail pay: before", long_after, environment=DEAR),
    "revoked": Scenario(revoking),
    "demo": Scenario(tried),
    "batch": Scenario(batches.bought),
    "batch given up": Scenario(batches.given_up),
    "batch on a session": Scenario(batches.on_a_session),
    "batch of an account": Scenario(accounts.in_sats, rails=("stub",)),
    "batch of an account in USDC": Scenario(accounts.in_usdc, rails=("stub",)),
    "maker away": Scenario(batches.given_back),
    "item lost": Scenario(batches.bought, "commit leases.submit: before", batches.silent),
    "canary": Scenario(trust.found_out, environment=trust.CANARIES, rails=("stub",), rests=True),
    **{k: Scenario(do, environment=env, rails=("stub",)) for k, (do, env) in lending.DO.items()},
    "account": Scenario(people.lived, rails=("stub",)),
    "proven": Scenario(people.proven, environment=PROVES, rails=("stub",)),
    "by the call": Scenario(holder.asked),
    "rotated": Scenario(held_session, "commit sessions.begin_reserved: after", environment=ROTATED),
    "answer lost": Scenario(bought("hello"), "rail pay: after", later),
    "never sent": Scenario(bought("hello"), "rail pay: before", long_after),
}
