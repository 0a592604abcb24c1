"""What LNbits says is read strictly: no answer settles anything without its proof."""

import asyncio
import hashlib
import json

from hypothesis import given
from hypothesis import strategies as st

from payments.kept_alive import IDLE_S
from payments.lnbits_http import LnbitsClient, LnbitsHttp, read_payment, read_push
from payments.rail import Settled
from pricing.money import Msat


def settled(preimage: str, amount_msat: int) -> Settled:
    """Return a payment with this preimage."""
    payment_hash = hashlib.sha256(bytes.fromhex(preimage)).hexdigest()
    return Settled(payment_hash, Msat(amount_msat), preimage)


async def asked_twice(idle_s: float | None) -> int:
    """Return over how many connections two questions go to an LNbits."""
    opened: list[asyncio.StreamWriter] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(writer)
        while await reader.readline():
            while (await reader.readline()).strip():
                pass
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        address = f"http://127.0.0.1:{port}"
        client = LnbitsClient(address, 60, *([] if idle_s is None else [idle_s]))
        for _ in range(2):
            told = await LnbitsHttp(client, "X-Api-Key", "k").ask("GET", "/")
            assert told.status == 200
        await client.close()
        for writer in opened:
            writer.close()
    return len(opened)


async def test_no_connection_is_used_that_lay_idle_for_as_long_as_a_server_keeps_it() -> None:
    """What is sent over one that is just being closed is lost, and its outcome not known."""
    assert IDLE_S < UVICORN_KEEPS_S
    assert await asked_twice(None) == 1 and await asked_twice(0.0) == 2


UVICORN_KEEPS_S = 5  # its --timeout-keep-alive where nothing is said
RECEIVED = settled("11" * 32, 11_000)
OTHER = settled("22" * 32, 11_000)


def test_an_unpaid_an_outgoing_and_a_forged_message_are_not_payments() -> None:
    """Only an incoming payment, said to be final, with its own preimage, is pushed."""
    good = {
        "payment_hash": RECEIVED.payment_hash, "amount": 11_000, "fee": 0,
        "status": "success", "preimage": RECEIVED.preimage,
    }  # fmt: skip
    assert read_push(json.dumps({"payment": good})) == RECEIVED
    for changed in (
        {"amount": -11_000}, {"amount": 11.5}, {"amount": "11000"}, {"amount": True},
        {"amount": 0}, {"status": "pending"}, {"status": "failed"}, {"status": None},
        {"preimage": None}, {"preimage": "ab" * 32}, {"preimage": OTHER.preimage},
        {"payment_hash": OTHER.payment_hash}, {"payment_hash": None}, {"fee": None},
    ):  # fmt: skip
        assert read_push(json.dumps({"payment": good | changed})) is None, changed
    for junk in ("", "[]", "null", '"payment"', '{"payment": null}', '{"payment": []}', "{", "\0"):
        assert read_push(junk) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
payments = st.fixed_dictionaries(
    {},
    optional={
        "payment_hash": st.just("ab" * 32) | json_values,
        "amount": st.integers() | json_values,
        "fee": st.integers() | json_values,
        "status": st.sampled_from(["pending", "success", "failed"]) | json_values,
        "preimage": st.text("0123456789abcdefABCDEF", min_size=63, max_size=65) | json_values,
    },
)


@given(payments | json_values)
def test_no_answer_settles_without_its_proof(said: object) -> None:
    """Whatever JSON says, a payment is settled by the preimage of its hash and by nothing else."""
    told = read_payment(said, "ab" * 32)
    if told is not None:
        assert told.settled() is None  # nobody knows the preimage of ab…ab
        assert isinstance(told.amount_msat, int) and told.amount_msat != 0


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_no_message_on_the_push_channel_raises(message: bytes | str) -> None:
    """Any bytes on the channel are a payment or nothing."""
    assert read_push(message) is None
