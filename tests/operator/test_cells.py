"""The router of several cells: haproxy takes what is printed, and passes each request on to the
cell that it belongs to. Small servers stand for the cells.
"""

import hashlib
from base64 import b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from app.advance import ids_of
from app.commands.cells_file import MOST, BadCells, cells_of
from app.commands.cells_router import bucket_owners, configuration
from app.keys import api_keys, stock_keys
from app.keys.api_keys import Prefix
from payments import session_macaroon
from payments.challenge import Offer
from payments.key_ring import KeyRing
from payments.l402 import L402
from payments.macaroon import narrow
from payments.mpp import Mpp
from payments.usdc.network import BASE_SEPOLIA
from payments.usdc.x402 import header_of
from pricing.money import Msat
from statemachine.cell import Cell
from tests.world.command import boltwork
from tests.world.macaroon_fixtures import HASH, NOW, PREIMAGE
from tests.world.paying import payment_in
from tests.world.routed import Routed, haproxy, routed
from tests.world.usdc_fixtures import offer_on

HOME, OTHER = "0a", "b7"
CELLS = (HOME, OTHER)
TWO = {"home": HOME, "cells": {HOME: ["10.0.0.11:8402"], OTHER: ["10.0.1.11:8402", "[::1]:8402"]}}
PURCHASE = Offer("ask", HASH, "lnbc1", Msat(1000), NOW, "", "localhost", "ab" * 16)


def an_id(digits: str) -> str:
    """Return an id as a cell makes it."""
    return ids_of(Cell(digits))()


def ring_in(digits: str) -> KeyRing:
    """Return the root keys of a cell."""
    ring = KeyRing(Cell(digits).number)
    ring.hold({3: hashlib.sha256(digits.encode()).digest()}, 3, frozenset({3}))
    return ring


def macaroon(digits: str) -> str:
    """Return the macaroon of a session, narrowed by its holder."""
    whole = session_macaroon.make(ring_in(digits), an_id(digits), an_id(digits))
    smaller = narrow(whole, ["max_sats=5"])
    assert isinstance(smaller, str)
    return smaller


def l402(digits: str) -> str:
    """Return a proof of payment by L402."""
    [(_, line)] = L402(ring_in(digits), lambda: NOW).offer(PURCHASE)
    token = line.split('"')[1]
    return f"{token}:{PREIMAGE.hex()}"


def mpp(digits: str) -> str:
    """Return a proof of payment by MPP."""
    [(_, line)] = Mpp(ring_in(digits), lambda: NOW).offer(PURCHASE)
    told = {"challenge": payment_in(line), "payload": {"preimage": PREIMAGE.hex()}}
    return urlsafe_b64encode(orjson.dumps(told)).decode().rstrip("=")


def signed_order(digits: str) -> str:
    """Return a payment in USDC, as far as a router reads it."""
    offer = replace(offer_on(BASE_SEPOLIA), cell=digits)
    return header_of({"x402Version": 2, "accepted": offer.requirements()})


def authorization(scheme: str, text: str) -> dict[str, str]:
    """Return a header that shows a credential."""
    return {"Authorization": f"{scheme} {text}"}


def in_hex(digits: str) -> str:
    """Return a proof by L402 whose macaroon is in hex, as other software writes it."""
    token, _, preimage = l402(digits).partition(":")
    return f"{b64decode(token + '==').hex()}:{preimage}"


SHOWN: dict[str, Callable[[str], dict[str, str]]] = {
    "macaroon": lambda digits: authorization("Bearer", macaroon(digits)),
    "macaroon in the other alphabet": lambda digits: authorization(
        "bearer", macaroon(digits).replace("-", "+").replace("_", "/")
    ),
    "in a header of our own": lambda digits: {
        "Authorization": "Basic dXNlcjpwYXNz", "Payment-Authorization": f"Bearer {macaroon(digits)}"
    },
    "L402": lambda digits: authorization("L402", l402(digits)),
    "LSAT": lambda digits: authorization("LSAT", l402(digits)),
    "L402 in hex": lambda digits: authorization("L402", in_hex(digits)),
    "MPP": lambda digits: authorization("Payment", mpp(digits)),
    "x402": lambda digits: {"PAYMENT-SIGNATURE": signed_order(digits)},
    "sk": lambda digits: {"x-api-key": api_keys.new_key(Prefix.SK, Cell(digits))},
    "uk": lambda digits: authorization("Bearer", api_keys.new_key(Prefix.UK, Cell(digits))),
    "wk": lambda digits: authorization("Bearer", api_keys.new_key(Prefix.WK, Cell(digits))),
    "stock worker": lambda digits: {"apikey": stock_keys.new_key(Cell(digits))},
    "login": lambda digits: authorization("Bearer", Cell(digits).mark("c" * 64)),
    "login's cookie": lambda digits: {"Cookie": f"a=b; session={Cell(digits).mark('c' * 64)}"},
    "said": lambda digits: {"Boltwork-Cell": digits},
}  # fmt: skip


