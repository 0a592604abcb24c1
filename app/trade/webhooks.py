"""Webhooks: who is told of the events of a job, a session or a batch, and what became of that.

A webhook is asked for with what it tells of, and written in the transaction that makes it. Its
secret signs, and opens its log: the id alone opens nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from app import advance
from app.advance import Applied, Shell
from app.keys import webhook_secrets
from app.refusal import Refusal, Why
from app.strict_json import BadInput
from db import webhook_log, webhooks
from db.engine import Database, Tx
from db.webhook_log import Log, Logged, Webhook
from db.webhooks import NewWebhook, Shown
from payments.public_http import Refused, target_of
from payments.seal import Seal
from payments.webhook_signature import LEAST, MOST, SECRET, new_secret
from statemachine.notice import Topic
from statemachine.owner import Owner

PAGE: Final = 100  # notices that are shown at once


def unknown_webhook() -> Refusal:
    """Return what is said of a webhook that is not there, and of a secret that is not its own."""
    return Refusal(
        Why.CREDENTIAL_INVALID,
        "There is no webhook with this id and this secret.",
        "Send its secret as `X-Webhook-Secret`, or sign in to the account that asked for it.",
        {"WWW-Authenticate": 'Bearer realm="boltwork"'},
    )


@dataclass(frozen=True, slots=True)
class Webhooks:
    """The desk of webhooks."""

    db: Database
    shell: Shell
    seal: Seal
    new_id: Callable[[], str]
    allow_loopback: bool  # in development: servers on this machine, over http

    def ask(
        self,
        url: str,
        secret: str | None,
        topic: Topic,
        *,
        facts: Mapping[str, Any] | None = None,
        account_id: str | None = None,
        base: str | None = None,
    ) -> NewWebhook:
        """Return a webhook as the transaction that makes its owner writes it down.

        `facts` are what its notices say beside what happened, `base` how whoever asks reaches this
        server. Without a secret one is made. Raises BadInput: what is wrong with URL or secret.
        """
        target = target_of(url, allow_loopback=self.allow_loopback)
        if isinstance(target, Refused):
            raise BadInput(f"The URL for notices can't be used: {target.reason}.")
        if target.scheme == "http" and not target.is_loopback:
            raise BadInput("The URL for notices can't be used: it is not https.")
        if secret is not None and not SECRET.fullmatch(secret):
            raise BadInput(
                f"The secret for notices must be {LEAST} to {MOST} printable ASCII characters"
                " without a space. Leave it out, and one is made for you."
            )
        webhook_id = self.new_id()
        return NewWebhook(
            webhook_id,
            topic,
            url,
            f"{target.scheme}://{target.netloc}",
            webhook_secrets.closed(self.seal, webhook_id, secret or new_secret()),
            secret is None,
            base,
            account_id,
            dict(facts or {}),
        )

    async def shown(self, owner: Owner) -> dict[str, Any]:
        """Return what is answered to whoever asked for a webhook: its secret, once, if we made it.

        Only for the answer to whoever makes its owner.
        """

        async def show(tx: Tx) -> Shown | None:
            return await webhooks.show(tx, owner, self.shell.clock())

        found = await self.db.run("show_webhook", show)
        if found is None:
            return {}
        told = {"id": found.id, "url": found.url, "deliveries": f"/api/notices/{found.id}"}
        if found.is_made and found.shown_at is None:
            told["secret"] = webhook_secrets.opened(self.seal, found.id, found.sealed)
        return told

    async def opened_by_secret(self, webhook_id: str, secret: str) -> Webhook:
        """Return a webhook to the holder of its secret. Raises Refusal (401)."""
        webhook = await webhook_log.find(self.db, webhook_id)
        if webhook is None or not webhook_secrets.is_secret(
            self.seal, webhook.id, webhook.sealed, secret
        ):
            raise unknown_webhook()
        return webhook

    async def opened_by_account(self, webhook_id: str, account_id: str) -> Webhook:
        """Return a webhook to the account that asked for it. Raises Refusal (401)."""
        webhook = await webhook_log.find(self.db, webhook_id)
        if webhook is None or webhook.account_id != account_id:
            raise unknown_webhook()
        return webhook

    async def log(self, webhook: Webhook) -> list[Logged]:
        """Return what a webhook was told, the newest first, with the log of tries of each."""
        return await webhook_log.of_webhook(self.db, webhook.id, PAGE)

    async def of_account(self, account_id: str, most: int = PAGE) -> list[Log]:
        """Return what the webhooks of a person's account were told last, the newest first."""
        return await webhook_log.of_account(self.db, account_id, most)

    async def resend(self, webhook: Webhook, notice_id: str | None) -> str:
        """Have a notice of a webhook sent again, the newest where none is named; return its id.

        Raises Refusal (404).
        """
        named = await webhook_log.notice_of(self.db, webhook.id, notice_id)
        if named is None:
            raise Refusal(Why.UNKNOWN, "This webhook has no such notice.")
        told = await self.shell.do(advance.notices.resend, named)
        if not isinstance(told, Applied):
            raise Refusal(Why.UNKNOWN, "This webhook has no such notice.")
        return named
