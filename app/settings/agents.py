"""The settings of what is sold: which models judge, work and converse, and at which price."""

from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from app.settings.forms import HttpAddress, Key, Positive
from pricing.rates import parse_overrides


class AgentSettings(BaseSettings):
    """Models and prices. Each field is the environment variable of its alias."""

    anthropic_api_key: Key | None = Field(
        None,
        validation_alias="ANTHROPIC_API_KEY",
        description="key for Claude; without it the embedded model works",
    )
    anthropic_base_url: HttpAddress | None = Field(
        None, validation_alias="ANTHROPIC_BASE_URL", description="another server of that API"
    )
    allow_embedded_model: bool = Field(
        False,
        validation_alias="ALLOW_EMBEDDED_MODEL",
        description="lets production sell what the small embedded model writes, and the painter's",
    )
    painters: Positive = Field(
        1,
        validation_alias="PAINTERS",
        description="pictures that the embedded painter makes at once, each in a process",
    )
    painter_memory_mb: Annotated[int, Field(ge=512)] = Field(
        2_048,
        validation_alias="PAINTER_MEMORY_MB",
        description="most address space of one of these processes, in MiB; 2048 squared needs 1100",
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
    agent_patience_s: Annotated[int, Field(ge=0)] = Field(
        600,
        validation_alias="AGENT_PATIENCE_S",
        description="how long paid work waits for a model that has too much to do",
    )

    gemini_api_key: Key | None = Field(
        None,
        validation_alias="GEMINI_API_KEY",
        description="key for Gemini's conversations and images; else the agent and the painter",
    )
    gemini_base_url: HttpAddress | None = Field(
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
        description="`model=input/output[@since]` in USD a million tokens, separated by commas",
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
        description="names of built-in sources, or `name=url#json.path`, separated by commas",
    )
    btc_price_usd_fallback: Positive | None = Field(
        None,
        validation_alias="BTC_PRICE_USD_FALLBACK",
        description="USD for a bitcoin when too few sources answer; quotes say so",
    )
    btc_price_max_age_s: Positive = Field(
        900, validation_alias="BTC_PRICE_MAX_AGE_S", description="age limit of a price"
    )

    @field_validator("model_prices")
    @classmethod
    def _are_prices(cls, given: str) -> str:
        try:
            parse_overrides(given)
        except ValueError:
            raise ValueError(
                "must be model=input/output in dollars a million tokens, like"
                " claude-haiku-4-5=1.00/5.00; several are separated by commas"
            ) from None
        return given

    @field_validator("btc_price_sources")
    @classmethod
    def _are_sources(cls, given: str) -> str:
        from pricing.oracle import BUILT_IN, parse_sources  # an HTTP client comes with it

        try:
            parse_sources(given)
        except ValueError:  # its sentence quotes an address, which may hold a key
            names = ", ".join(source.name for source in BUILT_IN)
            raise ValueError(
                f"must be names of {names}, or name=https://host/path#json.path; several are"
                " separated by commas, each of a name of its own"
            ) from None
        return given

    @property
    def asks_claude(self) -> bool:
        """Whether Claude judges and works, and not the embedded model."""
        return self.anthropic_api_key is not None or self.anthropic_base_url is not None

    @property
    def asks_gemini(self) -> bool:
        """Whether Gemini converses and makes images."""
        return self.gemini_api_key is not None or self.gemini_base_url is not None
