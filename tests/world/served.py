"""What is done at a server that runs as a process of its own."""

import asyncio
from typing import Any

import httpx2

from tests.world.messages_server import CLIENT_KEY, MessagesServer
from tests.world.patience import patiently
from tests.world.server_process import ServerProcess


def with_claude(server: ServerProcess, messages_server: MessagesServer) -> ServerProcess:
    """Have the server ask the stand-in for a model's API."""
    server.environment |= {
        "ANTHROPIC_API_KEY": CLIENT_KEY,
        "ANTHROPIC_BASE_URL": messages_server.url,
        "EVAL_MODEL": "claude-haiku-4-5",
        "WORK_MODEL": "claude-haiku-4-5",
    }
    return server


async def start(server: ServerProcess) -> str:
    """Start the server without holding up the stand-in, which lives in this process."""
    return await asyncio.to_thread(server.start)


async def bought(http: httpx2.AsyncClient, words: str) -> dict[str, Any]:
    """Buy a job to its end, and return it with both preimages."""
    made = (await http.post("/api/jobs", json={"request": words})).json()
    job_id, preimages, invoice = made["jobId"], [], made["evalInvoice"]
    job: dict[str, Any] = {}
    while invoice:
        paid = await http.post(f"/api/dev/stub/pay/{invoice['paymentHash']}")
        preimages.append(paid.json()["preimage"])
        invoice = None
        while job.get("state") not in ("complete", "failed") and not invoice:
            job = (await http.get(f"/api/jobs/{job_id}", params={"wait": "55"})).json()
            invoice = job.get("workInvoice") if len(preimages) == 1 else None
    assert job["state"] == "complete", job
    return job | {"preimages": preimages, "invoices": [made["evalInvoice"]["paymentRequest"]]}


async def until_ready_is(http: httpx2.AsyncClient, status: int) -> None:
    """Look at the readiness page until it has this status."""
    async for _ in patiently(f"readiness was never {status}", pause_s=0.1):  # it can't tell itself
        if (await http.get("/api/readyz")).status_code == status:
            return
