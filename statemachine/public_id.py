"""The name of a job or a session that may be shown: it is made of the id, and opens nothing.

Whoever knows a job's id may read its result and take what it owes. So what is made to be shown, or
is read by others (receipts, logs, traces, memos, the operator's pages), holds the public id.
"""

import hashlib
import re

DOMAIN = "boltwork:id:"  # so that no other hash of an id is the same
DIGITS = 32
SHOWN = 12  # digits of one, where it only has to tell one job from another

_WORD = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")


def public_id(secret_id: str) -> str:
    """Return the public id of a job or a session."""
    return hashlib.sha256(f"{DOMAIN}{secret_id}".encode()).hexdigest()[:DIGITS]


def shown(secret_id: str) -> str:
    """Return as much of a public id as the log and the traces show."""
    return public_id(secret_id)[:SHOWN]


def concealed(text: str) -> str:
    """Return a text with a public id in the place of each id: a payout's name, or an account's."""
    return _WORD.sub(lambda found: public_id(found[0]), text)
