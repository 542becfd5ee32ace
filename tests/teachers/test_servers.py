"""Which server is asked: laws on a clock of our own, and dead servers over real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter

import pytest
from yarl import URL

from synthkd.config import TeacherConfig
from synthkd.errors import AttemptFailed
from synthkd.fake_teacher import FakeTeacher
from synthkd.rows import Json
from synthkd.teachers.http import open_http
from synthkd.teachers.request import Request
from synthkd.teachers.servers import LONGEST_REST_S, OVERLOAD, REMEMBERED, REST_S, Server, Servers
from tests.teachers.serving import ask


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def three(clock: Clock) -> Servers:
    return Servers([{"chat": URL(f"http://{host}/v1")} for host in "abc"], clock=clock)


def take(servers: Servers, text: str, sample: int = 0) -> Server:
    server = servers.choose(ask(text, sample=sample))
    server.in_flight += 1
    return server


def test_the_least_loaded_is_asked() -> None:
    servers = three(Clock())
    asked = Counter(take(servers, f"question {n}").label("chat") for n in range(30))
    assert sorted(asked.values()) == [10, 10, 10]


def test_the_samples_of_a_prompt_go_to_one_server_unless_it_is_overloaded() -> None:
    servers = three(Clock())
    home = take(servers, "home")
    for n in range(7):
        take(servers, f"other {n}")
    assert {take(servers, "home", sample).label("chat") for sample in range(8)} == {
        home.label("chat")
    }
    home.in_flight += OVERLOAD
    assert take(servers, "home", 9) is not home


@pytest.mark.parametrize("body", [{"input": ["a", "b"]}, {"input": "raw"}])
def test_texts_for_vectors_and_raw_scores_go_to_the_least_loaded(body: dict[str, Json]) -> None:
    servers = three(Clock())
    asked: Counter[Server] = Counter()
    for _ in range(30):
        server = servers.choose(Request(body=body, max_tokens=None, sample=0, inputs={}))
        server.in_flight += 1
        asked[server] += 1
    assert [asked[server] for server in servers.all] == [10, 10, 10]


def test_what_is_remembered_is_bounded() -> None:
    servers = three(Clock())
    for n in range(REMEMBERED + 50):
        servers.choose(ask(f"question {n}"))
    assert len(servers._homes) == REMEMBERED


def test_a_dead_server_is_left_out_and_tried_again_alone() -> None:
    clock = Clock()
    servers = three(clock)
    dead = servers.all[0]
    servers.failed(dead)
    assert dead not in [take(servers, f"question {n}") for n in range(9)]
    clock.now += REST_S
    asked = [take(servers, f"again {n}") for n in range(9)]
    assert asked.count(dead) == 1, "one question, until it answers"
    dead.in_flight = 0
    servers.failed(dead)
    clock.now += REST_S
    assert take(servers, "soon") is not dead, "it rests longer each time"
    clock.now += REST_S
    assert take(servers, "at last") is dead
    servers.answered(dead)
    assert [take(servers, f"more {n}") for n in range(9)].count(dead) > 1


def test_all_that_was_in_the_air_when_a_server_died_is_one_failure() -> None:
    clock = Clock()
    servers = three(clock)
    dead = servers.all[0]
    for _ in range(100):
        servers.failed(dead)
        clock.now += REST_S / 200
    assert dead.rests_until == 1000.0 + REST_S
    clock.now = dead.rests_until
    assert dead in [take(servers, f"question {n}") for n in range(9)]


def test_a_server_that_is_dead_for_long_rests_for_minutes_and_no_longer() -> None:
    clock = Clock()
    servers = three(clock)
    dead = servers.all[0]
    for _ in range(2_000):
        servers.failed(dead)
        clock.now = dead.rests_until
    servers.failed(dead)
    assert dead.rests_until == clock.now + LONGEST_REST_S


def test_when_all_are_dead_somebody_is_asked() -> None:
    clock = Clock()
    servers = three(clock)
    for server in servers.all:
        servers.failed(server)
        clock.now += 1
    assert servers.choose(ask()) is servers.all[0], "its rest ends first"
    assert not servers.another_than(servers.all[0])


@pytest.fixture
def closed_url() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/v1"


async def test_a_question_that_a_dead_server_did_not_take_goes_to_another(closed_url: str) -> None:
    async with FakeTeacher().serve() as alive:
        config = TeacherConfig(endpoint=[closed_url, alive.url], model="m")
        async with open_http("main", config) as teacher:
            with pytest.raises(AttemptFailed) as caught:
                await teacher.complete(ask("0"))
            assert caught.value.wait_s == 0, "at once"
            async with asyncio.TaskGroup() as group:
                for number in range(20):
                    group.create_task(teacher.complete(ask(str(number))))
    assert alive.requests == 20


async def test_a_server_behind_a_proxy_that_misses_it_is_dead_too() -> None:
    async with FakeTeacher(script=["503"]).serve() as one, FakeTeacher().serve() as other:
        config = TeacherConfig(endpoint=[one.url, other.url], model="m")
        async with open_http("main", config) as teacher:
            with pytest.raises(AttemptFailed) as caught:
                await teacher.complete(ask("0"))
            assert (caught.value.status, caught.value.wait_s) == (503, 0)
            for number in range(5):
                await teacher.complete(ask(str(number)))
    assert (one.requests, other.requests) == (1, 5)


async def test_one_server_is_asked_whatever_it_says(closed_url: str) -> None:
    async with open_http("main", TeacherConfig(endpoint=closed_url, model="m")) as teacher:
        for _ in range(2):
            with pytest.raises(AttemptFailed, match="no connection") as caught:
                await teacher.complete(ask())
            assert caught.value.wait_s is None
