"""A real LNbits for the tests, with two funded wallets: ours and the buyer's.

It lives in a virtual environment of its own (it pins other libraries than we do), made once from
the hash-pinned lock; it listens on 127.0.0.1, keeps its data in a temporary folder, and dies with
the tests. It brings no node: payments between its wallets are real to it, and no bitcoin moves.
"""

import asyncio
import ctypes
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx2

from db.unused_port import unused_port
from payments.kept_alive import limits
from payments.lnurl import encode
from pricing.authorities import authorities
from tests.world.in_memory import memory
from tests.world.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "scripts" / "lock" / "lnbits.txt"
VENV = ROOT / ".cache" / "lnbits-venv"
MADE = ROOT / ".cache" / "lnbits-made"  # data of servers that were funded, and have ended
FUNDS_SAT = 100_000
SPARE = 24  # users who are made with the data: each costs two slow looks at a password
_PASSWORDS = {"password": "a password of the tests", "password_repeat": "a password of the tests"}
_OPERATOR = {"username": "operator", **_PASSWORDS}
_KNOWN = "made.json"  # who is in the data of one that was made

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


@dataclass(frozen=True)
class Wallet:
    """A wallet, with the keys that open it."""

    id: str
    adminkey: str
    inkey: str


@dataclass(frozen=True)
class Account:
    """A user with a wallet, and a token of theirs."""

    user_id: str
    first: Wallet
    token: str


