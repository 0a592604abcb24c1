"""The macaroons of npm, asked in a process of their own."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.world.macaroon_fixtures import (
    raw,
    text_of,
    written,
)
from tests.world.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
MODULES = ROOT / ".cache" / "clients" / "node_modules"
PROGRAM = """
const m = require("macaroon");
// Its binary form doubles a buffer with each field: four caveats would need gigabytes.
const text = (each) => each.caveats.length < 3 ? m.bytesToBase64(each.exportBinary())
                                               : each.exportJSON();
const key = (hex) => Uint8Array.from(Buffer.from(hex, "hex"));
const taken = (each, hex) => {
  const seen = [];
  try { each.verify(key(hex), (caveat) => { seen.push(caveat); return null; }, []); }
  catch (error) { return String(error.message); }
  return seen;
};
const asked = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(asked.map(({token, add, verify, make}) => {
  const each = make
    ? m.newMacaroon({version: 2, rootKey: key(make.key), identifier: key(make.identifier),
                     location: make.location})
    : m.importMacaroon(token);
  for (const caveat of add || []) each.addFirstPartyCaveat(caveat);
  return verify ? taken(each, verify) : text(each);
})));
"""


def npm(modules: Path, *asked: dict[str, Any]) -> list[Any]:
    """Return what the package makes of each thing that it is asked."""
    done = subprocess.run(
        ["node", "-e", PROGRAM],
        input=json.dumps(asked),
        env={"NODE_PATH": str(modules), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    return [binary(each) if isinstance(each, dict) else each for each in json.loads(done.stdout)]


def binary(told: dict[str, Any]) -> str:
    """Return the text of a macaroon that the package has written as JSON."""

    def data(of: dict[str, Any], name: str) -> bytes:
        return of[name].encode() if name in of else raw(of[f"{name}64"])

    caveats = [data(caveat, "i") for caveat in told["c"]]
    return text_of(written(told["l"].encode(), data(told, "i"), caveats, data(told, "s")))
