"""What the forked processes begin with: everything imported, and set aside from their collections.

A collection in one of them would walk all of it, and so copy every page of it.
"""

import gc
from importlib import import_module

from app.commands.cli import COMMANDS

NEEDED = (
    "app.serving.run", "app.commands.doctor", "app.commands.demonstration", "app.buyer.client",
    "app.buyer.display", "app.buyer.purchase", "app.buyer.session", "tests.crash_server",
)  # fmt: skip

for module in (*(f"app.commands.{place.module}" for place in COMMANDS.values()), *NEEDED):
    import_module(module)
gc.collect()
gc.freeze()
