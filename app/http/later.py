"""An answer that may be long in coming: it is waited for at the edge (app/http/edge.py), where all
that was needed to read the question, some ten frames and what they hold, is let go of.
"""

from collections.abc import Awaitable, Callable
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

IsGone = Callable[[], Awaitable[bool]]  # whether who waits has hung up
Find = Callable[[IsGone], Awaitable[Response]]


class Later(Response):
    """Stands for the answer that `find` returns. What that raises is answered as anywhere."""

    def __init__(self, find: Find) -> None:
        super().__init__()
        self._find = find

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have it waited for."""
        scope["state"]["stays"] = partial(_answer, self._find, scope)


async def _answer(find: Find, scope: Scope, receive: Receive, send: Send) -> None:
    async def is_gone() -> bool:
        return await Request(scope, receive).is_disconnected()

    response = await find(is_gone)
    await response(scope, receive, send)
