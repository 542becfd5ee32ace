"""A fake OpenAI-compatible provider on loopback, for tests of pipelines and clients; no model.

Answers and faults are functions of the body, of how often it was asked before, and of the seed.

    faults.py     which fault an attempt meets
    chat.py       the answer to a chat request
    provider.py   the server and its books
    hosting.py    the same server for a test that is not asynchronous

In an asynchronous test:

    async with FakeTeacher(rates={"429": 0.1}).serve() as teacher:
        ...  # teacher.url, teacher.billed_tokens, teacher.bodies

In any other test, in a thread or in a process of its own:

    with in_thread(FakeTeacher()) as teacher: ...
    with in_process("--latency", "0.01") as teacher: ...

By itself: `synthkd fake-teacher`.
"""

from synthkd.fake_teacher.hosting import TeacherProcess, in_process, in_thread
from synthkd.fake_teacher.provider import FakeTeacher

__all__ = ["FakeTeacher", "TeacherProcess", "in_process", "in_thread"]
