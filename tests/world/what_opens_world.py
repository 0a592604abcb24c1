"""A world of ids and credentials, each of which a stranger may have heard of, and what it opens:
read from what is answered, and from what has moved in the database."""

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import httpx2

from statemachine.public_id import concealed, public_id
from tests.world.house_fixtures import Instance
from tests.world.what_opens_bodies import SENDS, Sent, body_of, takes_of
from tests.world.what_opens_things import (
    ASKED,
    CAST_BY,
    FRESH,
    JOB,
    LENDER,
    OWED,
    PICTURE,
    PREPAID,
    TITLE,
    WEBHOOK_SECRET,
    Things,
    made_in,
    owned_by,
    secret_of,
)

TOKEN = "the-token-of-the-operator"

# Each line is one thing that only its owner may change. What an unpaid job owes in the end comes a
# while after it was paid for.
SNAPSHOT = """
SELECT what, id, stands FROM (
SELECT 'refund' AS what, id, state || ' ' || attempts AS stands FROM payout
 WHERE job_id IS DISTINCT FROM %(endless)s
 UNION ALL SELECT 'job', id, state FROM job WHERE session_id IS NULL
 UNION ALL SELECT 'spend', session_id || id, '' FROM job WHERE session_id IS NOT NULL
 UNION ALL SELECT 'spend', session_id || id, '' FROM hold WHERE session_id IS NOT NULL
 UNION ALL SELECT 'spend', session_id || id, '' FROM batch WHERE session_id IS NOT NULL
 UNION ALL SELECT 'spend', account_id || id, '' FROM batch WHERE account_id IS NOT NULL
 UNION ALL SELECT 'batch', id, state FROM batch WHERE session_id IS NULL
 UNION ALL SELECT 'topup', id, topups::text FROM session
 UNION ALL SELECT 'close', id, state FROM session
 UNION ALL SELECT 'revoke', id, nonce FROM session
 UNION ALL SELECT 'revoke', session_id || link, '' FROM revocation
 UNION ALL SELECT 'login', account_id || id, '' FROM login
 UNION ALL SELECT 'key', account_id || id, sha256 || coalesce(revoked_at::text, '') FROM api_key
 UNION ALL SELECT 'deposit', account_id || id, '' FROM invoice WHERE account_id IS NOT NULL
 UNION ALL SELECT 'password', account_id, secret FROM identity
 UNION ALL SELECT 'worker', id, concat_ws(' ', state, pay_to, next_pay_to) FROM worker
 UNION ALL SELECT 'horde', worker_id, sha256 FROM stock_key
 UNION ALL SELECT 'talk', 'talk ' || id || '.', '' FROM conversation
) AS line WHERE id LIKE ANY(%(owned)s)
"""


# What an address names by {id}, by how it begins: else it is a job, a batch or a session.
NAMED = (
    ("/api/gemini", "conversation"),
    ("/api/auth/logins", "login"),
    ("/api/v1/spells/casts", "cast"),
    ("/casts", "cast"),
    ("/api/v1/artifacts", "artifact"),
    ("/api/notices", "webhook"),
    ("/notices", "webhook"),
)


@dataclass(frozen=True)
class Known:
    """What one stranger has: what goes into addresses, and with the request."""

    ids: Mapping[str, str]
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    tried: str = ""  # a text to send as each kind of credential, too
    also: Mapping[str, str] = field(default_factory=dict)  # to show in place of the headers, too

    def named(self, route: str, parameter: str) -> str:
        """Return what to put into a place of an address."""
        parameter = next((of for start, of in NAMED if route.startswith(start)), parameter)
        return self.ids.get(parameter, next(iter(self.ids.values()), "0" * 32))

    @property
    def ways(self) -> list[tuple[dict[str, str], dict[str, str]]]:
        """The headers and the queries to try it with."""
        ways: list[tuple[dict[str, str], dict[str, str]]] = [(dict(self.headers), dict(self.query))]
        if self.also:
            ways.append((dict(self.also), {}))
        if self.tried:
            shown = {"X-Payment-Preimage": (self.tried * 64)[:64], "Idempotency-Key": self.tried}
            ways.append(({"Authorization": f"Bearer {self.tried}"}, {}))
            ways.append((shown, {"claim": self.tried, "k1": self.tried}))
        return ways


