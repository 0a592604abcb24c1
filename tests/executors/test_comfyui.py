"""Pictures and films by a ComfyUI: workflows with places, progress, and what goes wrong there."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from app.executors.comfyui import MEND, ComfyUi
from app.executors.prompts import NOTHING
from app.executors.provider import OTHER_SIZE, TOO_SHORT, UNAVAILABLE, ProviderBroke
from app.ports import BEGUN, Declined, Made, Step, Undoable, Wanted
from app.workflow import filled, read_workflow, read_workflows
from tests.world.comfy_server import API, PREVIEW, TREE, WORKFLOW, long_film, make_comfy
from tests.world.patience import PATIENCE_S
from tests.world.provider_server import ProviderServer, Reply, film, png


async def test_a_workflow_is_filled_and_its_picture_taken(
    comfy: ComfyUi, comfy_server: ProviderServer
) -> None:
    """Numbers are numbers, sides a multiple of 8; its own words and its usual steps stay."""
    made = await comfy.make(TREE)
    assert made == Made(png(512, 384), "image/png", 512, 384)
    (asked,) = comfy_server.of("/prompt")
    nodes = asked.body["prompt"]
    assert nodes["3"]["inputs"] == {"seed": 7, "steps": 4, "model": ["4", 0]}
    assert nodes["5"]["inputs"] == {"width": 512, "height": 384, "batch_size": 1}
    assert nodes["6"]["inputs"]["text"] == "best, a tree"
    assert nodes["7"]["inputs"]["text"] == "people"
    (viewed,) = comfy_server.of("/view")
    assert viewed.query == {"filename": "0000-1.png", "subfolder": "a b", "type": "output"}
    assert API.history == {}  # the buyer's words don't stay there
    await comfy.make(replace(TREE, steps=9))
    assert comfy_server.of("/prompt")[1].body["prompt"]["3"]["inputs"]["steps"] == 9


async def test_steps_and_previews_are_told(comfy: ComfyUi) -> None:
    """Those of this piece alone, and never backwards."""
    steps: list[Step] = []
    await comfy.make(TREE, steps.append)
    plain = [step for step in steps if not step.preview]
    assert plain == [BEGUN, *(Step(n, 4) for n in range(1, 5))]
    assert [step for step in steps if step.preview] == [Step(n, 4, PREVIEW) for n in range(1, 5)]


async def test_without_its_socket_the_history_will_do(comfy_server: ProviderServer) -> None:
    """No progress, and the same picture."""
    API.goes = "silent"
    comfy = make_comfy(comfy_server.url)
    steps: list[Step] = []
    assert isinstance(await comfy.make(TREE, steps.append), Made)
    assert steps == [BEGUN]
    await comfy.close()


async def test_a_film_is_a_film(comfy: ComfyUi) -> None:
    """Of the length that was asked for; a model of films makes no picture, nor the other way."""
    wanted = Wanted("wan", "waves", 512, 384, duration_ms=5_000)
    API.made = long_film()
    assert await comfy.make(wanted) == Made(long_film(), "video/mp4", 512, 384, 5_000)
    API.made = film(1_000)
    assert await comfy.make(wanted) == Declined(TOO_SHORT)
    API.made = png(512, 384)
    with pytest.raises(ProviderBroke):
        await comfy.make(wanted)
    for other in (replace(wanted, duration_ms=0), replace(TREE, duration_ms=5_000)):
        assert isinstance(await comfy.make(other), Undoable)


@pytest.mark.parametrize("goes", ["fails", "vanishes"])
async def test_a_workflow_that_fails_may_be_tried_again(comfy: ComfyUi, goes: str) -> None:
    """Out of memory there, or a restart that forgot the piece."""
    API.goes = goes
    with pytest.raises(ProviderBroke):
        await comfy.make(TREE)


async def test_a_piece_that_is_wanted_no_more_is_interrupted(comfy: ComfyUi) -> None:
    """Where it is the one that runs; a deadline is such a cancellation."""
    API.goes = "stays"
    begun = asyncio.Event()
    making = asyncio.create_task(comfy.make(TREE, lambda step: begun.set()))
    async with asyncio.timeout(PATIENCE_S):
        await begun.wait()
        making.cancel()
        with pytest.raises(asyncio.CancelledError):
            await making
    assert API.interrupted == ["0000-1"]


async def test_a_piece_that_waits_there_interrupts_nobody(
    comfy: ComfyUi, comfy_server: ProviderServer
) -> None:
    """It is taken out of the queue, and who runs goes on."""
    API.goes = "waits"
    making = asyncio.create_task(comfy.make(TREE))
    async with asyncio.timeout(PATIENCE_S):
        while not comfy_server.of("/history/0000-1"):
            await comfy_server.arrived.acquire()
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert API.waiting == [] and API.interrupted == []


async def test_an_answer_may_be_lost_and_the_piece_is_not(
    comfy: ComfyUi, comfy_server: ProviderServer
) -> None:
    """It is looked for again."""
    comfy_server.script("/history/0000-1", Reply({}, 500), Reply(b"junk"))
    assert isinstance(await comfy.make(TREE), Made)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply({}, 401), Undoable(UNAVAILABLE, MEND)),
        (Reply({"error": {"type": "invalid_prompt"}}, 400), Undoable(UNAVAILABLE, MEND)),
    ],
)
async def test_a_refusal_is_for_the_operator(
    comfy: ComfyUi, comfy_server: ProviderServer, reply: Reply, expected: Undoable
) -> None:
    """A proxy's no, or a node that isn't installed: no buyer's fault."""
    comfy_server.script("/prompt", reply)
    assert await comfy.make(TREE) == expected
    assert (await comfy.healthy() is None) is (reply.status == 400)


