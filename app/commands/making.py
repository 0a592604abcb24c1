"""What the commands of tools and of casts share: who pays, where files go, and what is printed."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.buying import (
    SESSION_HAS_ITS_OWN,
    Bought,
    Parts,
    WalletName,
    Wishes,
    account_of,
    end,
    run,
    session_of,
)
from app.plain_text import one_line

if TYPE_CHECKING:
    from app.buyer.client import Client
    from app.buyer.making import Making

Out = Annotated[Path, typer.Option(help="the folder that the files are saved in")]
Json = Annotated[bool, typer.Option("--json", help="print JSON")]
Key = Annotated[
    str,
    typer.Option(help="of a purchase that a session or an account pays: it is bought once by it"),
]
RefundTo = Annotated[
    str | None,
    typer.Option(
        help="a Lightning address or LNURL for what is owed back; not with --session or --account"
    ),
]
TO_AN_ACCOUNT = (
    "--refund-to can't be given with --account: what is not needed is on the account again."
)
ONE_PURSE = "Choose one of --session and --account."
MOST_KEY = 255


def look(
    url: str,
    as_json: bool,
    ask: "Callable[[Client], Awaitable[Any]]",
    lines: Callable[[Any], Iterator[str]],
) -> None:
    """Print what a server answers, for which nothing is paid: as lines, or as JSON."""
    import json

    async def work(parts: Parts) -> Any:
        told = await ask(parts.client)
        for line in [json.dumps(told)] if as_json else lines(told):
            print(line, flush=True)
        return None

    run(Bought(Wishes(url, WalletName.SCAN, as_json=as_json), work, lambda _: 0))


def make(
    wishes: Wishes,
    out: Path,
    work: "Callable[[Making], Awaitable[dict[str, Any]]]",
    *,
    follow: str,
    purse: str = "",
    code: "Callable[[Mapping[str, Any]], int] | None" = None,
) -> None:
    """Run a purchase, or go on with one, and print the names of the files that it made."""

    async def made(parts: Parts) -> dict[str, Any]:
        from app.buyer.making import Making

        making = Making(
            parts.client,
            parts.payer,
            out,
            parts.display,
            purse=_purse(parts.client, purse, wishes),
            max_sats=wishes.max_sats,
            wait_s=wishes.wait_s,
        )
        try:
            return await work(making)
        finally:
            parts.name = making.name

    def code_of(told: Mapping[str, Any]) -> int:
        from app.buyer import making

        if not wishes.as_json:
            for output in told["outputs"]:
                print(output["file"])
        return making.code_of(told) if code is None else code(told)

    if purse:
        wishes = replace(wishes, wallet=WalletName.SCAN)  # nothing is paid by a wallet
    run(Bought(wishes, made, code_of, follow=follow))


def _purse(client: "Client", name: str, wishes: Wishes) -> Any:
    from app.buyer.purse import of_account, of_session

    match name:
        case "session":
            return of_session(session_of(client), wishes.max_sats)
        case "account":
            return of_account(account_of(client), wishes.max_sats)
    return None


def purse_of(
    wishes: Wishes, session: bool, account: bool, refund_to: str | None = None, key: str = ""
) -> str:
    """Return which purse pays; empty: a wallet. Ends the command where that can't be."""
    if session and account:
        end(wishes, 2, ONE_PURSE)
    if refund_to is not None and (session or account):
        end(wishes, 2, SESSION_HAS_ITS_OWN if session else TO_AN_ACCOUNT)
    if key and not (session or account):
        end(wishes, 2, "--key goes with --session or --account; a wallet pays each invoice once.")
    if key and not (16 <= len(key) <= MOST_KEY and key.isascii() and key.isprintable()):
        end(wishes, 2, "--key is 16 characters of ASCII or more, as it was shown.")
    return "session" if session else "account" if account else ""


def given_inputs(words: Sequence[str], rules: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs that were typed. Raises Stop."""
    from app.buyer.given import BadGiven, given
    from app.buyer.payer import Exit, Stop

    try:
        return given(words, rules)
    except BadGiven as bad:
        raise Stop(Exit.REFUSED, str(bad)) from bad


def rule_lines(rules: Mapping[str, Mapping[str, Any]], required: Sequence[str]) -> Iterator[str]:
    """Yield each input that may be given, with what it may be."""
    for name, rule in rules.items():
        says = " ".join(
            one_line(str(rule[part])).rstrip(".") + "."
            for part in ("title", "description")
            if rule.get(part)
        )
        how = ", ".join(_limits(rule, is_needed=name in required))
        yield f"  {one_line(name, 60):16} {how}"
        if says:
            yield f"  {'':16} {says}"


def _limits(rule: Mapping[str, Any], *, is_needed: bool) -> Iterator[str]:
    hint = rule.get("x-ui")
    widget = hint.get("widget") if isinstance(hint, Mapping) else None
    picture = {"image": "picture", "images": "pictures"}.get(str(widget))
    yield picture or one_line(str(rule.get("type", "text")), 40)
    if isinstance(choices := rule.get("enum"), list):
        yield one_line("one of: " + ", ".join(map(str, choices)))
    if "minimum" in rule and "maximum" in rule:
        yield one_line(f"{rule['minimum']} to {rule['maximum']}", 60)
    if "maxLength" in rule and picture is None:
        yield one_line(f"at most {rule['maxLength']} characters", 60)
    if is_needed:
        yield "must be given"
    elif "default" in rule:
        yield one_line(f"else {rule['default']}", 120)


def seconds(runtime_ms: int) -> str:
    """Return a time as a person reads it."""
    return f"about {runtime_ms / 1_000:,.1f} s"
