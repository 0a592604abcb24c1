"""Passwords: Argon2id, in threads of their own. Each costs memory and time, so few are worked on
at once, few more wait, and the rest are refused.

Whoever guesses at many has each of them worked on. So half of the processors at most do that, and
only while nothing else wants them: everybody else is answered first.
"""

import asyncio
import os
import unicodedata
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import TypeVar

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from prometheus_client import Counter

from app.keys.background import stand_back
from app.refusal import Refusal, Why

MEMORY_KIB, PASSES, LANES = 19 * 1024, 2, 1
AT_ONCE, WAITING = max(1, (os.cpu_count() or 1) // 2), 16
RETRY_S = 2

DERIVATIONS = Counter("boltwork_password_derivations_total", "Passwords that were hashed")

T = TypeVar("T")


class Passwords:
    """Hashes passwords, and holds others against a hash."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(
            AT_ONCE, thread_name_prefix="passwords", initializer=stand_back
        )
        self._room = BoundedSemaphore(AT_ONCE + WAITING)

    async def hashed(self, password: str) -> str:
        """Return a password as it is kept. Raises Refusal where too many are waited for."""
        return await self._worked(lambda: _hashed(_typed(password)))

    async def is_right(self, password: str, kept: str) -> bool:
        """Say whether this is the password that was kept so. Raises Refusal as `hashed` does."""
        return await self._worked(lambda: _is_right(_typed(password), kept))

    def check_room(self) -> None:
        """Refuse now what would be refused, before anything else is done for it."""
        if not self._room.acquire(blocking=False):
            raise _full()
        self._room.release()

    async def _worked(self, work: Callable[[], T]) -> T:
        if not self._room.acquire(blocking=False):
            raise _full()
        begun = self._threads.submit(work)
        # Not when its caller leaves: the thread goes on, and holds its memory until it is done.
        begun.add_done_callback(self._leave)
        DERIVATIONS.inc()
        return await asyncio.wrap_future(begun)

    def _leave(self, _: Future[T]) -> None:
        self._room.release()


def _full() -> Refusal:
    return Refusal(
        Why.TOO_MANY,
        "Too many people are signing in just now.",
        f"Send the same request again in {RETRY_S} seconds.",
        {"Retry-After": str(RETRY_S)},
    )


def _typed(password: str) -> bytes:
    """Return a password as bytes, the same whichever keyboard composed its letters."""
    return unicodedata.normalize("NFC", password).encode()


def _hashed(password: bytes) -> str:
    kdf = Argon2id(
        salt=os.urandom(16), length=32, iterations=PASSES, lanes=LANES, memory_cost=MEMORY_KIB
    )
    return kdf.derive_phc_encoded(password)


def _is_right(password: bytes, kept: str) -> bool:
    try:
        Argon2id.verify_phc_encoded(password, kept)
    except InvalidKey:
        return False
    return True
