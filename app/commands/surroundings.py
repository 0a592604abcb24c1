"""What HTTP clients read of the environment: proxies, certificates, accounts; seen to beforehand.

What is wrong is a sentence that names the variable. No value is quoted: a proxy has a password.
"""

import os
import ssl
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from urllib.parse import urlsplit

PROXIES = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY")
PROXY_SCHEMES = {"http", "https", "socks5", "socks5h"}


def troubles(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield what is wrong with the variables that every HTTP client reads."""
    for name in PROXIES:
        for variable in (name.lower(), name):
            if environment.get(variable):
                yield from _of_proxy(variable, environment[variable])
    file, folder = environment.get("SSL_CERT_FILE"), environment.get("SSL_CERT_DIR")
    if file:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
        except ssl.SSLError:
            yield "SSL_CERT_FILE holds no certificate: name a file in PEM form, or unset it."
        except OSError as error:
            yield f"SSL_CERT_FILE can't be read ({error.strerror}): name another, or unset it."
    if folder and not all(os.path.isdir(one) for one in folder.split(os.pathsep)):
        yield "SSL_CERT_DIR is no folder: name another, or unset it."
    azure = environment.get("ARTIFACTS_URL", "").startswith("az:")
    if azure and not environment.get("AZURE_STORAGE_ACCOUNT_NAME"):
        yield "ARTIFACTS_URL names a container of Azure: set AZURE_STORAGE_ACCOUNT_NAME too."


def _of_proxy(variable: str, proxy: str) -> Iterator[str]:
    try:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        good = parts.scheme in PROXY_SCHEMES and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good:
        yield f"{variable} must be a proxy like http://host:3128 or socks5://host:1080."
    elif parts.scheme.startswith("socks") and find_spec("socksio") is None:
        yield (
            f"{variable} names a SOCKS proxy, which needs one more package: install it beside"
            " Boltwork (`pip install socksio`), name an HTTP proxy, or unset it."
        )
