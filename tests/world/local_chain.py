"""A chain of one's own: a real node (anvil) with USDC's contract at its real address."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from db.unused_port import unused_port
from payments.usdc.address import Address, keccak
from payments.usdc.network import BASE_SEPOLIA, Network
from payments.usdc.payment import Payment
from tests.world.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
CONTRACTS = Path(__file__).parents[1] / "contracts"
INSTALLED = ROOT / ".cache" / "chain"
MULTICALL = "0xcA11bde05977b3631167028862bE2a173976CA11"


def code_of(contract: str) -> str:
    """Return a contract as it lies on a chain."""
    _, *lines = (CONTRACTS / f"{contract}.hex").read_text().split()
    return "0x" + "".join(lines)


def called(function: str, *words: int | str | bytes) -> str:
    """Return the call of a contract's function with words of 32 bytes."""
    data = keccak(function.encode())[:4]
    for word in words:
        raw = bytes.fromhex(word[2:]) if isinstance(word, str) else word
        data += raw.to_bytes(32, "big") if isinstance(raw, int) else raw.rjust(32, b"\0")
    return "0x" + data.hex()


@dataclass
class LocalChain:
    """A node, and what is done to it."""

    url: str
    network: Network
    http: httpx2.AsyncClient
    sender: str  # who pays for gas here

    async def rpc(self, method: str, *params: object) -> Any:
        """Ask the node."""
        asked = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        told = (await self.http.post(self.url, json=asked)).json()
        assert "error" not in told, told
        return told["result"]

    async def send(self, data: str) -> bool:
        """Call USDC's contract in a transaction; say whether it went through."""
        gas = {"from": self.sender, "to": self.network.token, "data": data, "gas": hex(500_000)}
        receipt = await self.rpc("eth_sendTransactionSync", gas)  # once it is in a block
        return bool(receipt["status"] == "0x1")

    async def give(self, holder: Address, amount_microusdc: int) -> None:
        """Let somebody have USDC."""
        assert await self.send(called("mint(address,uint256)", holder, amount_microusdc))

    async def transfer(self, payer: Address, payee: Address, amount_microusdc: int) -> str:
        """Have somebody send USDC as a wallet does; return the transaction."""
        await self.rpc("anvil_impersonateAccount", payer)
        await self.rpc("anvil_setBalance", payer, hex(10**18))
        data = called("transfer(address,uint256)", payee, amount_microusdc)
        gas = {"from": payer, "to": self.network.token, "data": data, "gas": hex(100_000)}
        gas["gasPrice"] = hex(10**10)  # so that the same one is the same again
        receipt = await self.rpc("eth_sendTransactionSync", gas)
        assert receipt["status"] == "0x1", receipt
        return str(receipt["transactionHash"])

    async def settle(self, paid: Payment) -> bool:
        """Hand a signed order to the contract, as a facilitator does."""
        order, raw = paid.authorization, bytes.fromhex(paid.signature[2:])
        times = order.valid_after_s, order.valid_before_s
        return await self.send(
            called(
                "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,"
                "uint8,bytes32,bytes32)",
                *(order.payer, order.payee, order.amount_microusdc, *times, order.nonce),
                *(raw[64], raw[:32], raw[32:64]),
            )
        )

    async def mine(self, blocks: int) -> None:
        """Put blocks on top."""
        await self.rpc("anvil_mine", hex(blocks))

    async def now_s(self) -> int:
        """Return the time of the newest block."""
        return int((await self.rpc("eth_getBlockByNumber", "latest", False))["timestamp"], 16)

    async def pass_time(self, seconds: int) -> None:
        """Let time pass, and mine a block then."""
        await self.rpc("evm_increaseTime", hex(seconds))
        await self.mine(1)


def installed() -> Path:
    """Return the folder of what others have made, installed if it is not yet."""
    subprocess.run([str(ROOT / "scripts" / "chain")], check=True)
    return INSTALLED


@asynccontextmanager
async def running(network: Network) -> AsyncIterator[LocalChain]:
    """A node of this network, which nobody else knows."""
    port = unused_port()
    [program] = installed().glob("node_modules/@foundry-rs/anvil-*/bin/anvil")
    process = await asyncio.create_subprocess_exec(
        str(program), "--port", str(port), "--chain-id", str(network.chain_id), "--quiet",
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    http = httpx2.AsyncClient(trust_env=False, timeout=PATIENCE_S)
    chain = LocalChain(f"http://127.0.0.1:{port}", network, http, "")
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not chain.sender:
                try:
                    # The first is the facilitator's: two who count its transactions would collide.
                    chain.sender = (await chain.rpc("eth_accounts"))[1]
                except httpx2.HTTPError:
                    assert process.returncode is None, "anvil has ended"
                    await asyncio.sleep(0.05)
        await chain.rpc("anvil_setCode", network.token, code_of("local_usdc"))
        await chain.rpc("anvil_setCode", MULTICALL, code_of("multicall"))
        yield chain
    finally:
        await http.aclose()
        if process.returncode is None:
            process.terminate()
        await process.wait()


@pytest.fixture
async def local_chain() -> AsyncIterator[LocalChain]:
    """A chain of the test's own, of the test network."""
    async with running(BASE_SEPOLIA) as chain:
        yield chain