@dataclass
class World:
    """Everything that is kept from strangers."""

    instance: Instance
    http: httpx2.AsyncClient  # which asks as a stranger
    made: Things
    known: dict[str, Known]
    marks: list[tuple[str, str]]  # what was opened, when an answer holds this text
    owned: Sequence[str]  # what is here: no other's moves count
    endless: str  # the job that is not paid: its stream of events goes on
    invoice: str  # of a stranger's wallet, for exactly what is owed
    stood: set[tuple[str, str, str]] | None = None  # how all stood when it was last looked at

    async def _standing(self) -> set[tuple[str, str, str]]:
        """Return how all that is here stands."""
        owned = [f"%{name}%" for name in self.owned]
        db = self.instance.built.db
        rows = await db.read_all(SNAPSHOT, endless=self.endless, owned=owned)
        return {(row["what"], row["id"], row["stands"]) for row in rows}

    async def shown(self, route: str, method: str, kind: str) -> set[str]:
        """Return what somebody is shown at a route."""
        known = self.known[kind]
        if self.stood is None:
            self.stood = await self._standing()
        shown = set[str]()
        for headers, query in known.ways:
            said = await self._send(route, method, known, headers, query)
            secrets_known = " ".join([*known.ids.values(), *known.headers.values()])
            shown |= {
                what for what, mark in self.marks if mark in said and mark not in secrets_known
            }
        return shown

    async def moves(self) -> tuple[set[str], set[str]]:
        """Return what has moved since this was last asked, and the ids of it."""
        stands = await self._standing()
        changed = (stands if self.stood is None else self.stood) ^ stands
        self.stood = stands
        return {what for what, _, _ in changed}, {name for _, name, _ in changed}

    async def _send(
        self,
        route: str,
        method: str,
        known: Known,
        headers: dict[str, str],
        query: dict[str, str],
    ) -> str:
        path = re.sub(r"{(\w+)(:path)?}", lambda found: known.named(route, found[1]), route)
        if route.endswith("/callback"):
            offer = await self.http.get(path.removesuffix("/callback"))
            if "k1" in offer.text:
                query["k1"] = offer.json()["k1"]
        text = "hello" if "Bearer" in str(headers) or not route.endswith("/ask") else ASKED
        query = {"pr": self.invoice, "request": text, **query}
        sent = Sent(route, headers, text, self.invoice, self.made.worker)
        content, kind = body_of(sent) if method in SENDS else (b"", "")
        async with self.http.stream(
            method,
            path,
            params=query,
            headers={**({"Content-Type": kind} if content else {}), **takes_of(route), **headers},
            content=content,
        ) as answer:
            text = json.dumps(answer.headers.multi_items())
            async for piece in answer.aiter_text():
                text += piece
                if self.endless in path and "data:" in text:
                    break
        return text


def _ids(made: Things, secret: str, job_secret: str) -> dict[str, Known]:
    """Return those who know a name of something, and no credential."""
    here = _named(made)

    def shows(text: str) -> Known:
        return Known({"id": text}, tried=text)

    job_id, session_id = made.job["jobId"], made.holder.session_id
    payout, request = f"{session_id}:deposit:overpaid", made.request
    return {
        "nothing": Known({}),
        "a job's id": shows(job_id),
        "a job's public id": shows(public_id(job_id)),
        "the id of a job that is not paid": shows(made.unpaid),
        "a session's id": Known(here, tried=session_id),
        "a session's public id": shows(public_id(session_id)),
        "a request's id": Known({"id": request, "request_id": request}, tried=request),
        "a payout's name": Known({"secret": payout, "which": "deposit-overpaid", **here}),
        "a payout's public name": Known({"secret": concealed(payout)}),
        "the secret of a job's refund": shows(job_secret),
        "the secret of a session's refund": shows(secret),
        "a conversation's id": Known({"conversation": made.talk}),
        "a child's link": shows(made.link),
        "an account's id": shows(made.person["accountId"]),
        "a login's id": shows(made.login),
        "a batch's id": Known(
            {"id": made.batch, "item_id": made.item, "item": made.item}, tried=made.batch
        ),
        "a cast's id": Known({"id": made.cast["id"], **made.cast, "artifact": "0" * 32}),
        "a file's id": Known({"id": made.cast["artifact"]}),
        "the id of an account's cast": Known({**made.others_cast, "artifact": "0" * 32}),
        "the id of a request to connect a wallet": Known(
            {"id": made.connects, "request_id": made.connects}, tried=made.connects
        ),
        "a payment's hash": Known({"id": made.session["invoice"]["paymentHash"]}),
        "an invoice": Known({"id": made.session["invoice"]["paymentRequest"]}),
    }


def _named(made: Things) -> dict[str, str]:
    """Return what is known of a session by who has a credential of it."""
    return {
        "id": made.holder.session_id,
        "request_id": made.request,
        "conversation": made.talk,
    }


