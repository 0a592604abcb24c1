"""A buyer's wallets, each on its real counterpart, and who pays with them: once, and in budget."""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from nostr_sdk import EventBuilder, Keys, Kind, Tag
from websockets.asyncio.client import connect

from app.buyer.client import Client
from app.buyer.payer import Exit, Payer, Stop
from app.buyer.purchase import Purchase
from app.buyer.spending import Purpose, Spending, Wanted
from app.buyer.wallets.lnbits import LnbitsWallet
from app.buyer.wallets.nwc import BadConnection, NwcWallet
from app.buyer.wallets.wallet import Wallet
from payments.bolt11 import Invoice, decode
from payments.lnbits import LnbitsRail
from payments.rail import Absent, Outcome, Pending, Settled, Unavailable, Unknown, Unsent
from payments.stub import StubRail
from pricing.money import sats_to_msat
from tests.world.fault_proxy import FaultProxy
from tests.world.house_fixtures import Instance, instance_of
from tests.world.lnbits_server import LnbitsServer
from tests.world.nwc_service import RESPONSE, Declined, local_relay, nwc_service, purse_of
from tests.world.rail_fixtures import wall_clock

WANTED = Wanted("a job", Purpose.WORK, 1_000)


@pytest.fixture
async def relay() -> AsyncIterator[str]:
    """A Nostr relay of our own."""
    async with local_relay() as url:
        yield url


@pytest.fixture
def rail(tmp_path: Path) -> StubRail:
    """A rail whose buyer is behind a wallet service."""
    return StubRail(tmp_path / "stub.sqlite3", wall_clock)


async def invoice_on(rail: StubRail, sats: int = 7) -> Invoice:
    """Return a new invoice of the house."""
    made = await rail.create_invoice(secrets.token_hex(4), sats_to_msat(sats), "work", 600)
    assert not isinstance(made, Unavailable)
    return decode(made.bolt11)


# ------------------------------------------------------------------ every wallet


async def buys(client: Client, wallet: Wallet) -> None:
    """Buy a job with a wallet, and see its refund taken into it."""
    job = await Purchase(client, Payer(wallet)).buy("hello")
    assert job["state"] == "complete", job
    assert [owed["refundState"] for owed in job["refunds"]] == ["paid"]
    await wallet.close()


async def test_a_job_is_paid_over_nwc(database_url: str, tmp_path: Path, relay: str) -> None:
    """A wallet service behind a relay pays, and makes the invoice for the refund."""
    rail = StubRail(tmp_path / "s.sqlite3", wall_clock)
    async with (
        instance_of(database_url, tmp_path, rail=rail) as instance,
        Client(instance.url) as client,
        nwc_service(relay, purse_of(rail)) as service,
    ):
        await buys(client, NwcWallet(service.address))
        assert [method for method, _ in service.asked] == [
            "pay_invoice", "pay_invoice", "make_invoice",
        ]  # fmt: skip


async def test_a_job_is_paid_by_lnbits(
    database_url: str, tmp_path: Path, lnbits: LnbitsServer, lnbits_rail: LnbitsRail
) -> None:
    """The buyer's LNbits wallet pays, and the refund comes back into it."""
    before_msat = await lnbits.balance_msat(lnbits.buyer)
    async with (
        instance_of(database_url, tmp_path, rail=lnbits_rail) as instance,
        Client(instance.url) as client,
    ):
        await buys(client, LnbitsWallet(lnbits.url, lnbits.buyer.adminkey))
        cost_sats = 5 + (await jobs_cost(instance))
    assert await lnbits.balance_msat(lnbits.buyer) == before_msat - cost_sats * 1000


async def jobs_cost(instance: Instance) -> int:
    """Return what the work on the one job was charged."""
    [row] = await instance.built.db.read_all("SELECT id FROM job")
    job = await instance.job(row["id"])
    return int(job["costLedger"]["actualAmountSats"])


async def test_lnbits_is_asked_what_became_of_a_payment(
    lnbits: LnbitsServer, lnbits_rail: LnbitsRail, fault_proxy: FaultProxy
) -> None:
    """An answer that was lost is looked up, and the payment is not sent again."""
    made = await lnbits_rail.create_invoice(secrets.token_hex(4), sats_to_msat(7), "work", 600)
    assert not isinstance(made, Unavailable)
    wallet = LnbitsWallet(fault_proxy.url, lnbits.buyer.adminkey)
    fault_proxy.inject("answer lost", "POST", "/api/v1/payments")
    told = {"paymentRequest": made.bolt11, "amountSats": 7}
    paid = await Payer(wallet).pay(told, WANTED)
    assert isinstance(paid, Settled)
    assert fault_proxy.calls["POST", "/api/v1/payments"] == 1
    assert isinstance(await wallet.look_up(decode(made.bolt11)), Settled)
    await wallet.close()


# --------------------------------------------------------------------------- NWC


