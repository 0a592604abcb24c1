"""The operator's view of the workers of the network: who is there, what each earns and owes to
silence, and who is banned."""

from starlette.requests import Request
from starlette.responses import Response

from app.house import house_of
from app.refusal import Refusal, Why
from app.web.cookies import token_of
from app.web.forms import check_origin
from app.web.operator_door import COOKIE, admitted, closed, operator_form
from app.web.page import page, render, see
from app.web.troubles import Trouble, trouble_of
from db.workers import HEARD_WITHIN
from statemachine.worker import WorkerState

PATH = "/operator/workers"
LISTED = 50
NONE_SUCH = {
    "ban": "There is no such worker that isn’t banned.",
    "readmit": "There is no such banned worker.",
}


@page
async def show(request: Request) -> Response:
    """GET /operator/workers: all of them, or those of one state; fifty a page."""
    return await _shown(request) if admitted(request) else closed(request)


@page
async def act(request: Request) -> Response:
    """POST /operator/workers: ban one, or readmit it."""
    check_origin(request)
    given = await operator_form(request)
    fleet, what = house_of(request).overseeing.fleet, given.get("act", "")
    acts = {"ban": fleet.ban, "readmit": fleet.readmit}
    if what not in acts:
        return await _shown(request, Trouble("workers", "A worker is banned, or readmitted."))
    if not await acts[what](given.get("worker", "")):
        refused = Refusal(Why.UNKNOWN, NONE_SUCH[what])
        return await _shown(request, trouble_of(refused, "workers"))
    return see(f"{PATH}#workers")


async def _shown(request: Request, wrong: Trouble | None = None) -> Response:
    fleet, now = house_of(request).overseeing.fleet, house_of(request).clock()
    state, number = _state(request), _number(request)
    found = await fleet.workers(state, (number - 1) * LISTED, LISTED + 1)
    return render(
        request,
        "operator_workers.html",
        wrong=wrong,
        fleet=await fleet.summary(),
        states=[(each.value, each is state) for each in WorkerState],
        state=state.value if state is not None else "",
        workers=found[:LISTED],
        number=number,
        has_more=len(found) > LISTED,
        heard_since=now - HEARD_WITHIN,
        csrf=token_of(request, COOKIE),
    )


def _state(request: Request) -> WorkerState | None:
    """Return whose state the list is asked for; None: every one."""
    given = request.query_params.get("state", "")
    return next((each for each in WorkerState if each.value == given), None)


def _number(request: Request) -> int:
    """Return which page of the list is asked for, from 1 on."""
    given = request.query_params.get("page", "1")
    is_one = given.isascii() and given.isdecimal() and len(given) < 5 and int(given) > 0
    return int(given) if is_one else 1
