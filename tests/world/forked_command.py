"""`boltwork` on the PATH of a script: each call is forked where all of it is imported already.

The script can't tell it from the program: words, folder, environment, standard input, output and
exit code are its own, and who ends the call ends the command as SIGTERM does.
"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.world.forked import Forked
from tests.world.patience import PATIENCE_S

SCRIPT = r"""#!/bin/bash
exec 3<>"/dev/tcp/127.0.0.1/PORT"
given=/dev/null
if [ -p /dev/stdin ]; then given=$(mktemp -p FOLDER); cat > "$given"; fi
{ printf '%s\0' "$PWD" "$given" "$#" "$@"; env -0; printf '\0'; } >&3
IFS= read -r -d '' code <&3
IFS= read -r -d '' out <&3
printf '%s' "$out"
exit "$code"
"""


def _forked(
    words: list[str], folder: Path, environment: dict[str, str], given: Path, stderr: Path
) -> Forked:
    with given.open() as stdin, stderr.open("a") as err:
        return Forked(words, folder, environment, stdin=stdin.fileno(), stderr=err.fileno())


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stderr: Path) -> None:
    async def field() -> str:
        return (await reader.readuntil(b"\0"))[:-1].decode()

    folder, given, count = Path(await field()), Path(await field()), int(await field())
    words = [await field() for _ in range(count)]
    environment: dict[str, str] = {}
    while entry := await field():
        name, _, environment[name] = entry.partition("=")
    process = _forked(words, folder, environment, given, stderr)

    def to_its_end() -> tuple[int, str]:
        assert process.stdout is not None
        with process.stdout as out:
            printed = out.read()
        return process.wait(PATIENCE_S), printed

    ended = asyncio.create_task(asyncio.to_thread(to_its_end))
    gone = asyncio.create_task(reader.read())  # nothing more comes but the end of the call
    await asyncio.wait({ended, gone}, return_when=asyncio.FIRST_COMPLETED)
    if not ended.done():
        process.send_signal(signal.SIGTERM)
    code, printed = await ended
    gone.cancel()
    with contextlib.suppress(ConnectionError):
        writer.write(f"{code}\0{printed}\0".encode())
        await writer.drain()
    writer.close()


@asynccontextmanager
async def forked_command(folder: Path) -> AsyncIterator[Path]:
    """Give a folder for a script's PATH, with `boltwork` in it; what that says on standard error
    is in its file `stderr`."""
    at = folder / "bin"
    at.mkdir()
    calls: set[asyncio.Task[None]] = set()

    def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        call = asyncio.ensure_future(_answer(reader, writer, at / "stderr"))
        calls.add(call)
        call.add_done_callback(calls.discard)

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    command = at / "boltwork"
    command.write_text(SCRIPT.replace("PORT", str(port)).replace("FOLDER", str(at)))
    command.chmod(0o755)
    async with server:
        yield at
        await asyncio.gather(*calls)
