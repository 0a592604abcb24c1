"""x."""
import asyncio, sys
from urllib.parse import urlsplit
import pytest
@pytest.mark.parametrize("path,status", [("/api/jobs", 413), ("/api/jobs/1/refund", 404), ("/nothing", 404)])
async def test_b(instance, path, status):
    """x."""
    address = urlsplit(instance.url)
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    writer.write(head.encode() + chunk * 5)
    async with asyncio.timeout(5):
        assert (await reader.readline()).startswith(b"HTTP/1.1 %d" % status)
    sent = 0
    with pytest.raises(ConnectionError):
        while sent < 2**28:
            writer.write(chunk)
            await writer.drain()
            sent += len(chunk)
    print("SENT", sent)
