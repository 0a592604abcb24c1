"""x402's own client, as it comes, whose caller is never answered and asks anew: charged once."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from app.adapters import make_usdc
from app.main import assemble, build, utc_now
from app.ports import UsdcRail
from app.serving.run import listening
from db.audit import audit
from payments.rail import Unavailable
from payments.stub import StubRail
from payments.usdc.outcome import Facilitator, Settled, Unknown, Valid
from payments.usdc.payment import Payment
from payments.usdc.stub_chain import FAUCET
from payments.usdc.x402 import SIGNATURE
from tests.world.batch_doors import batch
from tests.world.house_fixtures import fixed_oracle, settings_for
from tests.world.local_chain import installed
from tests.world.patience import patiently
from tests.world.scripted_agent import ScriptedAgent
from tests.world.scripted_maker import ScriptedMaker
from tests.world.usdc_fixtures import Payer

CLIENT = Path(__file__).parents[1] / "stock_clients" / "x402_retries.py"
BODY = batch("a cat")
ORDER = SIGNATURE.lower().encode()
CALLS = 3  # of which the last is answered


@asynccontextmanager
async def caller(url: str, payer: Payer) -> AsyncIterator[asyncio.subprocess.Process]:
    """Let the stock client ask, in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        installed() / "venv" / "bin" / "python",
        CLIENT,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        asked = {"base": url, "key": "0x" + payer.key.hex(), "body": BODY}
        say(process, json.dumps(asked))
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def say(process: asyncio.subprocess.Process, line: str) -> None:
    """Write a line to the client."""
    assert process.stdin is not None
    process.stdin.write(line.encode() + b"\n")


async def spent(rail: UsdcRail, payer: Payer) -> int:
    """Return what a payer has paid on the chain."""
    balance = await rail.ledger.balance_microusdc(payer.address)
    assert isinstance(balance, int)
    return FAUCET - balance


@dataclass
class Slow:
    """Implements Facilitator: settles at once, and says so when `go` is set."""

    inner: Facilitator
    go: asyncio.Event = field(default_factory=asyncio.Event)
    identity: str = "slow"

    async def verify(self, payment: Payment) -> Valid | Unknown:
        """See Facilitator."""
        return await self.inner.verify(payment)

    async def settle(self, payment: Payment) -> Settled | Unknown:
        """See Facilitator."""
        said = await self.inner.settle(payment)
        await self.go.wait()
        return said

    async def healthy(self) -> Unavailable | None:
        """See Facilitator."""
        return await self.inner.healthy()

    async def close(self) -> None:
        """See Facilitator."""
        await self.inner.close()


class Counted:
    """Keeps each order that a server is shown."""

    def __init__(self, app: ASGIApp, shown: list[bytes]) -> None:
        self._app, self._shown = app, shown

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        self._shown += [value for name, value in scope.get("headers", ()) if name == ORDER]
        await self._app(scope, receive, send)


async def test_three_calls_with_three_nonces_are_charged_once(
    database_url: str, tmp_path: Path
) -> None:
    """The first two are cut off after the money has moved. The third is answered with what the
    first has bought, and its own order moves nothing."""
    settings = settings_for(tmp_path, SETTLE_WAIT_S=60)
    rail = make_usdc(settings, utc_now)
    assert rail is not None
    slow, shown, payer = Slow(rail.facilitator), list[bytes](), Payer("who is cut off")
    built = assemble(
        settings,
        database_url,
        rail=StubRail(tmp_path / "stub.sqlite3", utc_now),
        agent=ScriptedAgent(),
        oracle=fixed_oracle(utc_now),
        executors=[ScriptedMaker()],
        usdc=replace(rail, facilitator=slow),
    )
    app = build(built)
    app.add_middleware(Counted, shown=shown)
    async with listening(app, "127.0.0.1", 0) as url, caller(url, payer) as process:
        for calls in range(1, CALLS + 1):
            async for look in patiently("the client does not pay"):
                look.saw = shown, process.returncode
                if len(shown) == calls and await spent(rail, payer):
                    break
            if calls < CALLS:
                say(process, "cut")
        slow.go.set()
        told, trouble = await process.communicate(b"")
        assert process.returncode == 0, trouble.decode()
        answer = json.loads(told)
        assert answer["status"] == 201 and answer["settled"]["success"], answer
        assert len(set(shown)) == CALLS, "each was signed anew"
        price = int(answer["settled"]["amount"])
        assert await spent(rail, payer) == price
        orders = await built.db.read_all("SELECT batch_id, state FROM usdc_authorization")
        assert orders == [{"batch_id": answer["body"]["jobId"], "state": "settled"}]
        assert [finding.line for finding in await audit(built.db)] == []
