"""Which job, session, batch, account or payout a public id names: for the operator, who sees no
others.

Reads all of them, as nothing is stored of a public id.
"""

from db.engine import Database
from statemachine.owner import OwnerKind
from statemachine.public_id import DIGITS, DOMAIN

LEAST_DIGITS = 8

_PUBLIC = f"left(encode(sha256(convert_to('{DOMAIN}' || %s, 'UTF8')), 'hex'), {DIGITS})"
# Their tables are called so; `account` is one of the books.
OWNERS = tuple(kind.value for kind in OwnerKind if kind is not OwnerKind.ACCOUNT)
OWNERS = (*OWNERS, "user_account")
_OWNER = " UNION ALL ".join(
    f"SELECT id FROM {table} WHERE id = %(name)s OR starts_with({_PUBLIC % 'id'}, %(digits)s)"
    for table in OWNERS
)
_PAYOUT = f"""
SELECT id FROM payout WHERE id = %(name)s
    OR {_PUBLIC % "split_part(id, ':', 1)"} || substr(id, strpos(id, ':')) = %(name)s
"""


async def owner_id(db: Database, name: str) -> str | None:
    """Return the id of a job, a session, a batch or an account by its public id, or by the first
    digits of that, or by itself; None where there is none, or more than one."""
    digits = name if len(name) >= LEAST_DIGITS else "-"
    rows = await db.read_all(f"{_OWNER} LIMIT 2", name=name, digits=digits)
    return str(rows[0]["id"]) if len(rows) == 1 else None


async def payout_id(db: Database, name: str) -> str | None:
    """Return the name of a payout by the one that is shown, or by itself."""
    row = await db.read_one(_PAYOUT, name=name)
    return str(row["id"]) if row else None
