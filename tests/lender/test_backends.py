"""What a lent machine makes things with: found on this machine, or named, over real HTTP."""

import json
from pathlib import Path

import pytest

from app.executors.a1111 import A1111
from app.executors.comfyui import ComfyUi
from app.executors.openai_images import OpenAiImages
from app.lender.around import Kind
from app.lender.backends import Asked, Backend, NoBackend, backend_of
from app.ports import Made
from tests.world.a1111_server import CHECKPOINT, FOREST, LOGIN
from tests.world.comfy_server import TREE, WORKFLOW
from tests.world.images_server import CAT, MODEL
from tests.world.provider_server import KEY, ProviderServer, Reply

HEARD: list[str] = []


def hears(what: str, status: int) -> None:
    """Hear what goes wrong."""
    HEARD.append(what)


async def named(text: str, *models: str, key: str = KEY) -> Backend:
    """Return the backend of this name."""
    return await backend_of(Asked(text, models, key), hears)


def written(folder: Path, **more: str) -> str:
    """Write a workflow into a file."""
    file = folder / "flux.json"
    file.write_text(json.dumps(WORKFLOW | {"1": {"class_type": "KSampler", "inputs": more}}))
    return str(file)


async def test_a_comfyui_makes_by_a_workflow(comfy_server: ProviderServer, tmp_path: Path) -> None:
    """Which is in a file; one with a place for seconds makes films."""
    backend = await named(f"comfy:{comfy_server.url}/", f"sd={written(tmp_path)}")
    assert isinstance(backend.executor, ComfyUi) and backend.models == ["sd"]
    assert isinstance(await backend.executor.make(TREE), Made)
    await backend.executor.close()
    films = await named(f"comfy:{comfy_server.url}", f"sd={written(tmp_path, s='%seconds%')}")
    assert not isinstance(await films.executor.make(TREE), Made)
    await films.executor.close()


async def test_a_web_ui_makes_by_a_checkpoint(a1111_server: ProviderServer) -> None:
    """Or by what is loaded there; of a user with a password."""
    url = f"a1111:{a1111_server.url}"
    backend = await named(url, f"flux={CHECKPOINT}", "other", key=LOGIN)
    assert isinstance(backend.executor, A1111) and backend.models == ["flux", "other"]
    assert isinstance(await backend.executor.make(FOREST), Made)
    await backend.executor.close()
    with pytest.raises(NoBackend, match=r"has no model 'flux2'. It has: 0123456789, flux1-dev"):
        await named(url, "flux=flux2", key=LOGIN)


async def test_an_images_api_makes_by_its_models(images_server: ProviderServer) -> None:
    """By those that it lists."""
    backend = await named(f"openai:{images_server.url}/v1", f"flux={MODEL}")
    assert isinstance(backend.executor, OpenAiImages)
    assert isinstance(await backend.executor.make(CAT), Made)
    await backend.executor.close()
    with pytest.raises(NoBackend, match="has no model 'flux'"):
        await named(f"openai:{images_server.url}/v1", "flux")


@pytest.mark.parametrize(
    ("text", "models", "says"),
    [
        ("mine", (), "no backend 'mine'"),
        ("comfy:", ("a",), "no backend 'comfy:'"),
        ("comfy:127.0.0.1:8188", ("a",), "is no URL"),
        ("openai:http://127.0.0.1:9/v1", ("a",), "Nothing answers at http://127.0.0.1:9/v1"),
        ("comfy:AT", ("a=x.json",), "does not speak ComfyUI"),
        ("a1111:AT", ("a",), "started with --api"),
        ("openai:AT/v1", (), "Say with --model"),
        ("scene", ("flux",), "makes scene-1 and scene-1-film"),
    ],
)
async def test_what_is_no_backend_says_why(
    images_server: ProviderServer, text: str, models: tuple[str, ...], says: str
) -> None:
    """Before anything is registered or claimed."""
    images_server.script("/sdapi/v1/sd-models", Reply({"detail": "Not Found"}, 404))
    with pytest.raises(NoBackend, match=says):
        await named(text.replace("AT", images_server.url), *models)


async def test_a_wrong_key_and_a_workflow_that_is_none_are_told(
    comfy_server: ProviderServer, tmp_path: Path
) -> None:
    """By what can be done about it."""
    at = f"comfy:{comfy_server.url}"
    with pytest.raises(NoBackend, match="--backend-key"):
        await named(at, "sd=x.json", key="wrong")
    with pytest.raises(NoBackend, match="which workflow makes sd"):
        await named(at, "sd")
    for file, says in ((tmp_path / "none.json", "can't be read"), (tmp_path / "a", "is not JSON")):
        (tmp_path / "a").write_text("{")
        with pytest.raises(NoBackend, match=says):
            await named(at, f"sd={file}")


async def test_auto_takes_what_is_there_and_says_so(
    comfy_server: ProviderServer, images_server: ProviderServer
) -> None:
    """The first that makes what was asked for; without one the painter, and how to take it."""
    usual = [
        (Kind.A1111, "http://127.0.0.1:9"),
        (Kind.COMFY, comfy_server.url),
        (Kind.OPENAI, f"{images_server.url}/v1"),
    ]
    found = f"Found OpenAI's API at {images_server.url}/v1."

    async def auto(*models: str) -> Backend:
        return await backend_of(Asked("auto", models, KEY), hears, usual)

    backend = await auto(f"flux={MODEL}")
    assert isinstance(backend.executor, OpenAiImages)
    assert backend.said == [
        f"Found ComfyUI at {comfy_server.url}.",
        found,
        f"Making with OpenAI's API at {images_server.url}/v1.",
    ]
    await backend.executor.close()
    painted = await auto()
    assert painted.models == ["scene-1", "scene-1-film"] and found in painted.said
    how = f"--backend comfy:{comfy_server.url} --model NAME=WORKFLOW.json"
    assert f"To lend it: {how}" in painted.said
    await painted.executor.close()
    with pytest.raises(NoBackend, match="has no model 'sdxl'"):
        await auto("flux=sdxl")
    with pytest.raises(NoBackend, match=r"there is no AUTOMATIC1111's API at http://127.0.0.1:9"):
        await backend_of(Asked("auto", ["flux"]), hears, usual[:1])
