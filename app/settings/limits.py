"""The settings of what is limited: free demos, what a caller may ask for, sessions, streams."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings

from app.settings.forms import Positive


class LimitSettings(BaseSettings):
    """Limits. Each field is the environment variable of its alias."""

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
    routing_free_sats: Annotated[int, Field(ge=0, le=100_000)] = Field(
        20,
        validation_alias="ROUTING_FREE_SATS",
        description="routing of what only passed through that the house pays, for one payer,"
        " beyond what it earned from him",
    )
    routing_free_sats_per_day: Annotated[int, Field(ge=0, le=100_000_000)] = Field(
        200,
        validation_alias="ROUTING_FREE_SATS_PER_DAY",
        description="the same for all payers on one day (UTC); the payee bears what is beyond it",
    )
    proof_sats_per_day: Annotated[int, Field(ge=0)] = Field(
        500_000,
        validation_alias="PROOF_SATS_PER_DAY",
        description="most that an account takes out in 24 hours without a second proof",
    )
    proof_usdc_per_day: Annotated[int, Field(ge=0)] = Field(
        500, validation_alias="PROOF_USDC_PER_DAY", description="the same in USDC"
    )
    free_failures_per_day: Annotated[int, Field(ge=0)] = Field(
        3,
        validation_alias="FREE_FAILURES_PER_DAY",
        description="jobs of one payer whose failure costs him nothing, a day; then the evaluation",
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
    submissions_per_minute: Annotated[int, Field(ge=0)] = Field(
        5,
        validation_alias="SUBMISSIONS_PER_MINUTE",
        description="image and video jobs a minute, for each caller; 0: no limit",
    )
    request_kb_per_hour: Annotated[int, Field(ge=0)] = Field(
        4_000,
        validation_alias="REQUEST_KB_PER_HOUR",
        description="kB an hour of what makes new invoices, for each caller; 0: no limit",
    )
    request_kb_per_hour_all: Annotated[int, Field(ge=0)] = Field(
        64_000,
        validation_alias="REQUEST_KB_PER_HOUR_ALL",
        description="the same for all callers together; what nobody pays for lies there for a day",
    )
    claims_per_minute: Annotated[int, Field(ge=0)] = Field(
        30,
        validation_alias="CLAIMS_PER_MINUTE",
        description="claims on refunds a minute, for each caller; 0: no limit",
    )
    accounts_per_hour: Annotated[int, Field(ge=0)] = Field(
        20,
        validation_alias="ACCOUNTS_PER_HOUR",
        description="new accounts an hour, for each caller; 0: no limit",
    )

    v1_requests_per_15_minutes: Annotated[int, Field(ge=0)] = Field(
        100,
        validation_alias="V1_REQUESTS_PER_15_MINUTES",
        description="requests to /api/v1 in 15 minutes, for each caller; 0: no limit",
    )

    key_requests_per_minute: Annotated[int, Field(ge=0)] = Field(
        60,
        validation_alias="KEY_REQUESTS_PER_MINUTE",
        description="requests to the image jobs API a minute, of each account; 0: no limit",
    )
    key_requests_per_day: Annotated[int, Field(ge=0)] = Field(
        1_000,
        validation_alias="KEY_REQUESTS_PER_DAY",
        description="the same in 24 hours",
    )
    credit_sats: Annotated[int, Field(ge=1, le=100_000)] = Field(
        25,
        validation_alias="CREDIT_SATS",
        description="what a credit of the image jobs API is, in sats",
    )

    payouts_at_once: Positive = Field(
        16,
        validation_alias="PAYOUTS_AT_ONCE",
        description="payouts that are being sent at once, per process",
    )
    payouts_each: Positive = Field(
        4,
        validation_alias="PAYOUTS_EACH",
        description="of these to one payee (a node, or a destination's host)",
    )

    notices_at_once: Positive = Field(
        32,
        validation_alias="NOTICES_AT_ONCE",
        description="notices (webhooks) that are being sent at once, per process; one a receiver",
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

    history_months: Annotated[int, Field(ge=1, le=1_200)] | None = Field(
        None,
        validation_alias="HISTORY_MONTHS",
        description="whole months, beside this one, of which what happened to jobs is kept; without"
        " it all is, and so is always what happened to a job that is open or owed something",
    )
