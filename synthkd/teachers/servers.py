"""Which of a teacher's servers is asked: the least loaded, kindred questions together, none dead.

    server = servers.choose(request)
    server.in_flight += 1
    ...
    servers.failed(server)      or      servers.answered(server)

The samples of one prompt go to one server, which has the prompt's prefix in its cache then, unless
that one is much busier than another. A server that cannot be reached is left out for a while, and
then asked one question at a time until it answers.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from yarl import URL

from synthkd.rows import canonical
from synthkd.teachers.request import Api, Request

REST_S = 10.0
"""How long a dead server is left out, at first: a restart takes longer, a hiccup does not."""
LONGEST_REST_S = 300.0
OVERLOAD = 16
"""So many more in the air than at the least loaded server outweigh a warm prefix cache."""
REMEMBERED = 4096
"""Prompts whose server is known: more than are in the air at once, in under 1 MB."""


@dataclass(slots=True, eq=False)
class Server:
    """One base URL, how busy we keep it and whether it lives."""

    urls: Mapping[Api, URL]
    in_flight: int = 0
    rest_s: float = 0.0
    """How long it was left out last; 0 = it lives."""
    rests_until: float = 0.0

    def label(self, api: Api) -> str:
        """For messages: without the query, which may hold a key."""
        return str(self.urls[api].with_query(None))


class Servers:
    """The servers of one teacher.

    Args:
        urls: where each of them takes the requests of each API.
        clock: seconds; tests give a clock of their own.
    """

    def __init__(
        self, urls: Sequence[Mapping[Api, URL]], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.all = [Server(each) for each in urls]
        self._clock = clock
        self._homes: OrderedDict[int, Server] = OrderedDict()

    def choose(self, request: Request) -> Server:
        """Whom to ask; never nobody: when all are dead, the one whose rest ends first."""
        if len(self.all) == 1:
            return self.all[0]
        now = self._clock()
        alive = [server for server in self.all if _takes(server, now)]
        if not alive:
            return min(self.all, key=lambda server: (server.in_flight > 0, server.rests_until))
        least = min(alive, key=lambda server: server.in_flight)
        shown = request.body.get("messages") or request.body.get("prompt")
        if not shown:
            return least  # texts for vectors: no other sample of them will come
        prompt = hash(canonical(shown))
        home = self._homes.pop(prompt, least)
        if home not in alive or home.in_flight - least.in_flight >= OVERLOAD:
            home = least
        self._homes[prompt] = home
        if len(self._homes) > REMEMBERED:
            self._homes.popitem(last=False)
        return home

    def failed(self, server: Server) -> None:
        """It cannot be reached, or says that it is not there: leave it out for a while."""
        now = self._clock()
        if now < server.rests_until:
            return  # asked before it was left out: the same outage, however many were in the air
        server.rest_s = min(LONGEST_REST_S, 2 * server.rest_s or REST_S)
        server.rests_until = now + server.rest_s

    def leave_out(self, server: Server) -> None:
        """It is known to be down: nobody is to try it until it is said to live."""
        server.rest_s = LONGEST_REST_S
        server.rests_until = math.inf

    def answered(self, server: Server) -> None:
        """It lives."""
        server.rest_s = 0.0
        server.rests_until = 0.0

    def another_than(self, server: Server) -> bool:
        """Whether a question that `server` did not take can go elsewhere at once."""
        now = self._clock()
        return any(_takes(other, now) for other in self.all if other is not server)


def _takes(server: Server, now: float) -> bool:
    if not server.rest_s:
        return True
    return now >= server.rests_until and not server.in_flight
