"""One server process: Boltwork as `boltwork serve` runs it, or a peer that it is held against.

All stand on the same Hypercorn, the same uvloop and the same settings (app/serving/run.py).
"""

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from app import advance
from app.advance import Act, Applied, Payer, Short
from app.advance.shell import in_one_statement
from app.agents.agent import Accepted, Progress, Result, unwatched
from app.executors.toolbox import Toolbox
from app.house import house_of
from app.http.body import json_response
from app.main import assemble, build, running, utc_now
from app.plant import Built
from app.ports import Declined, Made, Stepped, Undoable, UsdcRail, Wanted, unwatched_step
from app.serving.facilitator import build_facilitator
from app.serving.run import listening
from app.settings import Settings
from app.telemetry import logs
from payments.rail import Settled
from payments.stub import StubRail
from payments.usdc.address import Address
from payments.usdc.facilitator import HttpFacilitator
from payments.usdc.network import NETWORKS
from payments.usdc.stub_facilitator import FILE, StubFacilitator
from pricing.money import Msat
from pricing.rates import Usage
from statemachine.batch import begin_from_account
from statemachine.entries import Asset

from . import peers

BTC_USD = 100_000
PAID_TO = Address("0x1111111111111111111111111111111111111111")  # in USDC
HELD_MSAT, CHARGED_MSAT = 2_000, 1_000  # of a debit: what is set aside, and what it then costs


class PromptAgent:
    """An agent that accepts all, and has always just finished."""

    name = "prompt"
    eval_model = work_model = "smollm2-135m-instruct"
    max_output_tokens = 1000
    max_eval_output_tokens = 100

    async def judge(self, request: str) -> Accepted:
        """Accept."""
        return Accepted(50, self.max_output_tokens, Usage(10, 5))

    async def work(
        self, request: str, max_output_tokens: int, progress: Progress = unwatched
    ) -> Result:
        """Answer with some two hundred characters."""
        return Result("A Lightning invoice is a request to be paid. " * 5, Usage(50, 100))

    async def healthy(self) -> None:
        """It can always be asked."""

    async def close(self) -> None:
        """Nothing to let go of."""


class SilentRail(StubRail):
    """The stub rail, whose channel is away: it tells of no payment, and must be asked."""

    push_is_up = False

    async def pushes(self) -> AsyncIterator[Settled | None]:
        """Tell nothing."""
        await asyncio.Event().wait()
        yield None


class TimedTools(Toolbox):
    """The tools that run here, which keep how many seconds each run took."""

    def __init__(self) -> None:
        super().__init__()
        self.took_s: list[float] = []

    async def make(
        self, wanted: Wanted, stepped: Stepped = unwatched_step
    ) -> Made | Declined | Undoable:
        """See Executor."""
        began = time.perf_counter()
        try:
            return await super().make(wanted, stepped)
        finally:
            self.took_s.append(time.perf_counter() - began)

    async def told(self, request: Request) -> Response:
        """Tell it, since it was last asked for: `GET /bench/took`."""
        told, self.took_s = self.took_s, []
        return json_response({"made": told})


class Timed:
    """An application, and how many seconds its answers took since they were last asked for."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._took_s: dict[str, list[float]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or tell it: `GET /bench/took`."""
        if scope["type"] == "http" and scope["path"] == "/bench/took":
            told, self._took_s = self._took_s, {}
            answer = json_response({"settle": told.get("/settle", [])})
            await answer(scope, receive, send)
            return
        began = time.perf_counter()
        try:
            await self._app(scope, receive, send)
        finally:
            if scope["type"] == "http":
                took_s = time.perf_counter() - began
                self._took_s.setdefault(scope["path"], []).append(took_s)


def _assembled(order: dict[str, Any], tools: Toolbox | None = None) -> Built:
    """Return a Boltwork: an agent that takes no time, and every default but for these."""
    settings = Settings.model_validate(
        {
            "BOLTWORK_DATA": Path(order["folder"]),
            "BTC_PRICE_SOURCES": "",
            "BTC_PRICE_USD_FALLBACK": BTC_USD,
            "CREATES_PER_MINUTE": 0,  # one address asks for all
            "WORKER_REQUESTS_PER_MINUTE": 0,
            "SUBMISSIONS_PER_MINUTE": 0,
            "CLAIMS_PER_MINUTE": 0,
            "REQUEST_KB_PER_HOUR": 0,
            "REQUEST_KB_PER_HOUR_ALL": 0,
            "RECONCILE_S": 0,  # rows that were filled in by the million are in nobody's books
            **order.get("settings", {}),
        }
    )
    logs.configure(settings.log_level)
    rail = None
    if order.get("silent"):
        settings.data.mkdir(parents=True)
        rail = SilentRail(settings.data / "stub.sqlite3", utc_now)
    usdc = _usdc(settings, order["facilitator"]) if "facilitator" in order else None
    executors = None if tools is None else [tools]
    return assemble(
        settings,
        order["database_url"],
        rail=rail,
        usdc=usdc,
        agent=PromptAgent(),
        executors=executors,
    )


