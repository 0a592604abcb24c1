"""A Postgres that a longer run has for itself."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from db.embedded import EmbeddedPostgres
from db.migrate import migrate


@contextmanager
def own_postgres(run: str) -> Iterator[tuple[str, Path]]:
    """Yield the URL of a Postgres in which Boltwork's tables are, and a folder; both end with the
    run, which goes by this name.
    """
    with tempfile.TemporaryDirectory(prefix=f"boltwork-{run}-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # as root, the server is another user and must get in
        with EmbeddedPostgres(folder / "data", fast_for_tests=True) as cluster:
            url = cluster.start()
            migrate(url)
            yield url, folder
