"""What a lent machine makes things with: the embedded painter, or a server that its owner runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app.executors import a1111, comfyui, openai_images
from app.executors.a1111 import A1111
from app.executors.comfyui import ComfyUi
from app.executors.openai_images import OpenAiImages
from app.executors.painter import MODEL, MOST_SIDE, ScenePainter
from app.executors.provider import Hears, Provider
from app.lender.around import (
    TITLES,
    USUAL,
    Found,
    Kind,
    Unfound,
    found_at,
    headers_of,
    look_around,
)
from app.ports import Executor
from app.workflow import makes_films, read_workflow_file

AUTO, SCENE = "auto", "scene"
LONGEST_S, LONGEST_FILM_S = 600.0, 1_800.0  # of one picture, one film
MOST_NAMED = 12  # names of a server that a sentence holds
SCENES = (MODEL, f"{MODEL}-film")
INSTALL = "The embedded painter isn't installed here: pip install 'boltwork[server]'."


class NoBackend(ValueError):
    """There is no such backend. The message says what there is."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for: a backend by its name, models `NAME` or `NAME=ITS-NAME-THERE`, a key."""

    text: str
    models: Sequence[str] = ()
    key: str = ""
    most_side: int = MOST_SIDE
    at_once: int = 1

    @property
    def theirs(self) -> dict[str, str]:
        """The names of the backend by the server's; empty where only the server's was given."""
        pairs = (model.partition("=") for model in self.models)
        return {ours: theirs for ours, _, theirs in pairs}


@dataclass(frozen=True, slots=True)
class Backend:
    """What makes things, and the models of the server that it makes."""

    executor: Executor
    models: list[str]
    said: list[str] = field(default_factory=list)  # of what was looked for


async def backend_of(
    asked: Asked, hears: Hears, usual: Sequence[tuple[Kind, str]] = USUAL
) -> Backend:
    """Return the backend that was asked for. Raises NoBackend.

    `scene` is the painter, `auto` the first of the servers at the usual ports that makes what was
    asked for, and without one the painter; else KIND:URL.
    """
    if asked.text == SCENE:
        return await _scene(asked)
    if asked.text == AUTO:
        return await _auto(asked, hears, usual)
    name, _, url = asked.text.partition(":")
    if name not in set(Kind) or not url:
        names = ", ".join(f"{kind}:URL" for kind in Kind)
        raise NoBackend(f"There is no backend {asked.text!r}: it is auto, scene, {names}.")
    kind = Kind(name)
    try:
        found = await found_at(kind, url.rstrip("/"), asked.key)
    except Unfound as unfound:
        raise NoBackend(str(unfound)) from unfound
    return _made_by(found, asked, hears)


async def _scene(asked: Asked) -> Backend:
    if set(asked.models) - {*SCENES}:
        raise NoBackend(f"The embedded painter makes {' and '.join(SCENES)}, and nothing else.")
    painter = ScenePainter(at_once=asked.at_once)
    if await painter.healthy() is not None:
        raise NoBackend(INSTALL)
    return Backend(painter, list(asked.models) or [*SCENES])


async def _auto(asked: Asked, hears: Hears, usual: Sequence[tuple[Kind, str]]) -> Backend:
    there = await look_around(usual, asked.key)
    said = [f"Found {found.told}." for found in there]
    why_not: list[str] = []
    for found in there if asked.models else ():
        try:
            made = _made_by(found, asked, hears)
        except NoBackend as not_it:
            why_not.append(str(not_it))
        else:
            return Backend(made.executor, made.models, [*said, f"Making with {found.told}."])
    if set(asked.models) <= {*SCENES}:
        hints = [f"To lend it: {_how(found)}" for found in there]
        painted = await _scene(asked)
        said = [*said, *hints, "Making with the embedded painter."]
        return Backend(painted.executor, painted.models, said)
    if why_not:
        raise NoBackend(" ".join(why_not))
    looked = ", ".join(f"{TITLES[kind]} at {url}" for kind, url in usual)
    raise NoBackend(f"Nothing here makes these models: there is no {looked}. See --backend.")


def _how(found: Found) -> str:
    theirs = {Kind.COMFY: "NAME=WORKFLOW.json", Kind.A1111: "NAME", Kind.OPENAI: "NAME=ITS-NAME"}
    return f"--backend {found.kind}:{found.url} --model {theirs[found.kind]}"


def _made_by(found: Found, asked: Asked, hears: Hears) -> Backend:
    """Return the backend that a server is, for these models. Raises NoBackend."""
    if not asked.models:
        sentence = f"Say with --model which models {TITLES[found.kind]} makes"
        raise NoBackend(f"{sentence}, as the server names them: {_how(found)}.")
    make = {Kind.COMFY: _comfy, Kind.A1111: _a1111, Kind.OPENAI: _openai}[found.kind]
    return Backend(make(found, asked, hears), list(asked.theirs))


def _comfy(found: Found, asked: Asked, hears: Hears) -> Executor:
    workflows = {}
    for ours, file in asked.theirs.items():
        if not file:
            raise NoBackend(
                f"Say which workflow makes {ours}: --model {ours}=FILE.json, exported for the API,"
                " with %prompt% where the buyer's words go."
            )
        try:
            workflows[ours] = read_workflow_file(Path(file).expanduser())
        except ValueError as wrong:
            raise NoBackend(f"The workflow {file} {wrong}.") from wrong
    films = frozenset(ours for ours, workflow in workflows.items() if makes_films(workflow))
    return ComfyUi(
        _provider(found, asked, hears, comfyui.PROBE_PATH, comfyui.MEND),
        workflows,
        films,
        at_once=asked.at_once,
        deadline_s=LONGEST_S,
        film_deadline_s=LONGEST_FILM_S,
    )


def _a1111(found: Found, asked: Asked, hears: Hears) -> Executor:
    _known(found, asked.theirs)
    provider = _provider(found, asked, hears, a1111.PROBE_PATH, a1111.MEND)
    return A1111(provider, asked.theirs, at_once=asked.at_once, deadline_s=LONGEST_S)


def _openai(found: Found, asked: Asked, hears: Hears) -> Executor:
    theirs = {ours: name or ours for ours, name in asked.theirs.items()}
    _known(found, theirs)
    return OpenAiImages(
        _provider(found, asked, hears, "/models", openai_images.MEND),
        theirs,
        at_once=asked.at_once,
        deadline_s=LONGEST_S,
        most_side=asked.most_side,
    )


def _known(found: Found, theirs: Mapping[str, str]) -> None:
    """Refuse a name that the server does not have: some would make it with another model."""
    for name in theirs.values():
        if name and found.names is not None and name not in found.names:
            some = sorted(found.names)
            more = ", …" if len(some) > MOST_NAMED else ""
            raise NoBackend(
                f"{found.told} has no model {name!r}. It has: {', '.join(some[:MOST_NAMED])}{more}"
            )


def _provider(found: Found, asked: Asked, hears: Hears, probe_path: str, mend: str) -> Provider:
    headers, at_once = headers_of(found.kind, asked.key), asked.at_once
    return Provider(
        found.kind, found.url, headers, probe_path=probe_path, mend=mend, at_once=at_once,
        hears=hears,
    )  # fmt: skip
