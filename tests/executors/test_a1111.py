"""Pictures by the API of AUTOMATIC1111's web UI, whose owner may be at its pages meanwhile."""

import asyncio
import base64
from dataclasses import replace

import pytest

from app.executors.a1111 import A1111, MEND, TOO_MUCH, checkpoints_of
from app.executors.prompts import NOTHING
from app.executors.provider import OTHER_SIZE, UNAVAILABLE, ProviderBroke
from app.ports import BEGUN, Made, Step, Undoable
from tests.world.a1111_server import API, CHECKPOINT, FOREST, LIST, PREVIEW, make_a1111
from tests.world.patience import PATIENCE_S
from tests.world.provider_server import ProviderServer, Reply, png


async def test_a_picture_is_made(a1111: A1111) -> None:
    """By the checkpoint of its model, which stays loaded; nothing is saved there."""
    assert await a1111.make(FOREST) == Made(png(512, 384), "image/png", 512, 384)
    [asked] = API.asked
    assert asked["override_settings"] == {"sd_model_checkpoint": CHECKPOINT}
    assert asked["override_settings_restore_afterwards"] is asked["save_images"] is False
    assert (asked["prompt"], asked["negative_prompt"]) == ("a forest", "people")
    assert (asked["seed"], asked["steps"], asked["n_iter"]) == (2**40 % 2**32 + 7, 4, 1)


async def test_what_is_loaded_makes_what_names_no_checkpoint(a1111: A1111) -> None:
    """And in as many steps as are usual there, where none are asked for."""
    assert isinstance(await a1111.make(replace(FOREST, model="loaded", steps=0)), Made)
    assert not {"override_settings", "steps"} & set(API.asked[0])


async def test_steps_and_the_preview_of_this_piece_are_told(a1111: A1111) -> None:
    """Each preview once."""
    API.goes, steps, told = "stays", list[Step](), asyncio.Event()

    def stepped(step: Step) -> None:
        steps.append(step)
        told.set()

    making = asyncio.create_task(a1111.make(FOREST, stepped))
    async with asyncio.timeout(PATIENCE_S):
        await told.wait()
        API.go.set()
        assert isinstance(await making, Made)
    assert steps == [Step(50, 100, PREVIEW), BEGUN]


async def test_without_its_pages_there_is_progress_alone(a1111: A1111) -> None:
    """Whose picture a preview is, nobody says there."""
    API.has_pages, API.goes = False, "stays"
    steps: list[Step] = []
    making = asyncio.create_task(a1111.make(FOREST, steps.append))
    async with asyncio.timeout(PATIENCE_S):
        while not steps:
            API.looked.clear()
            await API.looked.wait()
    API.go.set()
    await making
    assert steps == [Step(26, 100), BEGUN]


@pytest.mark.parametrize("pages", [True, False])
@pytest.mark.parametrize("others", [True, False])
async def test_what_is_wanted_no_more_is_interrupted(
    a1111: A1111, pages: bool, others: bool
) -> None:
    """Where it is the one that runs: what the owner makes there goes on, and is not shown."""
    API.goes, API.has_pages, API.others = "stays", pages, others
    API.running = "task(of the owner)" if others else ""
    steps: list[Step] = []
    making = asyncio.create_task(a1111.make(FOREST, steps.append))
    async with asyncio.timeout(PATIENCE_S):
        await API.begun.wait()
        await API.looked.wait()
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert API.interrupted == (0 if others else 1)
    assert not (others and steps)


async def test_of_one_that_names_no_piece_nothing_is_interrupted(a1111: A1111) -> None:
    """It might be its owner's."""
    API.goes, API.has_pages, API.names_pieces = "stays", False, False
    making = asyncio.create_task(a1111.make(FOREST))
    async with asyncio.timeout(PATIENCE_S):
        await API.begun.wait()
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert API.interrupted == 0


async def test_a_piece_that_its_owner_interrupted_is_no_picture(a1111: A1111) -> None:
    """It is half done, and answered like any other."""
    API.goes = "interrupted"
    with pytest.raises(ProviderBroke):
        await a1111.make(FOREST)


@pytest.mark.parametrize(
    ("goes", "expected"),
    [("memory", Undoable(TOO_MUCH)), ("fails", Undoable(UNAVAILABLE, MEND))],
)
async def test_a_machine_that_cannot_closes_nothing(
    a1111: A1111, goes: str, expected: Undoable
) -> None:
    """Another picture may be small enough for it."""
    API.goes = goes
    assert await a1111.make(FOREST) == expected
    assert await a1111.healthy() is None


async def test_what_it_cannot_make_is_not_asked_for(
    a1111: A1111, a1111_server: ProviderServer
) -> None:
    """Other models, films, odd sides, and prompts that hold only tags."""
    changes = ({"model": "wan"}, {"duration_ms": 5_000}, {"width": 510}, {"reference": b"x"})
    for change in changes:
        assert isinstance(await a1111.make(replace(FOREST, **change)), Undoable)
    assert await a1111.make(replace(FOREST, prompt="<lora:big:1>")) == NOTHING
    assert API.asked == [] and a1111_server.asked == []


@pytest.mark.parametrize(
    "reply",
    [Reply({"images": []}), Reply(["x"]), Reply({"images": ["junk"]}), Reply(b"x"), Reply({}, 500)],
)
async def test_junk_is_no_picture(a1111_server: ProviderServer, reply: Reply) -> None:
    """It may be tried again."""
    other = make_a1111(a1111_server.url + "/other")
    a1111_server.script("/other/sdapi/v1/txt2img", reply)
    with pytest.raises(ProviderBroke):
        await other.make(FOREST)
    await other.close()


async def test_another_size_is_not_what_was_bought(a1111_server: ProviderServer) -> None:
    """A script of its owner's may enlarge what is made."""
    other = make_a1111(a1111_server.url + "/other")
    pictures = {"images": [_base64(png(1024, 768))]}
    a1111_server.script("/other/sdapi/v1/txt2img", Reply(pictures))
    assert await other.make(FOREST) == Undoable(OTHER_SIZE)
    await other.close()


async def test_its_password_is_sent(a1111_server: ProviderServer) -> None:
    """A wrong one is for the owner to mend."""
    for login, well in (("owner:wrong", False), ("owner:of the stand-in", True)):
        executor = make_a1111(a1111_server.url, login=login)
        assert (await executor.healthy() is None) is well
        assert isinstance(await executor.make(FOREST), Made) is well
        await executor.close()


def test_a_checkpoint_has_four_names() -> None:
    """Its title, its short name, its hash, and its file's, as any system writes that."""
    names = {f"{CHECKPOINT} [0123456789]", "flux1-dev", "0123456789", CHECKPOINT}
    assert checkpoints_of(LIST) == names
    assert checkpoints_of({"detail": "Not Found"}) is None


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