def message(**arguments: str) -> dict[str, Any]:
    """Return a call of a tool of MCP."""
    params = {"name": "get_job", "arguments": arguments}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


async def addresses(at: Routed) -> None:
    """An id in an address decides, wherever it stands and however it is written."""
    for digits in CELLS * 2:
        own = an_id(digits)
        dashed = "-".join((own[:8], own[8:12], own[12:16], own[16:20], own[20:]))
        for path in (
            f"/api/jobs/{own}", f"/api/v1/jobs/{dashed}/result", f"/jobs/{own}/items/3",
            f"/api/sessions/{own}/requests/{an_id(digits)}", f"/api/lnurl/withdraw/{own}/callback",
            f"/api/v2/uploads/{own}/{'f' * 32}", f"/api/v1/wallets/connect/status/{own}",
        ):  # fmt: skip
            assert await at.cell_of("GET", path) == digits
        elsewhere = {"x-api-key": api_keys.new_key(Prefix.SK, Cell(HOME))}
        assert await at.cell_of("GET", f"/api/jobs/{own}", headers=elsewhere) == digits


async def credentials(at: Routed) -> None:
    """Each kind of credential decides where no id does."""
    for kind, shown in SHOWN.items():
        for digits in CELLS * 4:  # by chance none would come to its cell eight times
            found = await at.cell_of("POST", "/api/ask", headers=shown(digits), json={"a": 1})
            assert found == digits, kind


async def bodies(at: Routed) -> None:
    """What a tool of MCP is asked about, and what a form or a list names."""
    for digits in CELLS * 2:
        own = an_id(digits)
        assert await at.cell_of("POST", "/mcp", json=message(id=own)) == digits
        several = {"generationIds": [own, an_id(digits)]}
        assert await at.cell_of("POST", "/api/v1/generations/status", json=several) == digits
        token = {"token": api_keys.new_key(Prefix.WK, Cell(digits))}
        assert await at.cell_of("POST", "/workers/me/unlock", data=token) == digits
        cookie = {"Cookie": f"boltwork_visitor={digits}Zm9v"}
        assert await at.cell_of("GET", "/api/gemini/conversations/1", headers=cookie) == digits
        query = f"/.well-known/jwks.json?cell={digits}"
        assert await at.cell_of("GET", query) == digits


async def purchases(at: Routed) -> None:
    """The same key comes to the same cell, by whichever door; keys are spread over the cells."""
    seen = Counter[str]()
    for number in range(40):
        key = f"purchase-{number}"
        named = {"Idempotency-Key": key}
        found = await at.cell_of("POST", "/api/jobs", headers=named, json={})
        assert await at.cell_of("POST", "/api/ask", headers=named, json={}) == found
        assert await at.cell_of("POST", "/mcp", json=message(purchaseKey=key)) == found
        assert await at.cell_of("POST", "/jobs", data={"key": key}) == found
        seen[found] += 1
    assert set(seen) == set(CELLS)
    assert {await at.cell_of("GET", "/openapi.yaml") for _ in range(8)} == set(CELLS)
    for path in ("/api/auth/me", "/account", "/api/v1/spells/marketplace", "/operator"):
        assert {await at.cell_of("GET", path) for _ in range(4)} == {HOME}


async def test_each_request_comes_to_the_cell_it_belongs_to(tmp_path: Path) -> None:
    """By its address, its credential, its body, its key; what belongs to none comes to any."""
    async with routed(tmp_path, CELLS) as at:
        await addresses(at)
        await credentials(at)
        await bodies(at)
        await purchases(at)


SURFACES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "/api/jobs/{}": lambda told: told["code"] in ("unavailable", "not_found"),
    "/v1/generations/{}": lambda told: told["error"] in ("unavailable", "not_found"),
    "/api/v1/spells/casts/{}": lambda told: told["error"]["code"],
    "/api/v1/jobs/{}": lambda told: told["code"] in ("SERVICE_UNAVAILABLE", "NOT_FOUND"),
    "/api/v2/workers/{}": lambda told: told["rc"] in ("Locked", "WorkerNotFound"),
}