def _credentials(made: Things) -> dict[str, Known]:
    """Return those who have a credential, or something that was one."""
    here, fresh = _named(made), made.fresh
    # What is another account's is in the addresses, where it is not one's own.
    others = {**made.others_cast, "webhook": made.webhook, "artifact": "0" * 32}
    mine = others | {"login": made.login, "key_id": made.key["id"]}
    replaced, gone = made.ended_keys

    def held(*caveats: str) -> Known:
        return Known(here, made.holder.child(*caveats).headers)

    return {
        "the macaroon": Known(here, made.holder.headers),
        "a macaroon with a budget": held("budget_sats=1000"),
        "a macaroon with a limit": held("max_sats=1"),
        "a macaroon to request": held("endpoints=request"),
        "a macaroon to see": held("endpoints=status"),
        "a macaroon to see and refund": held("endpoints=status,refund"),
        "a macaroon whose time is over": held("expires_at=1"),
        "a macaroon that was revoked": Known(here, made.revoked.headers),
        "the macaroon of another session": Known(here, made.other.headers),
        "the deposit's preimage": Known(here, {"X-Payment-Preimage": made.preimage}),
        "the claim": Known({"id": fresh["sessionId"]}, query={"claim": fresh["claim"]}),
        "the claim of a session in use": Known(here, query={"claim": made.session["claim"]}),
        "a proof of payment": Known({"id": "0" * 32}, {"Authorization": made.proof}),
        "a Payment credential": Known({"id": "0" * 32}, {"Authorization": made.credential}),
        "the cookie of a session's page": Known(here, {"Cookie": made.cookie}),
        "the cookie of a visitor": Known({"conversation": made.visited}, {"Cookie": made.visitor}),
        "the cookie of an account": Known(mine, {"Cookie": f"session={made.token}"}),
        "the token of an account": Known(mine, {"Authorization": f"Bearer {made.token}"}),
        "an API key of an account": Known(mine, {"x-api-key": made.key["apiKey"]}),
        "an API key with a spending limit": Known(mine, {"x-api-key": made.limited}),
        "an API key that was revoked": Known(
            mine, {"x-api-key": gone}, also={"Authorization": f"Bearer {replaced}"}
        ),
        "the API key of another account": Known(mine, {"x-api-key": made.others_key}),
        "the secret of a webhook": Known(
            {"id": made.webhook}, {"X-Webhook-Secret": WEBHOOK_SECRET}
        ),
        "the token of a worker": Known(  # the cookie of its page, and its key for the dialect
            {"id": made.worker, "name": LENDER.upper()},
            {"Authorization": f"Bearer {made.worker_token}"},
            also={"Cookie": made.worker_cookie, "apikey": made.horde_key},
        ),
        "the operator's token": Known(here, {"Authorization": f"Bearer {TOKEN}"}),
        "the key of a job": Known({}, {"Idempotency-Key": made.job_key}),
        "the key of a session": Known({}, {"Idempotency-Key": made.session_key}),
        "the key of an ask": Known({}, {"Idempotency-Key": made.ask_key}),
    }


async def build(
    instance: Instance,
    http: httpx2.AsyncClient,
    before: World | None = None,
    moved: Collection[str] = (),
) -> World:
    """Return a new world: nothing has moved in it. What did not move in the one before is kept."""
    made = await made_in(instance, before.made if before else None, moved)
    holder, job_ids = made.holder, [made.job["jobId"], made.unpaid, made.asked, made.request]
    status = await holder.status()
    mine = await instance.post("/api/dev/stub/invoice", {"amountSats": OWED})
    code, secret = secret_of(status["refunds"])
    job_code, job_secret = secret_of(made.job["refunds"])
    holders, casts = (holder, made.owner), (made.cast, made.others_cast)
    marks = [
        *(("result", f"done: {text}") for text in (JOB, ASKED, PREPAID)),
        *(("state", public_id(each)[:8]) for each in job_ids),
        *(("balance", f'"balanceSats":{n}') for n in (status["balanceSats"], FRESH)),
        *(("balance", f"data-balance>{n:,}<") for n in (status["balanceSats"], FRESH)),
        *(("macaroon", each.macaroon) for each in holders),
        *(("code", each) for each in (code, job_code, made.fresh_code)),
        *(("code", f"withdraw/{each}/callback") for each in (secret, job_secret)),
        *(("job_id", each) for each in job_ids),
        *(("session_id", each.session_id) for each in holders),
        *(("claim", each["claim"]) for each in (made.session, made.fresh)),
        ("cookie", f"Path=/sessions/{holder.session_id}; HttpOnly; SameSite=Strict"),
        *(("receipt", hashlib.sha256(each.encode()).hexdigest()) for each in (JOB, PREPAID)),
        ("preimage", made.preimage),
        ("picture", PICTURE),
        ("picture", CAST_BY),
        ("told", made.notice),
        ("file", f"/images/{made.item}"),
        *(("file", cast["artifact"]) for cast in casts),
        *(("file", f'filename=\\"{cast["artifact"][:12]}.') for cast in casts),
        *(("cast", f'"castId":"{cast["id"]}"') for cast in casts),
        *(("cast", f'data-here="/casts/{cast["id"]}"') for cast in casts),
        ("file", '"artifact:'),
        ("file", "image-1.png"),
        ("file", f"boltwork-{public_id(made.batch)[:8]}"),
        ("talk", TITLE),
        ("account", made.person["username"]),
        ("account", made.token),
        ("key", made.key["key"]),
        ("connected", made.connected),
        ("balance", f'"balanceSats":{FRESH}'),
        ("balance", f'"balance_sats":{FRESH}'),
        ("books", "Trial balance"),
        ("worker", LENDER),
        ("cookie", "Path=/workers/me; HttpOnly; SameSite=Strict"),
    ]
    known = _ids(made, secret, job_secret) | _credentials(made)
    invoice = mine.json()["paymentRequest"]
    return World(instance, http, made, known, marks, owned_by(made), made.unpaid, invoice)
