"""Holds: set aside before a call, charged after it, never more than was set aside."""

from typing import get_args

from statemachine import hold
from statemachine.hold import Broke, HoldFacts, HoldState, LetGo, Used
from tests.stories.telling import Law, Story, story

LAW = Law(hold.HOLD, hold.decide, get_args(hold.Event))
OF_SESSION = HoldFacts("h", HoldState.HELD, 3_000, "s")

STORIES: tuple[Story, ...] = (
    story("A call is charged what it cost, and the rest goes back to its session", LAW)
    .begins(HoldState.HELD, hold.begin("h", 3_000, "s"))
    .has(amount_msat=3_000, session_id="s")
    .moves(3_000, "session:s", "hold:h", "hold:h:held")
    .hears(Used(2_000))
    .becomes(HoldState.CHARGED)
    .has(charge_msat=2_000)
    .moves(2_000, "hold:h", "revenue:work", "hold:h:ended")
    .moves(1_000, "hold:h", "session:s", "hold:h:ended")
    .refuses(LetGo())
    .refuses(Used(1)),
    story("A call that cost more than was held is charged what was held", LAW)
    .given(OF_SESSION)
    .hears(Used(9_000))
    .becomes(HoldState.CHARGED)
    .has(charge_msat=3_000)
    .moves(3_000, "hold:h", "revenue:work", "hold:h:ended"),
    story("A call that cost nothing is charged nothing", LAW)
    .given(OF_SESSION)
    .hears(Used(0))
    .becomes(HoldState.CHARGED)
    .moves(3_000, "hold:h", "session:s", "hold:h:ended"),
    story("A call that nobody answered gives all of it back", LAW)
    .given(OF_SESSION)
    .hears(LetGo())
    .becomes(HoldState.DROPPED)
    .moves(3_000, "hold:h", "session:s", "hold:h:ended")
    .refuses(Used(1)),
    story("A call that broke gives all of it back, and what it had cost is the house's", LAW)
    .given(OF_SESSION)
    .hears(Broke(4_000))
    .becomes(HoldState.DROPPED)
    .has(spent_msat=4_000)
    .moves(3_000, "hold:h", "session:s", "hold:h:ended")
    .moves(4_000, "expense:failed", "revenue:free", "hold:h:failed")
    .refuses(LetGo()),
    story("A call that broke and had cost nothing gives all of it back", LAW)
    .given(OF_SESSION)
    .hears(Broke(0))
    .becomes(HoldState.DROPPED)
    .moves(3_000, "hold:h", "session:s", "hold:h:ended"),
    story("What a free call costs, the house pays itself", LAW)
    .begins(HoldState.HELD, hold.begin("h", 3_000, None))
    .moves(3_000, "expense:free", "hold:h", "hold:h:held")
    .hears(Used(2_000))
    .becomes(HoldState.CHARGED)
    .has(charge_msat=2_000)
    .moves(2_000, "hold:h", "revenue:free", "hold:h:ended")
    .moves(1_000, "hold:h", "expense:free", "hold:h:ended"),
    story("A free call that nobody answered is no expense", LAW)
    .given(HoldFacts("h", HoldState.HELD, 3_000))
    .hears(LetGo())
    .becomes(HoldState.DROPPED)
    .moves(3_000, "hold:h", "expense:free", "hold:h:ended"),
)
