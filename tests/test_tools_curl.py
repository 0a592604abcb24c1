"""What a program of the tools API sends by curl, as its guide shows it: only the address is another
one. The picture's host leads to a server of ours, which shows a certificate for that name.
"""

import asyncio
import json
import os
import shlex
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.executors.toolbox import Toolbox
from payments.public_http import PublicHttp
from tests.certificates import certificate_for
from tests.house_fixtures import Instance, instance_of
from tests.patience import PATIENCE_S
from tests.tool_fixtures import Pictures, person

BASE, KEY = "https://noema.art/api/v1", "$API_KEY"
HOST, LOCAL = "miladymaker.net", f"127.{os.getpid() % 200 + 20}.{os.getpid() // 200 % 250}.7"
EXECUTE = """
cat > kontext.json <<'EOF'
{
  "toolId": "kontext",
  "inputs": {
    "input_image": "https://miladymaker.net/milady/4985.png",
    "input_prompt": "turn the character so that she is facing the viewer\
 and looking directly at them"
  }
}
EOF

curl -X POST https://noema.art/api/v1/generations/execute \\
     -H "x-api-key: $API_KEY" \\
     -H 'Content-Type: application/json' \\
     -d @kontext.json
"""
SHOWN = {"displayName", "description", "toolId", "commandName", "costingModel", "metadata"}
STATUS = 'curl -H "x-api-key: $API_KEY" https://noema.art/api/v1/generations/status/<generationId>'
SEVERAL = """
curl -X POST https://noema.art/api/v1/generations/status \\
     -H "x-api-key: $API_KEY" \\
     -H 'Content-Type: application/json' \\
     -d '{"generationIds": ["<generationId>", "6542", "6543"]}'
"""


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Instance]:
    """An instance for which the picture's host is a server of this machine."""
    serving, trusting = certificate_for(HOST, tmp_path)

    async def resolve(host: str, port: int) -> list[str]:
        return [LOCAL] if host == HOST else []

    fetch = PublicHttp(
        allow_loopback=True, most_bytes=1 << 20, accept="image/*", resolve=resolve, tls=trusting
    )
    pictures = Pictures()
    server = await asyncio.start_server(pictures.serve, LOCAL, 443, ssl=serving)
    async with (
        server,
        instance_of(database_url, tmp_path, executors=[Toolbox()], fetch=fetch) as running,
    ):
        yield running
    assert pictures.asked == ["/milady/4985.png"]


async def curl(shop: Instance, key: str, command: str, folder: Path) -> Any:
    """Run a command as it stands in the guide, with this server's address; return its answer."""
    script = command.replace(BASE, f"{shop.url}/api/v1").replace("curl ", "curl -s ")
    process = await asyncio.create_subprocess_exec(
        "bash", "-e", "-c", f"export API_KEY={shlex.quote(key)}\n{script}",
        stdout=PIPE, stderr=PIPE, cwd=folder,
    )  # fmt: skip
    async with asyncio.timeout(PATIENCE_S):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return json.loads(out)


async def test_the_commands_of_the_guide_run_as_they_stand(shop: Instance, tmp_path: Path) -> None:
    """Tools are found, one is run on somebody's picture, waited for and read, alone and with
    others that aren't known."""
    key = (await person(shop, 1_000))["x-api-key"]
    listed = await curl(shop, key, f"curl {BASE}/tools", tmp_path)
    assert {
        "displayName",
        "description",
        "toolId",
        "commandName",
        "costingModel",
        "metadata",
    } <= set(listed[0])
    one = await curl(shop, key, f"curl {BASE}/tools/kontext", tmp_path)
    assert one == await curl(shop, key, f"curl {BASE}/tools/registry/kontext", tmp_path)
    made = await curl(shop, key, EXECUTE, tmp_path)
    assert made["status"] == "processing" and made["checkAfterMs"] > 0, made
    run = made["generationId"]
    while True:
        await asyncio.sleep(min(1.0, made["checkAfterMs"] / 1_000))  # as the guide has it
        said = await curl(shop, key, STATUS.replace("<generationId>", run), tmp_path)
        if said["status"] in ("completed", "failed"):
            break
    assert said["status"] == "completed", said
    picture = await shop.http.get(said["outputs"][0]["data"]["images"][0]["url"])
    assert picture.status_code == 200 and picture.headers["content-type"] == "image/png"
    several = await curl(shop, key, SEVERAL.replace("<generationId>", run), tmp_path)
    assert [each["status"] for each in several["generations"]] == ["completed", "failed", "failed"]
    assert several["generations"][0]["outputs"] == said["outputs"]