@pytest.mark.parametrize(
    ("says", "how"), [("nip44_v2 nip04", "nip44"), ("nip04", "nip04"), ("", "nip04")]
)
async def test_nwc_encrypts_as_the_wallet_reads(
    relay: str, rail: StubRail, says: str, how: str
) -> None:
    """NIP-44 where the wallet's info event says so, else NIP-04; a request to pay expires."""
    async with nwc_service(relay, purse_of(rail), encryption=says) as service:
        wallet, invoice = NwcWallet(service.address), await invoice_on(rail)
        assert isinstance(await wallet.look_up(invoice), Absent)
        paid = await wallet.pay(invoice)
        assert isinstance(paid, Settled) and paid.payment_hash == invoice.payment_hash
        assert isinstance(await wallet.look_up(invoice), Settled)
        assert isinstance(await wallet.make_invoice(5, "refund"), str)
        assert {used for _, used in service.asked} == {how}
        assert all(at <= time.time() + 31 for at in service.expirations)
        assert len(service.expirations) == len(service.asked)


async def test_a_mute_wallet_may_have_paid(relay: str, rail: StubRail) -> None:
    """A payment that was not answered is Unknown, is looked up, and is asked for once."""
    async with nwc_service(relay, purse_of(rail), is_mute=True) as service:
        wallet, invoice = NwcWallet(service.address, answer_s=1), await invoice_on(rail)
        assert isinstance(await wallet.pay(invoice), Unknown)
        service.is_mute = False
        assert isinstance(await wallet.look_up(invoice), Settled)
        assert [method for method, _ in service.asked] == ["pay_invoice", "lookup_invoice"]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("INSUFFICIENT_BALANCE", Unsent),
        ("QUOTA_EXCEEDED", Unsent),
        ("PAYMENT_FAILED", Unknown),
        ("INTERNAL", Unknown),
    ],
)
async def test_only_what_is_said_before_sending_is_certain(
    relay: str, rail: StubRail, code: str, kind: type[Outcome]
) -> None:
    """A wallet short of funds sent nothing; of a payment that it calls failed nobody knows."""

    async def declines(method: str, params: dict[str, Any]) -> dict[str, Any]:
        raise Declined(code)

    async with nwc_service(relay, declines) as service:
        wallet = NwcWallet(service.address)
        outcome = await wallet.pay(await invoice_on(rail))
        assert type(outcome) is kind and code in str(outcome)
        assert isinstance(await wallet.make_invoice(5, "refund"), Unavailable)


async def test_a_stranger_at_the_relay_answers_for_nobody(relay: str, rail: StubRail) -> None:
    """An answer that the wallet did not sign is passed over, as is a preimage of another hash."""
    invoice, keys = await invoice_on(rail), Keys.generate()

    async def lies(method: str, params: dict[str, Any]) -> dict[str, Any]:
        return {"preimage": "ab" * 32}

    async with nwc_service(relay, lies) as service:
        wallet = NwcWallet(service.address, answer_s=5)
        assert isinstance(await wallet.pay(invoice), Unknown)
    service.keys, wallet_key = keys, service.keys.public_key().to_hex()
    address = f"nostr+walletconnect://{wallet_key}?relay={relay}&secret={'11' * 32}"
    buyer = Keys.parse("11" * 32)
    async with connect(relay) as stranger:
        await stranger.send(json.dumps(["REQ", "x", {"kinds": [23194], "#p": [wallet_key]}]))
        paying = asyncio.create_task(NwcWallet(address, answer_s=2).pay(invoice))
        async for raw in stranger:
            message = json.loads(raw)
            if message[0] == "EVENT":
                break
        said = {"result_type": "pay_invoice", "result": {"preimage": "ab" * 32}}
        sealed = keys.nip04_encrypt(buyer.public_key(), json.dumps(said))
        tags = [Tag.parse(["e", message[2]["id"]]), Tag.parse(["p", message[2]["pubkey"]])]
        forged = EventBuilder(Kind(RESPONSE), sealed).tags(tags).finalize(keys)
        await stranger.send(json.dumps(["EVENT", json.loads(forged.as_json())]))
        outcome = await paying
    assert isinstance(outcome, Unknown) and "did not answer" in outcome.reason


async def test_without_a_relay_nothing_is_sent(rail: StubRail) -> None:
    """A relay that is not there has told nobody."""
    secret = "12" * 32
    address = f"nostr+walletconnect://{'ab' * 32}?relay=ws://127.0.0.1:9&secret={secret}"
    outcome = await NwcWallet(address).pay(await invoice_on(rail))
    assert isinstance(outcome, Unsent) and secret not in str(outcome)


@pytest.mark.parametrize(
    "address",
    ["", "lnbc1", f"nostr+walletconnect://{'ab' * 32}", "nostr+walletconnect://x?relay=ws://a"],
)
def test_a_connection_that_is_none_is_refused(address: str) -> None:
    """What lacks a relay, a key or a secret is named before anything is asked."""
    with pytest.raises(BadConnection, match="BUYER_NWC"):
        NwcWallet(address)


