"""Second proofs: what shows, beside a login, that an account is its holder's.

One is spent by the withdrawal that it approves, in the same transaction: what is refused costs
nobody a proof, and none approves two.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from app.advance.act import Act
from app.advance.outcome import Disproved
from db import people
from db.people_tables import IdentityKind

SETTLED_AFTER = timedelta(days=1)  # of what proves more than a password or a key does


@dataclass(frozen=True, slots=True)
class SignedBy:
    """A wallet that has signed a nonce of ours; until then nobody else may use that."""

    address: str
    nonce: str
    until: datetime


@dataclass(frozen=True, slots=True)
class SignedCode:
    """A code that a Lightning wallet was asked to sign, fetched by who knows its secret."""

    k1: str


@dataclass(frozen=True, slots=True)
class RecoveryCode:
    """The recovery code of an account, by its hash: it stays good until the password is changed."""

    sha256: str


Proof = SignedBy | SignedCode | RecoveryCode


async def spend(act: Act, account_id: str, proof: Proof) -> Disproved | None:
    """Spend a proof, where it shows that an account is its holder's; else return why it does not.

    It must be a day old, or as old as the account: who has taken one over could give it another
    recovery code, or join a wallet of his own.
    """
    before = act.now - SETTLED_AFTER
    match proof:
        case RecoveryCode(sha256):
            kept = await people.recovery_of(act.tx, account_id)
            is_it = kept is not None and kept.sha256 == sha256
            is_old = kept is not None and (kept.since is None or kept.since <= before)
            return None if is_it and is_old else Disproved.CODE
        case SignedCode(k1):
            key = await people.take_lightning(act.tx, k1)
            if key is None:
                return Disproved.USED
            kind, name = IdentityKind.LIGHTNING, key
        case SignedBy(address, nonce, until):
            if not await people.spend_nonce(act.tx, nonce, until):
                return Disproved.USED
            kind, name = IdentityKind.EVM, address
    is_settled = await people.is_settled(act.tx, account_id, kind, name, before)
    return None if is_settled else Disproved.WALLET
