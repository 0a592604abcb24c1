"""What is on this machine, where no proxy of the environment has any business.

It stands in the lowest house because every house that asks somebody over HTTP has to know.
"""

import ipaddress

import httpx2


def is_here(url: str) -> bool:
    """Say whether a URL is of this machine, where no proxy has any business."""
    try:
        host = httpx2.URL(url).host
    except httpx2.InvalidURL:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return mapped.is_loopback or mapped.is_unspecified