def _usdc(settings: Settings, url: str) -> UsdcRail:
    """Return a second rail whose facilitator is a process of its own, with the chain behind it."""
    network = NETWORKS[settings.usdc_network]
    chain = StubFacilitator(settings.data / FILE, utc_now).ledger(network)
    http = HttpFacilitator(url, network, timeout_s=20)
    return UsdcRail(network, PAID_TO, http, chain, None)


def house(order: dict[str, Any]) -> Starlette:
    """Return Boltwork, with more routes: a debit and nothing else, as no route of ours is, and how
    many workers idle.
    """
    tools = TimedTools() if order.get("timed") else None
    app = build(_assembled(order, tools), worker=order.get("worker", True))
    # Before all others: behind them, each of those would be tried for it first.
    app.router.routes[:0] = [
        Route("/bench/debit/{id}", debit, methods=["POST"]),
        Route("/bench/account", debit_account, methods=["POST"]),
        Route("/bench/idle", idle),
    ]
    if tools is not None:
        app.router.routes.append(Route("/bench/took", tools.told))
    return app


async def debit(request: Request) -> Response:
    """Check a macaroon, set money of its session aside where that takes it, and charge a part of
    it: what a picture that a session pays for does before and after it, in two transactions.
    """
    house = house_of(request)
    owner = await house.visitors.unseen_owner_of(request)
    assert owner is not None and owner.name == f"session:{request.path_params['id']}"
    async with house.chats.set_aside(owner, Msat(HELD_MSAT)) as held:
        held.charge(CHARGED_MSAT)
    return json_response({"charged": True})


@in_one_statement
async def pay(act: Act, payer: Payer, batch_id: str) -> Applied | Short:
    """Have an account pay: what a purchase does of it, without what it buys."""
    of = batch_id, payer.account_id, Asset.MSAT, CHARGED_MSAT, 1
    entries = begin_from_account(*of).entries
    return await advance.keys.debit(act, payer, CHARGED_MSAT, Asset.MSAT, entries)


async def debit_account(request: Request) -> Response:
    """Look at an API key, and have its account pay, in one transaction."""
    house = house_of(request)
    payer = (await house.callers.needed_account(request)).payer
    paid = await house.holds.shell.do(pay, payer, house.new_id())
    return json_response({"charged": True}, 200 if isinstance(paid, Applied) else 402)


async def idle(request: Request) -> Response:
    """Tell how many wait for work."""
    return json_response({"idle": len(house_of(request).lending.signals.queue)})


def facilitator(order: dict[str, Any]) -> Starlette:
    """Return the stub facilitator, which says how long its answers took."""
    folder = Path(order["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    app = build_facilitator(StubFacilitator(folder / FILE, utc_now))
    app.add_middleware(Timed)
    return app


MAKERS = {
    "house": house,
    "facilitator": facilitator,
    "ceiling": peers.ceiling,
    "debits": peers.debits,
    "streams": peers.streams,
}


async def serve(order: dict[str, Any]) -> None:
    """Serve until standard input ends."""
    app = MAKERS[order["kind"]](order)
    async with listening(app, "127.0.0.1", 0) as url:
        print(json.dumps({"port": int(url.rpartition(":")[2])}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


async def work(order: dict[str, Any]) -> None:
    """Keep promises, without HTTP, until standard input ends."""
    async with running(_assembled(order)):
        print(json.dumps({"port": 0}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    signal.signal(
        signal.SIGINT, signal.SIG_DFL
    )  # the measurement died: there is nobody to drain for
    with contextlib.suppress(asyncio.CancelledError):
        first = json.loads(sys.stdin.readline())
        uvloop.run(work(first) if first["kind"] == "worker" else serve(first))
