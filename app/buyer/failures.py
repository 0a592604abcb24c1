"""What a call to a server can end with, other than its answer."""

from typing import Any

import httpx2

from app.buyer.exchange import shown
from app.plain_text import one_line


class ClientError(Exception):
    """What a call can end with, other than its answer."""


class Refused(ClientError):
    """The server refused the request; `body` is its error envelope."""

    def __init__(self, status: int, body: dict[str, Any], headers: Any = None) -> None:
        super().__init__(one_line(str(body.get("error", f"HTTP {status}"))))
        self.status, self.body = status, body
        self.headers = httpx2.Headers() if headers is None else headers

    @property
    def next_step(self) -> str:
        """What the server says to do now, if it does."""
        return one_line(str(self.body.get("next", "")))


class Away(ClientError):
    """There is no answer, or none that can be read. The request may have arrived."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"{shown(url)} can't be reached: {reason}")


class Strange(Away):
    """The answer isn't one of a Boltwork server: a proxy, another site, or a hostile server."""

    def __init__(self, url: str, reason: str) -> None:
        ClientError.__init__(self, f"{shown(url)} does not answer as a Boltwork does: {reason}")
