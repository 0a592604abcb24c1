"""What a request would cost at most: free, read-only, and asked without a model."""

from starlette.requests import Request
from starlette.responses import Response

from app.house import house_of
from app.http.body import json_response, parse, read_body
from app.http.fields import Body, RequestText, pricing_breakdown
from app.http.throttle import Rule
from pricing.money import msat_to_sats


class Estimate(Body):
    """POST /api/estimate."""

    request: RequestText


async def estimate(request: Request) -> Response:
    """POST /api/estimate: the evaluation's fee, and the ceiling of the work's price."""
    house = house_of(request)
    async with house.throttle.turn(request, Rule.ESTIMATE):
        asked = parse(await read_body(request), Estimate)
        fee_msat, quote = await house.till.firm(asked.request)
    return json_response(
        {
            "evalSats": msat_to_sats(fee_msat),
            "workSats": msat_to_sats(quote.total_msat),
            "totalSats": msat_to_sats(fee_msat + quote.total_msat),
            "pricingBreakdown": pricing_breakdown(quote),
        }
    )
