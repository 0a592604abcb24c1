"""What opens what: every route with every kind of id and credential. What this table does not say,
opens nothing.

`state` is where a job stands, `code` how a refund is taken with a wallet; `refund`, `spend`, `job`
and so on are what has moved: a refund that was sent, a balance that was spent, a job brought on.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from starlette.routing import Route

from app.agents.chat import WorkerChat
from app.api import DEV_ROUTES, ROUTES
from app.http.routes import Table
from app.main import build as application
from app.mcp import MCP_ROUTES
from app.web import PAGES
from tests.world.house_fixtures import Instance, instance_of
from tests.world.patience import PATIENCE_S
from tests.world.scripted_agent import ScriptedAgent
from tests.world.scripted_maker import ScriptedMaker
from tests.world.what_opens_world import TOKEN, World, build

WHOLE, BUDGET, LIMIT = "the macaroon", "a macaroon with a budget", "a macaroon with a limit"
TO_ASK, TO_SEE = "a macaroon to request", "a macaroon to see"
TO_REFUND, OTHER = "a macaroon to see and refund", "the macaroon of another session"
OVER, REVOKED = "a macaroon whose time is over", "a macaroon that was revoked"
PREIMAGE, CLAIM = "the deposit's preimage", "the claim"
USED_CLAIM, PROOF = "the claim of a session in use", "a proof of payment"
CREDENTIAL = "a Payment credential"  # of what was posted: its challenge holds the body's digest
ACCOUNT, BEARER = "the cookie of an account", "the token of an account"
API_KEY, CONNECTS = "an API key of an account", "the id of a request to connect a wallet"
LIMITED, OTHERS_KEY = "an API key with a spending limit", "the API key of another account"
ENDED_KEY = "an API key that was revoked"  # and one that another has replaced
WEBHOOK = "the secret of a webhook"
COOKIE, VISITOR = "the cookie of a session's page", "the cookie of a visitor"
OPERATOR = "the operator's token"
WORKER = "the token of a worker"  # the cookie of its page, and its key for another's dialect
JOB, UNPAID, REQUEST = "a job's id", "the id of a job that is not paid", "a request's id"
SESSION, PAYOUT = "a session's id", "a payout's name"
JOB_SECRET, SECRET = "the secret of a job's refund", "the secret of a session's refund"
HASH = "a payment's hash"
BATCH, CAST, FILE = "a batch's id", "a cast's id", "a file's id"
OTHERS_CAST = "the id of an account's cast"
JOB_KEY, SESSION_KEY, ASK_KEY = "the key of a job", "the key of a session", "the key of an ask"

GROUPS = {
    "ids": ["nothing", JOB, UNPAID, SESSION, REQUEST, PAYOUT, BATCH, CAST, OTHERS_CAST],
    "public names": [
        "a job's public id", "a session's public id", "a payout's public name", "a child's link",
        "a conversation's id", HASH, "an invoice", "an account's id", "a login's id",
    ],
    "secrets": [
        JOB_SECRET, SECRET, PREIMAGE, CLAIM, USED_CLAIM, PROOF, CREDENTIAL, CONNECTS, FILE, WEBHOOK,
    ],
    "macaroons": [WHOLE, BUDGET, LIMIT, TO_ASK, TO_SEE, TO_REFUND, OVER, REVOKED, OTHER],
    "cookies and keys": [
        OPERATOR,  # first: its page lists so many payouts, and the others take money out
        COOKIE, VISITOR, ACCOUNT, BEARER, API_KEY, LIMITED, ENDED_KEY, OTHERS_KEY, JOB_KEY,
        SESSION_KEY, ASK_KEY, WORKER,
    ],
}  # fmt: skip
TALKS = {WHOLE: "talk", BUDGET: "talk", LIMIT: "talk", VISITOR: "talk"}
# All these name a session, and the page of one shows its balance to who has its address.
ADDRESS = dict.fromkeys(
    (SESSION, PAYOUT, *GROUPS["macaroons"], PREIMAGE, CLAIM, USED_CLAIM, OPERATOR), "balance"
)
A_JOB = {JOB: "state result code", UNPAID: "state", REQUEST: "state result"}
A_BATCH = dict.fromkeys((BATCH, CAST, OTHERS_KEY), "picture file")  # that key's account bought one
FILES = dict.fromkeys((BATCH, CAST, OTHERS_KEY), "file")
A_CAST = dict.fromkeys((CAST, OTHERS_KEY), "cast")
HOLDERS = (ACCOUNT, BEARER, API_KEY)
MEMBERS = (*HOLDERS, LIMITED)  # who may see what the account has, and pay in
# What a session may buy by its macaroon: whichever session it is of.
SPENDS = {WHOLE: "spend", BUDGET: "spend", OTHER: "spend"}
SPENDS_TOO = SPENDS | dict.fromkeys(HOLDERS, "spend")  # by a key within its limit alone

TABLE: dict[str, dict[str, str]] = {
    "POST /api/jobs/quote": {},
    "GET /api/jobs/{id}": A_JOB | A_BATCH,
    "GET /api/sessions/{id}/requests/{request_id}": {WHOLE: "result"},
    "POST /api/v1/spells": {},
    "GET /api/v1/spells/marketplace": {},
    "POST /api/v1/spells/cast": {},
    "GET /api/v1/spells/casts/{id}": A_CAST,
    "POST /api/v1/spells/casts/{id}/resume": A_CAST,  # nothing is left to do
    "POST /api/v1/spells/casts/{id}/cancel": {},
    "GET /api/v1/spells/{slug}": {},
    "POST /api/v1/spells/{slug}/quote": {},
    "GET /api/healthz": {},
    "GET /api/readyz": {},
    "POST /api/jobs": {JOB_KEY: "job_id"},
    "POST /api/jobs/{id}/refund": {JOB: "refund"},
    "POST /api/jobs/{id}/cancel": {UNPAID: "state job"},
    "GET /api/jobs/{id}/events": A_JOB | A_BATCH,
    "GET /api/jobs/{id}/images/{item_id}": {BATCH: "file"},
    "GET /api/jobs/{id}/videos/{item_id}": {},
    "GET /api/jobs/{id}/previews/{item_id}": {},  # it is made: there is none any more
    "GET /api/models": {},
    "GET /api/notices/{id}": dict.fromkeys((WEBHOOK, OTHERS_KEY), "told"),
    "POST /api/notices/{id}/redeliver": dict.fromkeys((WEBHOOK, OTHERS_KEY), "told"),
    "POST /api/v1/workers": {},
    "GET /api/v1/workers/me": {WORKER: "worker"},
    "PATCH /api/v1/workers/me": {WORKER: "worker"},
    "GET /api/v1/workers/me/payouts": {},
    "POST /api/v1/workers/me/payouts": {},  # nothing was earned
    "POST /api/v1/workers/me/horde-key": {WORKER: "horde"},
    "POST /api/v1/workers/claims": {},
    "GET /api/v1/workers/market": {},
    "POST /api/v1/leases/{id}/heartbeat": {},
    "PUT /api/v1/leases/{id}/result": {},
    "POST /api/v1/leases/{id}/fail": {},
    "POST /api/v1/leases/{id}/release": {},
    "POST /api/v2/generate/pop": {},
    "POST /api/v2/generate/submit": {},
    "PUT /api/v2/uploads/{id}/{mark}": {},
    "GET /api/v2/find_user": {WORKER: "worker"},
    "GET /api/v2/workers": {WORKER: "worker"},
    "GET /api/v2/workers/name/{name}": {WORKER: "worker"},
    "GET /api/v2/workers/{id}": {WORKER: "worker"},
    "PUT /api/v2/workers/{id}": {WORKER: "worker"},
    "GET /api/v2/status/heartbeat": {},
    "POST /v1/images/generate": SPENDS_TOO,
    "POST /v1/videos/generate": SPENDS_TOO,
    "GET /v1/generations/{id}": FILES,
    "GET /api/jobs/{id}/receipt": {JOB: "state receipt", REQUEST: "state receipt"},
    "POST /api/sessions": {SESSION_KEY: "session_id"},
    "GET /api/sessions/{id}": {
        **dict.fromkeys((SESSION, PAYOUT, USED_CLAIM, COOKIE), "balance"),
        **dict.fromkeys((BUDGET, LIMIT, TO_SEE), "balance"),
        WHOLE: "balance code",
        TO_REFUND: "balance code",
        PREIMAGE: "balance code macaroon",
        CLAIM: "balance code macaroon",
    },
    "POST /api/sessions/{id}/request": {WHOLE: "spend", BUDGET: "spend", TO_ASK: "spend"},
    "POST /api/sessions/{id}/topup": {WHOLE: "topup", BUDGET: "topup", LIMIT: "topup"},
    "POST /api/sessions/{id}/close": {WHOLE: "close refund code"},
    "POST /api/sessions/{id}/refund": {WHOLE: "refund", TO_REFUND: "refund"},
    "POST /api/sessions/{id}/revoke": {WHOLE: "revoke"},
    "GET /api/ask": {WHOLE: "spend", BUDGET: "spend", OTHER: "spend", PROOF: "result job_id"},
    "POST /api/ask": {
        **{WHOLE: "spend", BUDGET: "spend", OTHER: "spend", PROOF: "result job_id"},
        CREDENTIAL: "result job_id",
        ASK_KEY: "job_id",
    },
    "GET /api/lnurl/withdraw/{secret}": {JOB_SECRET: "state code", SECRET: "code"},
    "GET /api/lnurl/withdraw/{secret}/callback": {JOB_SECRET: "refund", SECRET: "refund"},
    "GET /api/lnurl/withdraw/{id}/{which}": {},
    "GET /api/lnurl/withdraw/{id}/{which}/callback": {},
    "POST /api/estimate": {},
    "GET /api/demo": {},
    "GET /api/gemini/conversations": TALKS,
    "POST /api/gemini/conversations": {},
    "GET /api/gemini/conversations/{id}": TALKS,
    "DELETE /api/gemini/conversations/{id}": TALKS,
    "GET /api/gemini/conversations/{id}/messages": {},  # of these conversations there are none
    "POST /api/gemini/conversations/{id}/messages": {WHOLE: "spend", BUDGET: "spend"},
    "POST /api/gemini/generate-image": {WHOLE: "spend", BUDGET: "spend", OTHER: "spend"},
    "POST /api/auth/login": {},
    "POST /api/auth/logout": dict.fromkeys((ACCOUNT, BEARER), "login"),
    "GET /api/auth/me": dict.fromkeys(MEMBERS, "account"),
    "GET /api/auth/logins": {},
    "DELETE /api/auth/logins/{id}": dict.fromkeys(HOLDERS, "login"),
    "POST /api/auth/password": dict.fromkeys((ACCOUNT, BEARER), "password"),
    "POST /api/auth/recover": {},
    "GET /api/auth/nonce": {},
    "POST /api/auth/siwe": {},
    "POST /api/auth/wallets": {},  # what a wallet has signed, nobody else has
    "POST /api/auth/lnurl": {},
    "POST /api/auth/lnurl/login": {},  # what a wallet has signed, its page alone fetches
    "POST /api/auth/lnurl/join": {},
    "GET /api/lnurl/auth/{k1}": {},
    "GET /api/account": dict.fromkeys(MEMBERS, "balance"),
    "GET /api/account/history": {},
    "POST /api/account/deposits": dict.fromkeys(MEMBERS, "deposit"),
    "POST /api/account/withdrawals": dict.fromkeys(HOLDERS, "refund"),
    "POST /api/account/refund": {},  # nothing was taken out
    "GET /api/v1/generations/status/{id}": FILES,
    "POST /api/v1/generations/status": {},
    "POST /api/v1/generations/execute": SPENDS_TOO,
    "GET /api/v1/artifacts/{id}": {FILE: "file"},  # its own id opens it, and nothing else does
    "GET /api/v1/tools": {},
    "GET /api/v1/tools/registry": {},
    "GET /api/v1/tools/registry/{tool_id}": {},
    "GET /api/v1/tools/{tool_id}": {},
    "POST /api/v1/wallets/connect/initiate": {},
    "GET /api/v1/wallets/connect/status/{request_id}": {CONNECTS: "connected"},
    "GET /api/v1/users/me": dict.fromkeys(MEMBERS, "account balance"),
    "GET /api/v1/users/me/credits": dict.fromkeys(MEMBERS, "balance"),
    "POST /api/v1/credits": dict.fromkeys(MEMBERS, "deposit"),
    "GET /api/v1/tiers": {},
    "GET /api/v1/models": {},
    "POST /api/v1/jobs": SPENDS,  # who has an account has too little on it
    "GET /api/v1/jobs/{id}": {},  # of these ids none is such a job's
    "GET /api/v1/jobs/{id}/result": {},
    "GET /api/v1/user/me": {
        **dict.fromkeys((ACCOUNT, BEARER), "account balance"),
        API_KEY: "account balance key",
        LIMITED: "account balance",
    },
    "GET /api/v1/user/dashboard": {
        **dict.fromkeys((ACCOUNT, BEARER), "account balance"),
        API_KEY: "account balance key",
        LIMITED: "account balance",
    },
    "GET /api/v1/user/history": {},  # nothing was spent
    "POST /api/v1/user/withdraw": dict.fromkeys(HOLDERS, "refund"),
    "GET /api/v1/user/apikeys": dict.fromkeys(HOLDERS, "key"),
    "POST /api/v1/user/apikeys": dict.fromkeys(HOLDERS, "key"),
    "DELETE /api/v1/user/apikeys/{key_id}": dict.fromkeys(HOLDERS, "key"),
    "POST /api/v1/user/apikeys/{key_id}/rotate": dict.fromkeys(HOLDERS, "key"),
    "GET /.well-known/jwks.json": {},
    "GET /.well-known/x402": {},
    "GET /.well-known/l402.json": {},
    "GET /.well-known/api-catalog": {},
    "GET /.well-known/agent-card.json": {},
    "POST /l402/quote": {},  # an offer to anybody, and to nobody's account
    "POST /mcp": {  # a tool opens what the address does that it asks: here it is the balance
        **dict.fromkeys((BUDGET, LIMIT, TO_SEE, BEARER, API_KEY, LIMITED), "balance"),
        **dict.fromkeys((WHOLE, TO_REFUND), "balance code"),
    },
    "GET /llms.txt": {},
    "GET /llms-full.txt": {},
    "GET /swagger.json": {},
    "GET /api/openapi.json": {},
    "GET /openapi.yaml": {},
    "GET /openapi.json": {},
    "GET /": {},
    "POST /estimate": {},
    "GET /demo": {},
    "POST /jobs": {},
    "GET /jobs/{id}": A_JOB | {BATCH: "picture", CAST: "picture"},
    "GET /jobs/{id}/items/{item}": {BATCH: "file"},
    "GET /jobs/{id}/previews/{item}": {},
    "GET /jobs/{id}/files.zip": {BATCH: "file"},
    "GET /studio": {},
    "POST /studio": {},
    "POST /studio/price": {},
    "GET /spells": {},
    "GET /spells/{slug}": {},
    "POST /spells/{slug}": {},
    "GET /casts/{id}": {CAST: "cast"},
    "POST /casts/{id}/pay": {},
    "POST /casts/{id}/resume": {},
    "GET /tools": {},
    "GET /tools/{tool_id}": {},
    "POST /tools/{tool_id}": {},
    "POST /tools/{tool_id}/price": {},
    "POST /jobs/{id}/pay": {UNPAID: "job"},
    "POST /jobs/{id}/cancel": {UNPAID: "job"},
    "POST /jobs/{id}/refund": {
        JOB: "refund state result",
        BATCH: "picture",
        CAST: "picture",
        UNPAID: "state",
        REQUEST: "state result",
    },
    "POST /sessions": {},
    "GET /sessions/{id}": ADDRESS | {COOKIE: "balance code"},
    "POST /sessions/{id}/pay": {},
    "POST /sessions/{id}/unlock": ADDRESS
    | {WHOLE: "cookie", PREIMAGE: "cookie", COOKIE: "balance code"},
    "POST /sessions/{id}/lock": {},
    "POST /sessions/{id}/macaroon": {COOKIE: "balance code macaroon"},
    "POST /sessions/{id}/estimate": {COOKIE: "balance code"},
    "POST /sessions/{id}/ask": {COOKIE: "spend"},
    "POST /sessions/{id}/topup": {COOKIE: "topup"},
    "POST /sessions/{id}/close": {COOKIE: "close refund"},
    "POST /sessions/{id}/refund": {COOKIE: "refund"},
    "GET /account": {ACCOUNT: "balance key"},
    "POST /account/login": {},
    "POST /account/lightning": {},
    "POST /account/logout": {ACCOUNT: "login"},
    "POST /account/topup": {ACCOUNT: "deposit"},
    "POST /account/pay": {},  # nothing is open
    "POST /account/withdraw": {ACCOUNT: "balance key"},  # the page says what is missing
    "POST /account/notices": {},  # the form names none
    "POST /account/refund": {ACCOUNT: "balance key"},  # nothing was taken out
    "POST /account/keys": {ACCOUNT: "balance key"},
    "POST /account/keys/revoke": {},  # the form names none
    "POST /account/join": {ACCOUNT: "balance key"},
    "GET /notices/{id}": {OTHERS_KEY: "told"},
    "POST /notices/{id}": {WEBHOOK: "told"},
    "POST /notices/{id}/redeliver": {WEBHOOK: "told"},
    "GET /workers": {},
    "GET /workers/me": {WORKER: "worker"},
    "POST /workers/me/unlock": {WORKER: "cookie"},
    "POST /workers/me/lock": {},
    "POST /workers/me/state": {WORKER: "worker"},
    "POST /workers/me/payouts": {WORKER: "worker"},  # nothing was earned
    "POST /workers/me/destination": {WORKER: "worker"},
    "GET /operator": {OPERATOR: "books state"},
    "GET /operator/books": {OPERATOR: "books"},
    "POST /operator/login": {},
    "POST /operator/logout": {},
    "POST /operator/payouts": {OPERATOR: "books state"},
    "POST /operator/switches": {OPERATOR: "books state"},
    "GET /operator/workers": {OPERATOR: "worker"},
    "POST /operator/workers": {OPERATOR: "worker"},
    "GET /docs": {},
    "GET /docs/{name}": {},
    "GET /static/{name}": {},
    "GET /favicon.ico": {},
    "GET /metrics": {},
    # On the stub rail everybody pays for everybody, and learns what a payer does.
    "POST /api/dev/stub/pay/{payment_hash}": {HASH: "preimage"},
    "POST /api/dev/stub/invoice": {},
    "POST /api/dev/stub/faults": {},
    "DELETE /api/dev/stub/faults": {},
}


def methods(route: Route) -> list[str]:
    """Return the methods of a route that may do something."""
    return sorted((route.methods or {"GET"}) - {"HEAD", "OPTIONS"})


def routes(instance: Instance) -> list[tuple[str, str]]:
    """Return each route of the application, once for each of its methods."""
    [table] = application(instance.built).routes
    assert isinstance(table, Table)
    return [(method, route.path) for route in table.routes for method in methods(route)]


@pytest.fixture
async def open_house(
    database_url: str, tmp_path: Path, scripted_agent: ScriptedAgent, request: pytest.FixtureRequest
) -> AsyncIterator[Instance]:
    """An instance with an operator, in this cell. What it draws, it draws at once."""
    async with instance_of(
        database_url,
        tmp_path,
        agent=scripted_agent,
        chat=WorkerChat(scripted_agent, 100_000, ScriptedMaker()),
        executors=[ScriptedMaker()],
        OPERATOR_TOKEN=TOKEN,
        CREDIT_SATS="200",
        WORKERS="true",
        CELL=request.param,
    ) as running:
        yield running


def test_every_route_has_a_row() -> None:
    """Who adds a route says here what opens it."""
    listed = (*ROUTES, *MCP_ROUTES, *PAGES, *DEV_ROUTES)
    made = [route for route in listed if isinstance(route, Route)]
    named = {f"{method} {route.path}" for route in made for method in methods(route)}
    assert named | {"GET /metrics"} == set(TABLE)


async def unheard_of(world: World, kind: str, silent: list[str]) -> list[str]:
    """Say what has moved since it was last looked at, though these rows say that nothing does."""
    moved, _ = await world.moves()
    began, ended = silent[:1], silent[-1:]
    silent.clear()
    return [f"{kind}: from {began} to {ended}, {sorted(moved)} moved"] if moved else []


RUNS = [*((group, "") for group in GROUPS), ("secrets", "b7"), ("cookies and keys", "b7")]


@pytest.mark.parametrize(("group", "open_house"), RUNS, indirect=["open_house"])
async def test_what_opens_what(open_house: Instance, group: str) -> None:
    """A stranger who has one of these, and puts it wherever something is asked for, is shown and
    moves what the table says: nothing else does."""
    wrong = []
    async with httpx2.AsyncClient(base_url=open_house.url, timeout=PATIENCE_S) as http:
        world = await build(open_house, http)
        assert sorted(world.known) == sorted(kind for kinds in GROUPS.values() for kind in kinds)
        for kind in GROUPS[group]:
            silent: list[str] = []
            for method, path in routes(open_house):
                right = set(TABLE[f"{method} {path}"].get(kind, "").split())
                if right and silent:
                    wrong += await unheard_of(world, kind, silent)
                http.cookies.clear()
                shown = await world.shown(path, method, kind)
                if not right:
                    silent.append(f"{method} {path}")
                    wrong += [f"{kind}: {silent[-1]} shows {sorted(shown)}"] if shown else []
                    continue
                moved, changed = await world.moves()
                if shown | moved != right:
                    wrong.append(f"{kind}: {method} {path} opens {sorted(shown | moved)}")
                if changed:
                    http.cookies.clear()
                    world = await build(open_house, http, world, changed)
            wrong += await unheard_of(world, kind, silent)
    assert not wrong, "\n".join(wrong)
