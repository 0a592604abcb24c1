"""What every test may ask for: real parts, one Postgres for all, one empty database each."""

import gc

from hypothesis import HealthCheck, settings

gc.disable()  # until all is imported and collected (tests/database_fixtures.py): all of it stays

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
    "tests.longest_first",
    "tests.database_fixtures",
    "tests.house_fixtures",
    "tests.server_process",
    "tests.environments",
    "tests.agent_fixtures",
    "tests.gemini_server",
    "tests.images_server",
    "tests.venice_server",
    "tests.session_fixtures",
    "tests.chat_fixtures",
    "tests.rail_fixtures",
    "tests.pay_server",
    "tests.receiving_fixtures",
    "tests.refund_fixtures",
    "tests.usdc_street",
    "tests.local_chain",
    "tests.usdc_world",
    "tests.market_fixtures",
    "tests.workshop",
    "tests.notice_fixtures",
    "tests.page_fixtures",
    "tests.comfy_server",
    "tests.google_media_server",
]
