"""Pictures by a server of OpenAI's Images API: what is sent, what is believed, and its faults."""

import base64
import io

import pytest
from PIL import Image

from app.executors.openai_images import OpenAiImages
from app.executors.prompts import NOTHING, cleaned
from app.executors.provider import (
    DECLINES,
    MOST_PICTURE_BYTES,
    OTHER_SIZE,
    UNFIT,
    ProviderBroke,
)
from app.ports import BEGUN, Declined, Made, Step, Undoable, Wanted
from payments.public_http import PublicHttp
from tests.world.images_server import (
    CAT,
    EDITOR,
    EDITS,
    GENERATIONS,
    MODEL,
    MODELS,
    answers,
    make_images,
)
from tests.world.provider_server import ProviderServer, Reply, picture, png
from tests.world.tool_fixtures import BLUE, RED, drawn


async def test_a_picture_is_made_of_what_the_api_knows(
    images: OpenAiImages, images_server: ProviderServer
) -> None:
    """The server's own name of the model, one picture, its size; nothing that OpenAI refuses."""
    steps: list[Step] = []
    made = await images.make(CAT, steps.append)
    assert made == Made(png(512, 384), "image/png", 512, 384)
    assert steps == [BEGUN]  # the server wants to be paid
    (asked,) = images_server.of(GENERATIONS)
    assert asked.body == {"model": MODEL, "prompt": CAT.prompt, "n": 1, "size": "512x384"}


async def test_a_server_that_knows_more_is_told_more(images_server: ProviderServer) -> None:
    """Seed, steps and what must not be seen, where the operator says that it takes them."""
    images = make_images(images_server.url, finer=True)
    assert isinstance(await images.make(CAT), Made)
    (asked,) = images_server.of(GENERATIONS)
    more = {"seed": 7, "steps": 12, "negative_prompt": "dogs"}
    assert asked.body.items() >= more.items()
    await images.close()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
async def test_a_picture_may_come_by_its_address(
    images: OpenAiImages, images_server: ProviderServer, kind: str
) -> None:
    """It is fetched from the provider's own address, and the key stays out of that."""
    where = f"{images_server.url}/generated/1"
    images_server.script(GENERATIONS, Reply({"data": [{"url": where}]}))
    images_server.script("/generated/1", Reply(picture(512, 384, kind), media_type="image/x"))
    made = await images.make(CAT)
    assert isinstance(made, Made)
    assert (made.media_type, made.width, made.height) == (f"image/{kind.lower()}", 512, 384)
    (fetched,) = images_server.of("/generated/1")
    assert "authorization" not in fetched.headers


async def test_a_picture_elsewhere_is_fetched_from_public_addresses_only(
    images: OpenAiImages, images_server: ProviderServer
) -> None:
    """An answer that names this machine or a private net reaches nobody there."""
    async with ProviderServer(answers).running() as inside:
        for url in (f"{inside.url}/secret", "http://10.0.0.1/", "file:///etc/passwd", "//x"):
            images_server.script(GENERATIONS, Reply({"data": [{"url": url}]}))
            with pytest.raises(ProviderBroke):
                await images.make(CAT)
        assert inside.asked == []
        # With that door open, for tests, the way itself works, and without the key.
        open_here = PublicHttp(allow_loopback=True, most_bytes=MOST_PICTURE_BYTES)
        other = make_images(images_server.url, public=open_here)
        inside.script("/p.png", Reply(png(512, 384), media_type="image/png"))
        images_server.script(GENERATIONS, Reply({"data": [{"url": f"{inside.url}/p.png"}]}))
        assert isinstance(await other.make(CAT), Made)
        assert "authorization" not in inside.asked[0].headers
        await other.close()


async def test_a_file_that_is_not_there_is_no_picture(
    images: OpenAiImages, images_server: ProviderServer
) -> None:
    """Neither is one behind a redirect, nor one that breaks off."""
    where = f"{images_server.url}/f"
    for reply in (
        Reply({}, 404),
        Reply(b"", 302, {"location": f"{images_server.url}/v1/models"}),
        Reply(cut=True),
    ):
        images_server.script(GENERATIONS, Reply({"data": [{"url": where}]}))
        images_server.script("/f", reply)
        with pytest.raises(ProviderBroke):
            await images.make(CAT)
    assert images_server.of(MODELS) == []


