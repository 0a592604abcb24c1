"""The settings of what is sold: which models judge, work and converse, and at which price."""

from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

Positive = Annotated[int, Field(gt=0)]


class AgentSettings(BaseSettings):
    """Models and prices. Each field is the environment variable of its alias."""

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
