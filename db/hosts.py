"""The hosts of one Postgres, of which one takes writes: a cluster of Patroni's, say.

libpq asks them in the order of the URL, and waits for one that is gone before it asks the next. So
would each new connection, for as long as that host is away. Here that one is asked first which let
somebody in last; after a failover the others are found by asking them.
"""

from typing import Any

from psycopg.conninfo import conninfo_to_dict, make_conninfo

Place = tuple[str, int]  # a host, and its port

# Where there are several, one that says nothing is given up soon: another may be the one.
SOON_S = 3
LASTING_OF_SEVERAL: dict[str, Any] = {"connect_timeout": SOON_S, "tcp_user_timeout": 3_000}


def places(said: dict[str, Any]) -> list[Place]:
    """Return the servers that the parts of a URL name. An order of ports that fits no order of
    hosts is libpq's to refuse."""
    hosts = str(said.get("host") or "").split(",")
    ports = str(said.get("port") or "").split(",")
    if len(ports) == 1:
        ports *= len(hosts)
    return [(host, int(port or 5432)) for host, port in zip(hosts, ports, strict=False)]


def are_several(url: str) -> bool:
    """Say whether a libpq URL names more than one host."""
    return len(places(conninfo_to_dict(url))) > 1


class Hosts:
    """The hosts that a URL names, in the order in which they are asked."""

    def __init__(self, url: str) -> None:
        said = conninfo_to_dict(url)
        self.url, self._places = url, places(said)
        if "hostaddr" in said:  # names and addresses go together: their order is left alone
            self._places = []

    def conninfo(self) -> str:
        """Return what to connect to: the URL, with the host first that was found last."""
        if len(self._places) < 2:
            return self.url
        hosts = ",".join(host for host, _ in self._places)
        ports = ",".join(str(port) for _, port in self._places)
        return make_conninfo(self.url, host=hosts, port=ports)

    def found(self, place: Place) -> None:
        """Note that one has let somebody in."""
        self._move(place, 0)

    def left(self, place: Place) -> None:
        """Note that one fell silent, or may not be written to: the others are asked before it.

        A leader that was cut off from its standby may let everybody in, and finish no commit.
        """
        self._move(place, len(self._places) - 1)

    def _move(self, place: Place, to: int) -> None:
        if place in self._places:
            self._places.remove(place)
            self._places.insert(to, place)
