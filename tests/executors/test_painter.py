"""The painter's process: the same bytes in each, bounded, watched, killed and started again."""

import asyncio
import hashlib
import io
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import av
import pytest
import pytest_asyncio
from PIL import Image

from app.executors.painter import PainterBroke, ScenePainter
from app.ports import Declined, Made, Step, Undoable, Wanted
from tests.world.patience import PATIENCE_S

PROMPT = "a cat riding a rocket through space"
ROOT = Path(__file__).parents[2]


def wish(
    prompt: str = PROMPT, width: int = 256, height: int = 256, *, seed: int = 7, steps: int = 3,
    duration_ms: int = 0,
) -> Wanted:  # fmt: skip
    """Return what is asked of the painter."""
    return Wanted("scene-1", prompt, width, height, seed=seed, steps=steps, duration_ms=duration_ms)


@pytest_asyncio.fixture
async def painter() -> AsyncIterator[ScenePainter]:
    """A painter whose processes end with the test."""
    made = ScenePainter(deadline_s=100)
    yield made
    await made.close()


def of_process(process_id: int, what: str) -> bytes:
    """Return what the system says of a process."""
    return Path(f"/proc/{process_id}/{what}").read_bytes()


async def made_by(painter: ScenePainter, wanted: Wanted) -> Made:
    """Return what is made of a wish that can be made."""
    made = await painter.make(wanted)
    assert isinstance(made, Made), made
    return made


async def test_the_same_wish_gives_the_same_bytes_in_any_process(painter: ScenePainter) -> None:
    """By prompt, size, seed and steps; another seed gives others."""
    first, again = await made_by(painter, wish()), await made_by(painter, wish())
    assert len(painter.processes) == 1
    other = ScenePainter()
    try:
        elsewhere = await made_by(other, wish())
    finally:
        await other.close()
    assert first == again == elsewhere
    assert first.data != (await made_by(painter, wish(seed=8))).data
    assert first.data != (await made_by(painter, wish(steps=4))).data


@pytest.mark.parametrize(("width", "height"), [(256, 256), (301, 513), (1024, 256)])
async def test_a_picture_has_the_size_that_was_asked_for(
    painter: ScenePainter, width: int, height: int
) -> None:
    """Any, of any shape, as a PNG without anything beside its pixels."""
    made = await made_by(painter, wish("a beach, a dog", width, height))
    with Image.open(io.BytesIO(made.data)) as image:
        assert (image.format, image.size, image.info) == ("PNG", (width, height), {})
    assert (made.media_type, made.width, made.height) == ("image/png", width, height)


async def test_each_step_is_shown(painter: ScenePainter) -> None:
    """Every pass of the brush is told, with a small picture of how it looks by then."""
    steps: list[Step] = []
    await painter.make(wish(steps=5, width=512), steps.append)
    assert [(step.done, step.total) for step in steps] == [(n, 5) for n in range(1, 6)]
    for step in steps:
        with Image.open(io.BytesIO(step.preview)) as image:
            assert image.size == (256, 128)
    assert len({step.preview for step in steps}) == 5


async def test_a_film_moves_and_is_the_same_each_time(painter: ScenePainter) -> None:
    """An MP4 of the size and length that were asked for; each frame is told."""
    steps: list[Step] = []
    wanted = wish("a sailboat on the sea at sunset", 320, 257, duration_ms=2_000, steps=1)
    made = await painter.make(wanted, steps.append)
    assert isinstance(made, Made) and made == await painter.make(wanted)
    assert (made.media_type, made.width, made.height, made.duration_ms) == (
        "video/mp4", 320, 256, 2_000,
    )  # fmt: skip
    assert [step.done for step in steps] == list(range(1, 49)) and steps[0].preview
    with av.open(io.BytesIO(made.data), "r") as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert container.duration == 2_000_000
    assert len(frames) == 48 and frames[0].shape == (256, 320, 3)
    assert abs(frames[0].astype(int) - frames[24].astype(int)).mean() > 1


@pytest.mark.parametrize(
    "wanted",
    [
        wish(width=255), wish(height=2_049), wish(steps=51), wish(steps=-1),
        wish(duration_ms=1_999), wish(duration_ms=15_001), wish(width=1_282, duration_ms=5_000),
        Wanted("scene-1", PROMPT, 256, 256, reference=b"x"),
    ],
)  # fmt: skip
async def test_what_it_cannot_make_is_said_before_a_process_is_started(
    painter: ScenePainter, wanted: Wanted
) -> None:
    """Sizes, lengths and steps beyond its own, and pictures to go by."""
    refused = await painter.make(wanted)
    assert isinstance(refused, Undoable) and refused.reason.startswith("scene-1 ")
    assert painter.processes == []


@pytest.mark.parametrize("prompt", ["", " \t\n", "...", "\u202e\u2066"])
async def test_an_empty_prompt_is_declined(painter: ScenePainter, prompt: str) -> None:
    """There is nothing to paint in it, whoever tries again."""
    assert isinstance(await painter.make(wish(prompt)), Declined)
    assert painter.processes == []


