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

from app.house import House, house_of
from app.http.body import json_response, parse, read_body
from app.http.event_stream import Events, EventStream
from app.http.fields import Body, RequestText, name_of
from app.http.throttle import Rule
from app.http.visitors import new_visitor
from app.strict_json import BadInput, moment
from app.trade import chats
from app.trade.chats import Owner
from db import conversations
from db.conversations import Conversation, Message

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
    house = house_of(request)
    if request.method == "POST":
        return await _create(request, house)
    owner = await house.visitors.owner_of(request)
    rows = await conversations.of_owner(house.db, owner.name) if owner else []
    return json_response([_conversation(row) for row in rows])


async def _create(request: Request, house: House) -> Response:
    """Answer 201, with a cookie for who has none."""
    body = await read_body(request)
    asked, known = parse(body, CreateConversation), await house.visitors.owner_of(request)
    owner = known or new_visitor()
    async with _turn(request, owner, Rule.CREATE):
        if owner.is_visitor:
            await house.throttle.weigh(request, len(body))
        made = await house.chats.begin(owner, asked.title, name_of(request, owner.name, body))
    row = await house.chats.get(owner, made)
    headers = {"Location": f"/api/gemini/conversations/{made}"}
    if known is None:
        headers["Set-Cookie"] = house.visitors.cookie_for(owner)
    return json_response(_conversation(row), 201, headers)


async def one(request: Request) -> Response:
    """GET and DELETE /api/gemini/conversations/{id}."""
    house = house_of(request)
    owner, conversation_id = await house.visitors.owner_of(request), _id_of(request)
    if request.method == "DELETE":
        await house.chats.delete(owner, conversation_id)
        return Response(status_code=204)
    row = await house.chats.get(owner, conversation_id)
    said = await conversations.messages(house.db, conversation_id)
    return json_response(_conversation(row) | {"messages": [_message(each) for each in said]})


async def messages(request: Request) -> Response:
    """GET and POST /api/gemini/conversations/{id}/messages."""
    house = house_of(request)
    if request.method == "POST":
        return await _send(request, house)
    owner, conversation_id = await house.visitors.owner_of(request), _id_of(request)
    await house.chats.get(owner, conversation_id)
    said = await conversations.messages(house.db, conversation_id)
    return json_response([_message(row) for row in said])


async def generate_image(request: Request) -> Response:
    """POST /api/gemini/generate-image: 200 with the image in base64."""
    house = house_of(request)
    asked = parse(await read_body(request), GenerateImage)
    owner = await house.visitors.unseen_owner_of(request) or new_visitor()
    async with _turn(request, owner):
        drawn = await house.chats.draw(owner, asked.prompt)
    b64 = base64.b64encode(drawn.content).decode()
    return json_response(
        {
            "b64_json": b64,
            "mimeType": drawn.media_type,
            "model": house.chats.chat.image_model,
            "madeBy": drawn.made_by,
        }
    )


async def _send(request: Request, house: House) -> Response:
    """Answer a message as the model does: SSE, `{"content"}` for each piece, and `{"done"}`."""
    body = await read_body(request)
    asked = parse(body, SendMessage)
    owner, conversation_id = await house.visitors.owner_of(request), _id_of(request)
    await house.chats.get(owner, conversation_id)
    assert owner is not None
    model = house.chats.model_for(asked.model)
    if not model:
        raise BadInput("The field 'model' names a model that is not offered here. Leave it out.")
    name = name_of(request, owner.name, body)
    made = await house.chats.made(name)
    if made is not None:
        return EventStream(house.chats.again(made))
    exchange = house.chats.exchange(owner, conversation_id, asked.content, model, name)
    return EventStream(_in_turn(request, exchange))


def _turn(
    request: Request, owner: Owner, rule: Rule = Rule.DEMO
) -> AbstractAsyncContextManager[None]:
    """Count what a visitor asks for; what a session pays for is not counted."""
    house = house_of(request)
    return house.throttle.turn(request, rule) if owner.is_visitor else nullcontext()


async def _in_turn(request: Request, exchange: chats.Exchange) -> Events:
    async with _turn(request, exchange.owner), aclosing(exchange.events()) as events:
        async for event in events:
            yield event


def _id_of(request: Request) -> int:
    text: str = request.path_params["id"]
    if not _ID.fullmatch(text):
        raise chats.unknown_conversation()
    return int(text)


def _conversation(row: Conversation) -> dict[str, Any]:
    return {"id": row.id, "title": row.title, "createdAt": moment(row.created_at)}


def _message(row: Message) -> dict[str, Any]:
    return {
        "id": row.id,
        "conversationId": row.conversation_id,
        "role": row.role,
        "content": row.content,
        "createdAt": moment(row.created_at),
    }