# ------------------------------------------------------------------------- payer


class Scripted:
    """A wallet that says what a test has written, and counts what it was asked."""

    name, is_by_hand = "scripted", False
    network: str | None = None

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes, self.paid, self.looked = list(outcomes), 0, 0

    async def pay(self, invoice: Invoice) -> Outcome:
        """See Wallet."""
        self.paid += 1
        return self.outcomes.pop(0)

    async def look_up(self, invoice: Invoice) -> Outcome:
        """See Wallet."""
        self.looked += 1
        return self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]

    async def make_invoice(self, amount_sats: int, memo: str) -> str | Unavailable:
        """See Wallet."""
        return Unavailable("not now")

    async def close(self) -> None:
        """See Wallet."""


async def no_pause(_: float) -> None:
    """Wait for nothing."""


async def told_of(rail: StubRail, sats: int = 7) -> tuple[dict[str, Any], Settled]:
    """Return an invoice as a server tells of it, and its payment."""
    invoice = await invoice_on(rail, sats)
    paid = await rail.receive(invoice.payment_hash)
    assert isinstance(paid, Settled)
    return {"paymentRequest": invoice.bolt11, "amountSats": sats}, paid


async def test_what_is_not_known_is_looked_up_and_not_sent_again(rail: StubRail) -> None:
    """Unknown, Pending and Absent (so soon) are waited out; the payment is sent once."""
    told, paid = await told_of(rail)
    wallet = Scripted(Unknown("cut"), Absent("not yet"), Pending(), Unknown("busy"), paid)
    assert await Payer(wallet, pause=no_pause).pay(told, WANTED) == paid
    assert (wallet.paid, wallet.looked) == (1, 4)


async def test_what_does_not_get_known_ends_with_a_sentence(rail: StubRail) -> None:
    """After a while the purchase stops: unpaid, or unknown, and never sent again."""
    told, _ = await told_of(rail)
    wallet = Scripted(Unknown("cut"), Unknown("cut"))
    with pytest.raises(Stop, match="not sent again") as stopped:
        await Payer(wallet, pause=no_pause).pay(told, WANTED)
    assert stopped.value.code is Exit.UNPAID and wallet.paid == 1


async def test_the_server_may_know_first(rail: StubRail) -> None:
    """A payment that the server has seen is made, whatever the wallet says of it."""
    told, _ = await told_of(rail)

    async def arrived() -> bool:
        return True

    payer = Payer(Scripted(Unknown("cut")), pause=no_pause)
    assert await payer.pay(told, WANTED, arrived) is None
    assert await payer.paid_for("a job") == {"work": 7}


async def test_what_was_surely_not_sent_is_not_counted(rail: StubRail, tmp_path: Path) -> None:
    """An empty wallet costs no budget, and the sentence tells its reason."""
    told, paid = await told_of(rail)
    spending = Spending(tmp_path / "spending.json", 10)
    with pytest.raises(Stop, match="it is empty") as stopped:
        await Payer(Scripted(Unsent("it is empty")), spending).pay(told, WANTED)
    assert stopped.value.code is Exit.UNPAID and spending.spent_sats() == 0
    wallet = Scripted(paid)
    await Payer(wallet, spending).pay(told, WANTED)
    assert spending.spent_sats() == 7 and wallet.paid == 1


async def test_a_payment_of_an_earlier_run_is_looked_up_first(
    rail: StubRail, tmp_path: Path
) -> None:
    """Whoever was interrupted while paying does not pay again, unless it was never sent."""
    told, paid = await told_of(rail)
    spending = Spending(tmp_path / "spending.json")
    spending.begin(paid.payment_hash, 7, WANTED)
    for outcomes, payments in (((paid,), 0), ((Absent("no"), paid), 1)):
        wallet = Scripted(*outcomes)
        assert await Payer(wallet, spending, pause=no_pause).pay(told, WANTED) == paid
        assert wallet.paid == payments
    wallet = Scripted(Unknown("nobody can say"))
    with pytest.raises(Stop):
        await Payer(wallet, spending, pause=no_pause).pay(told, WANTED)
    assert wallet.paid == 0 and spending.spent_sats() == 7


async def test_a_budget_is_kept_before_anything_is_sent(rail: StubRail, tmp_path: Path) -> None:
    """What is more than is left of the day is refused, and the wallet not asked."""
    told, _ = await told_of(rail)
    wallet = Scripted(Unknown("never asked"))
    with pytest.raises(Stop, match="budget of 6 sats a day") as stopped:
        await Payer(wallet, Spending(tmp_path / "s.json", 6)).pay(told, WANTED)
    assert stopped.value.code is Exit.REFUSED and wallet.paid == 0
