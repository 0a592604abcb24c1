"""Which concrete parts keep the ports, as the settings say; what has no room in app/main.py."""

from app.artifacts.object_store import ObjectStore
from app.artifacts.recoding import Pressing
from app.executors.painter import ScenePainter
from app.ports import Executor, Recoder, Store
from app.settings import Environment, Settings


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
