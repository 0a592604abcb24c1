"""What an operator sees holds no secret and nothing of what was asked: the log, metrics, traces,
and the answers to whoever does it wrong."""

import asyncio
import json
import re

import httpx2

from app.telemetry.logs import conceal
from db.unused_port import unused_port
from statemachine.public_id import public_id, shown
from tests.world.messages_server import CLIENT_KEY, WORK, MessagesServer, Reply
from tests.world.patience import PATIENCE_S
from tests.world.served import bought, start, with_claude
from tests.world.server_process import ServerProcess
from tests.world.trace_collector import collecting

SECRET = "canary-of-the-operator-0123456789abcdef"
ASKED, DONE = "canary-of-the-request", "canary-of-the-result"
LNBITS_KEY = "canary-of-the-lnbits-wallet-0123"


async def everything_bad(http: httpx2.AsyncClient, job_id: str, canary: str) -> list[bytes]:
    """Send a canary in every wrong way, and return what was answered."""
    long, wide, unknown = f"{canary}\x00", canary * 20, f"/api/jobs/{canary}"
    answers = [
        await http.post("/api/jobs", content=f'{{"request": "{canary}'.encode()),
        await http.post("/api/jobs", json={"request": long}),
        await http.post("/api/jobs", json={"request": 7, "refundTo": canary}),
        await http.post("/api/jobs", json={"request": "hello", "refundTo": canary}),
        await http.post("/api/jobs", json={"request": canary}, headers={"Idempotency-Key": wide}),
        await http.get(unknown),
        await http.get(f"/{canary}", params={"q": canary}),
        await http.get(f"/api/jobs/{job_id}/events", params={"lastEventId": canary}),
        await http.get(f"/api/jobs/{job_id}", params={"wait": canary}),
        await http.get("/api/sessions/" + "0" * 32, headers={"Authorization": f"Bearer {canary}"}),
        await http.post(
            f"/api/sessions/{job_id}/request",
            json={"request": canary},
            headers={"Authorization": f"Bearer {canary}"},
        ),
        await http.get("/api/ask", params={"request": canary}, headers={"Authorization": canary}),
        await http.post(f"/api/jobs/{job_id}/refund", json={"invoice": canary}),
    ]
    return [answer.content for answer in answers]


async def prepaid(http: httpx2.AsyncClient, words: str) -> tuple[str, str, str]:
    """Buy a request on a session; return its macaroon, its preimage and its result."""
    opened = (await http.post("/api/sessions", json={"amount_sats": 2_000})).json()
    paid = await http.post(f"/api/dev/stub/pay/{opened['invoice']['paymentHash']}")
    path = f"/api/sessions/{opened['sessionId']}"
    where = f"{path}?claim={opened['claim']}&wait=55"
    macaroon = (await http.get(where)).json()["macaroon"]
    answer = await http.post(
        f"{path}/request", json={"request": words}, headers={"Authorization": f"Bearer {macaroon}"}
    )
    return macaroon, paid.json()["preimage"], answer.json()["result"]


async def test_nothing_that_is_seen_holds_a_secret(
    server: ServerProcess, messages_server: MessagesServer
) -> None:
    """A job and a session, from the first invoice to the last answer, with the log at its fullest:
    no text, key, macaroon, preimage or invoice, and no id by which a result could be read."""
    messages_server.always(WORK, Reply(text=DONE))
    with_claude(server, messages_server)
    server.environment |= {"LOG_LEVEL": "debug", "BOLTWORK_SECRET": SECRET, "RECONCILE_S": "1"}
    async with collecting() as collector:
        server.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.url
        await start(server)
        async with httpx2.AsyncClient(base_url=server.url, timeout=PATIENCE_S) as http:
            job = await bought(http, ASKED)
            macaroon, preimage, result = await prepaid(http, ASKED)
            assert job["result"] == result == DONE
            (await http.get(f"/api/jobs/{job['jobId']}/events")).raise_for_status()
            answers = b"".join(await everything_bad(http, job["jobId"], ASKED))
            metrics = (await http.get("/metrics")).text
        assert await asyncio.to_thread(server.stop) == 0
    lines = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
    assert len(lines) > 20 and collector.spans
    others = [*server.folder.rglob("*.log")]
    seen = {
        "the log": server.log,
        "metrics": metrics,
        "traces": collector.raw.decode(errors="replace"),
        "answers": answers.decode(),
        **{str(path): path.read_text(errors="replace") for path in others},
    }
    secrets = [ASKED, DONE, SECRET, CLIENT_KEY, macaroon, preimage, *job["preimages"]]
    secrets += [*job["invoices"], job["jobId"][:12], job["jobId"][:12].upper()]
    for place, text in seen.items():
        for secret in secrets:
            assert secret not in text, f"{place} holds {secret[:20]}"
    kept = [line for line in lines if line.get("job") == shown(job["jobId"])]
    assert kept and all(re.fullmatch(r"[A-Za-z0-9._-]{8,64}", x["request_id"]) for x in kept)


async def test_a_rail_that_is_away_names_no_key(server: ServerProcess) -> None:
    """An LNbits that can't be reached, or refuses, is told of without its key."""
    server.environment |= {
        "LOG_LEVEL": "debug",
        "LNBITS_URL": f"http://127.0.0.1:{unused_port()}",
        "LNBITS_API_KEY": LNBITS_KEY,
        "RAIL_TIMEOUT_S": "1",
    }
    await start(server)
    async with httpx2.AsyncClient(base_url=server.url, timeout=PATIENCE_S) as http:
        answers = [
            await http.post("/api/jobs", json={"request": ASKED}),
            await http.get("/api/readyz"),
            await http.get("/metrics"),
        ]
    assert [answer.status_code for answer in answers] == [503, 503, 200]
    assert await asyncio.to_thread(server.stop) == 0
    assert "rail_unavailable" in server.log
    for text in (server.log, *(answer.text for answer in answers)):
        assert LNBITS_KEY not in text and ASKED not in text


def test_no_digit_of_a_secret_is_logged() -> None:
    """In the place of an id or a hash stands the beginning of its public id, which is derived from
    it and leads nowhere back; the request's own id is whole."""
    job, long = "0123456789abcdef" * 2, "f" * 64
    line = {"job": job, "payout": f"{job}:work", "note": f"{long} x", "request_id": "a" * 32}
    told = conceal(None, "", dict(line))
    assert told["job"] == public_id(job)[:12] and told["payout"] == f"{told['job']}:work"
    assert told["note"] == f"{public_id(long)[:12]} x" and told["request_id"] == "a" * 32
    assert "0123" not in str(told) and "ffff" not in str(told)
