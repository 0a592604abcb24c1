"""What a lent machine makes things with: the embedded painter, or a server that its owner runs."""

from collections.abc import Sequence

from app.executors.openai_images import MEND, OpenAiImages
from app.executors.painter import MODEL, MOST_SIDE, ScenePainter
from app.executors.provider import Provider
from app.ports import Executor

SCENE, OPENAI = "scene", "openai:"
LONGEST_S = 600.0  # of one picture


class NoBackend(ValueError):
    """There is no such backend. The message says which there are."""


def backend_of(
    text: str, models: Sequence[str], key: str | None = None, most_side: int = MOST_SIDE
) -> tuple[Executor, list[str]]:
    """Return an executor, and the models of the server that it makes.

    `scene` is the painter. `openai:URL` is a server that speaks OpenAI's Images API, with names
    `model` or `model=its-name-there`. Raises NoBackend.
    """
    if text == SCENE:
        return ScenePainter(), list(models) or [MODEL, f"{MODEL}-film"]
    if text.startswith(OPENAI):
        theirs = dict(_pair(model) for model in models)
        if not theirs:
            raise NoBackend("Say with --model which models that server makes: NAME=ITS-NAME-THERE.")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        url = text.removeprefix(OPENAI)
        provider = Provider("openai", url, headers, probe_path="/models", mend=MEND, at_once=1)
        deadline_s = LONGEST_S
        images = OpenAiImages(
            provider, theirs, at_once=1, deadline_s=deadline_s, most_side=most_side
        )
        return images, list(theirs)
    raise NoBackend(f"There is no backend {text!r}: it is scene, or openai:URL.")


def _pair(model: str) -> tuple[str, str]:
    ours, _, theirs = model.partition("=")
    return ours, theirs or ours
