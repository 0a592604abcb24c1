"""What the forked processes begin with: all that is made once by a process, and is the same in all,
set aside from their collections.

A collection in one of them would walk all of it, and so copy every page of it.
"""

import gc
from importlib import import_module

from sqlalchemy.orm import configure_mappers

from app.commands.cli import COMMANDS
from app.trade.spells import shipped
from pricing.authorities import authorities

# What these import when they are first used is of the same second.
NEEDED = (
    "app.serving.run", "app.commands.doctor", "app.commands.demonstration", "app.buyer.client",
    "app.buyer.display", "app.buyer.purchase", "app.buyer.session", "app.buyer.wallets.hand",
    "app.buyer.wallets.stub", "app.buyer.wallets.lnbits", "app.agents.anthropic",
    "app.agents.gemini", "app.agents.local", "procrastinate.builtin_tasks", "procrastinate.worker",
    "httpcore2", "truststore", "anyio._backends._asyncio", "typer._adapters", "rich.rule",
    "encodings.idna", "tests.runs.crash_server",
)  # fmt: skip

gc.disable()
for module in (*(f"app.commands.{place.module}" for place in COMMANDS.values()), *NEEDED):
    import_module(module)
configure_mappers()
shipped()  # every server reads them, to see whether it has published them
for trust_env in (False, True):
    authorities(trust_env=trust_env)
gc.collect()
gc.freeze()
gc.enable()
