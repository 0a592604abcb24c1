"""The operator's secret: from the settings, or in development from a file that is made once."""

import contextlib
import os
import secrets
import tempfile
from pathlib import Path

from app.settings import Settings
from payments.seal import BadSecret

FILE = "secret"


def operator_secrets(settings: Settings) -> tuple[str, ...]:
    """Return the secrets that open what is kept; the first one closes. Raises BadSecret."""
    if settings.secret is not None:
        return settings.secrets
    try:
        return (_of_folder(settings.data),)
    except OSError as error:
        raise BadSecret(
            f"{settings.data / FILE} can't be kept ({error.strerror}): set BOLTWORK_SECRET."
        ) from error


def _of_folder(folder: Path) -> str:
    path = folder / FILE
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _make(path)
    secret = path.read_text().strip()
    if not secret:
        raise BadSecret(f"{path} is empty: put its secret back, or set BOLTWORK_SECRET.")
    return secret


def _make(path: Path) -> None:
    """Make the file with all that is in it at once: of two processes one wins, both read that."""
    number, draft = tempfile.mkstemp(dir=path.parent, prefix=".secret-")  # for us alone: 0600
    try:
        with open(number, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.unlink(draft)
