"""The contract as a server hands it out, to machines that read YAML and to those that read JSON."""

import yaml

from tests.world.contract import CONTRACT, FILE
from tests.world.house_fixtures import Instance


async def test_the_server_hands_out_its_contract(instance: Instance) -> None:
    """GET /openapi.yaml is the file at the root."""
    answer = await instance.http.get("/openapi.yaml")
    assert answer.content == FILE.read_bytes()
    assert yaml.safe_load(answer.text) == CONTRACT.document


async def test_the_contract_is_handed_out_as_json_too(instance: Instance) -> None:
    """GET /openapi.json says what /openapi.yaml says, value by value."""
    answer = await instance.http.get("/openapi.json")
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    assert answer.json() == CONTRACT.document
