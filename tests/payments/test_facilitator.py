"""The client of a facilitator, and the stub behind it: a "yes" about our payment, or Unknown."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import get_args

import httpx2
import orjson
import pytest

from payments.rail import Unavailable
from payments.usdc.facilitator import HttpFacilitator
from payments.usdc.network import BASE, BASE_SEPOLIA
from payments.usdc.outcome import (
    Canceled,
    Declined,
    Failed,
    Moved,
    Settled,
    Unknown,
    Unused,
    Used,
    Valid,
    outcome_of,
)
from payments.usdc.stub_chain import FAUCET
from payments.usdc.stub_facilitator import (
    URL,
    UsdcFault,
)
from pricing.money import MicroUsdc
from tests.world.usdc_fixtures import NOW_S, OFFER, PRICE, SHOP, WINDOW_S, Payer, offer_on
from tests.world.usdc_street import LONG_S, Street, street_at

MOVED = {
    "cut", "garbage", "settled_failed", "pending", "pending500", "wrong_amount",
    "wrong_payer", "wrong_network", "no_transaction",
}  # fmt: skip
FAULTS = sorted(get_args(UsdcFault))


async def test_a_payment_is_verified_settled_and_found_on_the_chain(street: Street) -> None:
    """The payer's USDC is the shop's, to the last millionth; the transaction is the same for all
    who ask."""
    paid = street.payer.pays(OFFER)
    assert await street.facilitator.verify(paid) == Valid()
    assert isinstance(await street.became(paid), Unknown)
    settled = await street.facilitator.settle(paid)
    assert isinstance(settled, Settled) and settled.amount_microusdc == PRICE
    assert await street.became(paid) == settled
    assert await street.has(street.payer.address) == FAUCET - PRICE
    assert await street.has(SHOP) == FAUCET + PRICE


async def test_one_order_handed_over_many_times_moves_the_money_once(street: Street) -> None:
    """At once and later: one is settled, the others are told that the nonce is used."""
    paid = street.payer.pays(OFFER)
    said = await asyncio.gather(*(street.facilitator.settle(paid) for _ in range(20)))
    assert sum(isinstance(each, Settled) for each in said) == 1
    assert sum(isinstance(each, Used) for each in said) == 19
    assert isinstance(await street.facilitator.verify(paid), Used)
    assert await street.has(SHOP) == FAUCET + PRICE


async def test_a_facilitator_that_is_killed_forgets_nothing(tmp_path: Path) -> None:
    """Another one with the same file knows every nonce and balance."""
    payer = Payer()
    paid = payer.pays(OFFER)
    async with street_at(tmp_path / "chain") as first, street_at(tmp_path / "chain") as second:
        settled = await first.facilitator.settle(paid)
        assert isinstance(await second.facilitator.settle(paid), Used)
        assert await second.became(paid) == settled
        assert await second.has(SHOP) == FAUCET + PRICE


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_settlement_that_goes_wrong_is_unknown_and_the_chain_knows(
    tmp_path: Path, fault: UsdcFault
) -> None:
    """Whatever the facilitator says or leaves out, nothing but a plain "yes" about this payment is
    Settled, and nothing at all is Failed. Whether the money moved, the chain tells; the same order
    again moves it if it had not, and never twice."""
    async with street_at(tmp_path / "chain", timeout_s=6 if fault == "slow" else LONG_S) as street:
        paid = street.payer.pays(OFFER)
        await street.stub.script_fault("settle", fault, delay_s=LONG_S if fault == "slow" else 0)
        said = await street.facilitator.settle(paid)
        if fault == "reorganised":  # it was said, and was true, and then was not
            assert isinstance(said, Settled)
        else:
            assert isinstance(said, Unknown), fault
        if fault == "slow":  # it may have been settled before we hung up, or not be settled at all
            assert isinstance(await street.facilitator.settle(paid), Settled | Used)
        elif fault in MOVED:
            assert isinstance(await street.became(paid), Settled)
            assert isinstance(await street.facilitator.settle(paid), Used)
        else:
            assert isinstance(await street.became(paid), Unknown)
            assert isinstance(await street.facilitator.settle(paid), Settled)
        assert await street.has(SHOP) == FAUCET + PRICE
        assert isinstance(await street.became(paid), Settled)


@pytest.mark.parametrize("fault", ["5xx", "cut", "garbage", "declined"])
async def test_a_verification_that_goes_wrong_is_unknown(street: Street, fault: UsdcFault) -> None:
    """Asked again it is as right as without it: to verify moves nothing."""
    paid = street.payer.pays(OFFER)
    await street.stub.script_fault("verify", fault)
    assert isinstance(await street.facilitator.verify(paid), Unknown)
    assert await street.facilitator.verify(paid) == Valid()
    assert await street.has(SHOP) == FAUCET


async def test_faults_are_counted_and_cleared(street: Street) -> None:
    """So many calls go wrong as were said, or none once it works again; what a call can't be is
    refused."""
    paid = street.payer.pays(OFFER)
    await street.stub.script_fault("verify", "5xx", times=2)
    said = [await street.facilitator.verify(paid) for _ in range(3)]
    assert [isinstance(each, Valid) for each in said] == [False, False, True]
    await street.stub.script_fault("verify", "5xx", times=5)
    await street.stub.clear_faults()
    assert await street.facilitator.verify(paid) == Valid()
    for call, fault in (("verify", "pending"), ("settle", "nothing")):
        with pytest.raises(ValueError):
            await street.stub.script_fault(call, fault)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"valid_before_s": NOW_S + 5}, "authorization_valid_before"),
        ({"valid_after_s": NOW_S + 1}, "authorization_valid_after"),
        ({"amount_microusdc": FAUCET + 1}, "insufficient_balance"),
    ],
)
async def test_what_a_chain_would_refuse_is_declined_with_its_reason(
    street: Street, changed: dict[str, int], code: str
) -> None:
    """By /verify and by /settle alike, in x402's own words, and nothing moves."""
    offer = offer_on(BASE_SEPOLIA, changed.get("amount_microusdc", PRICE))
    paid = street.payer.pays(offer, **changed)
    for said in (await street.facilitator.verify(paid), await street.facilitator.settle(paid)):
        assert isinstance(said, Declined) and said.code.endswith(code) and said.is_early
    assert await street.has(SHOP) == FAUCET


