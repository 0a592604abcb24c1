"""What is asked of the outside, as Protocols: who keeps them is named in `app.main` alone."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from payments.bolt11 import Invoice
from payments.faults import Call, Fault
from payments.lnurl import BadDestination, Destination
from payments.public_http import Answer, Away, Refused
from payments.rail import Failed, Opened, Settled
from pricing.money import BtcPrice, MicroUsdc, Msat
from pricing.oracle import OracleStatus, PriceUnavailable

if TYPE_CHECKING:  # a lent machine makes things as an executor does, and knows no chain
    from payments.usdc.address import Address
    from payments.usdc.network import Network
    from payments.usdc.outcome import Facilitator, Ledger
    from payments.usdc.payment import Payment, UsdcOffer


class Playground(Protocol):
    """What only the stub rail can do: be the buyer's wallet, and misbehave when told to."""

    async def receive(
        self, payment_hash: str, *, amount_msat: Msat | None = None, late: bool = False
    ) -> Settled | Failed:
        """Have the buyer pay an invoice of ours."""
        ...

    async def buyer_invoice(self, amount_msat: Msat, memo: str, expiry_s: int) -> Opened:
        """Have the buyer's wallet make an invoice."""
        ...

    async def script_fault(
        self, call: Call, fault: Fault, times: int = 1, delay_s: float = 0
    ) -> None:
        """Make the next calls of one kind fail in one way."""
        ...

    async def clear_faults(self) -> None:
        """Behave again."""
        ...


class RefundSigner(Protocol):
    """Who signs refunds in USDC, each with the nonce that its debt has for ever."""

    address: "Address"
    network: "Network"

    def refund(
        self, payout_id: str, payee: "Address", amount_microusdc: MicroUsdc, now: datetime
    ) -> "Payment":
        """Return the signed order that pays a debt of ours."""
        ...


USDC_WINDOW_S = 120  # how long an order of a buyer's may be valid, and its outcome be unknown


@dataclass(frozen=True, slots=True)
class UsdcRail:
    """The second rail: USDC on one chain, which buyers pay by signed orders (x402)."""

    network: "Network"
    pay_to: "Address"
    facilitator: "Facilitator"
    ledger: "Ledger"
    refunds: RefundSigner | None  # without it, what is owed in USDC waits
    cell: str = ""  # in which it is taken

    def offer(self, amount_microusdc: MicroUsdc) -> "UsdcOffer":
        """Return how so much can be paid here."""
        from payments.usdc.payment import UsdcOffer

        return UsdcOffer(self.network, self.pay_to, amount_microusdc, USDC_WINDOW_S, self.cell)


class Prices(Protocol):
    """What a bitcoin costs now, or that nobody can say."""

    async def price(self) -> BtcPrice | PriceUnavailable:
        """Return a price that is young enough, or say why there is none."""
        ...

    async def healthy(self) -> PriceUnavailable | None:
        """Return None when a price can be named."""
        ...

    def status(self) -> OracleStatus:
        """Return what each source last said. Nobody is asked."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Destinations(Protocol):
    """Where payouts can go by themselves: Lightning addresses and LNURL-pay."""

    def parse(self, text: str) -> Destination | BadDestination:
        """Return what a text means as a destination. Nobody is asked."""
        ...

    async def fetch_invoice(
        self, destination: Destination, amount_msat: Msat, comment: str = ""
    ) -> Invoice | Refused | Away:
        """Return an invoice of exactly this amount, made by the destination just now."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Receivers(Protocol):
    """The servers of those who named a URL for notices."""

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str]
    ) -> Answer | Refused | Away:
        """Send a body once. Any status is an answer; Away does not say that nothing was sent."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an executor is asked to make: a picture, a film where a duration is given, or the
    result of a tool where inputs are."""

    model: str  # an offering of the catalogue
    prompt: str = ""  # untrusted text, as are all others here
    width: int = 0
    height: int = 0
    negative_prompt: str = ""  # what must not be seen
    steps: int = 0  # 0: as many as the executor thinks right
    seed: int = 0  # the same wish with the same seed may make the same bytes, and need not
    duration_ms: int = 0  # 0: a picture
    reference: bytes = b""  # a picture to go by, decoded by nobody yet
    inputs: Mapping[str, Any] = field(default_factory=dict)  # of a tool, as its schema names them
    # The bytes of each `artifact:<id>` among the inputs: pictures, encoded by us.
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """How far the making is: `done` of `total`, and how it looks by now where that is known."""

    done: int
    total: int
    preview: bytes = b""  # a small PNG or JPEG, as the executor tells it: decoded by nobody yet
    is_billed: bool = False  # whoever is asked to make it has begun, and wants to be paid for that


