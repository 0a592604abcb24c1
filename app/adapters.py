"""Which concrete parts keep the ports, as the settings say; what has no room in app/main.py."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

from pydantic import SecretStr

from app.advance import Terms
from app.agents import agent_tool
from app.agents.agent import Agent
from app.agents.agent_tool import AgentTool
from app.agents.chat import Chat, WorkerChat
from app.agents.local import Adapter, LocalAgent
from app.artifacts.object_store import ObjectStore
from app.artifacts.recoding import Pressing
from app.executors import comfyui, google_media, openai_images, venice
from app.executors.comfyui import ComfyUi
from app.executors.google_media import GoogleMedia
from app.executors.openai_images import OpenAiImages
from app.executors.painter import ScenePainter
from app.executors.provider import Provider
from app.executors.toolbox import Toolbox, make_vision
from app.executors.venice import Venice
from app.keys.secret import operator_secrets
from app.ports import Clock, Destinations, Executor, Recoder, Store, UsdcRail
from app.settings import Environment, Settings
from app.till import Limits
from app.trade.catalogue import NETWORK, TOOLBOX, Catalogue, Kind, Maker, Offering, own_offering
from app.trade.gathering import MOST_BYTES, Fetch
from app.trade.model_inputs import MOST_SIDE
from app.trade.tools import KNOWN, MOST_PICTURE_SIDE, agent_offering, as_run, edit_offering
from payments.lnurl import LnurlPay
from payments.public_http import PublicHttp
from payments.usdc.address import Address, keccak
from payments.usdc.chain import Chain
from payments.usdc.facilitator import HttpFacilitator
from payments.usdc.network import NETWORKS
from payments.usdc.refund import RefundKey
from payments.usdc.stub_facilitator import FILE, URL, StubFacilitator, StubTransport
from pricing.money import MICROUSD_PER_USD, sats_to_msat
from pricing.offers import Offer
from pricing.oracle import Oracle, parse_sources
from pricing.rates import PUBLISHED, RateCard, parse_overrides, with_overrides
from pricing.run_price import Tokens, token_price
from statemachine.entries import Asset

CHAT_S = 60  # longest wait for one answer in a conversation, or one image
FETCH_S = 20  # for a picture that a run is made from
MOST_CHARACTERS = 8_000  # of a text that the agent is asked as a tool
HISTORY_BYTES = 100_000  # how much of a conversation a model is given
SMALL_HISTORY_BYTES = 1_400  # what there is room for in the embedded one

EXAMPLE_BTC_USD = 100_000  # in the development environment, when no source can be reached
# How long a facilitator may take: most wait until the order is in a block, on a busy day.
FACILITATOR_S, NODE_S = 20.0, 10.0


def make_store(settings: Settings) -> Store:
    """Return where artifacts lie: a bucket, or a folder of this machine."""
    if settings.artifacts_url is None:
        return ObjectStore.in_folder(settings.data / "artifacts")
    config, key, key_id = {}, settings.artifacts_key, settings.artifacts_key_id
    if settings.artifacts_endpoint is not None:
        config["endpoint"] = settings.artifacts_endpoint
    if key is not None and key_id is not None:
        config["access_key_id"] = key_id.get_secret_value()
        config["secret_access_key"] = key.get_secret_value()
    # Where it is plain, the settings have seen that it is this machine.
    plain = (settings.artifacts_endpoint or "").startswith("http://")
    return ObjectStore.at(settings.artifacts_url, config, allow_http=plain)


def make_recoder() -> Recoder:
    """Return what decodes strangers' files; its process starts with the first one."""
    return Pressing()


def make_painter(settings: Settings) -> Executor | None:
    """Return the embedded painter, unless production sells nothing of the embedded kind."""
    if settings.env is Environment.PRODUCTION and not settings.allow_embedded_model:
        return None
    return ScenePainter(
        at_once=settings.painters,
        memory_mb=settings.painter_memory_mb,
        deadline_s=settings.agent_timeout_s,
    )