@pytest.mark.parametrize("fault", ["pending", "pending500", "failed", "settled_failed"])
async def test_what_may_have_been_sent_is_no_early_refusal(
    street: Street, fault: UsdcFault
) -> None:
    """What is under way is not declined; what names a transaction was sent. Neither lets anybody
    ask for another payment."""
    await street.stub.script_fault("settle", fault)
    said = await street.facilitator.settle(street.payer.pays(OFFER))
    assert isinstance(said, Unknown) and not getattr(said, "is_early", False)
    assert isinstance(said, Declined) == fault.endswith("failed")


@pytest.mark.parametrize(
    ("told", "is_early"),
    [
        ({"errorReason": "invalid_exact_evm_payload_signature"}, True),
        ({"errorReason": "insufficient_funds", "transaction": ""}, True),
        ({"errorReason": "insufficient_funds", "transaction": "0x" + "1" * 64}, False),
        ({"errorReason": "invalid_exact_evm_transfer_event_mismatch"}, False),
        ({"errorReason": "transaction_failed"}, False),
        ({"errorReason": "whatever"}, False),
        ({}, False),
    ],
)
async def test_only_a_known_flaw_without_a_transaction_is_early(
    told: dict[str, str], is_early: bool
) -> None:
    """A reason that nobody knows may come after the order was sent."""
    facilitator = answering(400, orjson.dumps({"success": False, **told}))
    said = await facilitator.settle(Payer().pays(OFFER))
    assert isinstance(said, Declined) and said.is_early is is_early
    await facilitator.close()


