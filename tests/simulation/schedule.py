"""Actors take turns, one at a time, in the order that the dice say.

An actor is a coroutine that runs from one gate to the next. Between two gates it may talk to
Postgres, and nobody else runs meanwhile: so the dice alone decide what happens in which order.
"""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field


class Died(BaseException):
    """The process was killed: whatever its coroutines were about to do does not happen."""


@dataclass(eq=False)
class Life:
    """One life of a process, from its start to its death."""

    name: str
    dead: bool = False
    frozen: bool = False  # stopped by the machine, and not dead: it will go on where it was


@dataclass(eq=False)
class Actor:
    """One thing that goes on in a process."""

    name: str
    life: Life
    work: Callable[[], Awaitable[object]]
    task: asyncio.Task[None] | None = None
    gate: "asyncio.Future[None] | None" = None
    place: str = "begin"
    waits: int = 0
    over: bool = False
    error: Exception | None = field(default=None)


STUCK_S = 120  # longer than anything that a busy machine does between two gates

_current: contextvars.ContextVar[Actor] = contextvars.ContextVar("actor")


class Schedule:
    """Who is under way, and where each of them stands."""

    def __init__(self) -> None:
        self.actors: list[Actor] = []
        self._quiet = asyncio.Event()

    def start(self, name: str, life: Life, work: Callable[[], Awaitable[object]]) -> Actor:
        """Let something begin; it first runs when it is stepped."""
        actor = Actor(name, life, work)
        self.actors.append(actor)
        return actor

    def ready(self) -> list[Actor]:
        """Return those who could go on."""
        return [actor for actor in self.actors if not actor.life.frozen]

    async def step(self, actor: Actor) -> None:
        """Let one actor go on to its next gate, or to its end."""
        self._quiet.clear()
        if actor.task is None:
            context = contextvars.copy_context()
            context.run(_current.set, actor)
            actor.task = asyncio.get_running_loop().create_task(self._live(actor), context=context)
        else:
            gate, actor.gate = actor.gate, None
            assert gate is not None, f"{actor.name} waits for something else at {actor.place}"
            gate.set_result(None)
        try:
            async with asyncio.timeout(STUCK_S):
                await self._quiet.wait()
        except TimeoutError:
            raise AssertionError(f"{actor.name} waits at no gate, after {actor.place}") from None

    async def bury(self, life: Life) -> None:
        """End all that went on in a process that died, without letting any of it do a thing."""
        life.dead = True
        for actor in [actor for actor in self.actors if actor.life is life]:
            if actor.task is None:
                self.actors.remove(actor)
            else:
                await self.step(actor)

    async def _live(self, actor: Actor) -> None:
        try:
            await actor.work()
        except Died:
            actor.place = "died"
        except Exception as error:
            actor.error = error
            actor.place = f"raised {type(error).__name__}"
        else:
            actor.place = "end"
        finally:
            actor.over = True
            self.actors.remove(actor)
            self._quiet.set()

    async def gate(self, place: str) -> None:
        """Stand at a named place until it is one's turn. Raises Died when the process is dead."""
        still_alive()
        actor = _current.get()
        actor.place = place
        actor.gate = asyncio.get_running_loop().create_future()
        self._quiet.set()
        await actor.gate
        if actor.life.dead:
            raise Died

    def die(self) -> None:
        """Kill the process of the actor that runs now, here."""
        _current.get().life.dead = True
        raise Died


def still_alive() -> None:
    """Raise Died in what is left of an actor that has ended, or whose process is dead.

    When the loop comes to that is a matter of the machine: nothing that it does may be seen.
    """
    actor = _current.get(None)
    if actor is not None and (actor.over or actor.life.dead):
        raise Died


def who() -> Actor:
    """Return the actor that runs now."""
    return _current.get()
