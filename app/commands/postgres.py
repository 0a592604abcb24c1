"""The Postgres of a command: the operator's, or an embedded one for as long as it is needed.

It is there before most of the program is imported, so nothing heavy is imported here.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from app.settings import Settings
from db.embedded import EmbeddedPostgres, EmbeddedPostgresError, packaged_binaries, running_url
from db.embedded_watch import EmbeddedWatch
from db.fitness import look
from db.migrate import migrate, refuse_unknown, version


@contextlib.contextmanager
def database(settings: Settings, *, shared: bool) -> Iterator[str]:
    """Yield the URL of a migrated Postgres: the operator's, or an embedded one for as long.

    `shared`: beside a running server on the same data (`boltwork worker`), use its Postgres.
    Raises Unfit when the operator's will not do.
    """
    if settings.database_url is not None:
        url = settings.database_url.get_secret_value()
        look(url)
        migrate(url)
        yield url
        return
    url_beside = running_url(settings.data) if shared else None
    if url_beside is not None:
        refuse_unknown(version(url_beside))
        yield url_beside
        return
    cluster = EmbeddedPostgres(settings.data, settings.postgres_bin)
    url = cluster.start()
    watch = EmbeddedWatch(cluster, url)
    watch.start()
    try:
        migrate(url)
        yield url
    finally:
        watch.stop()
    if watch.trouble:
        raise EmbeddedPostgresError(watch.trouble)


@contextlib.contextmanager
def as_it_is(settings: Settings) -> Iterator[tuple[str, Path]]:
    """Yield the URL of a Postgres whose tables are left as they are, and where its tools lie."""
    tools = settings.postgres_bin or packaged_binaries()
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value(), tools
        return
    url_beside = running_url(settings.data)
    if url_beside is not None:
        yield url_beside, tools
        return
    with EmbeddedPostgres(settings.data, settings.postgres_bin) as cluster:
        yield cluster.start(), tools
