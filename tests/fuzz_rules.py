"""What a fuzzer can't read in the contract: how to stay fast and fair, and what is no failure.

Each exemption says why; none is for a status that the contract does not promise.
"""

import re
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx2
import schemathesis
from hypothesis import strategies
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.openapi.checks import RejectedPositiveData

from tests.contract import CONTRACT, STREAM

LONGEST_WAIT_S = 60
FAULTS = "/api/dev/stub/faults"
LNURL = "/api/lnurl/"

_NOTHING_WRONG = re.compile(
    # A link put a right value in the place of the wrong one; or what is wrong is a parameter of
    # the query that is not known, which the contract says is ignored.
    r"Invalid component: (positive test case|in query - violates `additionalProperties`)$"
)


@schemathesis.check
def the_contract(ctx: Any, response: Any, case: Any) -> None:
    """Hold an answer to the contract as the tests do: no field that it does not name."""
    request, headers = response.request, {k: v[0] for k, v in response.headers.items()}
    streams = headers.get("content-type", "").startswith(STREAM)
    path = unquote(urlsplit(request.url).path)
    body = None if streams else response.content
    CONTRACT.check(request.method, path, response.status_code, headers, body)


def teach(schema: Any, formats: dict[str, list[str]]) -> None:
    """Tell a schema all of this, and what has the formats that are our own."""
    for name, values in formats.items():
        schemathesis.openapi.format(name, strategies.sampled_from(values))
    schema.hook("map_case")(_tame)
    schema.hook("after_call")(_mend_the_rail)
    schema.hook("filter_failure")(_is_failure)


def _tame(context: Any, case: Any) -> Any:
    """Write whole numbers as our wire wants them, and hold no answer for long."""
    case.body = _whole(case.body)
    wait = str((case.query or {}).get("wait", ""))
    if wait.isdecimal() and 0 < int(wait[:9]) <= LONGEST_WAIT_S:
        case.query["wait"] = "0"
    return case


def _whole(value: Any) -> Any:
    """Return a JSON value with 5 in place of 5.0: to JSON Schema they are one."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _whole(each) for key, each in value.items()}
    return [_whole(each) for each in value] if isinstance(value, list) else value


def _mend_the_rail(context: Any, case: Any, response: Any) -> None:
    """Take back the fault that a request has scripted: the next ones would fail for it."""
    if response.status_code == 200 and case.path == FAULTS and response.request.method == "POST":
        httpx2.delete(response.request.url, trust_env=False).raise_for_status()


def _is_failure(context: Any, failure: Failure, case: Any, response: Any) -> bool:
    """Say whether what a check has found is one."""
    if isinstance(failure, AcceptedNegativeData):
        if _NOTHING_WRONG.search(failure.message):
            return False
        # LNURL has its own way of refusing.
        return not (case.path.startswith(LNURL) and response.json()["status"] == "ERROR")
    if isinstance(failure, RejectedPositiveData):
        return not _means_nothing_here(case.body)
    return True


def _means_nothing_here(body: Any) -> bool:
    """Say whether a body may be refused for what it means: no schema has words for that.

    An invoice may be one, and not the one that is needed; what a format of our own is, nobody
    but us can tell.
    """
    if not isinstance(body, dict):
        return False
    refund_to = body.get("refundTo")
    return "invoice" in body or (refund_to is not None and "@127.0.0.1:" not in refund_to)
