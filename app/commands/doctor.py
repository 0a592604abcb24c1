"""Asks every part of an installation how it is. A finding that is not well says how to mend it.

Nothing is changed, but for what every start does with an embedded Postgres; no secret is told.
"""

import asyncio
import ipaddress
import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from app.adapters import make_agent, make_card, make_chat, make_oracle
from app.commands import folder, postgres, surroundings
from app.commands.doctor_artifacts import of_artifacts
from app.commands.doctor_expenses import of_expenses
from app.commands.doctor_hosts import of_hosts
from app.commands.doctor_makers import of_makers
from app.commands.doctor_running import answers, of_running
from app.commands.doctor_usdc import of_usdc
from app.commands.findings import Finding, ok, warn, wrong
from app.commands.terminal import run
from app.http.counts import make_storage
from app.keys.secret import FILE, operator_secrets
from app.main import make_rail, trouble_with_token, utc_now
from app.operator.key_rotation import check_secret
from app.serving.listener import CannotListen, open_listener, written
from app.settings import Environment, Settings
from app.settings.problems import of_settings, strangers
from app.telemetry import logs
from db.embedded import EmbeddedPostgresError
from db.engine import Database, DatabaseAway, nowhere
from db.fitness import look
from db.migrate import newest, refuse_unknown, version
from db.reach import Unfit
from payments.public_http import is_public
from payments.rail import Rail, Unavailable
from payments.seal import BadSecret, Seal
from pricing.money import sats_to_msat
from pricing.oracle import Oracle, PriceUnavailable
from pricing.rates import ending

GIB = 2**30
LITTLE_BYTES, TOO_LITTLE_BYTES = 2 * GIB, GIB // 4
SKEW, WRONG_SKEW = timedelta(seconds=2), timedelta(seconds=30)
ANSWER_S = 3.0


def examine() -> list[Finding]:
    """Return what there is to say of the installation that the environment names."""
    logs.configure("critical")
    mend = "see Configuration in the README"
    try:
        settings = Settings()
    except ValidationError as error:
        return [wrong("settings", said, mend) for said in of_settings(error)]
    ill = [wrong("settings", said, mend) for said in surroundings.troubles(os.environ)]
    if ill:
        return ill
    findings = [_environment(settings), *_disk(settings)]
    findings += [warn("settings", said, mend) for said in strangers(os.environ)]
    if settings.database_url is not None:
        url = settings.database_url.get_secret_value()
        return findings + list(run(examine_all(settings, url, None)))
    try:
        with postgres.database(settings, shared=True) as url:
            return findings + list(run(examine_all(settings, url, None)))
    except (EmbeddedPostgresError, DatabaseAway, Unfit) as broken:
        nobody = "postgresql://nobody@127.0.0.1:9/none"
        return findings + list(run(examine_all(settings, nobody, str(broken))))


async def examine_all(settings: Settings, url: str, broken: str | None) -> list[Finding]:
    """Ask every part; `broken` says why there is no database."""
    groups = await asyncio.gather(
        _database(settings, url, broken), _rail(settings), _price(settings), _agents(settings),
        of_artifacts(settings), of_makers(settings), of_usdc(settings), _door(settings),
    )  # fmt: skip
    return [finding for group in groups for finding in group]


# ------------------------------------------------------------ this machine


def _environment(settings: Settings) -> Finding:
    if settings.env is Environment.PRODUCTION:
        return ok("environment", "production")
    mend = "set BOLTWORK_ENV=production before real buyers come"
    if settings.lnbits_url is None:
        return ok("environment", "development, on the stub rail: no real money moves")
    return warn("environment", "development, with real money", mend)


def _disk(settings: Settings) -> Iterator[Finding]:
    if not folder.is_needed(settings):
        return  # nothing of ours lies on this machine
    try:
        folder.check(settings)
    except folder.NoFolder as none:
        yield wrong("disk", str(none), "see BOLTWORK_DATA in the README")
    place = settings.data.absolute()
    while not place.exists():
        place = place.parent
    yield about_room(settings, shutil.disk_usage(place).free)


def about_room(settings: Settings, free_bytes: int) -> Finding:
    """Say whether so much room is enough."""
    said = f"{free_bytes // 2**20:,} MiB are free for {settings.data}"
    mend = "make room, or set BOLTWORK_DATA to a folder on a larger disk"
    if free_bytes < TOO_LITTLE_BYTES:
        return wrong("disk", said, mend)
    return warn("disk", said, mend) if free_bytes < LITTLE_BYTES else ok("disk", said)


# ---------------------------------------------------------------- database


