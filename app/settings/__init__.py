"""Every environment variable, once, typed. What is set here is what the README's table names."""

import re
from datetime import UTC, datetime
from enum import StrEnum, auto
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from app.settings.agents import AgentSettings
from app.settings.artifacts import ArtifactSettings
from app.settings.forms import (
    CellDigits,
    HttpAddress,
    Key,
    LogLevel,
    Network,
    Origin,
    Positive,
    PostgresUrl,
)
from app.settings.limits import LimitSettings
from app.settings.makers import MakerSettings
from app.settings.usdc import UsdcSettings
from app.telemetry import tracing
from pricing.rates import (
    PUBLISHED,
    EndedModel,
    RateCard,
    UnknownModel,
    parse_overrides,
    with_overrides,
)

LEAST_SECRET = 32  # characters


class Environment(StrEnum):
    """Where this runs: production refuses whatever is not real money."""

    DEVELOPMENT = auto()
    PRODUCTION = auto()


Port = Annotated[int, Field(ge=0, le=65535)]


class Settings(AgentSettings, MakerSettings, LimitSettings, ArtifactSettings, UsdcSettings):
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
        description="folder of the embedded Postgres, the stub rail and files that were made",
    )
    log_level: LogLevel = Field(
        "info", validation_alias="LOG_LEVEL", description="`debug`, `info`, `warning` or `error`"
    )

    secret: SecretStr | None = Field(
        None,
        validation_alias="BOLTWORK_SECRET",
        description="closes the keys in the database; several, separated by commas: the first"
        " closes, all open",
    )

    operator_token: Annotated[SecretStr, Field(min_length=16)] | None = Field(
        None,
        validation_alias="OPERATOR_TOKEN",
        description="opens the page `/operator`; without it that page shows nothing",
    )

    public_url: Origin | None = Field(
        None,
        validation_alias="PUBLIC_URL",
        description="how others reach this server, without a path; else each request's own Host",
    )

    cell: CellDigits = Field(
        "",
        validation_alias="CELL",
        description="two digits that every id begins with which is made here, where several whole"
        " Boltworks stand behind a router (docs/cells.md); without it there is one",
    )

    database_url: PostgresUrl | None = Field(
        None,
        validation_alias="DATABASE_URL",
        description="a Postgres of yours (`postgresql://…`), of several hosts or one; without it"
        " one is embedded",
    )
    database_read_url: PostgresUrl | None = Field(
        None,
        validation_alias="DATABASE_READ_URL",
        description="a replica of that Postgres, asked by the operator's pages and the review of"
        " the books while it is no second behind; never by what decides about money",
    )
    database_pool: Positive = Field(
        8, validation_alias="DATABASE_POOL", description="connections for writing, per process"
    )
    postgres_bin: Path | None = Field(
        None,
        validation_alias="POSTGRES_BIN",
        description="folder of other Postgres binaries for the embedded server",
    )

    lnbits_url: HttpAddress | None = Field(
        None,
        validation_alias="LNBITS_URL",
        description="your LNbits; without it the stub rail moves no real money",
    )
    lnbits_api_key: Key | None = Field(
        None, validation_alias="LNBITS_API_KEY", description="admin key of the LNbits wallet"
    )
    lnbits_token: Key | None = Field(
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
    lightning_network: Network = Field(
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

    health_s: Positive = Field(
        5,
        validation_alias="HEALTH_S",
        description="pause between two looks at the database, the rail, the price and the agents",
    )

    allow_private_destinations: bool = Field(
        False,
        validation_alias="ALLOW_PRIVATE_DESTINATIONS",
        description="lets refunds go to LNURL servers on this machine; never in production",
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

    shutdown_delay_s: Annotated[int, Field(ge=0, le=300)] = Field(
        0,
        validation_alias="SHUTDOWN_DELAY_S",
        description="how long a server that is asked to stop still listens, and says that it is not"
        " ready: longer than a balancer takes to see it",
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
    metrics_port: Port | None = Field(
        None,
        validation_alias="METRICS_PORT",
        description="a port for `/metrics` alone, of a server and of a worker; keep it private",
    )
    otel_exporter_otlp_endpoint: HttpAddress | None = Field(
        None,
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

    @property
    def replica_url(self) -> str | None:
        """The URL of a replica, where there is one."""
        url = self.database_read_url
        return None if url is None else url.get_secret_value()

    @model_validator(mode="after")
    def _go_together(self) -> "Settings":
        production = self.env is Environment.PRODUCTION
        rules = (
            (
                (self.lnbits_url is None) != (self.lnbits_api_key is None),
                "LNBITS_URL and LNBITS_API_KEY go together: set both, or neither",
            ),
            (
                self.lnbits_token is not None and self.lnbits_url is None,
                "LNBITS_TOKEN is of no use without LNBITS_URL and LNBITS_API_KEY",
            ),
            (
                (self.artifacts_key_id is None) != (self.artifacts_key is None),
                "ARTIFACTS_KEY_ID and ARTIFACTS_KEY go together: set both, or neither",
            ),
            (
                self.artifacts_url is None
                and (self.artifacts_endpoint or self.artifacts_key) is not None,
                "ARTIFACTS_ENDPOINT and ARTIFACTS_KEY are of no use without ARTIFACTS_URL",
            ),
            (
                (self.artifacts_endpoint or self.artifacts_key) is not None
                and not (self.artifacts_url or "s3:").startswith("s3:"),
                "ARTIFACTS_ENDPOINT and ARTIFACTS_KEY are for s3:// alone: other clouds read their"
                " own variables",
            ),
            *self.troubles_of_usdc(production),
            (
                self.gemini_media != "" and not self.asks_gemini,
                "GEMINI_MEDIA is of no use without GEMINI_API_KEY",
            ),
            (
                production and self.crash_at != "",
                "BOLTWORK_CRASH_AT is for trying things out, never for production",
            ),
            (
                production and self.allow_private_destinations,
                "ALLOW_PRIVATE_DESTINATIONS opens this machine to whoever names a refund"
                " destination: leave it out in production",
            ),
            (
                production and self.lnbits_url is None,
                "BOLTWORK_ENV=production needs a rail that moves real money: set LNBITS_URL and"
                " LNBITS_API_KEY. The stub rail is for development only",
            ),
            (
                production and self.secret is None,
                "BOLTWORK_ENV=production needs BOLTWORK_SECRET, which closes the keys in the"
                " database: take one from `openssl rand -hex 32`, and keep it as you keep a backup",
            ),
            (
                production and not self.asks_claude and not self.allow_embedded_model,
                "BOLTWORK_ENV=production needs a model worth its price: set ANTHROPIC_API_KEY. To"
                " sell what the small embedded one writes all the same, set"
                " ALLOW_EMBEDDED_MODEL=true",
            ),
        )
        for is_so, sentence in rules:
            if is_so:
                raise ValueError(sentence)
        self._have_prices()
        return self

    def _have_prices(self) -> None:
        """See that each model that is sold has a price: without one nothing of it can be."""
        today = datetime.now(UTC).date()
        card = RateCard(with_overrides(PUBLISHED, parse_overrides(self.model_prices)), 0, 0)
        sold = {"EVAL_MODEL": self.eval_model, "WORK_MODEL": self.work_model}
        google = {"GEMINI_MODEL": self.gemini_model, "GEMINI_IMAGE_MODEL": self.gemini_image_model}
        asked = (sold if self.asks_claude else {}) | (google if self.asks_gemini else {})
        for name, model in asked.items():
            try:
                card.check_sold(model, today)
            except UnknownModel:
                raise ValueError(
                    f"{name} names a model without a price: correct it, or give its price in"
                    " MODEL_PRICES"
                ) from None
            except EndedModel as ended:
                raise ValueError(
                    f"{name} names a model that its maker has ended: name another one, or, where it"
                    " is still offered to you, give its price in MODEL_PRICES"
                ) from ended


def _parted(secrets: SecretStr) -> tuple[str, ...]:
    return tuple(one.strip() for one in secrets.get_secret_value().split(","))
