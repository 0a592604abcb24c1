"""Servers of strangers on this machine, under the names that a guide gives them."""

import ssl
from collections.abc import Mapping
from dataclasses import replace

from payments.public_http import Address, Answer, PublicHttp, Refused, Target


class Elsewhere(PublicHttp):
    """Asks servers of this machine that show certificates for names of their own.

    They stand at ports that any user may listen on: 443 is root's.
    """

    def __init__(self, ports: Mapping[str, int], tls: ssl.SSLContext, accept: str) -> None:
        super().__init__(
            allow_loopback=True, most_bytes=1 << 20, accept=accept, resolve=self._here, tls=tls
        )
        self._ports = ports

    async def _here(self, host: str, port: int) -> list[str]:
        return ["127.0.0.1"] if host in self._ports else []

    async def _ask(self, target: Target, address: Address, question: object) -> Answer | Refused:
        moved = replace(target, port=self._ports[target.host])
        return await super()._ask(moved, address, question)  # type: ignore[arg-type]