async def _database(settings: Settings, url: str, broken: str | None) -> list[Finding]:
    theirs = settings.database_url is not None
    mend = "check DATABASE_URL" if theirs else "mend what it says, or set DATABASE_URL"
    if broken is not None:
        return [wrong("database", broken, mend)]
    try:
        await asyncio.to_thread(look, url)
        at = await asyncio.to_thread(version, url)
    except Unfit as unfit:
        return [wrong("database", unfit.said, unfit.mend)]
    findings = [ok("database", "answers" if theirs else "the embedded one answers")]
    findings += [about_tables(at), *await of_hosts(url)]
    db = Database(url, 1, nowhere)
    try:
        await db.open()
        findings.append(await _clock(db))
        if at == newest():
            findings += [await _secret(settings, db), await _limits(settings, db)]
            findings += await of_expenses(settings, db, utc_now().date())
    except DatabaseAway as away:
        findings.append(wrong("database", str(away), mend))
    finally:
        await db.close()
    return findings


def about_tables(at: str | None) -> Finding:
    """Say whether tables of this version can be worked with."""
    if at == newest():
        return ok("tables", f"are those of this version ({at})")
    try:
        refuse_unknown(at)
    except Unfit as unfit:
        return wrong("tables", unfit.said, unfit.mend)
    said = "are not made yet" if at is None else f"are of version {at}, and {newest()} is needed"
    return warn("tables", said, "run `boltwork migrate`; a start does it too")


async def _clock(db: Database) -> Finding:
    before = utc_now()
    theirs = await db.clock()
    return about_clock(before, theirs, utc_now())


def about_clock(before: datetime, theirs: datetime, after: datetime) -> Finding:
    """Say whether the database's time lies between ours before and after it was asked."""
    skew = max(before - theirs, theirs - after, timedelta(0))
    said = f"differs by {skew.total_seconds():.1f} s from the database's"
    mend = "run a time service (NTP) on both machines: prices and invoices expire by this clock"
    if skew > WRONG_SKEW:
        return wrong("clock", said, mend)
    return warn("clock", said, mend) if skew > SKEW else ok("clock", "agrees with the database's")


async def _secret(settings: Settings, db: Database) -> Finding:
    try:
        count = await check_secret(db, Seal(operator_secrets(settings)))
    except BadSecret as bad:
        return wrong("secret", "does not open the keys in the database", str(bad))
    said = f"opens all {count} keys" if count else "no key is made yet"
    file = settings.data / FILE
    if settings.secret is not None:
        return ok("secret", said)
    if file.exists() and os.stat(file).st_mode & 0o077:
        return wrong("secret", f"{file} can be read by others", f"chmod 600 {file}")
    return ok("secret", f"{said}; it is the file {file}: back it up with the database")


async def _limits(settings: Settings, db: Database) -> Finding:
    storage = make_storage(settings, db, utc_now)
    name = "Postgres" if settings.rate_limit_storage is None else "Redis"
    try:
        if await storage.check():
            return ok("limits", f"are counted in {name}")
    except storage.base_exceptions:
        pass
    return wrong("limits", f"{name} does not answer", "check RATE_LIMIT_STORAGE")


# ------------------------------------------------------------------- money


async def _rail(settings: Settings) -> list[Finding]:
    mend = "check LNBITS_URL and LNBITS_API_KEY"
    try:
        rail = make_rail(settings, utc_now)
    except (ValueError, OSError) as error:
        return [wrong("rail", str(error), mend)]
    try:
        trouble = await rail.healthy()
        if trouble is not None:
            return [wrong("rail", trouble.reason, mend)]
        findings = [ok("rail", f"{rail.name} answers, and takes the key")]
        if settings.lnbits_url is None:
            said = "the stub: no real money moves"
            return [warn("rail", said, "set LNBITS_URL and LNBITS_API_KEY to earn")]
        findings += [await _network(rail), await who_reaches(settings.lnbits_url)]
        return [*findings, await _successors(settings, rail)]
    finally:
        await rail.close()


async def _network(rail: Rail) -> Finding:
    """Have an invoice made for one sat, which nobody is shown and which soon expires."""
    key = f"doctor:{secrets.token_hex(8)}"
    made = await rail.create_invoice(key, sats_to_msat(1), "boltwork doctor", 60)
    if isinstance(made, Unavailable):
        return wrong("network", made.reason, "set LIGHTNING_NETWORK to that of your LNbits")
    return ok("network", f"invoices are for {rail.network}, as LIGHTNING_NETWORK says")


async def _successors(settings: Settings, rail: Rail) -> Finding:
    part, most = "wallets", settings.lnbits_wallet_invoices
    if settings.lnbits_token is None:
        said = "one wallet for ever: LNbits gets slower with each payment that it has had"
        return warn(part, said, "set LNBITS_TOKEN, so that full wallets have successors")
    trouble = await trouble_with_token(rail)
    if trouble is not None:
        return wrong(part, trouble.reason, "make an API token in LNbits that may write it")
    return ok(part, f"the token can open a new one, after each {most:,} invoices")


