"""What telling the shell something can come to, and the terms it works under."""

from dataclasses import dataclass
from enum import StrEnum, auto

from statemachine.entries import Asset


@dataclass(frozen=True, slots=True)
class Applied:
    """The event happened, and everything that goes with it is written."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """The event was applied before, or comes too late to mean anything: nothing changed."""


@dataclass(frozen=True, slots=True)
class Missing:
    """There is no such row."""


Outcome = Applied | Replayed | Missing


@dataclass(frozen=True, slots=True)
class Lost:
    """The lease is over, and its item another's or ended: nothing changed."""


@dataclass(frozen=True, slots=True)
class Otherwise:
    """The lease has brought other bytes before: nothing changed."""


@dataclass(frozen=True, slots=True)
class Reused:
    """What was brought was given before, for something else that was asked for: nothing changed."""


@dataclass(frozen=True, slots=True)
class Stale:
    """What was prepared for it lay too long, and may be gone: nothing changed."""


class Purse(StrEnum):
    """Where money for a request was looked for."""

    BALANCE = auto()  # of the session
    BUDGET = auto()  # of a credential
    HOUSE = auto()  # what is given away on one day
    ACCOUNT = auto()  # of a person's account, in one asset
    KEY = auto()  # what an API key may spend of it


@dataclass(frozen=True, slots=True)
class Short:
    """There is not enough for a request: nothing changed."""

    purse: Purse
    needed: int  # in the smallest unit of the asset
    left: int
    asset: Asset = Asset.MSAT


@dataclass(frozen=True, slots=True)
class Unproven:
    """It is more than is taken out without a second proof: nothing changed."""

    most: int  # in a day, in the smallest unit of the asset


class Disproved(StrEnum):
    """Why a second proof does not show that an account is its holder's: nothing changed."""

    CODE = auto()  # it is not the account's recovery code, or less than a day
    USED = auto()  # another withdrawal was approved by it
    WALLET = auto()  # whoever has signed does not open the account, or has for less than a day


@dataclass(frozen=True, slots=True)
class Dear:
    """Routing may cost more than the house bears for this payer: nothing changed."""

    sendable_msat: int  # what can be sent now


@dataclass(frozen=True, slots=True)
class Spending:
    """On whose word a session pays: the links of a credential, and the budgets among them."""

    links: tuple[str, ...] = ()
    budgets: tuple[tuple[str, int], ...] = ()  # (link, limit in msat)


@dataclass(frozen=True, slots=True)
class Payer:
    """A person's account that pays, and the API key that has it pay: the key's limit holds."""

    account_id: str
    key_id: str | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """How long things hold, in seconds, and the least balance of a session."""

    eval_invoice_s: int = 3600
    sweep_s: int = 30  # when the rail is first asked about an invoice that it did not tell of
    payout_check_s: int = 5  # when the rail is first asked about a payout it did not answer for
    session_idle_s: int = 24 * 3600
    session_minimum_msat: int = 50_000
    settling_s: int = 30  # how long a facilitator may take, before another process looks
    hold_s: int = 900  # how long a call that is answered while it runs may take at most
    free_msat_a_day: int = 10_000_000
    margin_pct: int = 20
    lease_s: int = 30  # how long an item is held by a holder who is not heard of
    lease_most_s: int = 900  # and by one who is
    canary_every: int = 0  # items of a worker to one that the house orders; 0: none
    canary_lanes: tuple[str, ...] = ()  # in which the house knows what is to be made
    pay_over_msat: int = 0  # what is free of a worker's pay is sent from so much on; 0: never
    pay_over_microusdc: int = 0  # the same of its pay in USDC
    routing_free_msat: int = 20_000  # of what only passed through, for one payer
    routing_free_msat_a_day: int = 200_000  # and for all of them
