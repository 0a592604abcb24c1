"""The form that takes money out of an account, with a second proof where that is asked for."""

import re

from starlette.requests import Request
from starlette.responses import Response

from app.house import House, house_of
from app.http.second_proofs import NotSignedYet, second_proof
from app.http.throttle import Rule
from app.refusal import Refusal
from app.strict_json import BadInput
from app.trade.proofs import Given, ProofNeeded
from app.web import sign_in
from app.web.account import amount_in, form_of, shown
from app.web.account_view import Here
from app.web.forms import name_in
from app.web.page import page, see
from app.web.troubles import Trouble, at, trouble_of
from db.people import LoginRow
from payments.usdc.address import Address, read_address
from pricing.money import MicroUsdc, microusdc_of

DONE = "/account#refunds"
AMOUNT = "Enter how many sats, or paste an invoice."
WALLET = "Choose a wallet that opens this account."
USDC = "Enter an amount of USDC, such as 2.50, with six places at most."
_DECIMAL = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?")


@page
async def withdraw(request: Request) -> Response:
    """POST /account/withdraw: to an address or an invoice, or to a code that a wallet scans."""
    house = house_of(request)
    login, given = await form_of(request)
    proof = _proof_in(given)
    if await house.lightning_logins.waits(proof.k1 or "", proof.secret or ""):
        return await _asked(request, login, given, is_unsigned=True)
    try:
        await house.throttle.count(request, Rule.DESTINATION)
        await _taken(request, house, login.account_id, given)
    except NotSignedYet:
        return await _asked(request, login, given, is_unsigned=True)
    except ProofNeeded as needed:
        return await _asked(request, login, given, trouble_of(needed, "proof"))
    except (BadInput, Refusal) as refused:
        if proof != Given() and isinstance(refused, Refusal):
            return await _asked(request, login, given, trouble_of(refused, "proof"))
        form = "withdraw-usdc" if given.get("usdc") else "withdraw"
        return await shown(request, login, trouble_of(refused, form), Here(given))
    return see(DONE)


async def _asked(
    request: Request,
    login: LoginRow,
    given: dict[str, str],
    wrong: Trouble | None = None,
    *,
    is_unsigned: bool = False,
) -> Response:
    """Return the page that asks for a second proof; with its code of before, while that waits."""
    wallet = await sign_in.wallet_code(request, given if is_unsigned else {}, "auth")
    here = Here(given, wallet=wallet, is_unsigned=is_unsigned, is_proof=True)
    return await shown(request, login, wrong, here)


async def _taken(request: Request, house: House, who: str, given: dict[str, str]) -> None:
    """Take out what a form says. Raises BadInput, Refusal and NotSignedYet."""
    to, name = given.get("payee", ""), name_in(request, given)
    public_url, given_proof = house.settings.public_url, _proof_in(given)
    proves = second_proof(request, house.proofs, house.throttle, public_url, who, given_proof)
    if given.get("usdc"):
        await house.accounts.withdraw_usdc(who, _usdc_in(given), _wallet_in(given), name, proves)
        return
    amount_msat = amount_in(given, "sats") if given.get("sats") else None
    with at("payee"):
        if to.lower().startswith("ln") and not to.lower().startswith("lnurl"):
            await house.accounts.withdraw_to(who, to, amount_msat, name, proves)
            return
        where = house.refunds.destination_of(to) if to else None
    if amount_msat is None:
        with at("sats", AMOUNT):
            raise BadInput(AMOUNT)
    await house.accounts.withdraw(who, amount_msat, where, name, proves)


def _usdc_in(given: dict[str, str]) -> MicroUsdc:
    """Return the USDC that a form takes out. Raises WrongField."""
    with at("usdc", USDC):  # a comma is refused: to some it is the point
        if not _DECIMAL.fullmatch(given["usdc"]):
            raise BadInput(USDC)
    return microusdc_of(given["usdc"])


def _wallet_in(given: dict[str, str]) -> Address | None:
    """Return the wallet that a form names; None for none. Raises WrongField."""
    wallet = read_address(given["wallet"]) if given.get("wallet") else None
    with at("wallet", WALLET):
        if given.get("wallet") and wallet is None:
            raise BadInput(WALLET)
    return wallet


def _proof_in(given: dict[str, str]) -> Given:
    """Return the second proof that a form holds: what is left empty is none."""
    message = given.get("message", "").replace("\r\n", "\n")  # as forms send the end of a line
    code, signature, k1, secret = (
        given.get(name) or None for name in ("recovery_code", "signature", "k1", "secret")
    )
    return Given(code, message or None, signature, k1, secret)
