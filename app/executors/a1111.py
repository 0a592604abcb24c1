"""Pictures by a server that speaks the API of AUTOMATIC1111's web UI: that one itself, or Forge.

It answers when the picture is made; how far it is, is asked meanwhile under the name that the piece
was given. Its owner may make pictures there too: a preview is taken, and a piece interrupted, only
where the server says that ours is the one that runs.
"""

import asyncio
import base64
import secrets
from collections.abc import Mapping
from typing import Any, Final

from app.executors.measure import measured
from app.executors.prompts import NOTHING, cleaned
from app.executors.provider import (
    MOST_PICTURE_BYTES,
    OTHER_SIZE,
    UNAVAILABLE,
    Heard,
    Provider,
    ProviderAway,
    decoded,
    made,
)
from app.ports import BEGUN, Declined, Made, Step, Stepped, Undoable, Wanted, unwatched_step

NAME: Final = "a1111"
MADE: Final = "/sdapi/v1/txt2img"
PROGRESS: Final = "/sdapi/v1/progress"
OF_ONE: Final = "/internal/progress"  # of the piece of one name; not there without its pages
INTERRUPT: Final = "/sdapi/v1/interrupt"
MODELS: Final = "/sdapi/v1/sd-models"
PROBE_PATH: Final = f"{PROGRESS}?skip_current_image=true"
MEND: Final = "check its address, its user and password, and that it was started with --api"
SIDE: Final = 8  # what it makes has sides that are multiples of it
SEEDS: Final = 2**32
POLL_S: Final = 1.0
MOST_PREVIEW_BYTES: Final = 256 * 1024
MOST_LIST_BYTES: Final = 4 * 1024 * 1024
TOO_MUCH: Final = "It is too much for this machine."


def basic(user_and_password: str) -> dict[str, str]:
    """Return the header of one that was started with --api-auth."""
    return {"Authorization": f"Basic {base64.b64encode(user_and_password.encode()).decode()}"}


