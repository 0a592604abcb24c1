"""The network of workers for people: who is there, what waits, what it pays, and how to begin."""

from starlette.requests import Request
from starlette.responses import Response

from app.advance.workers import GIVEN_BACK_WITHIN, MOST_GIVEN_BACK
from app.house import House, house_of
from app.http.links import base_url
from app.web.page import page, render
from app.web.worker_pay import WAITS_HOURS
from db.network import MOST_COUNTED
from statemachine import worker as law

EXAMPLE_ADDRESS = "you@wallet.example.org"


@page
async def show(request: Request) -> Response:
    """GET /workers: the network at a glance, and how to lend a machine to it."""
    house = house_of(request)
    public_url = house.settings.public_url
    return render(
        request,
        "workers.html",
        glance=await house.network.glance(),
        offers=house.network.offers(),
        credit_sats=house.settings.credit_sats,
        most_counted=MOST_COUNTED,
        base=base_url(request, public_url) or "https://…",
        address=EXAMPLE_ADDRESS,
        terms=terms_of(house),
    )


def terms_of(house: House) -> dict[str, int]:
    """Return what the law asks of a worker, as pages say it."""
    return {
        "new_items": law.NEW_ITEMS,
        "new_days": law.NEW_FOR.days,
        "most_silent": law.MOST_SILENT,
        "silent_hours": law.SILENT_WITHIN.seconds // 3_600,
        "most_given_back": MOST_GIVEN_BACK,
        "given_back_hours": GIVEN_BACK_WITHIN.seconds // 3_600,
        "waits_hours": WAITS_HOURS,
        "payout_sats": house.settings.worker_payout_sats,
    }
