"""The settings of where artifacts lie, and for how long."""

from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings

from app.settings.forms import HttpAddress, Key

BUCKETS = ("s3", "gs", "az")


def _bucket(given: str) -> str:
    parts = urlsplit(given)
    plain = not (parts.query or parts.fragment or parts.username or parts.password)
    if parts.scheme not in BUCKETS or not parts.netloc or not plain:
        raise ValueError(
            "must be a bucket like s3://bucket/folder (or gs://, az://), without a key: that goes"
            " into ARTIFACTS_KEY"
        )
    return given


def _safe(given: str) -> str:
    """Plain HTTP would show what is stored, and who may, to everybody on the way."""
    parts = urlsplit(given)
    if parts.scheme == "http" and not is_here(parts.hostname or ""):
        raise ValueError("must begin with https://, unless it is on this machine")
    return given


def is_here(host: str) -> bool:
    """Say whether a host is this machine."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class ArtifactSettings(BaseSettings):
    """Artifacts. Each field is the environment variable of its alias."""

    artifacts_url: Annotated[str, AfterValidator(_bucket)] | None = Field(
        None,
        validation_alias="ARTIFACTS_URL",
        description="a bucket for files that were made (`s3://bucket/folder`, `gs://…`, `az://…`),"
        " for this market alone; without it a folder below BOLTWORK_DATA",
    )
    artifacts_endpoint: Annotated[HttpAddress, AfterValidator(_safe)] | None = Field(
        None,
        validation_alias="ARTIFACTS_ENDPOINT",
        description="a server of your own that speaks S3",
    )
    artifacts_key_id: Key | None = Field(
        None,
        validation_alias="ARTIFACTS_KEY_ID",
        description="name of a key for S3; without one the cloud's own variables or roles are used",
    )
    artifacts_key: Key | None = Field(
        None, validation_alias="ARTIFACTS_KEY", description="the key of that name"
    )
    artifacts_kept_s: Annotated[int, Field(ge=3_600, le=31_536_000)] = Field(
        86_400,
        validation_alias="ARTIFACTS_KEPT_S",
        description="how long a file that was made can be read; then it is deleted",
    )
    asked_kept_s: Annotated[int, Field(ge=86_400, le=315_360_000)] = Field(
        2_592_000,
        validation_alias="ASKED_KEPT_S",
        description="how long prompts, parameters and texts that were made are kept once a batch"
        " has ended, and no shorter than its files; what a receipt and the books need stays",
    )
