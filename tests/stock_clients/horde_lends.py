"""Lends a machine with the stock client horde_sdk, as the workers of its network do.

On standard input, JSON: `url`, its `key`, and the `model` that it makes. It makes one picture, and
leaves a second one alone, which the client itself tells the server of. On standard output: what it
was told.
"""

import asyncio
import io
import json
import os
import sys
from typing import Any

ASKED = json.load(sys.stdin)
os.environ["AI_HORDE_URL"] = ASKED["url"]  # it is read as the client is imported

import aiohttp  # noqa: E402
from horde_sdk.ai_horde_api.ai_horde_clients import AIHordeAPIAsyncClientSession  # noqa: E402
from horde_sdk.ai_horde_api.apimodels import (  # noqa: E402
    FindUserRequest,
    ImageGenerateJobPopRequest,
    ImageGenerateJobPopResponse,
    SingleWorkerDetailsResponse,
    SingleWorkerNameDetailsRequest,
    UserDetailsResponse,
)
from horde_sdk.ai_horde_api.consts import GENERATION_STATE  # noqa: E402
from horde_sdk.generic_api.apimodels import RequestErrorResponse  # noqa: E402
from PIL import Image  # noqa: E402

KEY = ASKED["key"]


class Broken(Exception):
    """What is being made breaks off."""


async def said(session: Any, request: Any, kind: type[Any]) -> Any:
    """Send a request; return the answer as the client has read it."""
    answer = await session.submit_request(request, kind)
    assert isinstance(answer, kind), answer
    return answer


async def pop(session: Any) -> Any:
    """Pop a job."""
    wants = ImageGenerateJobPopRequest(
        apikey=KEY, name="stock", models=[ASKED["model"]], max_pixels=2_048 * 2_048, amount=1
    )
    return await said(session, wants, ImageGenerateJobPopResponse)


async def make(session: Any, http: aiohttp.ClientSession, job: Any) -> Any:
    """Make a picture, bring it, and submit it; return the reward."""
    kept = io.BytesIO()
    size = job.payload.width, job.payload.height
    Image.new("RGB", size, "red").save(kept, "WEBP")
    [address] = job.r2_uploads
    skipped = ["content-type"]
    async with http.put(address, data=kept.getvalue(), skip_auto_headers=skipped) as answer:
        assert answer.status == 200, await answer.text()
    submits = job.get_follow_up_default_request_type()(
        apikey=KEY,
        id=job.id_,
        seed=int(job.payload.seed),
        generation="R2",
        state=GENERATION_STATE.ok,
    )
    return await said(session, submits, submits.get_default_success_response_type())


async def leave(http: aiohttp.ClientSession) -> str:
    """Pop a job, and break off: the client gives it back as it ends."""
    prompt = ""
    try:
        async with AIHordeAPIAsyncClientSession(http, apikey=KEY) as session:
            prompt = (await pop(session)).payload.prompt
            raise Broken
    except Broken:
        return prompt


async def main() -> None:
    """Lend a machine."""
    async with aiohttp.ClientSession() as http:
        async with AIHordeAPIAsyncClientSession(http, apikey=KEY) as session:
            names = SingleWorkerNameDetailsRequest(apikey=KEY, worker_name="no such worker")
            unnamed = await session.submit_request(names, SingleWorkerDetailsResponse)
            job = await pop(session)
            paid = await make(session, http, job)
        left = await leave(http)
        async with AIHordeAPIAsyncClientSession(http, apikey=KEY) as session:
            nothing = await pop(session)
            user = await said(session, FindUserRequest(apikey=KEY), UserDetailsResponse)
            wrong = FindUserRequest(apikey="0" * 22)
            refused = await session.submit_request(wrong, UserDetailsResponse)
    assert isinstance(refused, RequestErrorResponse) and isinstance(unnamed, RequestErrorResponse)
    told = {
        "made": job.payload.prompt,
        "model": job.model,
        "left": left,
        "reward": paid.reward,
        "kudos": user.kudos,
        "accumulated": user.kudos_details.accumulated,
        "fulfilled": user.records.fulfillment.image,
        "nothing": [str(each) for each in nothing.ids],
        "refused": [unnamed.rc, refused.rc],
    }
    print(json.dumps(told))


asyncio.run(main())
