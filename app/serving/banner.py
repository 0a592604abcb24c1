"""What a start says of how this instance was put together: a line each for the environment, the
rail, the agents, the price and the database. No line holds a key, a password or a whole URL.
"""

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from app.ports import Prices
from app.settings import Environment, Settings
from pricing.oracle import PriceUnavailable


def notes(settings: Settings) -> list[str]:
    """Return what the settings say, in development as in production."""
    return [
        f"environment: {settings.env.value}",
        f"rail: {_rail(settings)}",
        f"agents: {_agents(settings)}",
        f"database: {_database(settings)}",
        f"price: {_price(settings)}",
    ]


async def of_price(oracle: Prices) -> AsyncIterator[str]:
    """Yield what is wrong with the price just now, if anything is. The sources are asked."""
    price = await oracle.price()
    if isinstance(price, PriceUnavailable):
        yield f"price: NONE just now. {price.reason} Nothing can be sold before there is one."
    elif price.note:
        yield f"price: {price.note}"


def _rail(settings: Settings) -> str:
    if settings.lnbits_url is None:
        return "the stub. It moves no real money (set LNBITS_URL and LNBITS_API_KEY)."
    return f"LNbits at {_place(settings.lnbits_url)}, invoices for {settings.lightning_network}."


def _agents(settings: Settings) -> str:
    if not settings.asks_claude:
        said = "the embedded SmolLM2-135M. It writes a fair sentence, and no more."
    else:
        said = f"{settings.eval_model} judges, {settings.work_model} works"
        base = settings.anthropic_base_url
        said += f", both at {_place(base)}." if base else "."
    return said + (f" {settings.gemini_model} converses." if settings.asks_gemini else "")


def _database(settings: Settings) -> str:
    if settings.database_url is None:
        return f"embedded Postgres, data in {settings.data}"
    parts = urlsplit(settings.database_url.get_secret_value())
    return f"Postgres at {_place(parts.geturl())}, database {parts.path.strip('/') or '(its own)'}"


def _price(settings: Settings) -> str:
    names = [item.split("=")[0].strip() for item in settings.btc_price_sources.split(",")]
    said = f"of live sources ({', '.join(names)})"
    if settings.btc_price_usd_fallback is not None:
        return f"{said}; if too few answer, {settings.btc_price_usd_fallback:,} USD a bitcoin."
    if settings.env is Environment.DEVELOPMENT:
        return f"{said}; if none can be reached, an example price that says so."
    return f"{said}; if too few answer, nothing is sold until they do."


def _place(url: str) -> str:
    """Return the host and port of a URL, and nothing of what is before or after them."""
    return urlsplit(url).netloc.rpartition("@")[2] or "this machine"
