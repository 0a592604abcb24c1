"""The data folder: there, and ours to write to, before anything is kept in it."""

import tempfile

from app.settings import Settings


class NoFolder(Exception):
    """Nothing can be kept in the data folder. The message is a sentence that names the mend."""


def is_needed(settings: Settings) -> bool:
    """Say whether anything of ours lies on this machine."""
    theirs = (
        settings.database_url, settings.lnbits_url, settings.secret, settings.artifacts_url,
    )  # fmt: skip
    return any(each is None for each in theirs)


def check(settings: Settings) -> None:
    """Make the folder if it is missing, and see that it can be written to. Raises NoFolder."""
    if not is_needed(settings):
        return
    folder = settings.data
    try:
        # 0711 lets the user that runs the embedded Postgres for root through, to its cluster.
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise NoFolder(
            f"Nothing can be kept in {folder} ({error.strerror}): run as the user who first ran"
            " Boltwork there, or choose another folder with BOLTWORK_DATA."
        ) from error
