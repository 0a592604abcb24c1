"""The certificates of this machine are read once by a process of the tests, as the product's are
(pricing/authorities.py): a test has several HTTP clients, and each would read them for 20 ms."""

import os
import ssl
from collections.abc import Iterator
from functools import cache

import httpcore2
import pytest


@pytest.fixture(scope="session", autouse=True)
def certificates_are_read_once() -> Iterator[None]:
    """The library's own reader answers, once for each environment that it reads."""
    read = cache(lambda trust_env, *named: httpcore2._ssl.default_ssl_context(_trust_env=trust_env))

    def remembered(*, _trust_env: bool = True) -> ssl.SSLContext:
        names = ("SSL_CERT_FILE", "SSL_CERT_DIR") if _trust_env else ()
        return read(_trust_env, *(os.environ.get(name) for name in names))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpcore2, "default_ssl_context", remembered)
        yield
