"""Every environment variable, once, typed. What is set here is what the README's table names."""

from enum import StrEnum, auto
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Environment(StrEnum):
    """Where this runs: production refuses whatever is not real money."""

    DEVELOPMENT = auto()
    PRODUCTION = auto()


Port = Annotated[int, Field(ge=0, le=65535)]
Positive = Annotated[int, Field(gt=0)]


class Settings(BaseSettings):
    """What an operator can set. Each field is the environment variable of its name or alias."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

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

    crash_at: str = Field(
        "",
        validation_alias="BOLTWORK_CRASH_AT",
        description="ends the process at a named place, to try a crash; never in production",
    )

    @model_validator(mode="after")
    def _real_money_in_production(self) -> "Settings":
        if (self.lnbits_url is None) != (self.lnbits_api_key is None):
            raise ValueError("LNBITS_URL and LNBITS_API_KEY go together: set both, or neither")
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
        return self
