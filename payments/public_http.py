"""One request to an address that a stranger named: public, small, soon, and nowhere else.

The address that is connected to is the one that was vetted: a name is resolved once, and Host and
SNI keep it. No redirect is followed, no cookie and no proxy is used. Answers are values.
"""

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import httpx2

from pricing.authorities import authorities

LARGEST_BYTES: Final = 192 * 1024  # LUD-06 allows a picture of 136,536 characters in an answer
LONGEST_URL: Final = 2_000
ADDRESSES_TRIED: Final = 3
FIRST_S: Final = (
    1.0  # how long the first bytes of an answer are waited for, once its status is here
)
RESOLVERS: Final = 4  # threads; a slow name server must not take those of the whole process

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]

# What an address may not be in. `is_global` of Python 3.11 lets some of these pass.
_CLOSED_V4: Final = [
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
        "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    )
]  # fmt: skip
# Only these are given to hosts of the public net; all that maps or embeds IPv4 lies outside, or
# in the list below (Teredo in 2001::/23, 6to4 in 2002::/16).
_OPEN_V6: Final = ipaddress.IPv6Network("2000::/3")
_CLOSED_V6: Final = [
    ipaddress.IPv6Network(network)
    for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
]

# Printable ASCII without what one reader of URLs takes for a slash and another does not.
_URL = re.compile(r"https?://[!#$%&'()*+,\-./0-9:;=?@A-Z\[\]_a-z~]+", re.IGNORECASE)
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: any status, any bytes, not too many."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """This will not do, now or later. The reason is for a person."""

    reason: str


@dataclass(frozen=True, slots=True)
class Away:
    """It could not be asked, or did not answer, for a reason that may pass."""

    reason: str


@dataclass(frozen=True, slots=True)
class Target:
    """A URL, taken apart; nothing in it is ambiguous."""

    scheme: str
    host: str  # lower case; an IPv6 address without its brackets
    port: int
    path: str  # with its query; never empty

    @property
    def address(self) -> Address | None:
        """Return the address where the host is one."""
        return _address(self.host)

    @property
    def is_loopback(self) -> bool:
        """Say whether the host is this machine, by its address or its one plain name."""
        return self.host == "localhost" or (self.address is not None and self.address.is_loopback)

    @property
    def netloc(self) -> str:
        """Return the host as a URL and a Host header write it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.scheme == "https" else 80
        return host if self.port == default else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked of a target: a GET, whose answer is read whole, or a POST, of whose answer the
    status and the first bytes count."""

    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def method(self) -> str:
        return "GET" if self.body is None else "POST"


def is_public(address: Address) -> bool:
    """Say whether this is an address of the public net, with no other one hidden in it."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _CLOSED_V4)
    return address in _OPEN_V6 and not any(address in network for network in _CLOSED_V6)


def target_of(url: str, *, allow_loopback: bool = False) -> Target | Refused:
    """Take a URL apart. Refused unless it is https to what may be a public host.

    With `allow_loopback`, loopback is such a host, and http is taken; whether it leads to
    loopback is seen when the name is resolved.
    """
    if len(url) > LONGEST_URL or not _URL.fullmatch(url):
        return Refused("it is not a whole https address in plain letters")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or ""), parts.port
    except ValueError:
        return Refused("its host or port can't be read")
    if "@" in parts.netloc:
        return Refused("it holds a user name")
    if parts.scheme == "http" and not allow_loopback:
        return Refused("it is not https")
    odd = _oddity(host, allow_loopback)
    if odd is not None:
        return Refused(odd)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    port = port if port is not None else (443 if parts.scheme == "https" else 80)
    return Refused("its port can't be 0") if port == 0 else Target(parts.scheme, host, port, path)


def _oddity(host: str, allow_loopback: bool) -> str | None:
    """Return why this can't be a public host; None when it may be one."""
    address = _address(host)
    if address is not None:
        open_to_us = is_public(address) or (allow_loopback and address.is_loopback)
        return None if open_to_us else "its address is not a public one"
    if not _NAME.fullmatch(host) or len(host) > 253:
        return "its host is not a plain name"
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        return "its host is a number in disguise"  # resolvers take 0x7f.1 for 127.0.0.1
    if host.endswith(".onion"):
        return "its host is an onion service, which can't be reached from here"
    if "." not in host and not (allow_loopback and host == "localhost"):
        return "its host is not a public name"
    return None


async def system_resolver(threads: ThreadPoolExecutor, host: str, port: int) -> list[str]:
    """Return the addresses of a name, as this machine resolves it. OSError when it can't."""
    find = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(threads, find)
    return [str(entry[4][0]) for entry in found]


