"""The forms that a setting may have: an address, a key, a network, a level.

Each refusal is a sentence that says what to write, and quotes nothing.
"""

import re
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, Field, SecretStr

Positive = Annotated[int, Field(gt=0)]

# The names that others use for what BOLT11 calls by its prefix.
NETWORKS = {"mainnet": "bc", "bitcoin": "bc", "testnet": "tb", "signet": "tbs", "regtest": "bcrt"}
LEVELS = ("debug", "info", "warning", "error")


def _http_address(given: str) -> str:
    try:
        parts = urlsplit(given)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number, a bracket without its other
        good = False
    if not good or not given.isascii() or not given.isprintable() or " " in given:
        raise ValueError("must be an address like https://example.org")
    return given


def _origin(given: str) -> str:
    if not re.fullmatch(r"https?://[A-Za-z0-9.\[\]:-]+", _http_address(given)):
        raise ValueError("must be an address like https://example.org, without a path")
    return given


def _key(given: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[!-~]+", given.get_secret_value()):
        raise ValueError(
            "must be one word of letters, digits and signs: a space, a line break or another"
            " alphabet came in when it was copied"
        )
    return given


def _postgres_url(given: SecretStr) -> SecretStr:
    scheme, sign, _ = given.get_secret_value().partition("://")
    if sign and scheme.startswith(("postgresql+", "postgres+")):
        raise ValueError(f"must begin with postgresql:// (without the +{scheme.split('+')[1]})")
    if not sign or scheme not in ("postgresql", "postgres"):
        raise ValueError("must be a URL like postgresql://user:password@host:5432/database")
    if _names_several(given.get_secret_value()) and not _WRITES.search(given.get_secret_value()):
        raise ValueError(
            "names several hosts: add ?target_session_attrs=read-write to it, so that the one is"
            " found that takes writes"
        )
    return given


_WRITES = re.compile(r"[?&]target_session_attrs=(read-write|primary)(&|$)")


def _names_several(url: str) -> bool:
    place, _, query = url.partition("://")[2].rpartition("@")[2].partition("?")
    hosts = [place.partition("/")[0]]
    hosts += [value for name, value in parse_qsl(query) if name in ("host", "hostaddr")]
    return any("," in each for each in hosts)


def _network(given: str) -> str:
    name = given.strip().lower()
    if name in NETWORKS.values():
        return name
    known = ", ".join(f"{prefix} ({other})" for other, prefix in NETWORKS.items())
    hint = f": use {NETWORKS[name]}" if name in NETWORKS else f": one of {known}"
    raise ValueError(f"must be the prefix that invoices have after ln{hint}")


def _level(given: str) -> str:
    if given.strip().lower() not in LEVELS:
        raise ValueError(f"must be one of {', '.join(LEVELS)}")
    return given.strip().lower()


def _cell(given: str) -> str:
    if given and not re.fullmatch("[0-9a-f]{2}", given):
        raise ValueError("must be two digits of 0123456789abcdef, in small letters, like 0a")
    return given


HttpAddress = Annotated[str, AfterValidator(_http_address)]
Origin = Annotated[str, AfterValidator(_origin)]
Key = Annotated[SecretStr, AfterValidator(_key)]
PostgresUrl = Annotated[SecretStr, AfterValidator(_postgres_url)]
Network = Annotated[str, AfterValidator(_network)]
CellDigits = Annotated[str, AfterValidator(_cell)]
LogLevel = Annotated[str, AfterValidator(_level)]
