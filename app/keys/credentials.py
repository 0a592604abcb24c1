"""Makes and checks credentials with the root keys of the database, which it keeps in memory.

A key that is not there is looked for in the database before anything is refused for it.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from time import monotonic

from db import root_keys
from db.engine import Database
from payments import session_macaroon
from payments.challenge import BadProof, Challenge, Offer, Proof
from payments.key_ring import KeyRing
from payments.macaroon import Invalid
from payments.seal import BadSecret, Seal
from payments.session_macaroon import Verified

KEY_BYTES = 32
MOST_VERIFIED = 2_000
KEPT_S = 60.0  # how long a process may take to learn that keys were forgotten


def name_of(number: int) -> str:
    """Return the name under which a root key is closed."""
    return f"root key {number}"


class Credentials:
    """The credentials of sessions, and of those who pay by the call."""

    def __init__(
        self,
        db: Database,
        seal: Seal,
        ring: KeyRing,
        challenges: Sequence[Challenge],
        clock: Callable[[], datetime],
    ) -> None:
        self.seal, self.challenges = seal, tuple(challenges)
        self._db, self._ring, self._clock = db, ring, clock
        self._read_at: float | None = None
        self._shut: dict[int, BadSecret] = {}  # keys that our secret does not open
        # By their exact text, until the keys are next read: a poll shows the same one each time.
        self._verified: dict[str, Verified] = {}

    async def session_macaroon(self, session_id: str, nonce: str) -> str:
        """Return the whole credential of a session; both arguments are 32 hex digits."""
        await self._ready_to_make()
        return session_macaroon.make(self._ring, session_id, nonce)

    async def verify(self, text: str) -> Verified | Invalid:
        """Return what a text allows as the credential of a session.

        Whether its time is over, and whether the session's row still has its nonce and none of
        its links was revoked, is for the caller.
        """
        await self._ready_to_check()
        known = self._verified.get(text)
        if known is not None:
            return known
        found = session_macaroon.verify(text, self._ring)
        if isinstance(found, Invalid) and found.missing_key is not None:
            await self._look_for(found.missing_key)
            found = session_macaroon.verify(text, self._ring)
        if isinstance(found, Verified):
            if len(self._verified) >= MOST_VERIFIED:
                self._verified.clear()
            self._verified[text] = found
        return found

    async def offers(self, offer: Offer, first: str | None = None) -> list[tuple[str, str]]:
        """Return the headers of a 402, of every challenge, in their order; `first` goes before."""
        await self._ready_to_make()
        ordered = sorted(self.challenges, key=lambda challenge: challenge.name != first)
        return [line for challenge in ordered for line in challenge.offer(offer)]

    def receipt(self, proof: Proof, settled_at: datetime) -> dict[str, str]:
        """Return the headers that say to whoever has shown a proof what it has paid."""
        by_name = {challenge.name: challenge for challenge in self.challenges}
        return dict(by_name[proof.scheme].receipt(proof, settled_at))

    async def accept(self, headers: Mapping[str, str]) -> Proof | BadProof | None:
        """Return what the headers prove to any challenge; None when they hold no proof.

        Whether the payment is settled, and what it bought, is for the caller.
        """
        await self._ready_to_check()
        for challenge in self.challenges:
            found = challenge.accept(headers)
            if isinstance(found, BadProof) and found.missing_key is not None:
                await self._look_for(found.missing_key)
                found = challenge.accept(headers)
            if found is not None:
                return found
        return None

    async def _ready_to_make(self) -> None:
        """Know the active key as it is now. The first who needs one makes it."""
        await self._read()
        if self._shut:
            raise self._shut[max(self._shut)]
        if self._ring.active is None:
            sealed = self.seal.close(name_of(1), secrets.token_bytes(KEY_BYTES))
            now = self._clock()
            await self._db.run("root_key", lambda tx: root_keys.offer_first(tx, sealed, now))
            await self._read()

    async def _ready_to_check(self) -> None:
        if self._read_at is None or monotonic() - self._read_at > KEPT_S:
            await self._read()

    async def _look_for(self, number: int) -> None:
        await self._read()
        own = self._ring.own(number)
        if own in self._shut:  # it may well be good: only we can't tell
            raise self._shut[own]

    async def _read(self) -> None:
        """Take the keys from the database; only those that are new are opened."""
        rows = await root_keys.every(self._db)
        new, shut, known = {}, {}, self._ring.numbers
        for row in rows:
            if row.number not in known:
                try:
                    new[row.number] = self.seal.open(name_of(row.number), row.sealed)
                except BadSecret as bad:
                    shut[row.number] = bad
        active = next((row.number for row in rows if row.retired_at is None), None)
        self._ring.hold(new, active, keep=frozenset(row.number for row in rows))
        self._verified.clear()
        self._shut, self._read_at = shut, monotonic()
