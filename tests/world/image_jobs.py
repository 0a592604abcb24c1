"""What programs that were written for another network expect of image jobs: a document as it is,
which says nothing of what is ours besides.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import yaml
from jsonschema import Draft4Validator

FILE = Path(__file__).parents[1] / "contracts" / "image_jobs.yaml"
DOCUMENT: dict[str, Any] = yaml.safe_load(FILE.read_text())
_CREATING = DOCUMENT["paths"]["/api/v1/jobs"]["post"]["responses"]
# The limits are those of all its operations.
TOO_MANY: dict[str, Any] = _CREATING["429"]["content"]["application/json"]["schema"]


def promised() -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Yield (method, path, status, schema) of every answer that the document knows."""
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            for status, answer in operation["responses"].items():
                schema = answer["content"]["application/json"]["schema"]
                yield method.upper(), path, status, schema


def promise_of(method: str, path: str) -> dict[str, dict[str, Any]] | None:
    """Return the schemas of an address's answers by status; None: it isn't the document's."""
    found = {
        status: schema
        for verb, template, status, schema in promised()
        if verb == method and re.fullmatch(re.sub("{[^}]+}", "[^/]+", template), path)
    }
    return {"429": TOO_MANY, **found} if found else None


async def hold(answer: httpx2.Response) -> None:
    """Raise AssertionError for an answer that the document does not know.

    That nobody can make a picture just now it has no answer for.
    """
    request = answer.request
    promise = promise_of(request.method, request.url.path)
    if promise is None or answer.status_code == 503:
        return
    what = f"{request.method} {request.url.path} answered {answer.status_code}"
    assert str(answer.status_code) in promise, f"{what}, which the document does not know"
    assert answer.headers["content-type"] == "application/json", what
    schema = {**promise[str(answer.status_code)], "components": DOCUMENT["components"]}
    said = json.loads(await answer.aread())
    checker = Draft4Validator.FORMAT_CHECKER
    wrong = [e.message for e in Draft4Validator(schema, format_checker=checker).iter_errors(said)]
    assert not wrong, f"{what}: {wrong}"