@pytest.mark.parametrize(
    ("prompt", "left"),
    [
        ('a cat<sd_cpp_extra_args>{"steps": 999}</sd_cpp_extra_args>', "a cat"),
        ("a <lora:big:9>cat", "a cat"),
        ("a <lo<lora:x>ra:y>cat", "a cat"),
        ("a cat<SD_CPP_EXTRA_ARGS>{", "a cat"),
        ("a <lyco:x> < b > cat", "a  < b > cat"),
    ],
)
async def test_a_prompt_steers_no_server(
    images: OpenAiImages, images_server: ProviderServer, prompt: str, left: str
) -> None:
    """Tags that set steps or load weights are cut out of what a stranger writes."""
    assert cleaned(prompt) == left
    await images.make(Wanted("flux", prompt, 512, 384))
    assert images_server.of(GENERATIONS)[0].body["prompt"] == left


async def test_nothing_is_asked_that_is_not_made(
    images_server: ProviderServer,
) -> None:
    """Too large, a film, a picture to go by, an unknown model, no words: no call is spent."""
    images = make_images(images_server.url, most_side=1_024)
    for wanted in (
        Wanted("flux", "a cat", 1_032, 512),
        Wanted("flux", "a cat", 512, 512, duration_ms=5_000),
        Wanted("flux", "a cat", 512, 512, reference=b"x"),
        Wanted("other", "a cat", 512, 512),
    ):
        assert isinstance(await images.make(wanted), Undoable)
    assert await images.make(Wanted("flux", " <lora:x> ", 512, 512)) == NOTHING
    assert images_server.asked == []
    await images.close()


@pytest.mark.parametrize(
    ("sides", "taken"),
    [((512, 384), True), ((500, 380), True), ((1_024, 1_024), False), ((384, 512), False)],
)
async def test_another_size_is_not_what_was_bought(
    images: OpenAiImages, images_server: ProviderServer, sides: tuple[int, int], taken: bool
) -> None:
    """Makers round to a grid of up to 64; beyond that the buyer has his money back."""
    data = base64.b64encode(png(*sides)).decode()
    body = {"data": [{"b64_json": f"data:image/png;base64,{data}"}]}
    images_server.script(GENERATIONS, Reply(body))
    made = await images.make(CAT)
    if taken:
        assert isinstance(made, Made) and (made.width, made.height) == sides
    else:
        assert made == Declined(OTHER_SIZE)


def change(words: str, data: bytes, tool: str = "kontext") -> Wanted:
    """Return a run of a tool that changes a picture as words say."""
    inputs = {"input_image": "artifact:a", "input_prompt": words}
    return Wanted(tool, inputs=inputs, files={"artifact:a": data})


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
async def test_a_picture_is_changed_as_words_say(
    images: OpenAiImages, images_server: ProviderServer, kind: str
) -> None:
    """The picture goes there whole, as what it is, with the words and the server's own name of the
    model; what comes back is believed in whichever size it has."""
    steps: list[Step] = []
    data = drawn((96, 64), kind=kind)
    made = await images.make(change("mirror it <lora:x:1>", data), steps.append)
    assert isinstance(made, Made) and (made.media_type, made.width, made.height) == (
        "image/png", 96, 64,
    )  # fmt: skip
    left, right = (Image.open(io.BytesIO(made.data)).convert("RGB").getpixel(at)
                   for at in ((3, 30), (92, 30)))  # fmt: skip
    for seen, drawn_so in ((left, RED), (right, BLUE)):
        assert isinstance(seen, tuple)
        assert all(abs(one - other) < 30 for one, other in zip(seen, drawn_so, strict=True))
    assert steps == [BEGUN]
    (asked,) = images_server.of(EDITS)
    assert asked.body == {"model": EDITOR, "prompt": "mirror it ", "n": "1"}
    assert asked.files == {"image": data}


async def test_a_change_that_is_refused_is_declined(
    images: OpenAiImages, images_server: ProviderServer
) -> None:
    """By its content rules, or for its inputs; where the model is gone another may make it. What is
    no picture, and what says nothing, isn't sent."""
    data = drawn()
    assert await images.make(change("forbidden", data)) == Declined(DECLINES)
    assert isinstance(await images.make(change("mirror", data, "left")), Undoable)
    images_server.script(EDITS, Reply({"error": {"message": "too large"}}, 413))
    assert await images.make(change("mirror", data)) == Declined(UNFIT)
    asked = len(images_server.asked)
    assert await images.make(change("mirror", b"planted")) == Declined(UNFIT)
    assert await images.make(change(" <lora:x:1>", data)) == NOTHING
    assert len(images_server.asked) == asked
