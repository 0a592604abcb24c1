"""Keys at rest: what is written is closed with the operator's secret, each under a name of its own.

The first secret closes, all of them open: so the secret itself can be changed. A text that was
closed under one name does not open under another, so rows can't be swapped.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


class BadSecret(Exception):
    """The operator's secret is missing, or does not open what was closed. For the operator."""


class Seal:
    """Closes and opens short secrets. It shows neither them nor the operator's."""

    __slots__ = ("_secrets",)

    def __init__(self, secrets: Sequence[str]) -> None:
        if not secrets or not all(secrets):
            raise BadSecret("There is no secret to close keys with.")
        self._secrets = tuple(secrets)

    def __repr__(self) -> str:
        return f"Seal({len(self._secrets)} secrets)"

    def close(self, name: str, secret: bytes) -> str:
        """Return a secret as it may be written down under a name."""
        return self._fernet(name).encrypt(secret).decode()

    def open(self, name: str, closed: str) -> bytes:
        """Return what was closed under a name. Raises BadSecret."""
        try:
            return self._fernet(name).decrypt(closed)
        except (InvalidToken, ValueError):
            raise BadSecret(
                f"BOLTWORK_SECRET does not open the {name}: it was closed with another secret."
                " Put that one behind yours, separated by a comma."
            ) from None

    def mark(self, name: str, text: str) -> str:
        """Return a mark that shows later that a text was ours, under this name."""
        return _marked(self._secrets[0], name, text)

    def marks(self, name: str, text: str) -> list[str]:
        """Return the marks of a text, as each secret makes one: the first as `mark` does."""
        return [_marked(secret, name, text) for secret in self._secrets]

    def has_marked(self, name: str, text: str, mark: str) -> bool:
        """Say whether this is our mark of a text, or as much of one as the caller keeps."""
        marks = [_marked(secret, name, text)[: len(mark)] for secret in self._secrets]
        return any([hmac.compare_digest(ours.encode(), mark.encode()) for ours in marks])

    def _fernet(self, name: str) -> MultiFernet:
        return MultiFernet([Fernet(_derive(secret, name)) for secret in self._secrets])


def _derive(secret: str, name: str) -> bytes:
    kdf = HKDF(SHA256(), length=32, salt=None, info=f"boltwork {name}".encode())
    return base64.urlsafe_b64encode(kdf.derive(secret.encode()))


def _marked(secret: str, name: str, text: str) -> str:
    return hmac.new(_derive(secret, f"mark {name}"), text.encode(), hashlib.sha256).hexdigest()
