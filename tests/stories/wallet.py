"""Receiving wallets: opened one after the other, and closed when nobody can pay them any more."""

from typing import get_args

from statemachine import wallet
from statemachine.wallet import Closed, Deleted, Opened, Replaced, Sought, WalletFacts, WalletState
from tests.stories.telling import Law, Story, story

LAW = Law(wallet.WALLET, wallet.decide, get_args(wallet.Event))

STORIES: tuple[Story, ...] = (
    story("A wallet is opened, used, retired, closed and deleted, each once", LAW)
    .begins(WalletState.WANTED, wallet.begin(2))
    .hears(Opened())
    .becomes(WalletState.IN_USE)
    .refuses(Opened())
    .refuses(Sought())
    .hears(Replaced())
    .becomes(WalletState.RETIRED)
    .refuses(Replaced())
    .refuses(Deleted())
    .hears(Closed(999))
    .becomes(WalletState.CLOSED)
    .has(left_msat=999)
    .refuses(Closed(0))
    .hears(Deleted())
    .becomes(WalletState.DELETED)
    .refuses(Deleted()),
    story("Where whoever set out to open one is gone, another process sets out", LAW)
    .begins(WalletState.WANTED, wallet.begin(2))
    .hears(Sought()),
    story("A wallet that something may still come to or leave is not closed", LAW)
    .given(WalletFacts(2, WalletState.RETIRED, is_awaited=True))
    .refuses(Closed(0)),
    story("The first wallet is there from the beginning, and is never deleted", LAW)
    .begins(WalletState.IN_USE, wallet.begin(1))
    .hears(Replaced())
    .becomes(WalletState.RETIRED)
    .hears(Closed(0))
    .becomes(WalletState.CLOSED)
    .has(left_msat=0)
    .refuses(Deleted()),
)
