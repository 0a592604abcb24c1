"""The chain itself, asked by plain JSON-RPC what became of an order.

Only a block so deep that it stays proves anything. The contract marks a nonce as used for an order
of ours, for another one of the same payer's, and when the payer cancels: so "used" alone proves no
payment. The transfer that follows the mark in the same transaction does.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

import httpx2

from payments.usdc.address import Address, address_of_bytes, keccak
from payments.usdc.authorization import Authorization
from payments.usdc.json_http import JsonHttp
from payments.usdc.network import Network
from payments.usdc.outcome import Canceled, Moved, Unknown, Unused, Use
from pricing.money import MicroUsdc

SPAN_BLOCKS: Final = 1_000  # how many blocks of logs are asked for at once, as public nodes allow
MOST_SPANS: Final = 40  # with these a day on Base; what is older, a person looks up

_STATE: Final = keccak(b"authorizationState(address,bytes32)")[:4].hex()
_BALANCE: Final = keccak(b"balanceOf(address)")[:4].hex()
_USED: Final = "0x" + keccak(b"AuthorizationUsed(address,bytes32)").hex()
_CANCELED: Final = "0x" + keccak(b"AuthorizationCanceled(address,bytes32)").hex()
_TRANSFER: Final = "0x" + keccak(b"Transfer(address,address,uint256)").hex()
_QUANTITY: Final = re.compile(r"0x[0-9a-f]{1,16}")
_WORD: Final = re.compile(r"0x[0-9a-f]{64}")


class _Unread(Exception):
    """The chain was not read, or moved meanwhile. The reason is for a log."""


@dataclass(frozen=True, slots=True)
class _Block:
    number: int
    hash: str
    at_s: int


@dataclass(frozen=True, slots=True)
class _Log:
    transaction: str
    index: int
    block: int
    topics: tuple[str, ...]
    data: str


class Chain:
    """A node of one chain. `depth` blocks on top of a block, and it stays."""

    def __init__(
        self,
        url: str,
        network: Network,
        *,
        depth: int,
        timeout_s: float,
        span_blocks: int = SPAN_BLOCKS,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._network, self._depth, self._span = network, depth, span_blocks
        self._http = JsonHttp("the chain's node", url, timeout_s=timeout_s, transport=transport)
        self._is_known = False

    async def use_of(self, authorization: Authorization) -> Use | Unknown:
        """See Ledger."""
        try:
            return await self._use_of(authorization)
        except _Unread as unread:
            return Unknown(str(unread))

    async def balance_microusdc(self, holder: Address) -> MicroUsdc | Unknown:
        """See Ledger."""
        try:
            await self._be_right_chain()
            at = await self._deep()
            return MicroUsdc(await self._call(_BALANCE + _padded(holder), at))
        except _Unread as unread:
            return Unknown(str(unread))

    async def close(self) -> None:
        """See Ledger."""
        await self._http.close()

    async def _use_of(self, order: Authorization) -> Use | Unknown:
        await self._be_right_chain()
        deep = await self._deep()
        asked = _STATE + _padded(order.payer) + order.nonce[2:]
        if not await self._call(asked, deep):
            return Unused(deep.at_s)
        last = deep.number
        for _ in range(MOST_SPANS):
            first = max(0, last - self._span + 1)
            marks = await self._marks(order, first, last)
            if marks:
                use = await self._made_of(marks[0], order.payer)
                await self._still_there(deep)
                return use
            if first == 0 or (await self._block(hex(first))).at_s <= order.valid_after_s:
                break
            last = first - 1
        return Unknown("its nonce is used, and no block that was looked at tells what for")

    async def _marks(self, order: Authorization, first: int, last: int) -> list[_Log]:
        asked = {
            "fromBlock": hex(first),
            "toBlock": hex(last),
            "address": self._network.token,
            "topics": [[_USED, _CANCELED], "0x" + _padded(order.payer), order.nonce],
        }
        return _logs(await self._ask("eth_getLogs", asked), self._network)

    async def _made_of(self, mark: _Log, payer: Address) -> Use:
        """Return what a nonce was used for: the contract's next log in the same transaction."""
        if mark.topics[0] == _CANCELED:
            return Canceled()
        receipt = await self._ask("eth_getTransactionReceipt", mark.transaction)
        if not isinstance(receipt, dict) or receipt.get("status") != "0x1":
            raise _Unread("the chain's node does not know the transaction that it named")
        logs = [log for log in _logs(receipt.get("logs"), self._network) if log.block == mark.block]
        moved = next((log for log in logs if log.index == mark.index + 1), None)
        wanted = (_TRANSFER, "0x" + _padded(payer))
        if moved is None or moved.topics[:2] != wanted or len(moved.topics) != 3:
            raise _Unread("no transfer follows the mark of a used nonce")
        payee = address_of_bytes(_word(moved.topics[2]).to_bytes(32, "big")[12:])
        return Moved(mark.transaction, payee, MicroUsdc(_word(moved.data)))

    async def _deep(self) -> _Block:
        """Return the newest block that stays."""
        newest = _quantity(await self._ask("eth_blockNumber"))
        return await self._block(hex(max(0, newest - self._depth)))

    async def _block(self, number: str) -> _Block:
        told = await self._ask("eth_getBlockByNumber", number, False)
        if not isinstance(told, dict) or not isinstance(told.get("hash"), str):
            raise _Unread("the chain's node knows no such block")
        return _Block(_quantity(told.get("number")), told["hash"], _quantity(told.get("timestamp")))

    async def _still_there(self, block: _Block) -> None:
        if (await self._block(hex(block.number))).hash != block.hash:
            raise _Unread("the chain was reorganised while it was read")

    async def _call(self, data: str, at: _Block) -> int:
        """Return the one word that the contract answers as of a block, which must be there yet."""
        call = {"to": self._network.token, "data": "0x" + data}
        return _word(await self._ask("eth_call", call, {"blockHash": at.hash}))

    async def _be_right_chain(self) -> None:
        if not self._is_known:
            chain_id = _quantity(await self._ask("eth_chainId"))
            if chain_id != self._network.chain_id:
                raise _Unread(f"the node at CHAIN_RPC_URL is not one of {self._network.title}")
            self._is_known = True

    async def _ask(self, method: str, *params: object) -> Any:
        answer = await self._http.ask(
            "", {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        )
        if isinstance(answer, str):
            raise _Unread(answer)
        told = answer.body
        if answer.status != 200 or not isinstance(told, dict) or told.get("error") is not None:
            raise _Unread(f"the chain's node answered {method} with HTTP {answer.status}")
        if told.get("id") != 1 or "result" not in told:
            raise _Unread(f"the chain's node answered {method} with something else")
        return told["result"]


def _padded(address: Address) -> str:
    return address[2:].lower().rjust(64, "0")


def _quantity(told: object) -> int:
    if not isinstance(told, str) or not _QUANTITY.fullmatch(told):
        raise _Unread("the chain's node tells no number where there must be one")
    return int(told, 16)


def _word(told: object) -> int:
    if not isinstance(told, str) or not _WORD.fullmatch(told):
        raise _Unread("the contract answers no number where there must be one")
    return int(told, 16)


def _logs(told: object, network: Network) -> list[_Log]:
    """Return the contract's own logs, of blocks that are not taken back."""
    if not isinstance(told, list):
        raise _Unread("the chain's node tells no logs")
    found = []
    for log in told:
        try:
            if log.get("removed") or log["address"].lower() != network.token.lower():
                continue
            topics = tuple(str(topic) for topic in log["topics"])
            if not topics:
                continue
            where = _quantity(log["logIndex"]), _quantity(log["blockNumber"])
            transaction, data = log["transactionHash"], log["data"]
        except (AttributeError, KeyError, TypeError):
            raise _Unread("the chain's node tells a log that can't be read") from None
        if not isinstance(transaction, str) or not _WORD.fullmatch(transaction):
            raise _Unread("the chain's node tells a log of no transaction")
        found.append(_Log(transaction, *where, topics, str(data)))
    return found
