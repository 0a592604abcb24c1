"""The package: what a buyer's installation needs, and what only a server's does."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
COMMAND = Path(sys.executable).with_name("boltwork")

# What a buyer's program imports, and what the buyer's commands do.
BUYERS = (
    "app.buyer.client", "app.buyer.session", "app.buyer.purchase", "app.buyer.payer",
    "app.buyer.spending", "app.buyer.display", "app.commands.ask", "app.commands.verify",
    "app.buyer.batch", "app.buyer.drawing", "app.commands.draw", "app.buyer.making",
    "app.buyer.purse", "app.buyer.given", "app.commands.tools", "app.commands.cast",
    "app.commands.macaroon", "app.keys.receipt_check", "app.buyer.wallets.wallet",
    "app.buyer.wallets.hand", "app.buyer.wallets.stub", "app.buyer.wallets.lnbits",
    "app.buyer.wallets.nwc",
)  # fmt: skip
OF_THE_SERVER = ("app.api", "app.web", "app.main", "app.settings", "app.advance", "db")

LICENCE = "LicenseRef-All-Rights-Reserved"

LOADED = "import json, sys, {0}; print(json.dumps(sorted(sys.modules)))"


def distributions(requirements: list[str]) -> set[str]:
    """Return the names of what requirements ask for, without their extras and versions."""
    return {re.split(r"[\[<>=~! ;]", each)[0] for each in requirements}


def test_the_licence_is_the_same_wherever_it_is_named() -> None:
    """The package, the contract and the README name one licence."""
    contract = yaml.safe_load((ROOT / "openapi.yaml").read_text())
    assert PROJECT["license"] == contract["info"]["license"]["identifier"] == LICENCE
    assert f"`{LICENCE}`" in (ROOT / "README.md").read_text()


@cache
def owners_of_modules() -> Mapping[str, list[str]]:
    """Return which distributions bring a module: read from all that is installed, once."""
    return metadata.packages_distributions()


def modules_of(distribution: str) -> set[str]:
    """Return the top-level modules that an installed distribution brings."""
    return {
        module
        for module, owners in owners_of_modules().items()
        if distribution.lower() in {owner.lower().replace("_", "-") for owner in owners}
    }


@pytest.mark.parametrize("module", BUYERS)
def test_a_buyers_program_imports_nothing_of_the_server(module: str) -> None:
    """A fresh process that imports the client has loaded no package that `boltwork[server]` brings,
    and no room of the server."""
    loaded = json.loads(
        subprocess.run(
            [sys.executable, "-c", LOADED.format(module)],
            cwd=ROOT, capture_output=True, text=True, check=True,
        ).stdout
    )  # fmt: skip
    tops = {name.partition(".")[0] for name in loaded}
    brought = distributions(PROJECT["optional-dependencies"]["server"])
    # Some of these come to the buyer all the same: cryptography checks the signature of a receipt,
    # and bech32 reads an invoice, for the packages that the base asks for.
    brought -= {"cryptography", "bech32"}
    servers = set().union(*(modules_of(name) for name in brought))
    assert servers >= {"starlette", "sqlmodel", "psycopg", "procrastinate", "anthropic", "pydantic"}
    assert not tops & servers
    for room in OF_THE_SERVER:
        assert not [name for name in loaded if name == room or name.startswith(room + ".")]


def test_the_command_says_which_boltwork_it_is() -> None:
    """`boltwork --version` names the installed version, the project's own. Exit code 0."""
    said = subprocess.run([COMMAND, "--version"], capture_output=True, text=True, cwd="/")
    assert (said.returncode, said.stdout) == (0, f"boltwork {metadata.version('boltwork')}\n")
    assert said.stdout == f"boltwork {PROJECT['version']}\n"


def test_help_does_not_wait_for_a_server() -> None:
    """The help of all commands, and of those a buyer runs, imports nothing but what shows it."""
    for words in (["--help"], ["ask", "--help"], ["serve", "--help"]):
        said = subprocess.run([COMMAND, *words], capture_output=True, text=True, cwd="/")
        assert said.returncode == 0 and "Usage: boltwork" in said.stdout