def make_executors(settings: Settings, agent: Agent | None = None) -> list[Executor]:
    """Return all that makes pictures, films and results of tools here, as the settings say."""
    made = (
        make_painter(settings),
        Toolbox(),
        make_vision(),
        AgentTool(agent, make_token_price(settings, agent)) if agent else None,
        _images(settings),
        _comfyui(settings),
        _venice(settings),
        _google(settings),
    )
    return [executor for executor in made if executor is not None]


def make_token_price(settings: Settings, agent: Agent) -> Tokens:
    """Return what the agent's tokens cost as a tool, at the prices of the day it is set up."""
    today, most = datetime.now(UTC).date(), agent.max_output_tokens
    return token_price(make_card(settings), agent.work_model, today, MOST_CHARACTERS, most)


def make_catalogue(
    settings: Settings, executors: Sequence[Executor], agent: Agent | None = None
) -> Catalogue:
    """Return what can be bought where these make it."""
    known = {
        TOOLBOX: (MOST_PICTURE_SIDE, ()),
        settings.images_name: (settings.images_most_side, settings.images_offers),
        comfyui.NAME: (MOST_SIDE, settings.comfyui_offers),
        venice.NAME: (venice.MOST_SIDE, settings.venice_offers),
        google_media.NAME: (MOST_SIDE, settings.gemini_offers),
    }
    films = {google_media.NAME: google_media.FILMS}
    makers = []
    for name in (executor.name for executor in executors):
        most_side, offers = known.get(name, (MOST_SIDE, ()))
        offerings = tuple(_sold(name, offer) for offer in offers)
        if name == agent_tool.NAME and agent is not None:
            offerings = (agent_offering(agent.name, make_token_price(settings, agent)),)
        if name == settings.images_name:
            offerings += tuple(
                edit_offering(offer.name, offer.price_microusd, name)
                for offer in settings.edit_offers
            )
        tiers = name in (venice.NAME, google_media.NAME)
        makers.append(Maker(name, most_side, tiers, films.get(name, {}), offerings))
    makers += [Maker(NETWORK)] if settings.workers else []
    development = settings.env is Environment.DEVELOPMENT
    return Catalogue(makers, development=development, known=KNOWN)


def _sold(maker: str, offer: Offer) -> Offering:
    """Return an operator's offer as a line of the catalogue."""
    kind = Kind.VIDEO if offer.is_film else Kind.IMAGE
    return as_run(own_offering(offer.name, kind, offer.price_microusd, maker))


def _names(offers: Sequence[Offer]) -> dict[str, str]:
    """Return the makers' names of models by ours."""
    return {offer.name: offer.theirs for offer in offers}


def _bearer(key: SecretStr | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}


def _images(settings: Settings) -> Executor | None:
    """Return the server of IMAGES_URL, where there is one."""
    if settings.images_url is None:
        return None
    provider = Provider(
        settings.images_name,
        settings.images_url,
        _bearer(settings.images_key),
        probe_path="/models",
        mend=openai_images.MEND,
        at_once=settings.images_at_once,
    )
    return OpenAiImages(
        provider,
        _names(settings.images_offers),
        at_once=settings.images_at_once,
        deadline_s=settings.provider_timeout_s,
        most_side=settings.images_most_side,
        finer=settings.images_finer,
        edits=_names(settings.edit_offers),
    )


def _comfyui(settings: Settings) -> Executor | None:
    """Return the ComfyUI of COMFYUI_URL, where there is one."""
    if settings.comfyui_url is None:
        return None
    at_once, key = settings.comfyui_at_once, _bearer(settings.comfyui_key)
    return ComfyUi(
        _provider(comfyui, settings.comfyui_url, key, at_once),
        settings.comfyui_read(),
        frozenset(offer.name for offer in settings.comfyui_offers if offer.is_film),
        at_once=at_once,
        **_patience(settings),
    )


def _venice(settings: Settings) -> Executor | None:
    """Return Venice, where there is a key or a server for it."""
    if not settings.asks_venice:
        return None
    url, at_once = settings.venice_base_url or venice.BASE_URL, settings.venice_at_once
    provider = _provider(venice, url, _bearer(settings.venice_api_key), at_once)
    names = _names(settings.venice_offers)
    return Venice(provider, names, at_once=at_once, **_patience(settings))