async def who_reaches(url: str) -> Finding:
    """LNbits shows the preimage of a paid invoice to whoever asks: it must not be public."""
    part, parts = "LNbits", urlsplit(url)
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
    except OSError:
        return warn(part, f"{parts.hostname} has no address", "check LNBITS_URL")
    if not any(is_public(ipaddress.ip_address(str(each[4][0]).split("%")[0])) for each in found):
        return ok(part, "has a private address")
    mend = "keep it private: a firewall, a VPN, or 127.0.0.1 beside Boltwork"
    if parts.scheme != "https":
        return wrong(part, "its key goes over the public net unencrypted", mend)
    return warn(part, "has a public address: it shows preimages to whoever asks", mend)


async def _price(settings: Settings) -> list[Finding]:
    mend = "check BTC_PRICE_SOURCES, or set BTC_PRICE_USD_FALLBACK"
    try:
        make_card(settings)
        oracle = make_oracle(settings, utc_now)
    except ValueError as error:
        return [wrong("price", str(error), "check MODEL_PRICES and BTC_PRICE_SOURCES")]
    try:
        price = await oracle.price()
        if isinstance(price, PriceUnavailable):
            return [wrong("price", f"{price.reason} {_silent(oracle)}".strip(), mend)]
        if price.note:
            return [warn("price", f"{price.note} {_silent(oracle)}".strip(), mend)]
        silent = _silent(oracle)
        said = f"{len(price.sources)} sources agree: {', '.join(price.sources)}"
        return [warn("price", f"{said}. {silent}", mend) if silent else ok("price", said)]
    finally:
        await oracle.close()


def _silent(oracle: Oracle) -> str:
    """Return which sources gave no price, and why."""
    errors = [f"{each.name} ({each.error})" for each in oracle.status().sources if each.error]
    return f"No price from {', '.join(errors)}." if errors else ""


# ------------------------------------------------------------------ agents


async def _agents(settings: Settings) -> list[Finding]:
    try:
        agent = make_agent(settings)
        chat = make_chat(settings, agent)
    except ValueError as error:
        return [wrong("agents", str(error), "check the settings of the models")]
    try:
        trouble = await agent.healthy()
        if trouble is not None:
            mend = "check ANTHROPIC_API_KEY, or run `scripts/setup weights` for the embedded model"
            return [wrong("agents", trouble.reason, trouble.mend or mend)]
        findings = [ok("agents", f"{agent.name} can be asked")]
        asked = {agent.eval_model, agent.work_model, chat.chat_model, chat.image_model}
        findings += about_models(asked, utc_now().date())
        silent = await chat.healthy()
        if silent is not None:  # jobs can be bought all the same
            findings.append(warn("chat", silent.reason, "check GEMINI_API_KEY"))
        return findings
    finally:
        await chat.close()
        await agent.close()


def about_models(asked: set[str], today: date) -> Iterator[Finding]:
    """Say which models of the price table end within a month; a warning where one is asked."""
    for model, last in sorted(ending(today).items()):
        could = "can" if today <= last else "could"
        said = f"{model} {could} be asked until {last} only, as its maker says"
        if model in asked:
            yield warn(
                "models", said, "set EVAL_MODEL, WORK_MODEL or GEMINI_MODEL to one that goes on"
            )
        else:
            yield ok("models", f"{said}; nothing here asks it")


# ---------------------------------------------------------------- the door


async def _door(settings: Settings) -> list[Finding]:
    findings = await _port(settings)
    production = settings.env is Environment.PRODUCTION
    url = settings.public_url
    if url is None:
        said = "PUBLIC_URL is not set: links for wallets are made of each request's own Host"
        mend = "set PUBLIC_URL to how others reach this server"
        findings.append(warn("address", said, mend) if production else ok("address", said))
    elif production and not url.startswith("https://"):
        mend = "put a proxy with TLS in front, and set PUBLIC_URL to its https address"
        findings.append(wrong("address", f"{url} is not encrypted", mend))
    else:
        reached = await answers(url, ANSWER_S)
        said = f"Boltwork answers at {url}" if reached else f"no Boltwork answers at {url}"
        mend = "start it, or check PUBLIC_URL and the proxy in front"
        findings.append(ok("address", said) if reached else warn("address", said, mend))
    token: Any = getattr(settings, "operator_token", None)
    if token is None:
        said = "OPERATOR_TOKEN is not set: nobody can open /operator"
        findings.append(warn("operator", said, "set it to `openssl rand -hex 32`"))
    else:
        findings.append(ok("operator", "a token opens /operator"))
    return findings


async def _port(settings: Settings) -> list[Finding]:
    where = written(settings.host, settings.port)
    try:
        open_listener(settings.host, settings.port).close()
    except CannotListen as error:
        if error.is_taken and await answers(f"http://{where}", ANSWER_S):
            running = await of_running(f"http://{where}")
            return [ok("port", f"a Boltwork listens on {where}"), *running]
        said = f"{where} can't be listened on ({error.reason})"
        return [wrong("port", said, "set HOST or PORT")]
    return [ok("port", f"{where} is free")]
