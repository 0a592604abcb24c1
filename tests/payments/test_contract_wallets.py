"""A wallet that is a contract signs in: the chain is asked whether a signature is its own."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from payments.siwe import personal_digest
from payments.usdc.address import Address, address_of_bytes, address_of_key, keccak
from payments.usdc.authorization import signature_of
from payments.usdc.chain import Chain
from payments.usdc.contract_wallet import LONGEST_SIGNATURE, program
from payments.usdc.network import BASE_SEPOLIA
from payments.usdc.outcome import Unknown
from tests.world.contract import refused
from tests.world.house_fixtures import Instance, instance_of
from tests.world.local_chain import LocalChain, called, code_of
from tests.world.usdc_fixtures import SHOP

OWNER, OTHER = keccak(b"the owner of a wallet"), keccak(b"somebody else")
FACTORY = Address("0x" + "fa" * 20)
SALT = 7
UNDEPLOYED = bytes.fromhex("6492" * 16)
DIGEST = keccak(b"what is signed")


@pytest.fixture
async def chain(local_chain: LocalChain) -> LocalChain:
    """A chain with somebody on it who makes wallets."""
    await local_chain.rpc("anvil_setCode", FACTORY, code_of("local_wallet"))
    return local_chain


@pytest.fixture
async def asked(chain: LocalChain, database_url: str, tmp_path: Path) -> AsyncIterator[Instance]:
    """An instance that may ask the chain."""
    async with instance_of(
        database_url,
        tmp_path,
        FACILITATOR_URL="http://127.0.0.1:9",
        USDC_PAY_TO=SHOP,
        USDC_NETWORK=chain.network.caip2,
        CHAIN_RPC_URL=chain.url,
        CHAIN_DEPTH=2,
    ) as at:
        yield at


def owned_by(key: bytes) -> bytes:
    """Return the owner's address as a call has it."""
    return bytes.fromhex(address_of_key(key)[2:])


async def wallet_of(chain: LocalChain, key: bytes) -> Address:
    """Return where the wallet of an owner is, or will be."""
    data = called("where(address,bytes32)", owned_by(key), SALT)
    word = await chain.rpc("eth_call", {"to": FACTORY, "data": data}, "latest")
    return address_of_bytes(bytes.fromhex(word[2:])[12:])


async def deploy(chain: LocalChain, key: bytes) -> None:
    """Have the wallet of an owner made."""
    data = called("make(address,bytes32)", owned_by(key), SALT)
    gas = {"from": chain.sender, "to": FACTORY, "data": data, "gas": hex(1_000_000)}
    receipt = await chain.rpc("eth_sendTransactionSync", gas)
    assert receipt["status"] == "0x1"


def wrapped(key: bytes, signature: bytes) -> bytes:
    """Return a signature that says how its wallet is made (ERC-6492)."""
    how = bytes.fromhex(called("make(address,bytes32)", owned_by(key), SALT)[2:])
    pads = [data + bytes(-len(data) % 32) for data in (how, signature)]
    head = [bytes.fromhex(FACTORY[2:]).rjust(32, b"\0")]
    head += [number.to_bytes(32, "big") for number in (96, 96 + 32 + len(pads[0]))]
    bodies = [
        len(data).to_bytes(32, "big") + pad
        for data, pad in zip((how, signature), pads, strict=True)
    ]
    return b"".join((*head, *bodies)) + UNDEPLOYED


def raw(key: bytes, digest: bytes) -> bytes:
    """Return a signature as bytes."""
    return bytes.fromhex(signature_of(key, digest)[2:])


async def message_for(at: Instance, address: Address) -> str:
    """Return a message for an address to sign."""
    answer = await at.http.get("/api/auth/nonce", params={"address": address})
    return str(answer.json()["message"])


async def sign_in(at: Instance, message: str, signature: bytes) -> httpx2.Response:
    """Send a message with a signature."""
    body = {"message": message, "signature": "0x" + signature.hex()}
    answer = await at.post("/api/auth/siwe", body)
    at.http.cookies.clear()
    return answer


async def test_a_wallet_signs_in_before_and_after_it_is_there(
    chain: LocalChain, asked: Instance
) -> None:
    """It opens one account; asking has made nothing on the chain."""
    wallet = await wallet_of(chain, OWNER)
    message = await message_for(asked, wallet)
    signature = raw(OWNER, personal_digest(message))
    first = await sign_in(asked, message, wrapped(OWNER, signature))
    assert first.status_code == 200 and first.json()["created"] is True, first.text
    assert await chain.rpc("eth_getCode", wallet, "latest") == "0x"
    await deploy(chain, OWNER)
    for wraps in (False, True):
        message = await message_for(asked, wallet)
        signature = raw(OWNER, personal_digest(message))
        told = wrapped(OWNER, signature) if wraps else signature
        again = await sign_in(asked, message, told)
        assert again.json()["accountId"] == first.json()["accountId"], again.text