def _google(settings: Settings) -> Executor | None:
    """Return Gemini's pictures and films, where any of them is sold."""
    if not settings.gemini_offers:
        return None
    key, at_once = settings.gemini_api_key, settings.gemini_media_at_once
    provider = _provider(
        google_media,
        settings.gemini_base_url or google_media.BASE_URL,
        {"x-goog-api-key": key.get_secret_value()} if key else {},
        at_once,
    )
    names = _names(settings.gemini_offers)
    return GoogleMedia(provider, names, at_once=at_once, **_patience(settings))


def _provider(maker: ModuleType, url: str, headers: Mapping[str, str], at_once: int) -> Provider:
    """Return the way to a maker, as its own file says how it is probed and mended."""
    probe, mend = maker.PROBE_PATH, maker.MEND
    return Provider(maker.NAME, url, headers, probe_path=probe, mend=mend, at_once=at_once)


def _patience(settings: Settings) -> dict[str, float]:
    """Return how long a picture, and a film, of a maker is waited for."""
    return {
        "deadline_s": settings.provider_timeout_s,
        "film_deadline_s": settings.provider_film_timeout_s,
    }


def make_card(settings: Settings) -> RateCard:
    """Return the prices that the settings name."""
    models = with_overrides(PUBLISHED, parse_overrides(settings.model_prices))
    return RateCard(models, settings.infra_microusd, settings.margin_pct)


def make_agent(settings: Settings) -> Agent:
    """Return Claude where there is a key or a server for it, else the embedded agent."""
    if settings.asks_claude:
        from app.agents.anthropic import AnthropicAgent

        key = settings.anthropic_api_key
        return AnthropicAgent(
            key.get_secret_value() if key else "none",
            settings.anthropic_base_url or "https://api.anthropic.com",
            settings.eval_model,
            settings.work_model,
            max_output_tokens=settings.work_max_output_tokens,
            judge_deadline_s=settings.agent_timeout_s,
            work_deadline_s=settings.agent_timeout_s,
        )
    return LocalAgent(
        connect=_through_anthropic,
        max_output_tokens=min(settings.work_max_output_tokens, 512),
        work_deadline_s=settings.agent_timeout_s,
    )


def _through_anthropic(*arguments: Any, **limits: Any) -> Adapter:
    """Return an adapter over the SDK, which is imported with the first one."""
    from app.agents.anthropic import AnthropicAgent

    return AnthropicAgent(*arguments, **limits)


def make_chat(settings: Settings, agent: Agent) -> Chat:
    """Return Gemini where there is a key or a server for it, else the agent that works."""
    if not settings.asks_gemini:
        small = isinstance(agent, LocalAgent)
        history_bytes = SMALL_HISTORY_BYTES if small else HISTORY_BYTES
        return WorkerChat(agent, history_bytes, make_painter(settings), CHAT_S)
    from app.agents.gemini import GeminiChat

    key = settings.gemini_api_key
    # A connection that its client sends nothing on is closed after CHAT_S, whatever is written.
    deadline_s = min(settings.agent_timeout_s, CHAT_S)
    return GeminiChat(
        key.get_secret_value() if key else "none",
        settings.gemini_base_url or "https://generativelanguage.googleapis.com",
        settings.gemini_model,
        settings.gemini_image_model,
        priced=frozenset(
            rate.model for rate in make_card(settings).models if "gemini" in rate.model
        ),
        max_output_tokens=settings.gemini_max_output_tokens,
        answer_deadline_s=deadline_s,
        image_deadline_s=deadline_s,
    )


