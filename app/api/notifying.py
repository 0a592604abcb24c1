"""The field `notify`: where whoever asks for something wants to be told what becomes of it."""

from typing import Annotated, Any

from pydantic import Field
from starlette.requests import Request

from app.house import House
from app.http.fields import Body
from app.http.links import base_url
from db.webhooks import NewWebhook
from payments.public_http import LONGEST_URL
from statemachine.notice import Topic
from statemachine.owner import Owner, OwnerKind


class Notify(Body):
    """A URL of the caller's, and the secret that signs what is sent there."""

    url: Annotated[str, Field(min_length=1, max_length=LONGEST_URL)]
    secret: str | None = None


def webhook_of(
    request: Request,
    house: House,
    notify: Notify | None,
    topic: Topic,
    account_id: str | None = None,
) -> NewWebhook | None:
    """Return the webhook that a request asks for, if it does. Raises BadInput."""
    if notify is None:
        return None
    return house.webhooks.ask(
        notify.url,
        notify.secret,
        topic,
        account_id=account_id,
        base=base_url(request, house.settings.public_url),
    )


async def webhook_of_caller(
    request: Request, house: House, notify: Notify | None, topic: Topic
) -> NewWebhook | None:
    """Return the same; its log opens to the account that asks, where one does. Raises Refusal."""
    if notify is None:
        return None
    holder = await house.callers.account(request)
    return webhook_of(request, house, notify, topic, holder.account_id if holder else None)


async def shown(
    house: House, notify: Notify | None, kind: OwnerKind, owner_id: str
) -> dict[str, Any]:
    """Return what is answered of that, to whoever asked for it just now."""
    if notify is None:
        return {}
    told = await house.webhooks.shown(Owner(kind, owner_id))
    return {"notify": told} if told else {}