BEGUN: Final = Step(0, 1, is_billed=True)

Stepped = Callable[[Step], None]  # called in the event loop; it never waits, and never raises


def unwatched_step(step: Step) -> None:
    """Ignore how far it is: nobody watches this one."""


@dataclass(frozen=True, slots=True)
class Made:
    """A file or a text, made. Whoever takes it in encodes it anew: these are its claims."""

    data: bytes
    media_type: str
    width: int = 0  # of a picture or a film
    height: int = 0
    duration_ms: int = 0  # 0: no film
    used_microusd: int | None = None  # what it came to, where that is measured; else its price


@dataclass(frozen=True, slots=True)
class Declined:
    """Refused for good, whoever tries again; `reason` is a sentence for the buyer."""

    reason: str


@dataclass(frozen=True, slots=True)
class Undoable:
    """This executor can't make anything like it; another one might. `reason` is for the buyer."""

    reason: str
    mend: str = ""  # what an operator can do; not for buyers


class NotBegun(Exception):
    """Raised by an executor that could not ask who makes it, and is not healthy now: an outage.

    Nothing was begun and nothing was spent: the item is given back, and has lost no try.
    """


class Executor(Protocol):
    """What makes an item. Any exception means that it may be tried again.

    Each call is bounded in time by the executor itself; a cancelled call stops what it began.
    """

    name: str  # who makes it, as the catalogue says it: `madeBy`
    at_once: int  # how many calls may run side by side

    async def make(
        self, wanted: Wanted, stepped: Stepped = unwatched_step
    ) -> Made | Declined | Undoable:
        """Make one picture or film; report each step."""
        ...

    async def healthy(self) -> Undoable | None:
        """Return None when it can be asked."""
        ...

    async def close(self) -> None:
        """Let go of processes and connections."""
        ...


@dataclass(frozen=True, slots=True)
class Recoded:
    """A picture or a film as we have encoded it."""

    data: bytes
    media_type: str
    width: int
    height: int
    duration_ms: int | None = None  # of a film
    look: str | None = None  # 64 hex digits, nearly the same ones for what looks the same


@dataclass(frozen=True, slots=True)
class Unfit:
    """What was sent is nothing that is kept, today or later; the reason is for its sender."""

    reason: str


@dataclass(frozen=True, slots=True)
class NotNow:
    """It could not be done, for no fault of what was sent: try again later."""

    reason: str


class Recoder(Protocol):
    """Who decodes what strangers made, bounds it, and encodes it anew."""

    async def recode(self, data: bytes, media_type: str) -> Recoded | Unfit | NotNow:
        """Return a picture or a film as we encode it, of the kind that it turned out to be.

        `image/webp; cut=500x400`: a picture that is larger by less than 64 pixels is cut to that.
        """
        ...

    async def close(self) -> None:
        """Let go of the process that decodes."""
        ...


class Store(Protocol):
    """Where the bytes of artifacts lie, each under an id of ours."""

    async def put(self, name: str, data: bytes) -> NotNow | None:
        """Keep bytes under a name that has none yet; they are safe when this returns None."""
        ...

    async def read(self, name: str, start: int, length: int) -> bytes | NotNow | None:
        """Return some of the bytes under a name; None where there is nothing of that name."""
        ...

    async def delete(self, names: Sequence[str]) -> NotNow | None:
        """Let the bytes go. A name that has none is no trouble."""
        ...

    def older(self, before: datetime) -> AsyncGenerator[list[str] | NotNow, None]:
        """Stream the names of what was put before then, some at a time."""
        ...


Clock = Callable[[], datetime]  # aware, UTC
