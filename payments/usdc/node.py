"""A node of one chain, asked by plain JSON-RPC: its blocks, its logs, and what a contract answers.

Only a block so deep that it stays proves anything.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

import httpx2

from payments.usdc.address import Address
from payments.usdc.json_http import LARGEST_ANSWER_BYTES, JsonHttp
from payments.usdc.network import Network
from payments.usdc.outcome import Block

LARGEST_LOGS_BYTES: Final = 16_777_216  # of one block, full of transfers to one address

_QUANTITY: Final = re.compile(r"0x[0-9a-f]{1,16}")
_WORD: Final = re.compile(r"0x[0-9a-f]{64}")


class Unread(Exception):
    """The chain was not read, or moved meanwhile. The reason is for a log."""


@dataclass(frozen=True, slots=True)
class Log:
    """What the contract of a network's token has logged."""

    transaction: str
    index: int  # in its block
    block: int
    topics: tuple[str, ...]
    data: str


class Node:
    """A node of one chain. `depth` blocks on top of a block, and it stays."""

    def __init__(
        self,
        url: str,
        network: Network,
        *,
        depth: int,
        timeout_s: float,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self.network, self._depth = network, depth
        self._http = JsonHttp("the chain's node", url, timeout_s=timeout_s, transport=transport)
        self._is_known = False

    async def close(self) -> None:
        """Let go of connections."""
        await self._http.close()

    async def be_right_chain(self) -> None:
        """Raise Unread unless it is a node of this network."""
        if not self._is_known:
            chain_id = quantity(await self.ask("eth_chainId"))
            if chain_id != self.network.chain_id:
                raise Unread(f"the node at CHAIN_RPC_URL is not one of {self.network.title}")
            self._is_known = True

    async def deep(self) -> Block:
        """Return the newest block that stays."""
        newest = quantity(await self.ask("eth_blockNumber"))
        return await self.block(max(0, newest - self._depth))

    async def block(self, number: int) -> Block:
        """Return a block. Raises Unread where there is none of this number."""
        found = await self.find(number)
        if found is None:
            raise Unread("the chain's node knows no such block")
        return found

    async def find(self, number: int) -> Block | None:
        """Return the block of a number; None: the chain is not so long."""
        told = await self.ask("eth_getBlockByNumber", hex(number), False)
        if told is None:
            return None
        if not isinstance(told, dict) or not isinstance(told.get("hash"), str):
            raise Unread("the chain's node tells a block that can't be read")
        return Block(quantity(told.get("number")), told["hash"], quantity(told.get("timestamp")))

    async def still_there(self, block: Block) -> None:
        """Raise Unread where another block has taken the place of this one."""
        if (await self.block(block.number)).hash != block.hash:
            raise Unread("the chain was reorganised while it was read")

    async def logs(self, first: int, last: int, topics: list[Any]) -> list[Log]:
        """Return what the token's contract has logged from one block to another, by its topics."""
        asked = {
            "fromBlock": hex(first),
            "toBlock": hex(last),
            "address": self.network.token,
            "topics": topics,
        }
        return logs_of(
            await self.ask("eth_getLogs", asked, largest=LARGEST_LOGS_BYTES), self.network
        )

    async def call(self, data: str, at: Block) -> int:
        """Return the one word that the contract answers as of a block, which must be there yet."""
        call = {"to": self.network.token, "data": "0x" + data}
        return word(await self.ask("eth_call", call, {"blockHash": at.hash}))

    async def ask(self, method: str, *params: object, largest: int = LARGEST_ANSWER_BYTES) -> Any:
        """Return what the node answers. Raises Unread."""
        asked = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        answer = await self._http.ask("", asked, largest)
        if isinstance(answer, str):
            raise Unread(answer)
        told = answer.body
        if answer.status != 200 or not isinstance(told, dict) or told.get("error") is not None:
            raise Unread(f"the chain's node answered {method} with HTTP {answer.status}")
        if told.get("id") != 1 or "result" not in told:
            raise Unread(f"the chain's node answered {method} with something else")
        return told["result"]


def padded(address: Address) -> str:
    """Return an address as a word of a call, or of a topic, in hex without 0x."""
    return address[2:].lower().rjust(64, "0")


def quantity(told: object) -> int:
    """Return a number as nodes write them. Raises Unread."""
    if not isinstance(told, str) or not _QUANTITY.fullmatch(told):
        raise Unread("the chain's node tells no number where there must be one")
    return int(told, 16)


def word(told: object) -> int:
    """Return the number that a word of 32 bytes is. Raises Unread."""
    if not isinstance(told, str) or not _WORD.fullmatch(told):
        raise Unread("the contract answers no number where there must be one")
    return int(told, 16)


def logs_of(told: object, network: Network) -> list[Log]:
    """Return the contract's own logs, of blocks that are not taken back. Raises Unread."""
    if not isinstance(told, list):
        raise Unread("the chain's node tells no logs")
    found = []
    for log in told:
        try:
            if log.get("removed") or log["address"].lower() != network.token.lower():
                continue
            topics = tuple(str(topic) for topic in log["topics"])
            if not topics:
                continue
            where = quantity(log["logIndex"]), quantity(log["blockNumber"])
            transaction, data = log["transactionHash"], log["data"]
        except (AttributeError, KeyError, TypeError):
            raise Unread("the chain's node tells a log that can't be read") from None
        if not isinstance(transaction, str) or not _WORD.fullmatch(transaction):
            raise Unread("the chain's node tells a log of no transaction")
        found.append(Log(transaction, *where, topics, str(data)))
    return found