@pytest.mark.parametrize(
    "prompt", ["\x00\x1b[31mcat\ud800", "cat " * 25_000, '\n{"prompt": "x"}\n', "🐱"]
)
async def test_a_hostile_prompt_is_painted_like_any_other(
    painter: ScenePainter, prompt: str
) -> None:
    """Control characters, halves of pairs, 10^5 characters, the lines of the protocol itself."""
    await made_by(painter, wish(prompt, steps=1))
    await made_by(painter, wish(steps=1))
    assert len(painter.processes) == 1


async def test_a_killed_process_is_started_again(painter: ScenePainter) -> None:
    """Killed while nobody asks, nothing is noticed; killed in the middle, it may be tried again."""
    before = await made_by(painter, wish())
    os.kill(painter.processes[0], signal.SIGKILL)
    with pytest.raises(PainterBroke):
        await painter.make(wish(steps=3), lambda step: os.kill(painter.processes[0], 9))
    assert await made_by(painter, wish()) == before


async def test_a_hanging_process_is_killed_in_time() -> None:
    """The call ends with the deadline, and the next one is answered by a new process."""
    painter = ScenePainter(deadline_s=1.5)
    try:
        with pytest.raises(PainterBroke, match="late"):
            await painter.make(
                wish(steps=40), lambda step: os.kill(painter.processes[0], signal.SIGSTOP)
            )
        assert painter.processes == []
    finally:
        await painter.close()


async def test_a_call_that_is_left_stops_what_it_began(painter: ScenePainter) -> None:
    """Its process is ended, and the next call doesn't get its picture."""
    begun = asyncio.Event()
    making = asyncio.create_task(painter.make(wish(steps=50), lambda step: begun.set()))
    await begun.wait()
    (process,) = painter.processes
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    assert len((await made_by(painter, wish(steps=1))).data) > 1_000


async def test_one_paints_at_a_time(painter: ScenePainter) -> None:
    """As many processes as easels, however many ask; each gets its own picture."""
    prompts = ["a red car in a city", "a whale in the sea", "a cow on a farm"]
    made = await asyncio.gather(*(made_by(painter, wish(prompt, steps=1)) for prompt in prompts))
    assert len(painter.processes) == painter.at_once == 1
    assert len({each.data for each in made}) == 3
    assert made[1] == await made_by(painter, wish(prompts[1], steps=1))


async def test_an_idle_process_leaves() -> None:
    """What nobody asks for takes no memory."""
    painter = ScenePainter(idle_s=0.01)
    try:
        await made_by(painter, wish(steps=1))
        async with asyncio.timeout(PATIENCE_S):
            while painter.processes:
                await asyncio.sleep(0.01)
        await made_by(painter, wish(steps=1))
    finally:
        await painter.close()


async def test_the_process_is_bounded_by_the_system() -> None:
    """It writes no file, and too little memory is an error that may be tried again."""
    painter = ScenePainter(memory_mb=2_048)
    try:
        await made_by(painter, wish(steps=1))
        limits = of_process(painter.processes[0], "limits").decode().splitlines()
        bounds = {line[:25].strip(): line[25:].split()[0] for line in limits[1:]}
        assert bounds["Max address space"] == str(2_048 * 1024 * 1024)
        assert (bounds["Max file size"], bounds["Max core file size"]) == ("0", "0")
        environment = of_process(painter.processes[0], "environ")
        assert b"KEY" not in environment and b"DATABASE" not in environment
    finally:
        await painter.close()
    small = ScenePainter(memory_mb=300)
    try:
        with pytest.raises(PainterBroke):
            await small.make(wish(width=2_048, height=2_048))
    finally:
        await small.close()


async def test_what_is_not_installed_is_said_to_the_operator() -> None:
    """A package that isn't there, or one that doesn't load for want of a library of the system."""
    for part in ("a_package_that_is_not_there", "asyncio.windows_events"):
        painter = ScenePainter(parts=(part,))
        refused = await painter.make(wish())
        assert isinstance(refused, Undoable) and "install Boltwork" in refused.mend
        assert "install" not in refused.reason
        assert ("libegl1" in refused.mend and "win32" in refused.mend) is ("windows" in part)
        assert painter.processes == []
        await painter.close()


async def test_closed_it_paints_no_more() -> None:
    """And says so."""
    painter = ScenePainter()
    await painter.close()
    assert isinstance(await painter.make(wish()), Undoable)


async def test_the_server_carries_nothing_of_it_until_something_is_painted() -> None:
    """Importing the adapter brings neither numpy nor a picture library into the server."""
    heavy = ["numpy", "PIL", "skia", "av", "resvg_py", "app.executors.scene.words"]
    program = f"import sys, app.executors.painter; print([m for m in {heavy} if m in sys.modules])"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    out, _ = await process.communicate()
    assert out.strip() == b"[]"


def test_the_vendored_drawings_are_those_that_were_made() -> None:
    """The file is what `scripts/drawings` wrote of the packages; their licences are beside it."""
    scene = ROOT / "app" / "executors" / "scene"
    packed = hashlib.sha256((scene / "drawings.json.xz").read_bytes()).hexdigest()
    assert packed == "936d570edb8e92afb372be14670cc8655f67e22130326d7bfcc4bf8459266a13"
    assert "Apache License" in (scene / "LICENSE-noto.txt").read_text()
    assert "MIT" in (scene / "LICENSE-emojilib.txt").read_text()