async def test_nobody_else_signs_for_a_wallet(chain: LocalChain, asked: Instance) -> None:
    """Not its factory's other owners, not what is cut off, not a signature of another message."""
    wallet = await wallet_of(chain, OWNER)
    message = await message_for(asked, wallet)
    digest = personal_digest(message)
    good, bad = raw(OWNER, digest), raw(OTHER, digest)
    for there in (False, True):
        if there:
            await deploy(chain, OWNER)
        for told in (
            bad,
            wrapped(OWNER, bad),
            wrapped(OTHER, bad),
            wrapped(OTHER, good) if not there else bad,
            good[:-1],
            good + b"\0",
            wrapped(OWNER, good)[:64] + UNDEPLOYED,
            UNDEPLOYED,
            raw(OWNER, personal_digest(message + " ")),
        ):
            refused(await sign_in(asked, message, told), 401, "isn't that of the address")
    assert (await sign_in(asked, message, good)).status_code == 200, "the message was good"


async def test_an_address_without_code_has_signed_nothing(chain: LocalChain) -> None:
    """It answers every call, with nothing: which is not what a wallet answers. Nor is what a
    contract answers that knows no such call, answers less than a word, or something else."""
    reader = Chain(chain.url, BASE_SEPOLIA, depth=0, timeout_s=60)
    stranger = Address("0x" + "ab" * 20)
    answers: dict[str, Any] = {
        "nothing": "0x",
        "four bytes of it": "0x631626ba7e60e01b60005260046000f3",
        "another word": "0x63ffffffff60e01b60005260206000f3",
        "more than the four bytes": "0x631626ba7e60e01b60010160005260206000f3",
        "a failure": "0x60006000fd",
        "no end": "0x5b600056",
    }
    for code in answers.values():
        await chain.rpc("anvil_setCode", stranger, code)
        for told in (raw(OWNER, DIGEST), wrapped(OWNER, raw(OWNER, DIGEST))):
            assert await reader.is_signed_by_contract(stranger, DIGEST, told) in (False,), code
    await chain.rpc("anvil_setCode", stranger, "0x631626ba7e60e01b60005260206000f3")
    assert await reader.is_signed_by_contract(stranger, DIGEST, b"") is True
    assert program(stranger, DIGEST, bytes(LONGEST_SIGNATURE + 1)) is None
    await reader.close()


async def test_a_wallet_is_one_of_this_chain(chain: LocalChain, asked: Instance) -> None:
    """The same address may be another one's contract elsewhere: the message must name our chain."""
    wallet = await wallet_of(chain, OWNER)
    await deploy(chain, OWNER)
    message = await message_for(asked, wallet)
    assert f"Chain ID: {chain.network.chain_id}\n" in message
    other = message.replace(f"Chain ID: {chain.network.chain_id}", "Chain ID: 1")
    answer = await sign_in(asked, other, raw(OWNER, personal_digest(other)))
    refused(answer, 401, f"Chain ID {chain.network.chain_id}")


async def test_where_the_chain_is_away_a_key_signs_in_and_a_contract_waits(
    database_url: str, tmp_path: Path
) -> None:
    """Who has a key is let in without it."""
    async with instance_of(
        database_url,
        tmp_path,
        FACILITATOR_URL="http://127.0.0.1:9",
        USDC_PAY_TO=SHOP,
        CHAIN_RPC_URL="http://127.0.0.1:9",
    ) as at:
        address = address_of_key(OWNER)
        message = await message_for(at, address)
        refused(await sign_in(at, message, raw(OTHER, personal_digest(message))), 503, "chain")
        answer = await sign_in(at, message, raw(OWNER, personal_digest(message)))
        assert answer.status_code == 200, answer.text


async def test_a_node_that_is_away_is_unknown() -> None:
    """And not a refusal."""
    reader = Chain("http://127.0.0.1:9", BASE_SEPOLIA, depth=0, timeout_s=5)
    said = await reader.is_signed_by_contract(FACTORY, DIGEST, raw(OWNER, DIGEST))
    assert isinstance(said, Unknown)
    await reader.close()
