"""The secrets of webhooks: sealed at rest, each under the name of its webhook."""

import hmac

from payments.seal import Seal


def closed(seal: Seal, webhook_id: str, secret: str) -> str:
    """Return a secret as it is written down."""
    return seal.close(_name(webhook_id), secret.encode())


def opened(seal: Seal, webhook_id: str, sealed: str) -> str:
    """Return a secret that was written down. Raises BadSecret."""
    return seal.open(_name(webhook_id), sealed).decode()


def resealed(seal: Seal, webhook_id: str, sealed: str) -> str:
    """Return it closed anew, with the operator's first secret. Raises BadSecret."""
    return closed(seal, webhook_id, opened(seal, webhook_id, sealed))


def is_secret(seal: Seal, webhook_id: str, sealed: str, shown: str) -> bool:
    """Say whether what is shown is a webhook's secret. Raises BadSecret."""
    ours = opened(seal, webhook_id, sealed).encode()
    return hmac.compare_digest(ours, shown.encode("utf-8", "surrogateescape"))


def _name(webhook_id: str) -> str:
    return f"secret of webhook {webhook_id}"
