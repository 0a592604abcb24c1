"""Requests to connect a wallet: paid once; late only where the payment itself says whose it is."""

from typing import get_args

from statemachine import connect
from statemachine.connect import ConnectFacts, ConnectState, Lapsed, Paid
from tests.stories.telling import Law, Story, story

LAW = Law(connect.CONNECT, connect.decide, get_args(connect.Event))
OPEN = ConnectFacts("c", ConnectState.OPEN)

STORIES: tuple[Story, ...] = (
    story("A request is paid once", LAW)
    .given(OPEN)
    .hears(Paid())
    .becomes(ConnectState.PAID)
    .refuses(Paid())
    .refuses(Lapsed()),
    story("An invoice that is paid late has opened its account all the same", LAW)
    .given(OPEN)
    .hears(Lapsed())
    .becomes(ConnectState.LAPSED)
    .refuses(Lapsed())
    .hears(Paid())
    .becomes(ConnectState.PAID),
)
