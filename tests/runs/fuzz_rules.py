"""What a fuzzer can't read in the contract: how to stay fast and fair, and what is no failure.

Each exemption says why; none is for a status that the contract does not promise.
"""

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx2
import schemathesis
from hypothesis import strategies
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.openapi.checks import IgnoredAuth, RejectedPositiveData

from tests.runs.fuzz_lenders import CLAIMS, LEASES, STOCK, SUBMIT, WORKERS
from tests.runs.fuzz_people import SECRET
from tests.runs.fuzz_world import VISITOR, World
from tests.world.contract import CONTRACT, STREAM
from tests.world.patience import PATIENCE_S

LONGEST_WAIT_S, LONGEST_CLAIM_S = 60, 30
LONG_URL = 30_000  # characters: of what a server reads of a head
FAULTS = "/api/dev/stub/faults"
LNURL = "/api/lnurl/"
OF_A_TOOL = (
    "/api/v1/generations/execute",
    "/api/v1/spells/cast",
    "/api/v1/spells/casts/{id}/resume",
    "/api/v1/spells/{slug}/quote",
)
NAMES_ANOTHER = ("/l402/quote", "/mcp")  # address: what that takes, its own schema says
LOGOUT = "/api/auth/logout"
# What is taken out, and to where: parts that exclude each other, in formats of our own.
TAKEN_OUT = frozenset({"amountSats", "amountUsdc", "invoice", "to"})
OF_A_WITHDRAWAL = ("/api/auth/nonce", "/api/account/withdrawals", "/api/v1/user/withdraw")
LENT = (WORKERS, f"{LEASES}/", f"{STOCK}/")
BY_KEY = ("/api/v1/", "/api/account", "/api/jobs", "/v1/")  # paid and read by an API key, too
IN_USDC = ("/api/jobs", "/api/v1/jobs", "/v1/images/generate", "/v1/videos/generate")
JOB, QUOTES = "/api/jobs/{id}", "/api/jobs/quote"
STREAM_SCHEMA = "SSE event violates schema"

# A credential that is none, a model that is not there, a field that another part makes pointless.
BEYOND_FORM = (
    "X-Payment-Preimage",
    "a model that is not offered",
    "isn't available here for",
    "isn't known here. Known are",  # by this model, of all fields that a model may have
    "larger than 2^53",  # in what is handed on as it is
    "with its capitals where they must be",  # a checksum
    "has no use here",
    "is not that of an event of this job",
    "Here one pays by lightning/charge",
    "must be 'lightning' or 0x",  # a token that is not taken here
    "allows at most",  # a side, by this tier of this model
    "'credits' must be 1 to",  # as many sats as a deposit may be
    "There is no tool ",  # in a step of a spell
    "That is no refund destination",  # a worker's `payTo`
    "must be a picture in base64",  # of a heartbeat
    "Content-Digest must be",
    "isn't the one of the Content-Digest",
    "No file of this job",  # was brought before it was submitted
)

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


class Who(StrEnum):
    """Who sends a round's requests."""

    VISITOR = "as a visitor"
    SESSION = "with macaroons"
    ACCOUNT = "with an account"


