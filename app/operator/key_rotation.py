"""New keys in place of those that sign now, and whether the operator's secret opens what is kept.

What was signed before goes on: retired root keys still check, retired public keys are still shown.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime

from app.keys import receipt_check, signing, webhook_secrets
from app.keys.credentials import KEY_BYTES, name_of
from app.operator.receiving import sealed_as
from db import receiving_wallets, root_keys, signing_keys, webhooks
from db.engine import Database, Tx
from payments.seal import Seal


@dataclass(frozen=True, slots=True)
class Rotated:
    """What a rotation has done."""

    number: int  # of the new root key
    kept: int  # older root keys, closed anew with the first secret
    forgotten: int
    kid: str  # of the new key for receipts


async def rotate(db: Database, seal: Seal, now: datetime, *, forget: bool = False) -> Rotated:
    """Make new keys, and close all that are kept with the first secret. Raises BadSecret.

    `forget`: older root keys are deleted, and the credentials made with them taken no more.
    """
    made = signing.make_key()

    async def rotation(tx: Tx) -> Rotated:
        rows = await root_keys.take_all(tx)
        number = max((row.number for row in rows), default=0) + 1
        key = seal.close(name_of(number), secrets.token_bytes(KEY_BYTES))
        await root_keys.succeed(tx, number, key, now)
        forgotten = await root_keys.forget_retired(tx) if forget else 0
        for row in rows if not forget else ():
            name = name_of(row.number)
            await root_keys.reseal(tx, row.number, seal.close(name, seal.open(name, row.sealed)))
        for wallet in await receiving_wallets.take_sealed(tx):
            name, at = sealed_as(wallet.identity), (wallet.rail, wallet.number)
            closed = seal.close(name, seal.open(name, wallet.sealed))
            await receiving_wallets.reseal(tx, *at, closed)
        for webhook in await webhooks.take_sealed(tx):
            closed = webhook_secrets.resealed(seal, webhook.id, webhook.sealed)
            await webhooks.reseal(tx, webhook.id, closed)
        await signing_keys.retire(tx, receipt_check.ALGORITHM, now)
        await signing_keys.offer(tx, signing.closed(made, seal), now)
        return Rotated(number, len(rows) - forgotten, forgotten, made.kid)

    return await db.run("rotate_keys", rotation)


async def check_secret(db: Database, seal: Seal) -> int:
    """Open every key that is kept, and return how many there are. Raises BadSecret."""
    rows = await root_keys.every(db)
    for row in rows:
        seal.open(name_of(row.number), row.sealed)
    wallets = await receiving_wallets.sealed_keys(db)
    for wallet in wallets:
        seal.open(sealed_as(wallet.identity), wallet.sealed)
    secret_ones = await webhooks.sealed_secrets(db)
    for webhook in secret_ones:
        webhook_secrets.opened(seal, webhook.id, webhook.sealed)
    signer = await signing_keys.active(db, receipt_check.ALGORITHM)
    if signer is not None:
        signing.opened(signer, seal)
    return len(rows) + len(wallets) + len(secret_ones) + (signer is not None)