def make_usdc(settings: Settings, clock: Clock) -> UsdcRail | None:
    """Return the second rail that the settings name; None where nothing is paid in USDC.

    Beside the stub rail it is a stub too; what LNbits is paid for is not sold for play money.
    """
    network = NETWORKS[settings.usdc_network]
    key = settings.refund_key
    if settings.facilitator_url is None or settings.chain_rpc_url is None:
        if settings.lnbits_url is not None:
            return None
        settings.data.mkdir(parents=True, exist_ok=True)
        stub = StubFacilitator(settings.data / FILE, clock)
        # Refunds come from where payments go: a key that nobody else has, and no setting.
        drawn = keccak(b"boltwork refund key " + operator_secrets(settings)[0].encode())
        refunds = RefundKey(_private(key.get_secret_value()) if key else drawn, network)
        http = HttpFacilitator(
            URL, network, timeout_s=FACILITATOR_S, transport=StubTransport(stub, owned=True)
        )
        return UsdcRail(network, refunds.address, http, stub.ledger(network), refunds)
    header = settings.facilitator_authorization
    return UsdcRail(
        network,
        Address(settings.usdc_pay_to or ""),
        HttpFacilitator(
            settings.facilitator_url,
            network,
            timeout_s=FACILITATOR_S,
            authorization=header.get_secret_value() if header else None,
        ),
        Chain(settings.chain_rpc_url, network, depth=settings.chain_depth, timeout_s=NODE_S),
        RefundKey(_private(key.get_secret_value()), network) if key else None,
    )


def _private(key: str) -> bytes:
    return bytes.fromhex(key.removeprefix("0x"))


def make_oracle(settings: Settings, clock: Clock) -> Oracle:
    """Return the oracle that the settings name."""
    fallback = settings.btc_price_usd_fallback
    development = settings.env is Environment.DEVELOPMENT
    return Oracle(
        parse_sources(settings.btc_price_sources),
        clock=clock,
        fallback_microusd=fallback * MICROUSD_PER_USD if fallback else None,
        development_microusd=EXAMPLE_BTC_USD * MICROUSD_PER_USD if development else None,
        max_age_s=settings.btc_price_max_age_s,
    )


def make_destinations(settings: Settings, network: str, clock: Clock) -> Destinations:
    """Return what asks refund destinations for invoices on the rail's network."""
    http = PublicHttp(allow_loopback=settings.allow_private_destinations)
    return LnurlPay(http, network=network, clock=clock)


def make_fetch(settings: Settings) -> Fetch:
    """Return what fetches the pictures that runs are made from."""
    return PublicHttp(
        allow_loopback=settings.allow_private_destinations,
        timeout_s=FETCH_S,
        most_bytes=MOST_BYTES,
        accept="image/*",
    )


def make_limits(settings: Settings) -> Limits:
    """Return what the operator has set for prices."""
    return Limits(
        least_fee_msat=sats_to_msat(settings.eval_fee_min_sats),
        quote_s=settings.invoice_expiry_s,
        demo_tokens=settings.demo_max_output_tokens,
    )


def make_terms(settings: Settings, catalogue: Catalogue) -> Terms:
    """Return how long things hold, and what the house gives away."""
    return Terms(
        eval_invoice_s=settings.invoice_expiry_s,
        sweep_s=settings.sweep_s,
        session_idle_s=settings.session_idle_s,
        session_minimum_msat=sats_to_msat(settings.session_min_balance_sats),
        free_msat_a_day=sats_to_msat(settings.free_sats_per_day),
        margin_pct=settings.margin_pct,
        pay_over_msat=sats_to_msat(settings.worker_payout_sats),
        canary_every=settings.worker_canary_every,
        canary_lanes=catalogue.known,
        pay_over_microusdc=settings.worker_payout_usdc * MICROUSD_PER_USD,
        routing_free_msat=sats_to_msat(settings.routing_free_sats),
        routing_free_msat_a_day=sats_to_msat(settings.routing_free_sats_per_day),
    )


def make_unproven(settings: Settings) -> dict[Asset, int]:
    """Return what an account may take out in a day without a second proof."""
    return {
        Asset.MSAT: sats_to_msat(settings.proof_sats_per_day),
        Asset.MICROUSDC: settings.proof_usdc_per_day * MICROUSD_PER_USD,
    }
