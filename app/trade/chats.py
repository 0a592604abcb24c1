"""One exchange with a model: money is set aside and what was asked is stored before the model is
asked; what it said is stored and charged after, however that ends.

A caller that leaves in the middle pays for what was used until then. When the model breaks, the
house pays for that.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog

from app.advance import Act
from app.agents.agent import Broke
from app.agents.chat import Chat, Declined, Done, Drawn, Said, Turn, written_tokens
from app.ports import Clock
from app.refusal import Refusal, Why, unavailable
from app.till import Till
from app.trade.holds import Held, Holds, Unseen, looked_at_first
from app.trade.once import Name, claimed, known_id
from db import conversations
from db.engine import Database, Tx
from payments.session_macaroon import Verified
from pricing.money import Msat, msat_to_sats
from pricing.quote import Quote, token_ceiling, used_msat
from pricing.rates import Usage

PURPOSE = "gemini"
MOST_TURNS = 100  # of a conversation that a model is given
RETRY_S = 10  # when to come back to a model that broke
MEND_S = 300  # when to come back to one that an operator must mend

log = structlog.get_logger("boltwork.chats")


def given_turns(
    newest_first: Sequence[conversations.Said], content: str, most_bytes: int
) -> list[Turn]:
    """Return what a model is given: the newest message, and of those before what fits."""
    turns = [Turn("user", content)]
    left_bytes = most_bytes - len(content.encode())
    for row in newest_first:
        left_bytes -= len(row.content.encode())
        if left_bytes < 0:
            break
        turns.append(Turn(row.role, row.content))
    # The first message must be the user's: an answer without its question is left out.
    while turns[-1].role != "user":
        turns.pop()
    return turns[::-1]


@dataclass(frozen=True, slots=True)
class Owner:
    """The owner of a conversation, which is looked up by `name`."""

    name: str
    credential: Verified | None = None  # a visitor has none
    unseen: Unseen | None = None  # where that is still to be looked up

    @property
    def is_visitor(self) -> bool:
        """Return whether the house pays."""
        return self.credential is None


class _Claimed(Exception):
    """The name was used before. Raised to roll back what was made for it now."""

    def __init__(self, conversation_id: int) -> None:
        super().__init__()
        self.conversation_id = conversation_id


@dataclass(frozen=True, slots=True)
class Chats:
    """The desk of conversations with a model, and of the images that it draws."""

    db: Database
    chat: Chat
    till: Till
    holds: Holds
    clock: Clock

    def model_for(self, asked: str | None) -> str:
        """Return the model that answers when this one is asked for, or none; "" when none does."""
        return self.chat.takes(asked) if asked else self.chat.chat_model

    async def begin(self, owner: Owner, title: str, name: Name | None) -> int:
        """Return the id of a new conversation, or of the one that this name was given to.

        Raises Refusal (409) when there is room for no more, or the name is another request's.
        """
        now = self.clock()

        async def begin(tx: Tx) -> int:
            made = await conversations.create(tx, owner.name, title, now)
            before = await claimed(tx, now, name, str(made))
            if before != str(made):
                raise _Claimed(int(before))
            return made

        try:
            return await self.db.run("begin_conversation", begin)
        except _Claimed as before:
            return before.conversation_id
        except conversations.Full:
            most = conversations.MOST_OF_AN_OWNER
            raise Refusal(Why.FULL, f"You have {most} conversations. Delete one first.") from None

    async def made(self, name: Name | None) -> int | None:
        """Return what was made under this name before. Refuses a name of another request."""
        made = await known_id(self.db, name)
        return None if made is None else int(made)

    async def get(self, owner: Owner | None, conversation_id: int) -> conversations.Conversation:
        """Return a conversation of this owner's. Another's is not there."""
        row = await conversations.get(self.db, conversation_id, owner.name) if owner else None
        if row is None:
            raise unknown_conversation()
        return row

    async def delete(self, owner: Owner | None, conversation_id: int) -> None:
        """Delete a conversation of this owner's. Another's is not there."""
        name = owner.name if owner else ""
        deleted = await self.db.run(
            "delete_conversation", lambda tx: conversations.delete(tx, conversation_id, name)
        )
        if not deleted:
            raise unknown_conversation()

    def exchange(
        self, owner: Owner, conversation_id: int, content: str, model: str, name: Name | None
    ) -> "Exchange":
        """Return what answers a message, once it is asked for its events."""
        return Exchange(self, owner, conversation_id, content, model, name)

    async def again(self, message_id: int) -> AsyncGenerator[dict[str, Any], None]:
        """Yield an answer that was given before. Nobody is charged for it twice."""
        row = await conversations.answer_to(self.db, message_id)
        if row is None:
            raise unanswered()
        yield {"content": row.content}
        yield done_event(row.id, row.usage)

    async def draw(self, owner: Owner, prompt: str) -> Drawn:
        """Return an image, charged. Refuses when there is none."""
        chat = self.chat
        if not chat.max_image_tokens:  # it draws nothing: no need to set anything aside
            if owner.unseen is not None:
                await owner.unseen.look()
            drawn = await chat.draw(prompt)
        else:
            read = token_ceiling(prompt)
            async with looked_at_first(owner.unseen):
                quote = await self.till.call(
                    chat.image_model, read, chat.max_image_tokens, is_given=owner.is_visitor
                )
            async with self.set_aside(owner, quote.total_msat) as held:
                drawn = await chat.draw(prompt)
                if isinstance(drawn, Broke):
                    held.lose(self.till.cost_msat(chat.image_model, drawn.usage, quote.price))
                else:
                    held.charge(used_msat(quote, drawn.usage))
        if isinstance(drawn, Declined):
            raise declined(drawn.reason)
        if isinstance(drawn, Broke):
            raise broken(drawn)
        return drawn

    def set_aside(self, owner: Owner, ceiling_msat: Msat) -> AbstractAsyncContextManager[Held]:
        """Set a ceiling aside from who pays: the session, or for a visitor the house."""
        if owner.credential is None:
            if not self.holds.free_sats_per_day:
                raise unavailable(
                    Why.NOTHING_FREE,
                    "Messages are not free here. Use a session.",
                    MEND_S,
                )
            return self.holds.free(PURPOSE, ceiling_msat)
        grant, session_id = owner.credential.grant, owner.credential.session_id
        return self.holds.from_session(session_id, grant, PURPOSE, ceiling_msat, owner.unseen)


@dataclass(slots=True)
class Exchange:
    """A message, and the answer that it gets."""

    desk: Chats
    owner: Owner
    conversation_id: int
    content: str
    model: str
    name: Name | None  # the caller's own name for this message
    _said: list[str] = field(default_factory=list)
    _last: dict[str, Any] = field(default_factory=dict)
    _refusal: Refusal | None = None

    async def events(self) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the answer as it is shown. Refuses when it does not come to its end."""
        chat, db = self.desk.chat, self.desk.db
        before = await conversations.newest(db, self.conversation_id, MOST_TURNS)
        turns = given_turns(before, self.content, chat.most_history_bytes)
        read = sum(token_ceiling(turn.text) for turn in turns)
        quote = await self.desk.till.call(
            self.model, read, chat.max_output_tokens, is_given=self.owner.is_visitor
        )
        async with self.desk.set_aside(self.owner, quote.total_msat) as held:
            message_id = await db.run("begin_exchange", self._begin)
            answering = self._answer(turns, quote, held, message_id)
            async with aclosing(answering):
                async for event in answering:
                    yield event
        # Only now, when it is stored and charged.
        if self._refusal is not None:
            raise self._refusal
        yield self._last

    async def _begin(self, tx: Tx) -> int:
        """Store what was asked, under its caller's name for it."""
        now = self.desk.clock()
        try:
            message_id = await conversations.ask(tx, self.conversation_id, self.content, now)
        except conversations.Full:
            most = conversations.MOST_MESSAGES
            raise Refusal(
                Why.FULL, f"This conversation has {most} messages. Begin another one."
            ) from None
        if message_id is None:
            raise unknown_conversation()
        if await claimed(tx, now, self.name, str(message_id)) != str(message_id):
            raise unanswered()  # by the same request, at the same moment
        return message_id

    async def _answer(
        self, turns: Sequence[Turn], quote: Quote, held: Held, message_id: int
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Yield what the model says. However that ends, say what it cost, and store it."""
        # Until the model has counted: it was given all this to read.
        used = Usage(sum(written_tokens(len(turn.text.encode())) for turn in turns), 0)
        end, has_cost = "left", True
        pieces = self.desk.chat.answer(self.model, turns, quote.max_output_tokens)
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    match piece:
                        case Said(text, counted):
                            used = _most(used, counted)
                            if text:
                                self._said.append(text)
                                yield {"content": text}
                        case Done(used, cut):
                            end = "cut" if cut else "whole"
                        case Declined(reason, used):
                            end, self._refusal = "declined", declined(reason)
                        case Broke(usage=counted):
                            end, self._refusal = "broken", broken(piece)
                            used = _most(used, counted) if counted else used
                            has_cost = bool(counted or self._said)
        finally:
            if end == "broken":
                # As far as is known: mostly the model has not counted to the end.
                known = used if has_cost else None
                held.lose(self.desk.till.cost_msat(self.model, known, quote.price))
            else:
                held.charge(used_msat(quote, used))
            sats = msat_to_sats(held.charge_msat)
            log.info("exchanged", model=self.model, end=end, sats=sats)
            usage = _usage(self.model, used, held.charge_msat, end)
            held.beside = partial(self._store, message_id, usage)

    async def _store(self, message_id: int, usage: dict[str, Any], act: Act) -> None:
        """Keep what was said."""
        stored: int | None = None
        if self._said:
            text = "".join(self._said)
            stored = await conversations.answer(
                act.tx, self.conversation_id, message_id, text, usage, act.now
            )
        self._last = done_event(stored, usage)


def unknown_conversation() -> Refusal:
    """Return the refusal for a conversation that doesn't exist, or is another's."""
    return Refusal(
        Why.UNKNOWN,
        "You have no conversation with this id.",
        "List yours with GET /api/gemini/conversations, or begin one there with POST.",
    )


def unanswered() -> Refusal:
    """Return the refusal for a message that was sent before and has no answer yet."""
    return Refusal(
        Why.NO_ANSWER_KEPT,
        "This message was sent before, and has no answer yet: it is being written, or it failed.",
        "Look at the conversation, or send the message under another Idempotency-Key.",
    )


def declined(reason: str) -> Refusal:
    """Return the refusal when a model declines to answer."""
    return Refusal(Why.DECLINED, reason, "Ask for something else. What the model read was charged.")


def broken(broke: Broke) -> Refusal:
    """Return the refusal when a model can't answer."""
    wait_s = RETRY_S if broke.retryable else MEND_S
    return unavailable(Why.NO_AGENT, f"{broke.reason} Nothing was charged.", wait_s)


def done_event(message_id: int | None, usage: dict[str, Any]) -> dict[str, Any]:
    """Return the last event of an answer."""
    event: dict[str, Any] = {
        "done": True,
        "model": usage["model"],
        "inputTokens": usage["input_tokens"],
        "outputTokens": usage["output_tokens"],
        "chargedSats": msat_to_sats(usage["charge_msat"]),
        "end": usage["end"],
    }
    return event if message_id is None else {**event, "messageId": message_id}


def _usage(model: str, used: Usage, charge_msat: int, end: str) -> dict[str, Any]:
    return {
        "model": model,
        "input_tokens": used.input_tokens,
        "output_tokens": used.output_tokens,
        "charge_msat": charge_msat,
        "end": end,
        "estimated": end in ("left", "broken"),  # the model has not counted to the end
    }


def _most(one: Usage, other: Usage) -> Usage:
    return Usage(
        other.input_tokens or one.input_tokens, max(one.output_tokens, other.output_tokens)
    )