def installed_python() -> Path:
    """Return the interpreter of LNbits' virtual environment, made first when it is missing."""
    wanted = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    marker = VENV / "installed"
    VENV.parent.mkdir(exist_ok=True)
    # Two test runs at once would write into one folder: the second waits for the first.
    with VENV.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not marker.exists() or marker.read_text() != wanted:
            shutil.rmtree(VENV, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
            # Most of what is installed is never imported.
            program = ROOT / "scripts" / "install"
            install: list[str | Path] = [program, "--no-compile", VENV / "bin" / "python", LOCK]
            subprocess.run(install, check=True, stdout=subprocess.DEVNULL)
            marker.write_text(wanted)
    return VENV / "bin" / "python"


def _made_of() -> str:
    """Return what names the data that this file makes of that LNbits: another would make other."""
    return hashlib.sha256(LOCK.read_bytes() + Path(__file__).read_bytes()).hexdigest()[:16]


class LnbitsServer:
    """One LNbits process. `us` and `buyer` are two users' wallets, funded alike."""

    us: Wallet
    buyer: Wallet
    buyer_address: str  # its Lightning address
    buyer_lnurl: str  # the same as an LNURL

    def __init__(self, folder: Path, python: Path) -> None:
        self.folder = folder
        self.log = folder / "lnbits.log"
        self.port = unused_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._python = python
        self._our_user = ""
        self._spare: list[dict[str, Any]] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._http, self._operator = self._client(), self._client()

    @classmethod
    @asynccontextmanager
    async def running(cls) -> AsyncIterator["LnbitsServer"]:
        """Give a server that is ready and funded, and end it and its data afterwards."""
        python = await asyncio.to_thread(installed_python)
        with tempfile.TemporaryDirectory(prefix="lnbits-", dir=memory()) as folder:
            server = cls(Path(folder), python)
            try:
                made = await cls._made(python)
                await asyncio.to_thread(shutil.copytree, made, server.folder, dirs_exist_ok=True)
                await server.start()
                await server._enter()
                yield server
            finally:
                await server.stop()
                await server._http.aclose()
                await server._operator.aclose()

    async def start(self) -> None:
        """Start the process and wait until it answers."""
        self._process = self._spawn()
        async with asyncio.timeout(PATIENCE_S):
            while not await self._answers():
                if self._process.poll() is not None:
                    raise RuntimeError(f"LNbits ended:\n{self.log.read_text()[-4_000:]}")
                await asyncio.sleep(0.1)

    async def stop(self) -> None:
        """End the process: politely, then not."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, 10)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)

    async def restart(self) -> None:
        """Stop it and start it again on the same data and the same port."""
        await self.stop()
        await self.start()

    async def pay(self, wallet: Wallet, bolt11: str) -> dict[str, Any]:
        """Let a wallet pay an invoice; returns the payment as LNbits tells it."""
        body = {"out": True, "bolt11": bolt11}
        return await self._ask("POST", "/api/v1/payments", wallet.adminkey, body)

    async def create_invoice(self, wallet: Wallet, amount_sat: int, expiry_s: int = 600) -> str:
        """Let a wallet make an invoice; returns its BOLT11."""
        body = {"out": False, "amount": amount_sat, "memo": "test", "expiry": expiry_s}
        made = await self._ask("POST", "/api/v1/payments", wallet.adminkey, body)
        return str(made["bolt11"])

    async def new_wallet(self) -> Wallet:
        """Return an empty wallet, of the user whose wallet is `us`."""
        return await self._new_wallet_of(self._our_user)

    async def new_account(self) -> "Account":
        """Return a user with an empty wallet, and a token of theirs, good for all they may do."""
        if self._spare:
            made = self._spare.pop()
            return Account(made["user_id"], Wallet(**made["first"]), made["token"])
        return await self._made_account()

    async def _made_account(self) -> "Account":
        name = f"user{secrets.token_hex(6)}"
        user_id = await self._new_user(name)
        login = {"username": name, "password": _PASSWORDS["password"]}
        async with self._client() as user:
            entered = await user.post("/api/v1/auth", json=login)
            token = str(entered.json()["access_token"])
        return Account(user_id, await self._new_wallet_of(user_id), token)

    async def api_token(self, account: "Account") -> str:
        """Return a token as LNbits' settings make one: it may write `/api/v1/wallet`, no more."""
        password = _PASSWORDS["password"]
        async with self._client() as user:
            user.headers["Authorization"] = f"Bearer {account.token}"
            rules = {"id": "", "name": "wallets", "password": password}
            answer = await user.put("/api/v1/auth/acl", json=rules)
            [acl] = answer.json()["access_control_list"]
            for endpoint in acl["endpoints"]:
                endpoint["write"] = endpoint["path"] == "/api/v1/wallet"
            answer = await user.put("/api/v1/auth/acl", json={**acl, "password": password})
            answer.raise_for_status()
            asked = {"acl_id": acl["id"], "token_name": "boltwork", "password": password}
            asked["expiration_time_minutes"] = 60
            return str((await user.post("/api/v1/auth/acl/token", json=asked)).json()["api_token"])

    async def wallets_of(self, account: "Account") -> list[dict[str, Any]]:
        """Return all wallets of a user as LNbits' operator sees them."""
        told = await self._operator.get(f"/users/api/v1/user/{account.user_id}/wallet")
        told.raise_for_status()
        return [wallet for wallet in told.json() if not wallet["deleted"]]

    async def held_msat(self, account: "Account") -> int:
        """Return what all wallets of a user hold."""
        return sum(int(wallet["balance_msat"]) for wallet in await self.wallets_of(account))

    async def scan(self, wallet: Wallet, code: str) -> dict[str, Any]:
        """Let a wallet read an LNURL; returns what its library found there."""
        return await self._ask("POST", "/api/v1/lnurlscan", wallet.adminkey, {"lnurl": code})

    async def withdraw(self, wallet: Wallet, offer: dict[str, Any]) -> dict[str, Any]:
        """Let a wallet take what a scanned LNURL-withdraw offers; returns its incoming payment."""
        body = {"out": False, "amount": offer["maxWithdrawable"] // 1000, "lnurl_withdraw": offer}
        body["memo"] = offer["defaultDescription"]
        return await self._ask("POST", "/api/v1/payments", wallet.adminkey, body)

    async def payment(self, wallet: Wallet, payment_hash: str) -> dict[str, Any]:
        """Return what LNbits tells this wallet about a payment."""
        return await self._ask("GET", f"/api/v1/payments/{payment_hash}", wallet.adminkey)

    async def balance_msat(self, wallet: Wallet) -> int:
        """Return what a wallet holds."""
        return int((await self._ask("GET", "/api/v1/wallet", wallet.adminkey))["balance"])

    def _client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            base_url=self.url,
            timeout=PATIENCE_S,
            limits=limits(),
            trust_env=False,
            verify=authorities(trust_env=False),
        )

    async def _ask(
        self, method: str, path: str, key: str, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        answer = await self._http.request(method, path, json=body, headers={"X-Api-Key": key})
        if not answer.is_success or not answer.content:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text!r}")
        result: dict[str, Any] = answer.json()
        return result

    async def _answers(self) -> bool:
        try:
            # Before its first user exists it redirects everything to a page that makes one.
            return not (await self._http.get("/api/v1/health")).is_error
        except httpx2.TransportError:
            return False

    @classmethod
    async def _made(cls, python: Path) -> Path:
        """Return the data of a server with its users, made first where there is none."""
        made = MADE / _made_of()
        MADE.mkdir(parents=True, exist_ok=True)
        with MADE.with_suffix(".lock").open("w") as lock:  # the others wait for who makes it
            await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
            if not made.exists():
                with tempfile.TemporaryDirectory(dir=MADE) as drafts:
                    first = cls(Path(drafts) / "draft", python)
                    first.folder.mkdir()
                    await first._make()
                    first.folder.rename(made)
        return made

    async def _make(self) -> None:
        try:
            await self.start()
            await self._bootstrap()
        finally:
            await self.stop()
            await self._http.aclose()
            await self._operator.aclose()

    async def _bootstrap(self) -> None:
        answer = await self._http.put("/api/v1/auth/first_install", json=_OPERATOR)
        answer.raise_for_status()
        # A client of its own: an access token would win over the key of a wallet.
        self._operator.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        self._http.cookies.clear()
        us, our_user = await self._funded_wallet("boltwork")
        buyer, _ = await self._funded_wallet("buyer")
        spare = [asdict(await self._made_account()) for _ in range(SPARE)]
        known = {"our_user": our_user, "us": asdict(us), "buyer": asdict(buyer), "spare": spare}
        (self.folder / _KNOWN).write_text(json.dumps(known))

    async def _enter(self) -> None:
        """Log in as the operator, and know again who was made."""
        answer = await self._operator.post("/api/v1/auth", json=_OPERATOR)
        answer.raise_for_status()
        self._operator.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        self._operator.cookies.clear()
        known = json.loads((self.folder / _KNOWN).read_text())
        self._our_user = known["our_user"]
        self.us, self.buyer = Wallet(**known["us"]), Wallet(**known["buyer"])
        self._spare = known["spare"]  # nobody has had one of these yet
        self.buyer_address = f"buyer@127.0.0.1:{self.port}"
        self.buyer_lnurl = encode(f"{self.url}/.well-known/lnurlp/buyer")

    async def _new_user(self, name: str) -> str:
        names = {"username": name, **_PASSWORDS}
        return str((await self._operator.post("/users/api/v1/user", json=names)).json()["id"])

    async def _new_wallet_of(self, user_id: str) -> Wallet:
        made = await self._operator.post(f"/users/api/v1/user/{user_id}/wallet", json={})
        made.raise_for_status()
        return Wallet(*(made.json()[field] for field in ("id", "adminkey", "inkey")))

    async def _funded_wallet(self, username: str) -> tuple[Wallet, str]:
        """Return a wallet with money in it and an address, and the user whose it is."""
        user_id = await self._new_user(username)
        wallet = await self._new_wallet_of(user_id)
        funds = {"id": wallet.id, "amount": FUNDS_SAT}
        (await self._operator.put("/users/api/v1/balance", json=funds)).raise_for_status()
        path = f"/users/api/v1/user/{user_id}/wallet/{wallet.id}/lightning-address"
        named = await self._operator.put(path, json={"lightning_address": username})
        named.raise_for_status()
        return wallet, user_id

    def _spawn(self) -> subprocess.Popen[bytes]:
        # From the main thread: the kernel ends the child when the thread that made it ends.
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [self._python, "-m", "uvicorn", "lnbits.__main__:app", "--loop", "uvloop",
                 "--host", "127.0.0.1", "--port", str(self.port)],
                cwd=self._site_packages(),  # it mounts the relative path lnbits/static
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=lambda: _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),
            )  # fmt: skip

    def _site_packages(self) -> Path:
        [folder] = self._python.parent.parent.glob("lib/python*/site-packages")
        return folder

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.defpath,
            "HOME": str(self.folder),
            "LNBITS_BACKEND_WALLET_CLASS": "FakeWallet",
            "LNBITS_DATA_FOLDER": str(self.folder / "data"),
            "LNBITS_EXTENSIONS_PATH": str(self.folder / "extensions"),
            "LNBITS_BASEURL": f"{self.url}/",
            "LNBITS_ADMIN_UI": "true",
            "LNBITS_RATE_LIMIT_NO": "1000000",
            "LNBITS_CALLBACK_URL_RULES": r'["https?://127\\.0\\.0\\.1(:\\d+)?"]',
            "LNBITS_CALLBACK_ALLOW_PRIVATE_IPS": "true",
            "LNBITS_LNURL_ALLOW_PRIVATE_IPS": "true",  # it scans codes of servers of the tests
            "LNBITS_AUDIT_ENABLED": "false",
            # It would call out when it starts.
            "LNBITS_EXTENSIONS_MANIFESTS": "[]",
            "LNBITS_WASM_EXTENSIONS_MANIFESTS": "[]",
            "LNBITS_PRICE_AGGREGATOR_ENABLED": "false",
            "LNBITS_EXCHANGE_RATE_PROVIDERS": "[]",
        }
