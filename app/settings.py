"""Every environment variable, once, typed. What is set here is what the README's table names."""

import re
from enum import StrEnum, auto
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app import tracing

LEAST_SECRET = 32  # characters


class Environment(StrEnum):
    """Where this runs: production refuses whatever is not real money."""

    DEVELOPMENT = auto()
    PRODUCTION = auto()


Port = Annotated[int, Field(ge=0, le=65535)]
Positive = Annotated[int, Field(gt=0)]


class Settings(BaseSettings):
    """What an operator can set. Each field is the environment variable of its name or alias."""

    model_config = SettingsConfigDict(
        extra="ignore", frozen=True, env_ignore_empty=True, hide_input_in_errors=True
    )

    env: Environment = Field(
        Environment.DEVELOPMENT,
        validation_alias="BOLTWORK_ENV",
        description="`development` or `production`; production refuses the stub rail",
    )
    host: str = Field("127.0.0.1", validation_alias="HOST", description="address to listen on")
    port: Port = Field(8402, validation_alias="PORT", description="port to listen on")
    data: Path = Field(
        Path(".boltwork"),
        validation_alias="BOLTWORK_DATA",
        description="folder of the embedded Postgres and the stub rail",
    )
    log_level: str = Field(
        "info", validation_alias="LOG_LEVEL", description="`debug`, `info`, `warning` or `error`"
    )

    secret: SecretStr | None = Field(
        None,
        validation_alias="BOLTWORK_SECRET",
        description="closes the keys in the database; several, parted by commas: the first closes,"
        " all open",
    )

    operator_token: Annotated[SecretStr, Field(min_length=16)] | None = Field(
        None,
        validation_alias="OPERATOR_TOKEN",
        description="opens the page `/operator`; without it that page shows nothing",
    )

    public_url: str | None = Field(
        None,
        pattern=r"^https?://[A-Za-z0-9.\[\]:-]+$",
        validation_alias="PUBLIC_URL",
        description="how others reach this server, without a path; else each request's own Host",
    )

    database_url: SecretStr | None = Field(
        None,
        validation_alias="DATABASE_URL",
        description="a Postgres of yours (`postgresql://…`); without it one is embedded",
    )
    database_pool: Positive = Field(
        8, validation_alias="DATABASE_POOL", description="connections for writing, per process"
    )
    postgres_bin: Path | None = Field(
        None,
        validation_alias="POSTGRES_BIN",
        description="folder of other Postgres binaries for the embedded server",
    )

    lnbits_url: str | None = Field(
        None,
        validation_alias="LNBITS_URL",
        description="your LNbits; without it the stub rail moves no real money",
    )
    lnbits_api_key: SecretStr | None = Field(
        None, validation_alias="LNBITS_API_KEY", description="admin key of the LNbits wallet"
    )
    lnbits_token: SecretStr | None = Field(
        None,
        validation_alias="LNBITS_TOKEN",
        description="API token that may write `/api/v1/wallet` there: full wallets then have"
        " successors",
    )
    lnbits_wallet_invoices: Positive = Field(
        2000,
        validation_alias="LNBITS_WALLET_INVOICES",
        description="invoices after which a wallet is full; LNbits gets slower with each payment",
    )
    lightning_network: str = Field(
        "bc",
        validation_alias="LIGHTNING_NETWORK",
        description="BOLT11 prefix without `ln`: `bc`, `tb` or `bcrt`",
    )
    rail_timeout_s: Positive = Field(
        10, validation_alias="RAIL_TIMEOUT_S", description="longest wait for one answer of the rail"
    )
    fee_cap_sats: Positive = Field(
        100,
        validation_alias="FEE_CAP_SATS",
        description="most that routing one payout may cost (1 % of it, at least 1 sat, below that)",
    )
    sweep_s: Positive = Field(
        30,
        validation_alias="SWEEP_S",
        description="pause between two sweeps of promises, payments and payouts",
    )
    reconcile_s: Annotated[int, Field(ge=0)] = Field(
        300,
        validation_alias="RECONCILE_S",
        description="pause between two reviews of the books; 0: never by itself",
    )

    allow_private_destinations: bool = Field(
        False,
        validation_alias="ALLOW_PRIVATE_DESTINATIONS",
        description="lets refunds go to LNURL servers on this machine; never in production",
    )

    anthropic_api_key: SecretStr | None = Field(
        None,
        validation_alias="ANTHROPIC_API_KEY",
        description="key for Claude; without it the embedded model works",
    )
    anthropic_base_url: str | None = Field(
        None, validation_alias="ANTHROPIC_BASE_URL", description="another server of that API"
    )
    eval_model: str = Field(
        "claude-haiku-5-5", validation_alias="EVAL_MODEL", description="model that judges requests"
    )
    work_model: str = Field(
        "claude-sonnet-5-5", validation_alias="WORK_MODEL", description="model that does the work"
    )
    work_max_output_tokens: Positive = Field(
        1024,
        validation_alias="WORK_MAX_OUTPUT_TOKENS",
        description="ceiling of an answer; the quote is made for it",
    )
    agent_timeout_s: Positive = Field(
        120, validation_alias="AGENT_TIMEOUT_S", description="longest wait for one agent call"
    )
    agent_tries: Positive = Field(
        3, validation_alias="AGENT_TRIES", description="tries before a job fails and is refunded"
    )

    gemini_api_key: SecretStr | None = Field(
        None,
        validation_alias="GEMINI_API_KEY",
        description="key for Gemini's conversations and images; else the agent converses",
    )
    gemini_base_url: str | None = Field(
        None, validation_alias="GEMINI_BASE_URL", description="another server of that API"
    )
    gemini_model: str = Field(
        "gemini-3.8-flash", validation_alias="GEMINI_MODEL", description="model that converses"
    )
    gemini_image_model: str = Field(
        "gemini-3.1-flash-image",
        validation_alias="GEMINI_IMAGE_MODEL",
        description="model that makes images",
    )
    gemini_max_output_tokens: Positive = Field(
        4096,
        validation_alias="GEMINI_MAX_OUTPUT_TOKENS",
        description="ceiling of one answer of it, thoughts included",
    )

    model_prices: str = Field(
        "",
        validation_alias="MODEL_PRICES",
        description="`model=input/output[@since]` in USD a million tokens, parted by commas",
    )
    infra_microusd: int = Field(
        2_000,
        ge=0,
        validation_alias="INFRA_MICROUSD",
        description="infrastructure cost of a request, in millionths of a dollar",
    )
    margin_pct: int = Field(
        20, ge=0, validation_alias="MARGIN_PCT", description="margin on cost, in percent"
    )
    eval_fee_min_sats: Positive = Field(
        5,
        validation_alias="EVAL_FEE_MIN_SATS",
        description="least fee of an evaluation; more when its cost ceiling is higher",
    )
    btc_price_sources: str = Field(
        "coingecko,coinbase,kraken,bitstamp,mempool",
        validation_alias="BTC_PRICE_SOURCES",
        description="names of built-in sources, or `name=url#json.path`, parted by commas",
    )
    btc_price_usd_fallback: Positive | None = Field(
        None,
        validation_alias="BTC_PRICE_USD_FALLBACK",
        description="USD for a bitcoin when too few sources answer; quotes say so",
    )
    btc_price_max_age_s: Positive = Field(
        900, validation_alias="BTC_PRICE_MAX_AGE_S", description="age limit of a price"
    )

    invoice_expiry_s: Annotated[int, Field(ge=60, le=86_400)] = Field(
        3600, validation_alias="INVOICE_EXPIRY_S", description="how long an invoice can be paid"
    )
    worker_concurrency: Positive = Field(
        8, validation_alias="WORKER_CONCURRENCY", description="promises kept at once, per process"
    )
    worker_dead_after_s: Positive = Field(
        10,
        validation_alias="WORKER_DEAD_AFTER_S",
        description="silence after which a worker's promises are taken over",
    )

    trusted_proxies: Annotated[int, Field(ge=0, le=16)] = Field(
        0,
        validation_alias="TRUSTED_PROXIES",
        description="proxies of yours in front, each of which appends to `X-Forwarded-For`",
    )
    rate_limit_storage: SecretStr | None = Field(
        None,
        validation_alias="RATE_LIMIT_STORAGE",
        description="a Redis (`redis://…`) that counts for the limits; without it Postgres does",
    )
    demo_per_hour: Positive = Field(
        5, validation_alias="DEMO_PER_HOUR", description="free demos an hour, for each caller"
    )
    demo_max_output_tokens: Positive = Field(
        256, validation_alias="DEMO_MAX_OUTPUT_TOKENS", description="ceiling of a demo's answer"
    )
    free_sats_per_day: Annotated[int, Field(ge=0, le=100_000_000)] = Field(
        10_000,
        validation_alias="FREE_SATS_PER_DAY",
        description="most that is given away on one day (UTC); 0 closes the demo",
    )
    estimates_per_minute: Annotated[int, Field(ge=0)] = Field(
        60,
        validation_alias="ESTIMATES_PER_MINUTE",
        description="estimates a minute, for each caller; 0: no limit",
    )
    creates_per_minute: Annotated[int, Field(ge=0)] = Field(
        60,
        validation_alias="CREATES_PER_MINUTE",
        description="new invoices (jobs, sessions, offers) a minute, for each caller; 0: no limit",
    )
    claims_per_minute: Annotated[int, Field(ge=0)] = Field(
        30,
        validation_alias="CLAIMS_PER_MINUTE",
        description="claims on refunds a minute, for each caller; 0: no limit",
    )

    session_idle_s: Annotated[int, Field(ge=60)] = Field(
        86_400,
        validation_alias="SESSION_IDLE_S",
        description="idleness after which a session ends, and its rest is owed back",
    )
    session_min_balance_sats: Annotated[int, Field(ge=0, le=100)] = Field(
        50,
        validation_alias="SESSION_MIN_BALANCE_SATS",
        description="balance below which a session pauses until it is topped up",
    )

    streams_most: Annotated[int, Field(ge=0, le=100_000)] = Field(
        5000, validation_alias="STREAMS_MOST", description="event streams open at once, per process"
    )
    streams_each: Annotated[int, Field(ge=0)] = Field(
        500,
        validation_alias="STREAMS_EACH",
        description="of these for each caller; 0: no limit of its own",
    )
    stream_beat_s: Annotated[int, Field(gt=0, le=60)] = Field(
        15,
        validation_alias="STREAM_BEAT_S",
        description="pause between two comments on a stream, which say that it lives",
    )

    metrics_port: Port | None = Field(
        None,
        validation_alias="METRICS_PORT",
        description="where `boltwork worker` answers `/metrics`; without it, nowhere",
    )
    otel_exporter_otlp_endpoint: str | None = Field(
        None,
        pattern=r"^https?://[^\s/]+(/[^\s?#]*)?$",
        validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT",
        description="a collector for traces (`http://127.0.0.1:4318`); without it none are made",
    )

    crash_at: str = Field(
        "",
        validation_alias="BOLTWORK_CRASH_AT",
        description="ends the process at a named place, to try a crash; never in production",
    )

    @field_validator("rate_limit_storage")
    @classmethod
    def _is_a_redis(cls, given: SecretStr | None) -> SecretStr | None:
        if given is None:
            return None
        if not re.fullmatch(r"rediss?://[^\s/]+(/\d+)?", given.get_secret_value()):
            raise ValueError("must look like redis://host:6379/0")
        if find_spec("redis") is None:
            raise ValueError(
                "needs the package redis: install it beside Boltwork (`pip install redis`)"
            )
        return given

    @field_validator("otel_exporter_otlp_endpoint")
    @classmethod
    def _can_be_told(cls, given: str | None) -> str | None:
        if given is not None and not tracing.is_installed():
            raise ValueError(
                "needs more packages: install them with `pip install 'boltwork[otel]'`"
            )
        return given

    @field_validator("secret")
    @classmethod
    def _is_hard_to_guess(cls, given: SecretStr | None) -> SecretStr | None:
        if given is not None and any(len(one) < LEAST_SECRET for one in _parted(given)):
            raise ValueError(
                f"must be at least {LEAST_SECRET} characters, and so each of several: take one from"
                " `openssl rand -hex 32`"
            )
        return given

    @property
    def secrets(self) -> tuple[str, ...]:
        """The operator's secrets, the one that closes first; none when there are none."""
        return () if self.secret is None else _parted(self.secret)

    @model_validator(mode="after")
    def _real_money_in_production(self) -> "Settings":
        if (self.lnbits_url is None) != (self.lnbits_api_key is None):
            raise ValueError("LNBITS_URL and LNBITS_API_KEY go together: set both, or neither")
        if self.lnbits_token is not None and self.lnbits_url is None:
            raise ValueError("LNBITS_TOKEN is of no use without LNBITS_URL and LNBITS_API_KEY")
        if self.env is Environment.PRODUCTION and self.crash_at:
            raise ValueError("BOLTWORK_CRASH_AT is for trying things out, never for production")
        if self.env is Environment.PRODUCTION and self.allow_private_destinations:
            raise ValueError(
                "ALLOW_PRIVATE_DESTINATIONS opens this machine to whoever names a refund"
                " destination: leave it out in production"
            )
        if self.env is Environment.PRODUCTION and self.lnbits_url is None:
            raise ValueError(
                "BOLTWORK_ENV=production needs a rail that moves real money: set LNBITS_URL and"
                " LNBITS_API_KEY. The stub rail is for development only"
            )
        if self.env is Environment.PRODUCTION and self.secret is None:
            raise ValueError(
                "BOLTWORK_ENV=production needs BOLTWORK_SECRET, which closes the keys in the"
                " database: take one from `openssl rand -hex 32`, and keep it as you keep a backup"
            )
        return self


def _parted(secrets: SecretStr) -> tuple[str, ...]:
    return tuple(one.strip() for one in secrets.get_secret_value().split(","))