class Rules:
    """The rules of one round in one world, whose requests somebody sends."""

    def __init__(self, world: World, who: Who) -> None:
        self._world, self._who = world, who

    def teach(self, schema: Any) -> None:
        """Tell a schema all of this."""
        for name, values in self._world.formats().items():
            schemathesis.openapi.format(name, strategies.sampled_from(values))
        schema.auth(refresh_interval=None)(self._credentials())

        # It marks what it is given, and a method can't be.
        def map_case(context: Any, case: Any) -> Any:
            return self._tamed(case)

        def after_call(context: Any, case: Any, response: Any) -> None:
            self._after(case, response)

        def filter_failure(context: Any, failure: Failure, case: Any, response: Any) -> bool:
            return self._is_one(failure, case, response)

        for hook in (map_case, after_call, filter_failure):
            schema.hook(hook)

    def _credentials(self) -> type:
        """Return what shows a case's credential: an account's, its session's, or a visitor's."""
        world, who = self._world, self._who

        class Credentials:
            def get(self, case: Any, context: Any) -> dict[str, str]:
                path = case.operation.path
                if path.startswith(LENT) and who is not Who.VISITOR:
                    return world.lenders.shown_for(path, len(f"{case.query} {case.body}"))
                if who is Who.SESSION:
                    return world.shown_for(str((case.path_parameters or {}).get("id", "")))
                if who is Who.ACCOUNT:
                    spare = world.market.spare
                    ends = path == LOGOUT and bool(spare)
                    if path.startswith(BY_KEY) and len(f"{case.query} {case.body}") % 2:
                        return {"x-api-key": world.people.key}
                    return {
                        "Authorization": f"Bearer {spare.pop() if ends else world.market.token}"
                    }
                if path == "/api/ask":
                    return _shown(
                        case, "Authorization", [f"Payment {c}" for c in world.credentials]
                    )
                if path in IN_USDC:
                    return _shown(case, "PAYMENT-SIGNATURE", world.market.orders)
                if path.startswith("/api/notices/"):
                    return {"X-Webhook-Secret": SECRET}
                return {VISITOR: world.cookie}

            def set(self, case: Any, data: dict[str, str], context: Any) -> None:
                (case.cookies if VISITOR in data else case.headers).update(data)

        return Credentials

    def _tamed(self, case: Any) -> Any:
        """Write whole numbers as our wire wants them, and hold no answer."""
        case.body = _whole(case.body)
        wait = str((case.query or {}).get("wait", ""))
        if wait.isdecimal() and 0 < int(wait[:9]) <= LONGEST_WAIT_S:
            case.query["wait"] = "0"
        if case.operation.path == CLAIMS and isinstance(case.body, dict):
            held = case.body.get("wait")
            if type(held) is int and 0 < held <= LONGEST_CLAIM_S:
                case.body["wait"] = 0
        return case

    def _after(self, case: Any, response: Any) -> None:
        """Take back a scripted fault, as the next requests would fail; keep what was handed out."""
        if response.status_code != 200:
            return
        if case.operation.path == FAULTS and response.request.method == "POST":
            httpx2.delete(
                response.request.url, trust_env=False, timeout=PATIENCE_S
            ).raise_for_status()
        if case.operation.path == "/api/sessions/{id}" and response.request.method == "GET":
            said = response.json()
            if "macaroon" in said:
                self._world.macaroons[said["sessionId"]] = said["macaroon"]

    def _is_one(self, failure: Failure, case: Any, response: Any) -> bool:
        """Say whether what a check has found is a failure."""
        if response.status_code == 431 and len(response.request.url) > LONG_URL:
            return False  # its head is over what any route is asked with (RFC 6585, section 5)
        if failure.title == STREAM_SCHEMA:
            return False  # a text to 3.1, and a series of objects to this engine
        if case.operation.path == JOB and urlsplit(response.request.url).path == QUOTES:
            return False  # a link has put this address, which is another, in the place of an id
        if isinstance(failure, IgnoredAuth):
            # An order or a key beside what was made wrong is told to be wrong, with the offers.
            return bool(response.status_code != 402)
        if isinstance(failure, AcceptedNegativeData):
            # LNURL has its own way of refusing.
            if case.operation.path == QUOTES and "notify" in failure.message:
                return False  # a quote ends nowhere: what it says of that is not read
            if "`Idempotency-Key` in header" in failure.message and _has_an_account(response):
                return False  # a short one is right where an account tells it from others'
            polite = case.operation.path.startswith(LNURL) and response.json()["status"] == "ERROR"
            return not polite and not _NOTHING_WRONG.search(failure.message)
        if isinstance(failure, RejectedPositiveData):
            return not _is_refused_rightly(case, response)
        return True


def _is_refused_rightly(case: Any, response: Any) -> bool:
    """Say whether a request of the right form is refused for what no schema says."""
    path, status = case.operation.path, response.status_code
    if path == "/mcp" and status in (404, 406):
        return True  # a method, or an Accept, of chance
    # Nor does any schema know how long a file is, or whether it is a picture.
    if path.endswith("/result") and status in (415, 422):
        return True
    if path == SUBMIT and response.json()["rc"] == "ImageValidationFailed":
        return True
    # What is bought by the call is refused until it is paid for, and a session that is over does
    # nothing more.
    return status in (402, 410, 416) or _means_nothing_here(case, response)


def _has_an_account(response: Any) -> bool:
    """Say whether a request showed what opens an account."""
    headers = response.request.headers
    return "x-api-key" in headers or "Authorization" in headers


def _shown(case: Any, header: str, values: Sequence[str]) -> dict[str, str]:
    """Return a header with one of these values, or none: always the same for the same case."""
    turn = len(f"{case.query} {case.body}") % (len(values) + 1)
    return {header: values[turn - 1]} if turn else {}


def _whole(value: Any) -> Any:
    """Return a JSON value with 5 in place of 5.0: to JSON Schema they are one."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _whole(each) for key, each in value.items()}
    return [_whole(each) for each in value] if isinstance(value, list) else value


def _means_nothing_here(case: Any, response: Any) -> bool:
    """Say whether a request is refused for what it means: no schema has words for that.

    An invoice may be one, and not the one that is needed; what a format of our own is, nobody
    but us can tell.
    """
    said, body = response.json(), case.body
    told = said.get("error")
    sentence = told["message"] if isinstance(told, dict) else said.get("message", told)
    if case.operation.path in (*OF_A_TOOL, *NAMES_ANOTHER) and response.status_code == 400:
        return True  # what a tool or a spell asks for, its own schema says
    if any(words in sentence for words in BEYOND_FORM):
        return True
    if case.operation.path in OF_A_WITHDRAWAL and response.status_code == 400:
        return bool(TAKEN_OUT & set(body if isinstance(body, dict) else case.query or {}))
    if not isinstance(body, dict):
        return False
    refund_to = body.get("refundTo")
    return (
        "invoice" in body
        or "macaroon" in body
        or (refund_to is not None and "@127.0.0.1:" not in refund_to)
    )