async def test_a_signature_of_another_is_declined(street: Street) -> None:
    """The stub recovers who signed, for this contract on this chain."""
    paid = street.payer.pays(OFFER)
    forged = replace(paid, signature=street.payer.pays(OFFER).signature)
    abroad = replace(paid, signature=street.payer.pays(offer_on(BASE)).signature)
    for wrong in (forged, abroad):
        said = await street.facilitator.settle(wrong)
        assert isinstance(said, Declined) and said.code.endswith("payload_signature")
    assert await street.has(SHOP) == FAUCET


async def test_an_order_for_something_else_than_what_is_required_moves_nothing(
    street: Street,
) -> None:
    """Another payee or amount than the offer's, though the payer signed it."""
    for changed in ({"payee": street.payer.address}, {"amount_microusdc": 1}):
        paid = street.payer.pays(OFFER, **changed)
        assert isinstance(await street.facilitator.verify(paid), Unknown)
        assert isinstance(await street.facilitator.settle(paid), Unknown)
    assert await street.has(SHOP) == FAUCET


# ------------------------------------------------------------- answers of strangers


def answering(status: int, body: bytes, timeout_s: float = LONG_S) -> HttpFacilitator:
    """Return our client of a facilitator that answers everything with this."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, stream=httpx2.ByteStream(body))

    transport = httpx2.MockTransport(answer)
    return HttpFacilitator(URL, BASE_SEPOLIA, timeout_s=timeout_s, transport=transport)


TXID = "0x" + "1" * 64
YES = {"success": True, "transaction": TXID, "network": "eip155:84532"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"true",
        b'{"success":"true"}',
        b'{"success":1}',
        b"[" * 10_000,
        b"\xff\xfe",
        b" " * 300_000,
        orjson.dumps({**YES, "transaction": None}),
        orjson.dumps({**YES, "transaction": "0x1"}),
        orjson.dumps({**YES, "transaction": ["0x" + "1" * 64]}),
        orjson.dumps({**YES, "network": "base-sepolia"}),
        orjson.dumps({**YES, "network": None}),
        orjson.dumps({**YES, "payer": SHOP}),
        orjson.dumps({**YES, "payer": 7}),
        orjson.dumps({**YES, "amount": "49999"}),
        orjson.dumps({**YES, "amount": 50_000}),
        orjson.dumps({"success": False}),
        orjson.dumps({"success": False, "errorReason": {"a": 1}}),
        orjson.dumps({"success": False, "errorReason": "\u202e" * 10}),
    ],
    ids=range(21),
)
async def test_an_answer_that_is_no_plain_yes_is_unknown(body: bytes) -> None:
    """Whatever a facilitator writes, reading it breaks nothing and proves nothing."""
    paid = Payer().pays(OFFER)
    facilitator = answering(200, body)
    said = await facilitator.settle(paid)
    assert isinstance(said, Unknown) and said.reason.isprintable()
    assert isinstance(await facilitator.verify(paid), Unknown)
    assert isinstance(await facilitator.healthy(), Unavailable)
    await facilitator.close()


@pytest.mark.parametrize("status", [201, 302, 400, 402, 500])
async def test_a_yes_with_another_status_is_unknown(status: int) -> None:
    """Both must say it."""
    paid = Payer().pays(OFFER)
    facilitator = answering(status, orjson.dumps({**YES, "isValid": True}))
    assert isinstance(await facilitator.settle(paid), Unknown)
    assert isinstance(await facilitator.verify(paid), Unknown)
    await facilitator.close()


@pytest.mark.parametrize("more", [{}, {"payer": "x"}, {"amount": str(PRICE)}, {"amount": ""}])
async def test_a_yes_names_the_payer_and_the_amount_or_leaves_them_out(
    more: dict[str, str],
) -> None:
    """Facilitators write addresses in small letters too."""
    payer = Payer()
    if "payer" in more:
        more = {"payer": payer.address.lower()}
    facilitator = answering(200, orjson.dumps({**YES, **more}))
    assert await facilitator.settle(payer.pays(OFFER)) == Settled(TXID, PRICE)
    await facilitator.close()


async def test_the_header_is_sent_and_never_told() -> None:
    """A facilitator that gives it back in its reason does not get it into ours."""
    secret = "Bearer planted-0123456789abcdef"
    seen: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.headers.get("Authorization", ""))
        words = {"error": f"no {secret}", "success": False, "errorReason": secret.split()[1]}
        return httpx2.Response(401, stream=httpx2.ByteStream(orjson.dumps(words)))

    facilitator = HttpFacilitator(
        URL,
        BASE_SEPOLIA,
        timeout_s=LONG_S,
        authorization=secret,
        transport=httpx2.MockTransport(answer),
    )
    paid = Payer().pays(OFFER)
    said = [await facilitator.settle(paid), await facilitator.verify(paid)]
    ill = await facilitator.healthy()
    assert seen == [secret] * 3
    assert isinstance(ill, Unavailable) and "FACILITATOR_AUTHORIZATION" in ill.reason
    assert "planted" not in repr([*said, ill, facilitator.identity])
    await facilitator.close()


async def test_a_facilitator_is_healthy_that_takes_usdc_on_our_network(street: Street) -> None:
    """It says so under /supported; one that takes it elsewhere is of no use."""
    assert await street.facilitator.healthy() is None
    kinds = [{"x402Version": 2, "scheme": "exact", "network": "eip155:1"}, 7]
    elsewhere = answering(200, orjson.dumps({"kinds": kinds}))
    ill = await elsewhere.healthy()
    assert isinstance(ill, Unavailable) and "Base Sepolia" in ill.reason
    away = HttpFacilitator("http://127.0.0.1:9", BASE_SEPOLIA, timeout_s=LONG_S)
    assert isinstance(await away.healthy(), Unavailable)
    assert isinstance(await away.settle(Payer().pays(OFFER)), Unknown)
    for each in (elsewhere, away):
        await each.close()


# ---------------------------------------------------------- what the chain's word means


async def test_a_nonce_that_its_payer_used_otherwise_pays_nothing(street: Street) -> None:
    """A payer signs two orders for one nonce, one to us and one to itself, and has the other one
    settled: ours is Failed for good, though its nonce is used."""
    ours = street.payer.pays(OFFER)
    nonce = ours.authorization.nonce
    cheap = street.payer.pays(offer_on(BASE_SEPOLIA, 1), nonce=nonce)
    assert isinstance(await street.facilitator.settle(cheap), Settled)
    assert isinstance(await street.facilitator.settle(ours), Used)
    assert isinstance(await street.became(ours), Failed)
    assert isinstance(await street.became(cheap), Settled)


@pytest.mark.parametrize(
    ("use", "kind"),
    [
        (Moved(TXID, SHOP, PRICE), Settled),
        (Moved(TXID, SHOP, MicroUsdc(PRICE - 1)), Failed),
        (Moved(TXID, BASE.token, PRICE), Failed),
        (Canceled(), Failed),
        (Unused(NOW_S + WINDOW_S - 1), Unknown),
        (Unused(NOW_S + WINDOW_S), Failed),
        (Unknown("away"), Unknown),
    ],
    ids=str,
)
def test_only_what_holds_for_good_is_settled_or_failed(
    use: Moved | Canceled | Unused | Unknown, kind: type[object]
) -> None:
    """The very transfer pays; another one, a cancellation, or the end of its time, without use, at
    a block that stays, never will; before that nobody knows."""
    assert type(outcome_of(Payer().pays(OFFER).authorization, use)) is kind
