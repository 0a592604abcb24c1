"""One question in JSON over HTTP, and its answer: bounded in size and in time, whatever its status.

A secret that goes with it stands in one header, and in no reason.
"""

import asyncio
from typing import Any, Final, NamedTuple

import httpx2
import orjson

from payments.kept_alive import limits
from pricing.authorities import authorities

LARGEST_ANSWER_BYTES: Final = 262_144  # a receipt of a block's longest transactions has less


class Answer(NamedTuple):
    """What came back: any status, any JSON."""

    status: int
    body: Any  # parsed JSON; None when it was none

    def text(self, field: str) -> str:
        """Return a field of the body if it is text, else nothing; a short one."""
        value = self.body.get(field) if isinstance(self.body, dict) else None
        return value[:200] if isinstance(value, str) and value.isprintable() else ""


class JsonHttp:
    """The connections to one server, who is called by `name` in reasons."""

    def __init__(
        self,
        name: str,
        url: str,
        *,
        timeout_s: float,
        header: tuple[str, str] | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError("an address starts with http:// or https://")
        self.name, self._url, self._timeout_s = name, url.rstrip("/"), timeout_s
        self._http = httpx2.AsyncClient(
            headers={"Accept-Encoding": "identity", **dict([header] if header else [])},
            timeout=httpx2.Timeout(timeout_s),
            limits=limits(),
            follow_redirects=False,
            verify=authorities(trust_env=False),
            trust_env=False,  # the header goes to the address the operator set, and nowhere else
            transport=transport,
        )

    async def ask(
        self, path: str, body: object = None, largest: int = LARGEST_ANSWER_BYTES
    ) -> Answer | str:
        """Ask once, by POST when there is a body. Returns why, when there is no whole answer."""
        method = "GET" if body is None else "POST"
        content = None if body is None else orjson.dumps(body)
        asking = self._http.stream(
            method, self._url + path, content=content, headers={"Content-Type": "application/json"}
        )
        try:
            async with asyncio.timeout(self._timeout_s), asking as response:
                raw = bytearray()
                async for piece in response.aiter_raw():
                    raw += piece
                    if len(raw) > largest:
                        return f"{self.name}'s answer is too long"
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as broken:
            return f"{self.name} gave no answer ({type(broken).__name__})"
        try:
            parsed = orjson.loads(raw)
        except orjson.JSONDecodeError:
            parsed = None
        return Answer(response.status_code, parsed)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()
