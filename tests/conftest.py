"""What every test may ask for: real parts, one Postgres for all, one empty database each."""

import gc

from hypothesis import HealthCheck, settings

gc.disable()  # until all tests are collected (database_fixtures.py): what is imported stays

# What a property test tries is the same each time, however long a busy machine takes for it:
# whoever sees one fail can see it again. `scripts/fuzz` and `scripts/simulate` look for the new.
settings.register_profile(
    "boltwork",
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("boltwork")

pytest_plugins = [
    "tests.world.longest_first",
    "tests.world.trusted_once",
    "tests.world.database_fixtures",
    "tests.world.house_fixtures",
    "tests.world.server_process",
    "tests.world.environments",
    "tests.world.agent_fixtures",
    "tests.world.gemini_server",
    "tests.world.images_server",
    "tests.world.venice_server",
    "tests.world.session_fixtures",
    "tests.world.chat_fixtures",
    "tests.world.rail_fixtures",
    "tests.world.pay_server",
    "tests.world.receiving_fixtures",
    "tests.world.refund_fixtures",
    "tests.world.usdc_street",
    "tests.world.local_chain",
    "tests.world.usdc_world",
    "tests.world.market_fixtures",
    "tests.world.workshop",
    "tests.world.notice_fixtures",
    "tests.world.page_fixtures",
    "tests.world.a1111_server",
    "tests.world.comfy_server",
    "tests.world.google_media_server",
]
