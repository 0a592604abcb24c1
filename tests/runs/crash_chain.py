"""What moved on the stub's chain, held to what the books say of USDC, to the last millionth.

Read from the chain's file and from the rows; of our own code only the format of a name is believed.
"""

import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.world.patience import PATIENCE_S

Ask = Callable[[str], Awaitable[list[dict[str, Any]]]]


@dataclass(frozen=True)
class Move:
    """One order that moved money: its nonce is used."""

    network: str
    payer: str
    nonce: str
    payee: str
    microusdc: int


def moves(chain: Path) -> list[Move]:
    """Return all that ever moved on a chain, and stayed."""
    if not chain.exists():
        return []
    with closing(sqlite3.connect(chain)) as file:
        rows = file.execute("SELECT network, payer, nonce, payee, microusdc FROM used").fetchall()
    return [Move(*row) for row in rows]


def sent(chain: Path) -> Counter[tuple[str, str, int]]:
    """Return what was sent without a signed order: transaction, payee and amount of each."""
    if not chain.exists():
        return Counter()
    with closing(sqlite3.connect(chain)) as file:
        return Counter(
            file.execute("SELECT txid, payee, microusdc FROM moved WHERE nonce IS NULL").fetchall()
        )


def mined_anew(chain: Path, txid: str) -> None:
    """Have a transfer be in a later block, as after a reorganisation: its block is gone."""
    with closing(sqlite3.connect(chain, timeout=PATIENCE_S)) as file, file:
        file.execute(
            "UPDATE moved SET number = (SELECT max(number) + 1 FROM moved) WHERE txid = ?", (txid,)
        )


async def wrong_in_usdc(ask: Ask, chain: Path | None) -> list[str]:
    """Return what is wrong with USDC once all is calm: what came, what went back, what was earned.

    Each order that settled moved its amount to us, once; each transfer without an order is a
    deposit, once; each payout that is paid moved it away, once, to where its owner is; nothing else
    moved.
    """
    orders = await ask("SELECT id, pay_to, amount_microusdc, state FROM usdc_authorization")
    deposits = await ask(
        "SELECT txid, pay_to, amount_microusdc FROM usdc_deposit WHERE authorization_id IS NULL"
    )
    houses = {row["pay_to"] for row in (*orders, *deposits)}
    moved = moves(chain) if chain is not None else []
    came = {f"{m.network}:{m.payer}:{m.nonce}": m.microusdc for m in moved if m.payee in houses}
    settled = {r["id"]: r["amount_microusdc"] for r in orders if r["state"] == "settled"}
    wrong = [] if came == settled else [f"{came} came, and {settled} is said to have settled"]
    by_hand = sent(chain) if chain is not None else Counter[tuple[str, str, int]]()
    kept_of = Counter((row["txid"], row["pay_to"], row["amount_microusdc"]) for row in deposits)
    if by_hand != kept_of:
        wrong.append(f"{by_hand} was sent, and {kept_of} is kept of it")
    went = [m for m in moved if m.payer in houses]
    there = Counter((f"evm:{m.network}:{m.payee}", m.microusdc) for m in went)
    paid = Counter(
        (row["refund_to"], row["amount"])
        for row in await ask(
            "SELECT refund_to, amount FROM payout WHERE asset = 'microusdc' AND state = 'paid'"
        )
    )
    if there != paid:
        wrong.append(f"{there} went, and {paid} is said to be paid")
    rows = await ask("SELECT name, balance FROM kept_balance WHERE asset = 'microusdc'")
    kept = {row["name"]: int(row["balance"]) for row in rows}
    [charged] = await ask(
        "SELECT coalesce(sum(charged_amount), 0)::bigint AS n FROM batch WHERE asset = 'microusdc'"
    )
    left = (
        sum(came.values())
        + sum(each[2] for each in by_hand.elements())
        - sum(m.microusdc for m in went)
    )
    rail, earned = kept.get("rail:x402", 0), kept.get("revenue:media", 0)
    if not left == rail == earned == charged["n"]:
        wrong.append(f"{left} of USDC is left, {rail} kept, {earned} earned, {charged} charged")
    return wrong
