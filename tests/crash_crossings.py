"""Which scenario passes which of the named places. A new place in the code needs a line here."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Crossing:
    """A passing of a place: the n-th in a scenario."""

    scenario: str
    nth: int = 1


WALLETS, LATER = (Crossing("wallets"),), (Crossing("more wallets"),)
BOUGHT, BOTH = (Crossing("bought"),), (Crossing("bought"), Crossing("bought", 2))
SESSION, ACCOUNT = (Crossing("session"),), (Crossing("account"),)
WITHHELD = (Crossing("withheld"), Crossing("withheld", 2))  # the rest, and then its change
# No door makes a batch yet, and no process runs what makes its items: crossed when one does.
UNOPENED = frozenset(
    f"commit {name}"
    for name in (
        "batches.begin",
        "batches.begin_reserved",
        "batches.cancel",
        "leases.beat",
        "leases.claim",
        "leases.decline",
        "leases.fail",
        "leases.lapse",
        "leases.release",
        "leases.submit",
        "move_floors",
    )
) | {"press recode", "store put", "store read", "store delete", "store page"}
CROSSED: dict[str, tuple[Crossing, ...]] = {
    "agent healthy": (Crossing("watched"),),
    "agent judge": BOUGHT,
    "agent work": (*BOUGHT, Crossing("broken")),
    "chat answer": (Crossing("talk"),),
    "chat draw": (Crossing("talk"),),
    "chat healthy": (Crossing("watched"),),
    "chat piece": (Crossing("talk"), Crossing("talk", 3)),
    "commit accounts.change_password": ACCOUNT,
    "commit accounts.join_wallet": ACCOUNT,
    "commit accounts.log_in_by_password": ACCOUNT,
    "commit accounts.log_in_by_wallet": ACCOUNT,
    "commit accounts.log_out": ACCOUNT,
    "commit accounts.open_with_password": ACCOUNT,
    "commit accounts.recover": ACCOUNT,
    "commit ask_all": (Crossing("push missed"), *BOUGHT),
    "commit asks.begin": (Crossing("by the call"),),
    "commit beat": (Crossing("watched"),),
    "commit begin_call": BOUGHT,
    "commit begin_conversation": (Crossing("talk"),),
    "commit begin_exchange": (Crossing("talk"),),
    "commit count_hit": (Crossing("demo"),),
    "commit credential_used": SESSION,
    "commit delete_conversation": (Crossing("talk"),),
    "commit due_invoices": (Crossing("push missed"), Crossing("bought", 2)),
    "commit due_payouts": (Crossing("answer lost"), Crossing("never sent")),
    "commit due_purged": (Crossing("paid when purged"), *BOUGHT),
    "commit end_call": (Crossing("flaky"),),
    "commit forget_logins": BOUGHT,
    "commit forget_unpaid": BOUGHT,
    "commit holds.begin": (Crossing("talk"), Crossing("talk", 2)),
    "commit holds.begin_free": (Crossing("demo"),),
    "commit holds.end": (Crossing("talk"), Crossing("demo")),
    "commit holds.end_known": (Crossing("talk"),),
    "commit holds.let_go": (Crossing("answer broken off"),),
    "commit invoices.book": (
        *BOTH,
        Crossing("paid late"),
        Crossing("cancelled"),
        *SESSION,
        Crossing("session", 2),
        Crossing("by the call"),
    ),
    "commit invoices.lapse": (Crossing("paid late"),),
    "commit invoices.open": BOUGHT,
    "commit jobs.accept": BOUGHT,
    "commit jobs.answer": (
        *BOUGHT,
        *SESSION,
        Crossing("session", 2),
        Crossing("by the call"),
        Crossing("broken"),
        Crossing("rejected"),
        Crossing("left alone"),
    ),
    "commit jobs.cancel": (Crossing("cancelled"),),
    "commit jobs.recover": (Crossing("promise lost"),),
    "commit orders.begin": BOUGHT,
    "commit payouts.call": (*BOUGHT, Crossing("broken")),
    "commit payouts.record": (Crossing("forgotten"),),
    "commit payouts.redirect": (Crossing("redirected"),),
    "commit payouts.refuse": (Crossing("refused"),),
    "commit payouts.send": (*BOUGHT, Crossing("broken"), Crossing("by itself"), *WITHHELD),
    "commit payouts.settle": (*BOUGHT, Crossing("answer lost"), *SESSION, *WITHHELD),
    "commit payouts.take_back": (Crossing("never sent"), Crossing("not withheld")),
    "commit purge_keys": (*BOUGHT, Crossing("answer lost")),
    "commit purging.purge": (Crossing("paid when purged"),),
    "commit purging.settle": (Crossing("paid when purged"),),
    "commit rail_baseline": (Crossing("reviewed"),),
    "commit renew_credential": (Crossing("revoked"),),
    "commit rescue": (Crossing("worker died"), Crossing("never sent")),
    "commit revoke": (Crossing("revoked"),),
    "commit root_key": SESSION,
    "commit rotate_keys": (Crossing("rotated"),),
    "commit sessions.ask_topup": SESSION,
    "commit sessions.begin": SESSION,
    "commit sessions.begin_reserved": (*SESSION, Crossing("session", 2)),
    "commit sessions.close": SESSION,
    "commit sessions.idle": (Crossing("left alone"),),
    "commit signing_key": (Crossing("receipt"),),
    "commit switch": (Crossing("stopped"), Crossing("stopped", 2)),
    "commit payouts.uncall": (Crossing("rail away"),),
    "commit transfers.begin": WALLETS,
    "commit transfers.fail": (Crossing("not moved"),),
    "commit transfers.settle": WALLETS,
    "commit wallets.close": (*WALLETS, *LATER),
    "commit wallets.note_deleted": LATER,
    "commit wallets.offer_first": WALLETS,
    "commit wallets.open_next": WALLETS,
    "commit wallets.want": WALLETS,
    "keep CreateInvoice": BOUGHT,
    "keep FetchInvoice": (
        Crossing("by itself"),
        Crossing("refused"),
        Crossing("left alone"),
    ),
    "keep Judge": BOUGHT,
    "keep PayInvoice": (*BOUGHT, Crossing("answer lost")),
    "keep Work": BOUGHT,
    "lnurl fetch": (Crossing("by itself"), Crossing("redirected"), Crossing("refused", 2)),
    "oracle healthy": (Crossing("watched"),),
    "oracle price": BOTH,
    "store older": BOUGHT,  # the sweep of a process that begins
    "rail balance": (Crossing("reviewed"),),
    "rail balance_of": WALLETS,
    "rail create_invoice": (*BOTH, *SESSION, Crossing("session", 2), Crossing("by the call")),
    "rail delete_wallet": LATER,
    "rail healthy": (Crossing("watched"),),
    "rail look_up_invoice": (Crossing("paid late"), Crossing("push missed")),
    "rail look_up_payment": (Crossing("answer lost"), Crossing("never sent")),
    "rail open_wallet": WALLETS,
    "rail pay": (*BOUGHT, Crossing("rail away"), Crossing("broken"), *WITHHELD),
    "rail push": (Crossing("bought", 2), *BOUGHT, Crossing("paid late", 2)),
}
