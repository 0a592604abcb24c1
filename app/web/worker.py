"""A worker's own page: what it earns, why it is given nothing, and how whoever lends it changes it.

It is opened by the worker's token, which is sent once. The cookie that stands for it holds the
token's hash, sealed, as the row has it: with another token it opens nothing.
"""

from starlette.requests import Request
from starlette.responses import Response

from app.advance.workers import Change
from app.house import House, house_of
from app.http.caller import unknown
from app.http.throttle import Rule
from app.keys.api_keys import kept_of
from app.refusal import Refusal, Why
from app.strict_json import BadInput
from app.trade.lenders import Redirection
from app.trade.once import Name
from app.web import cookies, worker_view
from app.web.account import amount_in
from app.web.forms import name_in, read_form
from app.web.page import page, render, see
from app.web.troubles import Trouble, WrongField, at, trouble_of
from app.web.worker_view import COOKIE, PATH
from db import workers
from db.workers import WorkerRow
from statemachine import worker as law
from statemachine.entries import Asset

SHUT = "This needs the worker’s token: give it below."
EVENTS: dict[str, law.Resumed | law.Drained | law.Paused] = {
    "online": law.Resumed(),
    "draining": law.Drained(),
    "paused": law.Paused(),
}


@page
async def show(request: Request) -> Response:
    """GET /workers/me: the worker of this browser; for others, the way to open it."""
    worker = await _opened(request)
    return closed(request) if worker is None else await worker_view.shown(request, worker)


@page
async def unlock(request: Request) -> Response:
    """POST /workers/me/unlock: this browser shows a worker's token, and is its lender's from now
    on."""
    house, given = house_of(request), await read_form(request)
    sha256 = kept_of(given.get("token", ""))
    if sha256 is None or await workers.by_token(house.db, sha256) is None:
        wrong = unknown(Why.WORKER_UNKNOWN, "No worker has this token.")
        return closed(request, trouble_of(wrong, "token"))
    answer = see(PATH)
    answer.headers.append("Set-Cookie", cookies.line(house, COOKIE, sha256, PATH))
    return answer


@page
async def lock(request: Request) -> Response:
    """POST /workers/me/lock: this browser is its lender's no more."""
    house = house_of(request)
    await form_of(request)
    answer = see(PATH)
    answer.headers.append("Set-Cookie", cookies.forgotten(house, COOKIE, PATH))
    return answer


@page
async def change(request: Request) -> Response:
    """POST /workers/me/state: it is given work, or none, or finishes what it has."""
    house = house_of(request)
    worker, given = await form_of(request)
    event = EVENTS.get(given.get("to", ""))
    try:
        if event is None:
            raise BadInput("A worker is online, draining or paused.")
        await house.lenders.change(worker, Change(event=event))
    except (BadInput, Refusal) as refused:
        return await worker_view.shown(request, worker, trouble_of(refused, "state"))
    return see(PATH)


@page
async def pay_out(request: Request) -> Response:
    """POST /workers/me/payouts: so much of what is free is sent, or all of it."""
    house = house_of(request)
    worker, given = await form_of(request)
    try:
        await house.throttle.count(request, Rule.DESTINATION)
        asset = Asset.MICROUSDC if given.get("asset") == "usdc" else Asset.MSAT
        is_part = given.get("sats") and asset is Asset.MSAT
        amount_msat = amount_in(given, "sats") if is_part else None
        await house.lenders.pay_out(worker, amount_msat, _named(request, worker, given), asset)
    except (BadInput, Refusal) as refused:
        return await worker_view.shown(request, worker, trouble_of(refused, "payout"), given)
    return see(f"{PATH}#payouts")


@page
async def pay_to(request: Request) -> Response:
    """POST /workers/me/destination: where pay goes from now on."""
    house = house_of(request)
    worker, given = await form_of(request)
    try:
        await house.throttle.count(request, Rule.DESTINATION)
        with at("to"):
            to = _destination(house, given)
        await house.lenders.change(worker, Change(), to)
    except (BadInput, Refusal) as refused:
        return await worker_view.shown(request, worker, trouble_of(refused, "to"), given)
    return see(f"{PATH}#destination")


def _destination(house: House, given: dict[str, str]) -> Redirection:
    to = given.get("to", "")
    if not to:
        raise WrongField("to", "Enter a Lightning address or an LNURL.")
    return Redirection(house.refunds.destination_of(to).text)


def _named(request: Request, worker: WorkerRow, given: dict[str, str]) -> Name | None:
    name = name_in(request, {k: v for k, v in given.items() if k != "csrf"})
    return Name(f"worker:{worker.id}", name.key, name.body_sha256) if name else None


async def _opened(request: Request) -> WorkerRow | None:
    """Return the worker whose token this browser has shown."""
    sha256 = cookies.opened(request, COOKIE)
    return await workers.by_token(house_of(request).db, sha256) if sha256 else None


async def form_of(request: Request) -> tuple[WorkerRow, dict[str, str]]:
    """Return whose worker this browser has opened, and the fields of a form of its page.

    Refuses with 401 who has opened none, with 403 a form that is not ours.
    """
    given = await read_form(request)
    worker = await _opened(request)
    if worker is None:
        raise unknown(Why.CREDENTIAL_NEEDED, SHUT)
    cookies.check_token(request, COOKIE, given)
    return worker, given


def closed(request: Request, wrong: Trouble | None = None) -> Response:
    """Return the form that a worker's token opens its page with."""
    return render(request, "worker_door.html", wrong=wrong)
