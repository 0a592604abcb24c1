"""Dated price tables: what a token, a request and our own margin cost.

A row holds from its day on; of the rows that have begun, the newest counts. Prices of models are
those their makers publish, in dollars for a million tokens, kept as integers of micro-USD.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation

TOKENS_PER_MTOK = 1_000_000
PICTURE_TOKENS = 1_000  # what a picture counts as whose maker counts no tokens
HIGHEST_MICROUSD_PER_MTOK = 1_000_000 * 1_000_000  # a dollar a token: beyond it is a slip


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the model's own API counted them. Never negative."""

    input_tokens: int
    output_tokens: int

    def __post_init__(self) -> None:
        if self.input_tokens < 0 or self.output_tokens < 0:
            raise ValueError("usage cannot be negative")

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_tokens + other.input_tokens, self.output_tokens + other.output_tokens
        )

    @property
    def total_tokens(self) -> int:
        """Tokens read and written."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class ModelRate:
    """What a million tokens of a model cost from a day on, in micro-USD."""

    model: str
    since: date
    input_microusd_per_mtok: int
    output_microusd_per_mtok: int
    until: date | None = None  # the last day that its maker has named for it


class UnknownModel(LookupError):
    """No price has begun for this model: it cannot be sold."""


class EndedModel(LookupError):
    """The last day of this model is past: its maker does not answer for it any more."""


# Read on 2026-11-29 in platform.claude.com/docs (the overviews of the models) and in
# ai.google.dev/gemini-api/docs (pricing). The embedded model runs on the operator's own processor;
# its price is that of a small hosted one. The last days are those of "Model deprecations" and of
# ai.google.dev/gemini-api/docs/deprecations: from then on Google answers for gemini-2.5-flash with
# gemini-3.5-flash-lite, at that one's price.
PUBLISHED: tuple[ModelRate, ...] = (
    ModelRate("claude-haiku-5-5", date(2026, 10, 7), 100_000, 500_000),  # up to 100,000 read
    ModelRate("claude-sonnet-5-5", date(2026, 9, 28), 2_000_000, 10_000_000),
    ModelRate("claude-opus-5-5", date(2026, 9, 22), 4_000_000, 20_000_000),
    ModelRate("claude-opus-5", date(2026, 7, 24), 5_000_000, 25_000_000),
    ModelRate("claude-sonnet-5", date(2026, 6, 30), 2_000_000, 10_000_000),
    ModelRate("claude-haiku-4-5", date(2025, 10, 15), 1_000_000, 5_000_000),
    ModelRate("claude-sonnet-4-5", date(2025, 9, 29), 3_000_000, 15_000_000, date(2026, 11, 30)),
    ModelRate("claude-opus-4-5", date(2025, 11, 24), 5_000_000, 25_000_000),
    ModelRate("gemini-3.8-flash", date(2026, 9, 2), 750_000, 3_750_000),
    ModelRate("gemini-3.8-flash", date(2027, 1, 1), 1_500_000, 7_500_000),
    ModelRate("gemini-3-flash-preview", date(2025, 12, 17), 500_000, 3_000_000),
    ModelRate("gemini-2.5-flash", date(2025, 6, 17), 300_000, 2_500_000, date(2026, 11, 30)),
    # All that these write is priced as tokens of images, which are nearly all of it.
    ModelRate("gemini-3.1-flash-image", date(2026, 2, 26), 500_000, 60_000_000),
    ModelRate("gemini-2.5-flash-image", date(2025, 10, 2), 300_000, 30_000_000, date(2026, 10, 1)),
    ModelRate("smollm2-135m-instruct", date(2025, 2, 1), 1_000_000, 10_000_000),
    # So does the embedded painter: a picture counts as PICTURE_TOKENS written.
    ModelRate("scene-1", date(2025, 2, 1), 10_000, 1_000_000),
)


LAST_DAYS = {rate.model: rate.until for rate in PUBLISHED if rate.until is not None}
NOTICE = timedelta(days=31)


def ending(on: date) -> dict[str, date]:
    """Return the priced models that come to their end within a month, or have, and when."""
    return {model: last for model, last in LAST_DAYS.items() if last - on <= NOTICE}


@dataclass(frozen=True, slots=True)
class RateCard:
    """Every price this marketplace sells by: models, infra per request, margin."""

    models: tuple[ModelRate, ...]
    infra_microusd: int
    margin_pct: int

    def __post_init__(self) -> None:
        if self.infra_microusd < 0 or self.margin_pct < 0:
            raise ValueError("infra and margin cannot be negative")

    def rate(self, model: str, on: date) -> ModelRate:
        """Return the newest row of a model that has begun on that day, whether or not it has ended.

        A dated alias of a published name (`claude-haiku-4-5-20251001`) has that name's price.
        Raises UnknownModel.
        """
        begun = [r for r in self.models if r.since <= on and _names(r.model, model)]
        if not begun:
            raise UnknownModel(f"no price is known for the model {model!r} on {on}")
        return max(begun, key=lambda r: (len(r.model), r.since))

    def check_sold(self, model: str, on: date) -> None:
        """See that a model can be sold on that day. Raises UnknownModel, or EndedModel."""
        until = self.rate(model, on).until
        if until is not None and on > until:
            raise EndedModel(
                f"The model {model} was available until {until}, and can't be used any more."
            )


def _names(row: str, model: str) -> bool:
    if model == row:
        return True
    head, _, tail = model.rpartition("-")
    return head == row and len(tail) == 8 and tail.isdigit()


def parse_overrides(text: str) -> tuple[ModelRate, ...]:
    """Read `model=input/output[@since]` items, in dollars a million tokens, parted by commas.

    `claude-haiku-4-5=1.00/5.00,my-model=0.2/0.8@2026-01-01`. Without a day a row holds from ever
    on. Raises ValueError with a sentence that names the item.
    """
    rows = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        try:
            model, prices = item.split("=", 1)
            if not model.strip():
                raise ValueError("a price without a model")
            prices, _, since = prices.partition("@")
            paid_in, paid_out = prices.split("/", 1)
            rows.append(
                ModelRate(
                    model.strip(),
                    date.fromisoformat(since) if since else date.min,
                    _microusd(paid_in),
                    _microusd(paid_out),
                )
            )
        except (ValueError, ArithmeticError) as error:
            raise ValueError(
                f"cannot read the model price {item!r}: write model=input/output in dollars"
                " a million tokens, for example claude-haiku-4-5=1.00/5.00"
            ) from error
    return tuple(rows)


def with_overrides(
    rows: Iterable[ModelRate], overrides: tuple[ModelRate, ...]
) -> tuple[ModelRate, ...]:
    """Return the table in which an overridden model has only the rows of its override."""
    named = {r.model for r in overrides}
    return (*(r for r in rows if r.model not in named), *overrides)


def _microusd(dollars: str) -> int:
    # Exact: with Decimal's usual 28 digits a longer number would be rounded without a word.
    exact = Context(prec=100, traps=[Inexact, InvalidOperation])
    amount = exact.multiply(Decimal(dollars.strip()), Decimal(1_000_000))
    whole = amount.is_finite() and amount == amount.to_integral_value()
    if not whole or not 0 <= amount <= HIGHEST_MICROUSD_PER_MTOK:
        raise ValueError(f"{dollars!r} is not a price in whole micro-dollars")
    return int(amount)