class A1111:
    """An executor. `models` maps names of the catalogue to checkpoints of the server; an empty one
    is what is loaded there."""

    name = NAME

    def __init__(
        self,
        provider: Provider,
        models: Mapping[str, str],
        *,
        at_once: int,
        deadline_s: float,
        poll_s: float = POLL_S,
    ) -> None:
        self.at_once = at_once
        self._provider, self._models = provider, dict(models)
        self._deadline_s, self._poll_s = deadline_s, poll_s

    async def make(
        self, wanted: Wanted, stepped: Stepped = unwatched_step
    ) -> Made | Declined | Undoable:
        """See Executor."""
        prompt = cleaned(wanted.prompt)
        refusal = self._refused(wanted) or (None if prompt.strip() else NOTHING)
        if refusal is not None:
            return refusal
        piece = f"task(boltwork-{secrets.token_hex(8)})"
        async with self._provider.turn(self._deadline_s):
            watching = asyncio.create_task(self._watch(piece, stepped))
            try:
                body = self._body(wanted, prompt, piece)
                heard = await self._provider.ask(MADE, body, most_bytes=MOST_PICTURE_BYTES * 4 // 3)
            except ProviderAway:
                raise
            except BaseException:  # cancelled, late, broken off: it is wanted no more
                await self._freed(piece)
                raise
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
            if heard.status != 200:
                return self._trouble(heard)
            stepped(BEGUN)
            return await self._taken(heard, wanted)

    async def healthy(self) -> Undoable | None:
        """See Executor."""
        return await self._provider.healthy()

    async def close(self) -> None:
        """See Executor."""
        await self._provider.close()

    def _refused(self, wanted: Wanted) -> Undoable | None:
        if wanted.model not in self._models:
            return Undoable(f"{wanted.model} isn't made here.", MEND)
        if wanted.duration_ms:
            return Undoable(f"{wanted.model} makes pictures, and no films.")
        if wanted.reference:
            return Undoable(f"{wanted.model} works from words alone, and takes no picture.")
        if wanted.width % SIDE or wanted.height % SIDE:
            return Undoable(f"{wanted.model} makes sides that are multiples of {SIDE} pixels.")
        return None

    def _body(self, wanted: Wanted, prompt: str, piece: str) -> dict[str, Any]:
        body: dict[str, Any] = {
            "prompt": prompt,
            "negative_prompt": cleaned(wanted.negative_prompt),
            "width": wanted.width,
            "height": wanted.height,
            "seed": wanted.seed % SEEDS,
            "batch_size": 1,
            "n_iter": 1,
            "save_images": False,  # the buyer's words don't stay there
            "force_task_id": piece,
        }
        if wanted.steps:
            body["steps"] = wanted.steps
        checkpoint = self._models[wanted.model]
        if checkpoint:  # it stays loaded: to load the other one again takes longer than a picture
            body["override_settings"] = {"sd_model_checkpoint": checkpoint}
            body["override_settings_restore_afterwards"] = False
        return body

    def _trouble(self, heard: Heard) -> Undoable | Declined:
        """Return what a refusal means; it is the owner's server, and judges no content."""
        body = heard.json()
        said = str(body.get("error", "")) if isinstance(body, dict) else ""
        if heard.status == 500 and "OutOfMemory" in said:
            self._provider.tell("it is out of memory", heard.status)
            return Undoable(TOO_MUCH)
        if heard.status in (400, 422):  # a field that this version does not know
            self._provider.tell("refuses the request", heard.status)
            return Undoable(UNAVAILABLE, MEND)
        return self._provider.refused(heard)

    async def _taken(self, heard: Heard, wanted: Wanted) -> Made | Undoable:
        body = heard.json()
        pictures = body.get("images") if isinstance(body, dict) else None
        first = pictures[0] if isinstance(pictures, list) and pictures else None
        found = made(decoded(first) or b"", wanted)
        if found is None:
            raise self._provider.broke("its answer holds no picture", heard.status)
        if await self._was_interrupted():  # it is half done, and looks like any other
            raise self._provider.broke("it was interrupted there", heard.status)
        self._provider.gate.made()
        if (found.width, found.height) != (wanted.width, wanted.height):
            return Undoable(OTHER_SIZE)
        return found

    async def _was_interrupted(self) -> bool:
        """Say whether what has ended last was interrupted: by its owner, at its pages."""
        state = (await self._said(PROBE_PATH)).get("state")
        state = state if isinstance(state, dict) else {}
        return any(
            state.get(name) is True for name in ("interrupted", "stopping_generation", "skipped")
        )

    async def _watch(self, piece: str, stepped: Stepped) -> None:
        """Report steps and previews until it is cancelled."""
        shown, best = -1, 0
        while True:
            await asyncio.sleep(self._poll_s)
            said = await self._said(OF_ONE, {"id_task": piece, "id_live_preview": shown})
            preview = b""
            if said.get("active") is True:
                shown, preview = _whole(said.get("id_live_preview"), shown), _preview(said)
            elif "active" not in said:  # it tells of whatever runs there
                said = await self._said(PROBE_PATH)
                if said.get("current_task", piece) != piece:
                    continue
            percent = _percent(said.get("progress"))
            if percent > best or preview:
                best = max(best, percent)
                stepped(Step(best, 100, preview))

    async def _freed(self, piece: str) -> None:
        """Interrupt a piece that is wanted no more, where it is the one that runs."""
        if await self._is_running(piece):
            await self._provider.free(INTERRUPT)

    async def _is_running(self, piece: str) -> bool:
        said = await self._said(OF_ONE, {"id_task": piece})
        if "active" in said:
            return said["active"] is True
        return (await self._said(PROBE_PATH)).get("current_task") == piece

    async def _said(self, path: str, body: object = None) -> dict[str, Any]:
        """Return what it answers; nothing where it isn't answered."""
        heard = await self._provider.glance(path, body, most_bytes=MOST_LIST_BYTES)
        said = heard.json() if heard is not None and heard.status == 200 else None
        return said if isinstance(said, dict) else {}


def checkpoints_of(body: Any) -> set[str] | None:
    """Return by which names the server knows its checkpoints, from its list of them; None where it
    is no such list."""
    if not isinstance(body, list) or not all(isinstance(each, dict) for each in body):
        return None
    fields = ("title", "model_name", "hash")
    names = {str(each[field]) for each in body for field in fields if each.get(field)}
    files = (str(each.get("filename", "")).replace("\\", "/") for each in body)
    return names | {file.rpartition("/")[2] for file in files if file}


def _percent(progress: object) -> int:
    if isinstance(progress, int | float) and 0 <= progress <= 1:
        return int(100 * progress)
    return 0


def _whole(number: object, otherwise: int) -> int:
    return number if type(number) is int else otherwise


def _preview(said: Mapping[str, Any]) -> bytes:
    """Return the picture of how it looks by now, where there is a new one."""
    data = decoded(said.get("live_preview")) or b""
    found = measured(data) if len(data) <= MOST_PREVIEW_BYTES else None
    return data if found is not None and not found.is_film else b""
