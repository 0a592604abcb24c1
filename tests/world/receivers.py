"""Receivers of notices as their authors write them: two examples, run as they stand in their guide.

Each is given parsed JSON by its framework (Express, Flask), of which only that much is here.
"""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.world.patience import PATIENCE_S

FOLDER = Path(__file__).parents[1] / "receivers"
EXPRESS = """
const routes = [];
const express = { json: () => null };
const app = { post: (path, read, handler) => routes.push(handler) };
const log = console.log;
console.log = () => {};
%s
const lines = require('fs').readFileSync(0, 'utf8').split('\\n').filter(Boolean);
log(JSON.stringify(lines.map((line) => {
  const [hex, signature, secret] = JSON.parse(line);
  process.env.WEBHOOK_SECRET = secret;
  let body;
  try { body = JSON.parse(Buffer.from(hex, 'hex').toString('utf8')); } catch { return 400; }
  if (typeof body !== 'object' || body === null) return 400;
  let said = 0;
  const res = { status: (code) => ({ json: () => { said = code; } }) };
  try { routes[0]({ body, headers: { 'x-webhook-signature': signature } }, res); }
  catch { return 500; }
  return said;
})));
"""


@dataclass(frozen=True, slots=True)
class Sent:
    """A notice as it comes to a receiver."""

    body: bytes
    signature: str  # the whole header
    secret: str


def in_javascript(sent: Sequence[Sent]) -> list[int]:
    """Return what the receiver in JavaScript answers to each, under node."""
    program = EXPRESS % (FOLDER / "javascript.txt").read_text()
    lines = [json.dumps([each.body.hex(), each.signature, each.secret]) for each in sent]
    done = subprocess.run(
        ["node", "-e", program],
        input="\n".join(lines),
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    answers: list[int] = json.loads(done.stdout)
    return answers


def in_python(sent: Sequence[Sent]) -> list[int]:
    """Return what the receiver in Python answers to each."""
    handlers: list[Any] = []
    request = SimpleNamespace(headers={}, json=None)
    environ = SimpleNamespace(environ={})

    def route(path: str, methods: list[str]) -> Any:
        return handlers.append

    names: dict[str, Any] = {
        "app": SimpleNamespace(route=route),
        "request": request,
        "jsonify": dict,
        "print": lambda *_: None,
    }
    program = (FOLDER / "python.txt").read_text()
    exec(compile(program, "python.txt", "exec"), names)  # as it stands in its guide
    names["os"] = environ
    return [_answer(handlers[0], request, environ, each) for each in sent]


def _answer(handler: Any, request: Any, environ: Any, sent: Sent) -> int:
    environ.environ = {"WEBHOOK_SECRET": sent.secret}
    try:
        request.json = json.loads(sent.body)
    except ValueError:
        return 400
    if not isinstance(request.json, dict):
        return 400
    request.headers = {"X-Webhook-Signature": sent.signature}
    try:
        _, status = handler()
    except TypeError:  # a signature that is no ASCII
        return 500
    return int(status)