class PublicHttp:
    """Asks strangers' servers. `allow_loopback` also opens this machine, for tests.

    An answer with more than `most_bytes` is refused while it is read.
    """

    def __init__(
        self,
        *,
        allow_loopback: bool = False,
        timeout_s: float = 10,
        most_bytes: int = LARGEST_BYTES,
        accept: str = "application/json",
        resolve: Resolve | None = None,
        tls: ssl.SSLContext | None = None,
        at_once: int = 20,
        resolvers: int = RESOLVERS,
    ) -> None:
        self.allow_loopback = allow_loopback
        self._timeout_s, self._most_bytes, self._accept = timeout_s, most_bytes, accept
        self._threads = ThreadPoolExecutor(resolvers, thread_name_prefix="resolve")
        self._resolve = resolve or partial(system_resolver, self._threads)
        # The transport, and not a client: it knows no cookies, no redirects and no proxies. No
        # connection is kept, since the next name at one address may be another's.
        self._transport = httpx2.AsyncHTTPTransport(
            verify=tls or authorities(trust_env=False),
            trust_env=False,
            limits=httpx2.Limits(max_connections=at_once, max_keepalive_connections=0),
        )

    async def get(self, url: str) -> Answer | Refused | Away:
        """Ask once; the whole of it, with resolving and connecting, is bounded in time."""
        return await self._bounded(url, _Question())

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str]
    ) -> Answer | Refused | Away:
        """Send once, bounded likewise. Any status is an answer, and only its first bytes are read.

        Away does not say that nothing was sent.
        """
        return await self._bounded(url, _Question(body, headers))

    async def _bounded(self, url: str, question: _Question) -> Answer | Refused | Away:
        target = target_of(url, allow_loopback=self.allow_loopback)
        if isinstance(target, Refused):
            return Refused(f"The address can't be used: {target.reason}.")
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._asked(target, question)
        except TimeoutError:
            return Away(f"{target.host} did not answer in time.")

    async def _asked(self, target: Target, question: _Question) -> Answer | Refused | Away:
        addresses = await self._vetted(target)
        if not isinstance(addresses, list):
            return addresses
        answer: Answer | Refused | Away = Away(f"{target.host} can't be reached.")
        for address in addresses[:ADDRESSES_TRIED]:
            try:
                return await self._ask(target, address, question)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                continue
            except (httpx2.HTTPError, httpx2.InvalidURL):
                return Away(f"{target.host} broke off its answer.")
        return answer

    async def _vetted(self, target: Target) -> list[Address] | Refused | Away:
        literal = target.address
        if literal is not None:
            found = [literal]
        else:
            try:
                texts = await self._resolve(target.host, target.port)
            except (OSError, UnicodeError):
                return Away(f"The name {target.host} can't be resolved.")
            found = [a for a in map(_address, dict.fromkeys(texts)) if a is not None]
        if not found:
            return Away(f"The name {target.host} can't be resolved.")
        vetted = [address for address in found if self._may_ask(target, address)]
        return vetted or Refused(f"{target.host} does not lead to a public address.")

    def _may_ask(self, target: Target, address: Address) -> bool:
        if address.is_loopback and self.allow_loopback:
            return True
        return target.scheme == "https" and is_public(address)

    async def _ask(self, target: Target, address: Address, question: _Question) -> Answer | Refused:
        host = f"[{address}]" if address.version == 6 else str(address)
        request = httpx2.Request(
            question.method,
            f"{target.scheme}://{host}:{target.port}{target.path}",
            content=question.body,
            headers={
                **question.headers,
                "Host": target.netloc,
                "Accept": self._accept,
                "Accept-Encoding": "identity",
                "User-Agent": "boltwork",
                "Connection": "close",
            },
            extensions={
                "sni_hostname": target.host,
                "timeout": {"connect": self._timeout_s / ADDRESSES_TRIED},
            },
        )
        response = await self._transport.handle_async_request(request)
        try:
            if question.body is not None:
                return Answer(response.status_code, await self._first(response))
            if 300 <= response.status_code < 400:
                return Refused(f"{target.host} answers with a redirect, which is not followed.")
            body = bytearray()
            async with aclosing(response.aiter_raw()) as pieces:
                async for piece in pieces:
                    body += piece
                    if len(body) > self._most_bytes:
                        return Refused(f"{target.host} answers with too much.")
            return Answer(response.status_code, bytes(body))
        finally:
            await response.aclose()

    async def _first(self, response: httpx2.Response) -> bytes:
        """Return the first bytes of an answer; who sends more, or slowly, is not listened to."""
        body = bytearray()
        with suppress(httpx2.HTTPError, TimeoutError):
            async with asyncio.timeout(FIRST_S), aclosing(response.aiter_raw()) as pieces:
                async for piece in pieces:
                    body += piece
                    if len(body) >= self._most_bytes:
                        break
        return bytes(body[: self._most_bytes])

    async def close(self) -> None:
        """Let go of connections and threads."""
        await self._transport.aclose()
        self._threads.shutdown(wait=False, cancel_futures=True)


def _address(text: str) -> Address | None:
    if "%" in text:  # a zone: an address of one link
        return None
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
