"""A small client of the HTTP surface: buy a job, watch it, take the refund."""

from collections.abc import AsyncIterator
from typing import Any, Self

import httpx2

FINAL = ("complete", "rejected", "failed")


class Refused(Exception):
    """The server refused; `body` is its envelope."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(str(body.get("error", f"HTTP {status}")))
        self.status, self.body = status, body


class Client:
    """Speaks to one instance. Use as an async context manager."""

    def __init__(self, url: str, timeout_s: float = 90) -> None:
        self._http = httpx2.AsyncClient(base_url=url, timeout=timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Return the JSON answer; raise Refused for anything but a 2xx."""
        answer = await self._http.request(method, path, **options)
        body: dict[str, Any] = {}
        if answer.headers.get("content-type", "").startswith("application/json"):
            body = answer.json()
        if not answer.is_success:
            raise Refused(answer.status_code, body)
        return body

    async def create(
        self, request: str, max_sats: int | None = None, key: str | None = None
    ) -> dict[str, Any]:
        """Post a job; return it with its evaluation invoice."""
        body: dict[str, Any] = {"request": request}
        if max_sats is not None:
            body["maxSats"] = max_sats
        headers = {"Idempotency-Key": key} if key else {}
        return await self.call("POST", "/api/jobs", json=body, headers=headers)

    async def show(self, job_id: str) -> dict[str, Any]:
        """Return a job as it stands."""
        return await self.call("GET", f"/api/jobs/{job_id}")

    async def watch(self, job_id: str) -> AsyncIterator[dict[str, Any]]:
        """Yield the job each time it changes, and end when it can change no more."""
        etag = ""
        while True:
            answer = await self._http.get(
                f"/api/jobs/{job_id}", params={"wait": "30"}, headers={"If-None-Match": etag}
            )
            if answer.status_code == 304:
                continue
            body = answer.json()
            if not answer.is_success:
                raise Refused(answer.status_code, body)
            etag = answer.headers["etag"]
            yield body
            if body["state"] in FINAL:
                return

    async def stub_pay(self, payment_hash: str) -> None:
        """Pay an invoice with the stub rail's wallet."""
        await self.call("POST", f"/api/dev/stub/pay/{payment_hash}")

    async def stub_invoice(self, amount_sats: int) -> str:
        """Have the stub rail's wallet make an invoice."""
        made = await self.call("POST", "/api/dev/stub/invoice", json={"amountSats": amount_sats})
        return str(made["paymentRequest"])

    async def refund(self, job_id: str, bolt11: str) -> dict[str, Any]:
        """Claim what is owed back."""
        return await self.call("POST", f"/api/jobs/{job_id}/refund", json={"invoice": bolt11})
