"""A checkout on a phone and on a desk: what is paid, the button that pays it, then the code."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest
from playwright.async_api import FloatRect

from app.web.fiat import Rate
from pricing.money import BtcPrice, MicroUsd, Msat
from tests.world.house_fixtures import Instance
from tests.world.page_fixtures import NARROW, WIDE, Visitor, opened, order

Come = Callable[..., Awaitable[Visitor]]
pytestmark = pytest.mark.one_instance
FOLD = 780  # of a phone that is 360 px wide


async def box_of(visitor: Visitor, selector: str) -> FloatRect:
    """Return where the first of these is, from the top of the page as it is opened."""
    box = await visitor.page.locator(selector).first.bounding_box()
    assert box is not None, selector
    return box


async def check_phone(visitor: Visitor) -> None:
    """Hold a checkout to what a phone shows of it."""
    await visitor.page.set_viewport_size({"width": NARROW["width"], "height": FOLD})
    amount, button = await box_of(visitor, ".amount"), await box_of(visitor, ".button.first")
    code = await box_of(visitor, ".pay-code .qr")
    assert amount["y"] < button["y"] and button["y"] + button["height"] <= FOLD
    assert button["y"] + button["height"] <= code["y"]
    assert code["width"] >= 320 and code["height"] >= 320
    assert "LIGHTNING:LN" in await visitor.code()
    await visitor.page.set_viewport_size(WIDE)
    assert (await box_of(visitor, ".pay-code .qr"))["width"] >= 320
    await check_fiat(visitor)


async def check_fiat(visitor: Visitor) -> None:
    """Dollars stand beside the sats, with the moment of their rate."""
    said = " ".join((await visitor.page.inner_text("#pay .fiat")).split())
    sats = int((await visitor.page.inner_text("#pay .amount .n")).replace(",", ""))
    assert said.startswith("≈ $") and said.endswith(" UTC")
    # The tests' bitcoin costs 100,000 USD, so a sat is a tenth of a cent.
    assert float(said.split()[1].removeprefix("$")) == pytest.approx(sats / 1000)


async def test_a_checkout_shows_amount_and_button_first(instance: Instance, visit: Come) -> None:
    """On 360 × 780 both are above the fold, then comes a code of 320 px or more; of a fee, of the
    work, of a deposit and of a top-up.
    """
    visitor = await visit(instance.url)
    page = visitor.page
    await order(visitor, "hello " * 40)
    await check_phone(visitor)
    await page.click("[data-stub-pay]")
    await visitor.headline("Pay for the work")
    await page.locator("#pay").wait_for()
    await check_phone(visitor)
    await page.goto("/")
    await page.click("text=Open a session")
    await visitor.headline("Pay the deposit")
    await check_phone(visitor)
    await opened(visitor)
    await page.fill("#amount", "10,000")
    await page.click("text=Top up >> nth=-1")
    await page.locator("#pay").wait_for()
    await check_phone(visitor)


async def test_a_refund_too_shows_its_button_before_its_code(
    instance: Instance, visit: Come
) -> None:
    """A wallet on the same phone opens it; another scans a code as wide as the screen."""
    job = await instance.to_end()
    visitor = await visit(instance.url)
    await visitor.page.set_viewport_size({"width": NARROW["width"], "height": FOLD})
    await visitor.page.goto(f"/jobs/{job['jobId']}")
    button = await box_of(visitor, "#refunds .button.first")
    code = await box_of(visitor, "#refunds .qr")
    assert button["y"] + button["height"] <= code["y"] and code["width"] >= 320


@pytest.mark.parametrize(
    ("amount_msat", "worth"),
    [
        (1, "less than $0.0001"),
        (1_000, "$0.001"),
        (5_000, "$0.005"),
        (123_456, "$0.12"),
        (1_000_000, "$1.00"),
        (1_234_567_000, "$1,234.56"),
    ],
)
def test_dollars_are_as_exact_as_they_are_of_use(amount_msat: int, worth: str) -> None:
    """In cents from ten cents on, in hundredths of a cent below, and never rounded up."""
    at = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    price = BtcPrice(MicroUsd(100_000_000_000), at, ("one", "two"))
    assert Rate(price, at).worth(Msat(amount_msat)) == worth


def test_a_rate_names_its_moment() -> None:
    """Its time of the day, its day where that is another, and where it is of no market."""
    at = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    later = datetime(2026, 1, 3, 3, 4, tzinfo=UTC)
    live = BtcPrice(MicroUsd(1), at, ("one", "two"))
    fixed = BtcPrice(MicroUsd(1), at, ("operator",))
    assert Rate(live, at).origin == "rate of 03:04 UTC"
    assert Rate(live, later).origin == "rate of 2 Jan 2026, 03:04 UTC"
    assert Rate(fixed, at).origin == "the operator’s fixed rate, 03:04 UTC"
