"""Tools for programs: found, run, and what they have made.

    import asyncio

    from app.buyer.client import Client
    from app.buyer.tools import tools

    async def main() -> None:
        async with Client("http://127.0.0.1:8402") as client:
            for tool in await tools(client, "picture"):
                print(tool["toolId"], tool.get("mostSats"))

    asyncio.run(main())

`app.buyer.making` runs them, and saves what they make.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from app.buyer import tool_answers as answers
from app.buyer.client import Client
from app.buyer.tool_answers import Run, Tool

AT = "/api/v1/tools"
RUNS = "/api/v1/generations"


async def tools(client: Client, words: str = "") -> list[Tool]:
    """Return the tools that can be run now; with words those that have all of them."""
    found = client.strictly(answers.tools, await client.listed(AT))
    wanted = words.lower().split()
    return [each for each in found if all(word in _told(each) for word in wanted)]


def _told(tool: Tool) -> str:
    return f"{tool['toolId']} {tool['name']} {tool['description']}".lower()


async def tool(client: Client, tool_id: str) -> Tool:
    """Return a tool with the rules of its inputs. Raises Refused (404)."""
    parsed = await client.call("GET", f"{AT}/{quote(tool_id, safe='')}")
    return client.strictly(answers.tool, parsed)


async def runs(
    client: Client, run_ids: Sequence[str], headers: Mapping[str, str] | None = None
) -> list[Run]:
    """Return runs as they stand, up to a hundred at once; a step of a cast is one, too."""
    asked: dict[str, Any] = {"json": {"generationIds": list(run_ids)}, "headers": headers or {}}
    parsed = await client.call("POST", f"{RUNS}/status", repeatable=True, **asked)
    return client.strictly(answers.runs, parsed, run_ids)