async def test_a_model_whose_workflow_is_refused_closes_no_other(comfy: ComfyUi) -> None:
    """The rest is made."""
    assert await comfy.make(replace(TREE, model="strange")) == Undoable(UNAVAILABLE, MEND)
    assert isinstance(await comfy.make(TREE), Made)


async def test_another_size_is_not_what_was_bought(comfy: ComfyUi) -> None:
    """A workflow that ignores the size."""
    API.made = png(64, 64)
    assert await comfy.make(TREE) == Declined(OTHER_SIZE)


async def test_words_of_a_stranger_steer_nothing(
    comfy: ComfyUi, comfy_server: ProviderServer
) -> None:
    """Neither places, nor tags that load weights; without words nothing is asked for."""
    prompt = 'x %seed% "}], <lora:big:1> Embedding:bad'
    await comfy.make(replace(TREE, prompt=prompt))
    (asked,) = comfy_server.of("/prompt")
    assert asked.body["prompt"]["6"]["inputs"]["text"] == 'best, x %seed% "}],  bad'
    assert await comfy.make(replace(TREE, prompt="<lora:x>")) == NOTHING


async def test_how_it_is_is_asked_of_the_server(comfy_server: ProviderServer) -> None:
    """With the key that a proxy before it wants."""
    for key, well in (("wrong", False), ("key-of-the-stand-in", True)):
        comfy = make_comfy(comfy_server.url, key=key)
        assert (await comfy.healthy() is None) is well
        await comfy.close()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not JSON"),
        ("[]", "export it"),
        ("{}", "export it"),
        ('{"nodes": [], "links": []}', "export it"),
        ('{"1": {"class_type": "A", "inputs": {"text": "a cat"}}}', "no place %prompt%"),
    ],
)
def test_a_workflow_that_is_none_is_refused(text: str, says: str, tmp_path: Path) -> None:
    """At the start, by the model's name."""
    (tmp_path / "flux.json").write_text(text)
    with pytest.raises(ValueError, match=f"the workflow of sd .*{says}"):
        read_workflows(tmp_path, {"sd": "flux"})


@pytest.mark.parametrize("name", ["../flux", "a/b", "none"])
def test_a_workflow_lies_in_its_folder(name: str, tmp_path: Path) -> None:
    """And nowhere else."""
    with pytest.raises(ValueError, match="the workflow of sd"):
        read_workflows(tmp_path / "inner", {"sd": name})


def test_places_are_filled_at_any_depth() -> None:
    """In lists and objects; a text around a number stays a text."""
    inputs = {"a": [{"b": "%seed%"}], "c": "%width%x%height%", "d": "%prompt%", "e": 1.5}
    workflow = read_workflow(json.dumps({"1": {"class_type": "A", "inputs": inputs}}).encode())
    values: dict[str, str | int] = {"seed": 3, "width": 8, "height": 9, "prompt": "%seed%"}
    (node,) = filled(workflow, values).values()
    assert node["inputs"] == {"a": [{"b": 3}], "c": "8x9", "d": "%seed%", "e": 1.5}
    assert WORKFLOW["3"]["inputs"]
