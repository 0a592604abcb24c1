"""The code of guides, taken from what a server shows, and run as it stands there.

All blocks of one language of a guide are one program, in their order. What each prints is held to
the output that is shown below it; one without such prints nothing. Programs of several guides are
run one after the other by one process: a start costs more than they do.
"""

import asyncio
import re
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

from tests.world.patience import PATIENCE_S

OUTPUT = "output"
ANYTHING = "…"
# Between two blocks a program says so, in its own words.
BETWEEN = {
    "sh": "printf '\\0'\n",
    "python": "print('\\0', end='', flush=True)\n",
    "js": 'process.stdout.write("\\0");\n',
}
ENDINGS = {"sh": "sh", "python": "py", "js": "mjs"}
# What runs the programs whose paths follow: each by itself, with nothing of the others' names.
RUNNERS: dict[str, list[str]] = {
    "sh": ["-c", 'for each; do bash -e "$each" || exit; printf "\\x01"; done', "guides"],
    "python": [
        "-c",
        "import runpy, sys\n"
        "for each in sys.argv[1:]:\n"
        "    runpy.run_path(each, run_name='__main__')\n"
        "    print('\\x01', end='', flush=True)",
    ],
    "js": [
        "--input-type=module",
        "-e",
        "for (const each of process.argv.slice(1)) {\n"
        "  await import(each);\n"
        '  process.stdout.write("\\x01");\n'
        "}",
    ],
}
INVOICE = re.compile(r"\b(ln[a-z]+[0-9][a-z0-9]{150,})\s")

Pays = Callable[[str], Awaitable[object]]


@dataclass
class Block:
    """One piece of code, and what is shown of its output."""

    code: str
    output: str = ""


def programs(markdown: str) -> dict[str, list[Block]]:
    """Return the blocks of a guide by their language."""
    found: dict[str, list[Block]] = {}
    last: Block | None = None
    for token in MarkdownIt().parse(markdown):
        if token.type != "fence":
            continue
        if token.info == OUTPUT:
            assert last is not None and not last.output, "an output belongs to the code above it"
            last.output = token.content
        else:
            last = Block(token.content)
            found.setdefault(token.info, []).append(last)
    return found


def pattern(shown: str) -> str:
    """Return what a shown output stands for: `…` is anything within its line, or any lines where
    it stands alone; in a line that speaks of sats every amount is any amount."""

    def of(line: str) -> str:
        if line == ANYTHING:
            return r"[\s\S]*?"
        free = rf"({ANYTHING}|[0-9][0-9,]*)" if "sat" in line else f"({ANYTHING})"
        parts = re.split(free, line)
        return "".join(_meant(part, is_free=place % 2 == 1) for place, part in enumerate(parts))

    return "\n".join(of(line) for line in shown.strip("\n").split("\n"))


def _meant(part: str, *, is_free: bool) -> str:
    if not is_free:
        return re.escape(part)
    return ".*" if part == ANYTHING else "[0-9][0-9,]*"


def held(name: str, blocks: Sequence[Block], printed: str) -> None:
    """Hold what a guide's program has printed to what is shown."""
    outputs = printed.split("\0")
    assert len(outputs) == len(blocks), f"{name}: {printed}"
    for block, output in zip(blocks, outputs, strict=True):
        told = f"{name}: {block.code}\nprinted\n{output}\nand not\n{block.output}"
        assert re.fullmatch(pattern(block.output), output.strip("\n")), told


async def follow(
    language: str,
    guides: Mapping[str, Sequence[Block]],
    command: Path | str,
    folder: Path,
    environment: Mapping[str, str],
    pays: Pays | None = None,
) -> dict[str, str]:
    """Run one language of guides in a folder, hold each to its outputs, and return them by name.

    Who follows them has a wallet where `pays` is given: each invoice that is printed is paid.
    """
    programs, wrong = [], folder / "wrong.txt"
    for name, blocks in guides.items():
        programs.append(folder / f"guide_{name}.{ENDINGS[language]}")  # no package has its name
        programs[-1].write_text(BETWEEN[language].join(block.code for block in blocks))
    with wrong.open("w") as stderr:
        process = await asyncio.create_subprocess_exec(
            command,
            *RUNNERS[language],
            *programs,
            cwd=folder,
            env=environment,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=stderr,
        )
    assert process.stdout is not None
    printed, paid = "", set[str]()
    async with asyncio.timeout(PATIENCE_S * len(programs)):
        while part := await process.stdout.read(65_536):
            printed += part.decode()
            if pays is not None:
                for invoice in set(INVOICE.findall(printed)) - paid:
                    paid.add(invoice)
                    await pays(invoice)
        code = await process.wait()
    assert code == 0, f"{printed}\n{wrong.read_text()}"
    *each, rest = printed.split("\x01")
    assert rest == "", printed
    outputs = dict(zip(guides, each, strict=True))
    for name, blocks in guides.items():
        held(name, blocks, outputs[name])
    return outputs
