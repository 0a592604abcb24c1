"""What a fuzzer meets of people and spells: keys, casts in each state, webhooks, requests."""

from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.world.patience import patiently

KEYS, SPELLS, CONNECT = "/api/v1/user/apikeys", "/api/v1/spells", "/api/v1/wallets/connect"
EXPENDABLE = 3  # keys that may be rotated and revoked
SECRET = "the-secret-of-a-fuzzer"
ENDED = ("completed", "failed")
QR = ("qr-code", {"text": "{{parameters.text}}"})
RESIZED = ("resize", {"image": "{{steps.1.outputs.0}}"})


@dataclass
class People:
    """What there is, by the names that the surface has for it."""

    key: str = ""  # of the account, that nobody revokes
    keys: list[str] = field(default_factory=list)
    slugs: list[str] = field(default_factory=lambda: ["no-such-spell"])
    casts: list[str] = field(default_factory=list)
    artifacts: list[str] = field(default_factory=list)
    webhooks: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


async def furnish(http: httpx2.AsyncClient, token: str, told_at: str) -> People:
    """Make keys, publish and cast a spell, ask to connect a wallet, and be told of what ends."""
    people, holder = People(), {"Authorization": f"Bearer {token}"}
    for _ in range(1 + EXPENDABLE):
        made = (await http.post(KEYS, json={}, headers=holder)).raise_for_status().json()
        people.key = people.key or made["apiKey"]
        people.keys.append(made["id"])
    del people.keys[0]
    by_key = {"x-api-key": people.key}
    slug = f"fuzz-{people.keys[0][:8]}"
    for steps in ((QR,), (QR, RESIZED)):  # two versions
        published = await http.post(SPELLS, json=_spell(slug, steps), headers=holder)
        published.raise_for_status()
    people.slugs.append(slug)
    cast = {"slug": slug, "context": {"webhookUrl": told_at, "webhookSecret": SECRET}}
    made = (await http.post(f"{SPELLS}/cast", json=cast, headers=by_key)).raise_for_status().json()
    people.webhooks.append(made["notify"]["id"])
    people.casts.append(made["castId"])
    async for look in patiently("the cast does not end"):
        answer = await http.get(f"{SPELLS}/casts/{made['castId']}", headers=by_key)
        look.saw = said = answer.raise_for_status().json()
        if said["status"] in ENDED:
            break
    people.artifacts += await _files(http, said["stepGenerationIds"], by_key)
    unpaid = await http.post(f"{SPELLS}/cast", json={"slug": slug})
    people.casts.append(unpaid.json()["instance"].rsplit("/", 1)[-1])
    asked = (await http.post(f"{CONNECT}/initiate", json={})).raise_for_status().json()
    people.requests.append(asked["requestId"])
    return people


def _spell(slug: str, steps: tuple[tuple[str, dict[str, str]], ...]) -> dict[str, Any]:
    return {
        "slug": slug,
        "name": "A code",
        "author_share_pct": 10,
        "parameters": {"text": {"type": "string", "default": "boltwork", "maxLength": 100}},
        "steps": [
            {"id": number, "tool": tool, "inputs": inputs}
            for number, (tool, inputs) in enumerate(steps, start=1)
        ],
    }


async def _files(
    http: httpx2.AsyncClient, generations: list[str], by_key: dict[str, str]
) -> list[str]:
    asked = {"generationIds": generations}
    answer = await http.post("/api/v1/generations/status", json=asked, headers=by_key)
    text = answer.raise_for_status().text
    return [part[:32] for part in text.split("artifact:")[1:]]