async def test_a_cell_that_is_away_is_no_other_cells(tmp_path: Path) -> None:
    """503 with Retry-After in the words of each surface; other cells go on; then it is there."""
    async with routed(tmp_path, CELLS) as at:
        await at.servers[OTHER].close()
        away = await at.until_away(OTHER, f"/api/jobs/{an_id(OTHER)}")
        assert away.headers["content-type"] == "application/json"
        for path, said in SURFACES.items():
            answer = await at.http.get(path.format(an_id(OTHER)))
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            assert said(answer.json())
            unknown = await at.http.get(path.format(an_id("ff")))
            assert unknown.status_code == 404 and said(unknown.json())
            for told in (answer, unknown):
                assert f'"requestId": "{told.headers["x-request-id"]}"' in told.text
        for _ in range(6):
            assert await at.cell_of("GET", f"/api/jobs/{an_id(HOME)}") == HOME
            assert await at.cell_of("POST", "/api/jobs", json={}) == HOME
        shown = authorization("Bearer", macaroon(OTHER))
        assert (await at.http.post("/api/ask", headers=shown)).status_code == 503
        await at.servers[OTHER].open()
        await at.until_there(f"/api/jobs/{an_id(OTHER)}")


async def test_a_closed_cell_sells_nothing_new(tmp_path: Path) -> None:
    """What it sold answers; purchases and pages come to the others."""
    async with routed(tmp_path, CELLS, closed=[OTHER]) as at:
        assert await at.cell_of("GET", f"/api/jobs/{an_id(OTHER)}") == OTHER
        for number in range(12):
            named = {"Idempotency-Key": f"key number {number}"}
            assert await at.cell_of("POST", "/api/jobs", headers=named, json={}) == HOME
            assert await at.cell_of("GET", "/docs") == HOME


async def test_haproxy_takes_any_number_of_cells(tmp_path: Path) -> None:
    """Of one, and of as many as there may be, what is printed is valid."""
    for many in (1, MOST):
        named = [f"{number:02x}" for number in range(many)]
        hosts = {digits: [f"10.0.{int(digits, 16)}.1:8402"] for digits in named}
        file = tmp_path / f"{many}.cfg"
        file.write_text(configuration(cells_of({"home": "00", "cells": hosts})))
        process = await haproxy(file, "-c")
        _, said = await process.communicate()
        assert process.returncode == 0 and b"WARNING" not in said, said.decode()


def test_a_new_cell_takes_its_part_and_no_more() -> None:
    """Keys that do not go to the new cell go where they went; its part is about a third."""
    two, three = bucket_owners(["0a", "b7"]), bucket_owners(["0a", "b7", "c1"])
    moved = [new for old, new in zip(two, three, strict=True) if old != new]
    assert set(moved) == {"c1"} and 280 < len(moved) < 400


WRONG: dict[str, dict[str, Any]] = {
    "no `cell` here": TWO | {"cell": 1},
    "`cells` must name them": {"home": HOME},
    "`home` must be the digits": TWO | {"home": "ff"},
    "named by two digits": TWO | {"cells": {"0A": ["10.0.0.1:1"]}},
    "one has none": TWO | {"cells": {"": ["10.0.0.1:1"]}},
    "needs a list of its hosts": TWO | {"cells": {HOME: []}},
    "is no address like": TWO | {"cells": {HOME: ["10.0.0.1"]}},
    "named twice": TWO | {"cells": {HOME: ["10.0.0.1:1"], OTHER: ["10.0.0.1:1"]}},
    "`closed` must be a list": TWO | {"closed": ["ff"]},
    "64 cells at most": TWO | {"cells": {f"{n:02x}": [f"10.0.0.{n}:1"] for n in range(65)}},
    "names every cell": TWO | {"closed": [HOME, OTHER]},
    "`bind` must be": TWO | {"bind": "here\n"},
    "`certificate` must be": TWO | {"certificate": "a file.pem"},
}


@pytest.mark.parametrize("sentence", WRONG)
def test_what_is_wrong_is_said(sentence: str) -> None:
    """A file that names no cells is refused with what is wrong with it."""
    with pytest.raises(BadCells) as bad:
        cells_of(WRONG[sentence])
    assert sentence in str(bad.value)


def test_the_command_prints_it(tmp_path: Path) -> None:
    """The configuration alone, on standard output; of a bad file a sentence, and exit code 2."""
    file = tmp_path / "cells.toml"
    file.write_text('home = "0a"\n[cells]\n0a = ["10.0.0.11:8402"]\n')
    told = boltwork("cells", str(file))
    assert told.returncode == 0 and told.stdout.startswith("# Printed by `boltwork cells`")
    assert "server 0a-1 10.0.0.11:8402" in told.stdout
    file.write_text("home =")
    told = boltwork("cells", str(file))
    assert told.returncode == 2 and "is no TOML" in told.stderr
    told = boltwork("cells", str(tmp_path / "none.toml"))
    assert told.returncode == 2 and "can't be read" in told.stderr
