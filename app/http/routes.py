"""How an address finds its route: among those that could be it, in their order."""

from collections.abc import Coroutine, Sequence
from typing import Any, Final

from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send

WORDS: Final = 4  # at the beginning of an address, by which its routes are found


class Alone(Route):
    """An address that is nobody's id: whoever asks it in another way learns how it is asked."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """See Route."""
        match, child = super().matches(scope)
        return (Match.FULL if match is Match.PARTIAL else match), child


Key = tuple[int, tuple[str, ...]]  # how many parts an address has, and the first of them; "": any


class Table(BaseRoute):
    """Routes, of which only those are tried whose fixed parts an address has.

    To try one after the other costs a microsecond each: of more than a hundred, as much as a query.
    No part of an address takes a slash, so its parts can be told apart before it is understood.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = tuple(routes)
        keys = [_key_of(route) for route in self.routes]
        self._words = [{words[place] for _, words in keys} - {""} for place in range(WORDS)]
        self._by_key = {
            key: tuple(
                route
                for route, of in zip(self.routes, keys, strict=True)
                if of[0] == key[0]
                and all(fixed in ("", word) for fixed, word in zip(of[1], key[1], strict=True))
            )
            for key in keys
        }

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """See Route. What is found is the first one that takes the method, else the first one."""
        partly: tuple[Match, Scope] = Match.NONE, {}
        for route in self._that_could_be(scope.get("path", "")):
            match, child = route.matches(scope)
            if match is Match.NONE or (match is Match.PARTIAL and partly[1]):
                continue
            found = match, {**child, "route": route}
            if match is Match.FULL:
                return found
            partly = found
        return partly

    def _that_could_be(self, path: str) -> tuple[Route, ...]:
        parts = path.split("/")
        given = [*parts[1 : WORDS + 1], *[""] * (WORDS + 1 - len(parts))]
        words = tuple(
            word if word in known else "" for word, known in zip(given, self._words, strict=True)
        )
        # An id that reads like a part of another address makes a key that no route has.
        return self._by_key.get((len(parts), words), self.routes)

    def handle(self, scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        """See Route."""
        handled: Coroutine[Any, Any, None] = scope["route"].handle(scope, receive, send)
        return handled


def _key_of(route: Route) -> Key:
    parts = route.path.split("/")
    words = ["" if "{" in part else part for part in parts[1 : WORDS + 1]]
    return len(parts), (*words, *[""] * (WORDS - len(words)))
