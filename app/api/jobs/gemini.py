"""Conversations with a model, and images: a session's, or free for a visitor (the agent jobs API).

Another owner's conversation is not there. An answer is sent as it is written.
"""

import base64
import re
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from typing import Annotated, Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from app.house import House
from app.http.body import json_response, parse, read_body
from app.http.event_stream import Events, EventStream
from app.http.fields import Body, RequestText, name_of
from app.http.throttle import Rule
from app.http.visitors import cookie_for, new_visitor, owner_of
from app.refusal import Refusal, Why
from app.strict_json import BadInput, moment
from app.trade import chats
from app.trade.chats import Owner
from app.trade.once import Name, known_id
from db import conversations, idempotency
from db.engine import Row, Tx

_ID = re.compile("[1-9][0-9]{0,17}")
MOST_TITLE = 200


class CreateConversation(Body):
    """POST /api/gemini/conversations."""

    title: Annotated[RequestText, Field(max_length=MOST_TITLE)]


class SendMessage(Body):
    """POST /api/gemini/conversations/{id}/messages."""

    content: RequestText
    model: str | None = None


class GenerateImage(Body):
    """POST /api/gemini/generate-image."""

    prompt: RequestText


async def collection(request: Request) -> Response:
    """GET and POST /api/gemini/conversations: the caller's own, the newest first; a new one."""
    house: House = request.app.state.house
    if request.method == "POST":
        return await _create(request, house)
    owner = await owner_of(request)
    rows = await conversations.of_owner(house.parts.db, owner.name) if owner else []
    return json_response([_conversation(row) for row in rows])


async def _create(request: Request, house: House) -> Response:
    """Answer 201, with a cookie for who has none."""
    body = await read_body(request)
    asked, known = parse(body, CreateConversation), await owner_of(request)
    owner = known or new_visitor()
    if owner.is_visitor:
        await house.parts.throttle.count(request, Rule.CREATE)
        await house.parts.throttle.weigh(request, len(body))
    made = await _begin(house, owner, asked.title, name_of(request, owner.name, body))
    row = await _found(house, made, owner)
    headers = {"Location": f"/api/gemini/conversations/{made}"}
    if known is None:
        headers["Set-Cookie"] = cookie_for(house, owner)
    return json_response(_conversation(row), 201, headers)


async def _begin(house: House, owner: Owner, title: str, name: Name | None) -> int:
    now = house.parts.clock()

    async def begin(tx: Tx) -> int:
        made = await conversations.create(tx, owner.name, title, now)
        if name is not None:
            claimed = await idempotency.claim(
                tx, name.caller, name.key, name.body_sha256, str(made), now
            )
            if not isinstance(claimed, idempotency.Fresh):
                raise _Claimed
        return made

    try:
        return await house.parts.db.run("begin_conversation", begin)
    except _Claimed:
        made = await _made(house, name)
        assert made is not None, "somebody has claimed it"
        return made
    except conversations.Full:
        most = conversations.MOST_OF_AN_OWNER
        raise Refusal(Why.FULL, f"You have {most} conversations. Delete one first.") from None


class _Claimed(Exception):
    """The name was given before. Raised, so that what was made for it now is undone."""


async def one(request: Request) -> Response:
    """GET and DELETE /api/gemini/conversations/{id}."""
    house: House = request.app.state.house
    owner, conversation_id = await owner_of(request), _id_of(request)
    if request.method == "DELETE":
        await _delete(house, conversation_id, owner)
        return Response(status_code=204)
    row = await _found(house, conversation_id, owner)
    said = await conversations.messages(house.parts.db, conversation_id)
    return json_response(_conversation(row) | {"messages": [_message(each) for each in said]})


async def messages(request: Request) -> Response:
    """GET and POST /api/gemini/conversations/{id}/messages."""
    house: House = request.app.state.house
    if request.method == "POST":
        return await _send(request, house)
    owner, conversation_id = await owner_of(request), _id_of(request)
    await _found(house, conversation_id, owner)
    said = await conversations.messages(house.parts.db, conversation_id)
    return json_response([_message(row) for row in said])


async def generate_image(request: Request) -> Response:
    """POST /api/gemini/generate-image: 200 with the image in base64."""
    house: House = request.app.state.house
    asked = parse(await read_body(request), GenerateImage)
    owner = await owner_of(request) or new_visitor()
    async with _turn(request, owner):
        drawn = await house.chats.draw(owner, asked.prompt)
    b64 = base64.b64encode(drawn.content).decode()
    return json_response({"b64_json": b64, "mimeType": drawn.media_type})


async def _send(request: Request, house: House) -> Response:
    """Answer a message as the model does: SSE, `{"content"}` for each piece, and `{"done"}`."""
    body = await read_body(request)
    asked = parse(body, SendMessage)
    owner, conversation_id = await owner_of(request), _id_of(request)
    await _found(house, conversation_id, owner)
    assert owner is not None
    chat = house.parts.chat
    model = chat.takes(asked.model) if asked.model else chat.chat_model
    if not model:
        raise BadInput("The field 'model' names a model that is not offered here. Leave it out.")
    name = name_of(request, owner.name, body)
    made = await _made(house, name)
    if made is not None:
        return EventStream(house.chats.again(made))
    exchange = house.chats.exchange(owner, conversation_id, asked.content, model, name)
    return EventStream(_in_turn(request, exchange))


def _turn(request: Request, owner: Owner) -> AbstractAsyncContextManager[None]:
    """Count what is a visitor's as a demo; what a session pays for is not counted."""
    house: House = request.app.state.house
    return house.parts.throttle.turn(request, Rule.DEMO) if owner.is_visitor else nullcontext()


async def _in_turn(request: Request, exchange: chats.Exchange) -> Events:
    async with _turn(request, exchange.owner), aclosing(exchange.events()) as events:
        async for event in events:
            yield event


async def _made(house: House, name: Name | None) -> int | None:
    """Return what was made under this name before. Refuses a name of another request."""
    made = await known_id(house.parts.db, name)
    return None if made is None else int(made)


async def _delete(house: House, conversation_id: int, owner: Owner | None) -> None:
    name = owner.name if owner else ""
    deleted = await house.parts.db.run(
        "delete_conversation", lambda tx: conversations.delete(tx, conversation_id, name)
    )
    if not deleted:
        raise chats.unknown_conversation()


async def _found(house: House, conversation_id: int, owner: Owner | None) -> Row:
    row = await conversations.get(house.parts.db, conversation_id, owner.name) if owner else None
    if row is None:
        raise chats.unknown_conversation()
    return row


def _id_of(request: Request) -> int:
    text: str = request.path_params["id"]
    if not _ID.fullmatch(text):
        raise chats.unknown_conversation()
    return int(text)


def _conversation(row: Row) -> dict[str, Any]:
    return {"id": row["id"], "title": row["title"], "createdAt": moment(row["created_at"])}


def _message(row: Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "conversationId": row["conversation_id"],
        "role": row["role"],
        "content": row["content"],
        "createdAt": moment(row["created_at"]),
    }
