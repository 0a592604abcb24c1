"""Keys at rest: what is written is closed with the operator's secret, each under a name of its own.

The first secret closes, all of them open: so the secret itself can be changed. A text that was
closed under one name does not open under another, so rows can't be swapped.
"""

import base64
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

    def _fernet(self, name: str) -> MultiFernet:
        return MultiFernet([Fernet(_derive(secret, name)) for secret in self._secrets])


def _derive(secret: str, name: str) -> bytes:
    kdf = HKDF(SHA256(), length=32, salt=None, info=f"boltwork {name}".encode())
    return base64.urlsafe_b64encode(kdf.derive(secret.encode()))
