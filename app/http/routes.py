"""Addresses that stand beside those with an id in the same place."""

from starlette.routing import Match, Route
from starlette.types import Scope


class Alone(Route):
    """An address that is nobody's id: whoever asks it in another way learns how it is asked."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """See Route."""
        match, child = super().matches(scope)
        return (Match.FULL if match is Match.PARTIAL else match), child
