"""Pictures and films by a ComfyUI of the operator's, each model by a workflow of his.

Its websocket tells steps and previews, and its history what came of it; where the socket is lost,
the history alone will do. Whoever stops wanting a piece takes it out of the queue there, or
interrupts it, and nobody else's.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2
import orjson
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from app.executors.measure import measured
from app.executors.prompts import NOTHING, cleaned
from app.executors.provider import (
    CONNECT_S,
    MOST_FILM_BYTES,
    MOST_PICTURE_BYTES,
    OTHER_SIZE,
    TOO_SHORT,
    UNAVAILABLE,
    Provider,
    ProviderAway,
    ProviderBroke,
    is_short,
    made,
)
from app.ports import BEGUN, Declined, Made, Step, Stepped, Undoable, Wanted, unwatched_step
from app.workflow import Workflow, filled
from pricing.authorities import authorities
from pricing.loopback import is_here

NAME: Final = "comfyui"
PROBE_PATH: Final = "/system_stats"
MEND: Final = "check COMFYUI_URL, COMFYUI_KEY, and that it runs the workflows of COMFYUI_WORKFLOWS"
GRID: Final = 64
SIDE: Final = 8  # sides are asked for in multiples of it
POLL_S: Final = 2.0
MISSES: Final = 3  # looks at which a piece is neither queued nor done
MOST_PREVIEW_BYTES: Final = 256 * 1024
MOST_MESSAGE_BYTES: Final = 4 * 1024 * 1024
PREVIEW, PREVIEW_WITH_NOTES = 1, 4  # kinds of binary messages


@dataclass(slots=True)
class _Watch:
    """What the socket has told of one piece."""

    client_id: str
    stepped: Stepped
    prompt_id: str = ""
    step: Step = field(default_factory=lambda: Step(0, 1))
    look: asyncio.Event = field(default_factory=asyncio.Event)  # at the history

    def hear(self, message: str | bytes) -> None:
        """Take one message."""
        if isinstance(message, bytes):
            self._preview(message)
            return
        try:
            told = orjson.loads(message)
            kind, data = told["type"], told["data"]
            # The first may come before the answer that names the piece: they are for this client.
            if data.get("prompt_id") != self.prompt_id and self.prompt_id:
                return
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            return
        if kind == "progress":
            done, total = data.get("value"), data.get("max")
            if type(done) is int and type(total) is int and 0 <= done <= total > 0:
                self._tell(Step(done, total))
        elif kind in _ENDS or (kind == "executing" and data.get("node") is None):
            self.look.set()

    def _preview(self, message: bytes) -> None:
        kind, start = int.from_bytes(message[:4], "big"), 8
        if kind == PREVIEW_WITH_NOTES:
            start += int.from_bytes(message[4:8], "big")
        picture = message[start:]
        found = measured(picture) if len(picture) <= MOST_PREVIEW_BYTES else None
        if kind in (PREVIEW, PREVIEW_WITH_NOTES) and found is not None and not found.is_film:
            self._tell(Step(self.step.done, self.step.total, picture))

    def _tell(self, step: Step) -> None:
        """Tell a step, but never one behind the last: a second sampler begins at 0."""
        if step.done * self.step.total >= self.step.done * step.total:
            self.step = step
            self.stepped(step)


class ComfyUi:
    """An executor. `workflows` are those of the models that it makes."""

    name = NAME

    def __init__(
        self,
        provider: Provider,
        workflows: Mapping[str, Workflow],
        films: frozenset[str],
        *,
        at_once: int,
        deadline_s: float,
        film_deadline_s: float,
        poll_s: float = POLL_S,
    ) -> None:
        self.at_once = at_once
        self._provider, self._workflows, self._films = provider, dict(workflows), films
        self._deadline_s, self._film_deadline_s = deadline_s, film_deadline_s
        self._poll_s = poll_s

    async def make(
        self, wanted: Wanted, stepped: Stepped = unwatched_step
    ) -> Made | Declined | Undoable:
        """See Executor."""
        workflow, film = self._workflows.get(wanted.model), wanted.duration_ms > 0
        if workflow is None or film is not (wanted.model in self._films):
            return Undoable(f"{wanted.model} isn't made here.", MEND)
        if wanted.reference:
            return Undoable(f"{wanted.model} works from words alone, and takes no picture.")
        values: dict[str, str | int] = {
            "prompt": cleaned(wanted.prompt),
            "negative_prompt": cleaned(wanted.negative_prompt),
            "width": wanted.width - wanted.width % SIDE,
            "height": wanted.height - wanted.height % SIDE,
            "seed": wanted.seed,
            "steps": wanted.steps,
            "seconds": wanted.duration_ms // 1_000,
        }
        if not str(values["prompt"]).strip():
            return NOTHING
        async with self._provider.turn(self._film_deadline_s if film else self._deadline_s):
            watch = _Watch(secrets.token_hex(16), stepped)
            async with self._watched(watch):
                queued = await self._queued(filled(workflow, values), watch)
                if isinstance(queued, Undoable | Declined):
                    return queued
                stepped(BEGUN)
                try:
                    data = await self._awaited(watch, film)
                except ProviderAway:  # of a piece that is made, or nearly
                    await self._freed(queued)
                    raise self._provider.broke("it went away") from None
                except BaseException:  # cancelled, late, broken: it is wanted no more
                    await self._freed(queued)
                    raise
                await self._provider.free("/history", {"delete": [queued]})
            return self._judged(data, wanted)

    async def healthy(self) -> Undoable | None:
        """See Executor."""
        return await self._provider.healthy()

    async def close(self) -> None:
        """See Executor."""
        await self._provider.close()

    async def _queued(self, nodes: dict[str, Any], watch: _Watch) -> str | Undoable | Declined:
        """Queue a workflow; return its id."""
        heard = await self._provider.ask("/prompt", {"prompt": nodes, "client_id": watch.client_id})
        if heard.status == 400:  # a node or a model that isn't there: the workflow is at fault
            self._provider.tell("refuses the workflow", heard.status)
            return Undoable(UNAVAILABLE, MEND)
        if heard.status != 200:
            return self._provider.refused(heard)
        body = heard.json()
        name = body.get("prompt_id") if isinstance(body, dict) else None
        if not isinstance(name, str) or not name.replace("-", "").isalnum():
            raise self._provider.broke("its answer names no piece", heard.status)
        watch.prompt_id = name
        return name

    async def _awaited(self, watch: _Watch, film: bool) -> bytes:
        """Look until it is done; return the file."""
        missed = 0
        while missed < MISSES:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await watch.look.wait()
            watch.look.clear()
            entry: object = None
            with suppress(ProviderBroke):  # one answer may be lost
                entry = (await self._json(f"/history/{watch.prompt_id}")).get(watch.prompt_id)
                if not _is_over(entry) and await self._place(watch.prompt_id):
                    missed = 0
                    continue
            if isinstance(entry, dict) and _is_over(entry):
                return await self._fetched(entry, film)
            missed += 1  # what has just ended may not be in the history yet
        raise self._provider.broke("it has forgotten the piece")

    async def _fetched(self, entry: Mapping[str, Any], film: bool) -> bytes:
        """Return the file that a workflow has made."""
        status = entry.get("status")
        if isinstance(status, dict) and status.get("status_str") == "error":
            raise self._provider.broke("the workflow failed")
        for file in _files(entry.get("outputs")):
            heard = await self._provider.ask(
                "/view", query=file, most_bytes=MOST_FILM_BYTES if film else MOST_PICTURE_BYTES
            )
            found = measured(heard.body) if heard.status == 200 else None
            if found is not None and found.is_film is film:
                return heard.body
        raise self._provider.broke("the workflow made nothing that is kept")

    async def _place(self, prompt_id: str) -> str:
        """Return in which queue a piece is: "queue_running", "queue_pending", or none."""
        queues = await self._json("/queue")
        for name in ("queue_running", "queue_pending"):
            rows = queues.get(name)
            if isinstance(rows, list) and any(
                isinstance(row, list) and len(row) > 1 and row[1] == prompt_id for row in rows
            ):
                return name
        return ""

    async def _freed(self, prompt_id: str) -> None:
        """Take a piece out of the queue there; interrupt it where it is the one that runs."""
        with suppress(ProviderBroke, TimeoutError, httpx2.HTTPError):
            async with asyncio.timeout(CONNECT_S):
                await self._provider.free("/queue", {"delete": [prompt_id]})
                # Older ones interrupt whatever runs: so only where that is ours.
                if await self._place(prompt_id) == "queue_running":
                    await self._provider.free("/interrupt", {"prompt_id": prompt_id})

    async def _json(self, path: str) -> dict[str, Any]:
        heard = await self._provider.ask(path, most_bytes=MOST_MESSAGE_BYTES)
        body = heard.json() if heard.status == 200 else None
        if not isinstance(body, dict):
            raise self._provider.broke("its answer can't be read", heard.status)
        return body

    def _judged(self, data: bytes, wanted: Wanted) -> Made | Declined:
        found = made(data, wanted)
        if found is None:
            raise self._provider.broke("the workflow made nothing that is kept")
        self._provider.gate.made()
        if wanted.duration_ms:
            return Declined(TOO_SHORT) if is_short(data, wanted) else found
        off = max(abs(found.width - wanted.width), abs(found.height - wanted.height))
        return found if off < GRID else Declined(OTHER_SIZE)

    @asynccontextmanager
    async def _watched(self, watch: _Watch) -> AsyncIterator[None]:
        """Hear the socket for as long as the block lasts; it may fail, and nothing is lost."""
        there = asyncio.Event()
        hearing = asyncio.create_task(self._hear(watch, there))
        try:
            await there.wait()
            yield
        finally:
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)

    async def _hear(self, watch: _Watch, there: asyncio.Event) -> None:
        url = f"ws{self._provider.base_url.removeprefix('http')}/ws?clientId={watch.client_id}"
        here = is_here(self._provider.base_url)
        try:
            async with connect(
                url,
                additional_headers=self._provider.headers,
                max_size=MOST_MESSAGE_BYTES,
                open_timeout=CONNECT_S,
                close_timeout=1,
                proxy=None if here else True,
                ssl=authorities(trust_env=not here) if url.startswith("wss:") else None,
                compression=None,
            ) as socket:
                there.set()
                async for message in socket:
                    watch.hear(message)
        except (OSError, TimeoutError, WebSocketException):
            self._provider.tell("its socket is lost")
        finally:
            there.set()


_ENDS: Final = ("execution_success", "execution_error", "execution_interrupted")


def _is_over(entry: object) -> bool:
    """Say whether an entry of the history is of what has ended; older ones hold no status."""
    if not isinstance(entry, dict):
        return False
    status = entry.get("status")
    if not isinstance(status, dict):
        return bool(entry.get("outputs"))
    return status.get("completed") is True or status.get("status_str") == "error"


def _files(outputs: object) -> list[dict[str, str]]:
    """Return what a workflow has kept, what it saved before what it only showed."""
    files = []
    for node in outputs.values() if isinstance(outputs, dict) else ():
        lists = node.values() if isinstance(node, dict) else ()
        for file in (each for some in lists if isinstance(some, list) for each in some):
            if isinstance(file, dict) and isinstance(file.get("filename"), str):
                parts = ("filename", "subfolder", "type")
                files.append({name: str(file.get(name, "")) for name in parts})
    return sorted(files, key=lambda file: file["type"] != "output")[:8]
