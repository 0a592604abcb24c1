"""What pays in place of a wallet: a session by its macaroon, or an account by its API key.

Neither is in a text form of anything here. A macaroon is narrowed to the buyer's limit before it
goes along; an account has no such thing, so the limit goes with the request.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from app.buyer.account import Account
from app.buyer.session import Session


@dataclass(frozen=True, slots=True)
class Purse:
    """Who pays, how that is shown, and how what it bought is read afterwards."""

    name: str
    pays: Mapping[str, str] = field(repr=False)
    reads: Mapping[str, str] = field(repr=False)
    limit: Mapping[str, int]  # fields of the request
    left: Callable[[], Awaitable[int]] = field(repr=False)  # its balance, in sats


def of_session(session: Session, max_sats: int) -> Purse:
    """Return a session as what pays. What it bought is read by its id alone."""
    limited = session.narrowed(max_sats=max_sats)

    async def left() -> int:
        return int((await session.status())["balanceSats"])

    return Purse("session", {"Authorization": f"Bearer {limited.macaroon}"}, {}, {}, left)


def of_account(account: Account, max_sats: int) -> Purse:
    """Return an account as what pays, and as the only one who reads what it bought."""
    headers = {"x-api-key": account.key}
    return Purse("account", headers, headers, {"maxSats": max_sats}, account.balance)
