"""The chain itself, asked what became of an order, and what has come in.

Only a block so deep that it stays proves anything. The contract marks a nonce as used for an order
of ours, for another one of the same payer's, and when the payer cancels: so "used" alone proves no
payment. The transfer that follows the mark in the same transaction does.
"""

from collections import Counter
from typing import Final

import httpx2

from payments.usdc import contract_wallet
from payments.usdc.address import Address, address_of_bytes, keccak
from payments.usdc.authorization import Authorization
from payments.usdc.network import Network
from payments.usdc.node import Log, Node, Unread, logs_of, padded, word
from payments.usdc.outcome import (
    DUST_MICROUSDC,
    Block,
    Canceled,
    Gone,
    Moved,
    Received,
    Transfer,
    Unknown,
    Unused,
    Use,
)
from pricing.money import MicroUsdc

SPAN_BLOCKS: Final = 1_000  # how many blocks of logs are asked for at once, as public nodes allow
MOST_SPANS: Final = 40  # with these a day on Base; what is older, a person looks up

_STATE: Final = keccak(b"authorizationState(address,bytes32)")[:4].hex()
_BALANCE: Final = keccak(b"balanceOf(address)")[:4].hex()
_USED: Final = "0x" + keccak(b"AuthorizationUsed(address,bytes32)").hex()
_CANCELED: Final = "0x" + keccak(b"AuthorizationCanceled(address,bytes32)").hex()
_TRANSFER: Final = "0x" + keccak(b"Transfer(address,address,uint256)").hex()


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
        self._most_span = self._span = span_blocks
        self._node = Node(url, network, depth=depth, timeout_s=timeout_s, transport=transport)

    async def use_of(self, authorization: Authorization) -> Use | Unknown:
        """See Ledger."""
        try:
            return await self._use_of(authorization)
        except Unread as unread:
            return Unknown(str(unread))

    async def balance_microusdc(self, holder: Address) -> MicroUsdc | Unknown:
        """See Ledger."""
        try:
            await self._node.be_right_chain()
            at = await self._node.deep()
            return MicroUsdc(await self._node.call(_BALANCE + padded(holder), at))
        except Unread as unread:
            return Unknown(str(unread))

    async def received(self, payee: Address, after: Block | None) -> Received | Gone | Unknown:
        """See Ledger."""
        try:
            await self._node.be_right_chain()
            deep = await self._node.deep()
            if after is None:
                return Received(deep, (), is_all=True)
            if not await self._is_there(after):
                return Gone()
            if deep.number <= after.number:
                return Received(after, (), is_all=True)
            return await self._received(payee, after, deep)
        except Unread as unread:
            return Unknown(str(unread))

    async def is_there(self, block: Block) -> bool | Unknown:
        """See Ledger."""
        try:
            await self._node.be_right_chain()
            return await self._is_there(block)
        except Unread as unread:
            return Unknown(str(unread))

    async def is_signed_by_contract(
        self, signer: Address, digest: bytes, signature: bytes
    ) -> bool | Unknown:
        """See Ledger. What holds now is asked: who owns a wallet may change."""
        code = contract_wallet.program(signer, digest, signature)
        if code is None:
            return False
        try:
            await self._node.be_right_chain()
            told = await self._node.ask("eth_call", {"data": code}, "latest")
        except Unread as unread:
            return Unknown(str(unread))
        return isinstance(told, str) and told == contract_wallet.MAGIC

    async def close(self) -> None:
        """See Ledger."""
        await self._node.close()

    async def _is_there(self, block: Block) -> bool:
        found = await self._node.find(block.number)
        return found is not None and found.hash == block.hash

    async def _received(self, payee: Address, after: Block, deep: Block) -> Received:
        """Read so many blocks as a node may answer for at once: fewer after each that it doesn't,
        and more again after each that it does."""
        end = min(after.number + self._span, deep.number)
        upto = deep if end == deep.number else await self._node.block(end)
        first, wanted = after.number + 1, [_TRANSFER, None, "0x" + padded(payee)]
        try:
            moved = await self._node.logs(first, end, wanted)
        except Unread:
            self._span = max(1, self._span // 2)
            raise
        self._span = min(self._most_span, self._span * 2)
        worth = [log for log in moved if word(log.data) >= DUST_MICROUSDC]
        payers = sorted({log.topics[1] for log in worth})
        marks = await self._node.logs(first, end, [_USED, payers]) if payers else []
        blocks = {number: await self._node.block(number) for number in {m.block for m in worth}}
        await self._node.still_there(upto)  # and so is all that is under it
        return Received(upto, _transfers(moved, marks, blocks), is_all=upto == deep)

    async def _use_of(self, order: Authorization) -> Use | Unknown:
        node = self._node
        await node.be_right_chain()
        deep = await node.deep()
        asked = _STATE + padded(order.payer) + order.nonce[2:]
        if not await node.call(asked, deep):
            return Unused(deep.at_s)
        last = deep.number
        topics = [[_USED, _CANCELED], "0x" + padded(order.payer), order.nonce]
        for _ in range(MOST_SPANS):
            first = max(0, last - self._most_span + 1)
            marks = await node.logs(first, last, topics)
            if marks:
                use = await self._made_of(marks[0], order.payer)
                await node.still_there(deep)
                return use
            if first == 0 or (await node.block(first)).at_s <= order.valid_after_s:
                break
            last = first - 1
        return Unknown("its nonce is used, and no block that was looked at tells what for")

    async def _made_of(self, mark: Log, payer: Address) -> Use:
        """Return what a nonce was used for: the contract's next log in the same transaction."""
        if mark.topics[0] == _CANCELED:
            return Canceled()
        receipt = await self._node.ask("eth_getTransactionReceipt", mark.transaction)
        if not isinstance(receipt, dict) or receipt.get("status") != "0x1":
            raise Unread("the chain's node does not know the transaction that it named")
        logs = logs_of(receipt.get("logs"), self._node.network)
        moved = next(
            (log for log in logs if log.block == mark.block and log.index == mark.index + 1), None
        )
        wanted = (_TRANSFER, "0x" + padded(payer))
        if moved is None or moved.topics[:2] != wanted or len(moved.topics) != 3:
            raise Unread("no transfer follows the mark of a used nonce")
        payee = address_of_bytes(word(moved.topics[2]).to_bytes(32, "big")[12:])
        return Moved(mark.transaction, payee, MicroUsdc(word(moved.data)))


def _transfers(
    moved: list[Log], marks: list[Log], blocks: dict[int, Block]
) -> tuple[Transfer, ...]:
    """Return transfers in their order, each with the nonce of the signed order that it is of.

    In its transaction each has a place, which stays when the chain takes that in anew.
    """
    nonces = {(m.transaction, m.index + 1, m.topics[1]): m.topics[2] for m in marks}
    found, places = [], Counter[str]()
    for log in sorted(moved, key=lambda log: (log.block, log.index)):
        if len(log.topics) != 3:
            raise Unread("the chain's node tells a transfer that can't be read")
        places[log.transaction] += 1
        payer = address_of_bytes(word(log.topics[1]).to_bytes(32, "big")[12:])
        nonce = nonces.get((log.transaction, log.index, log.topics[1]))
        amount, place = MicroUsdc(word(log.data)), places[log.transaction]
        if amount >= DUST_MICROUSDC:
            block = blocks[log.block]
            found.append(Transfer(log.transaction, place, block, payer, amount, nonce))
    return tuple(found)
