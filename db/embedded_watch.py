"""An embedded Postgres that died is started again: a few times, with pauses that grow. When it
does not stay, the process is told to end, so that whoever watches us starts both anew.
"""

import logging
import os
import signal
import threading
import time

from db.embedded import EmbeddedPostgres, EmbeddedPostgresError

PAUSES_S = (0.5, 2.0, 5.0, 15.0, 30.0)
STEADY_S = 60.0  # whoever has lived so long begins again with the shortest pause

log = logging.getLogger("boltwork.postgres")


class EmbeddedWatch:
    """Watches a server that runs, from start() to stop()."""

    def __init__(
        self, cluster: EmbeddedPostgres, url: str, pauses_s: tuple[float, ...] = PAUSES_S
    ) -> None:
        self.trouble = ""  # why it could not be kept alive
        self._cluster, self._url, self._pauses_s = cluster, url, pauses_s
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="embedded-watch", daemon=True)

    def start(self) -> None:
        """Watch it from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Stop it, and watch no more."""
        self._ending.set()
        self._cluster.stop()
        self._thread.join()
        self._cluster.stop()  # one that was being started just then

    def _watch(self) -> None:
        tries = 0
        while not self._ending.is_set():
            began_s = time.monotonic()
            self._cluster.wait()
            if time.monotonic() - began_s > STEADY_S:
                tries = 0
            if self._ending.is_set():
                return
            if tries == len(self._pauses_s):
                return self._give_up()
            log.warning("The embedded Postgres ended by itself: it is started again.")
            if self._ending.wait(self._pauses_s[tries]):
                return
            tries += 1
            try:
                url = self._cluster.start()
            except (EmbeddedPostgresError, OSError) as error:
                self.trouble = str(error)
                continue  # it is not there, so the next wait is over at once
            self.trouble = ""
            if url != self._url:
                self.trouble = "The embedded Postgres came back, but its port was taken meanwhile."
                return self._give_up()

    def _give_up(self) -> None:
        self.trouble = self.trouble or "The embedded Postgres does not stay: see postgres.log."
        os.kill(os.getpid(), signal.SIGTERM)
