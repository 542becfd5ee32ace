"""A fake OpenAI-compatible provider on loopback, for tests of pipelines and clients; no model.

Answers and faults are functions of the body, of how often it was asked before, and of the seed.

    provider.py     the server: who is let in, what answers
    books.py        what came in, what was billed
    faults.py       which fault an attempt meets
    admission.py    limits a minute and at once
    answers.py      which function answers at which path
    chat.py         answers, as do completions.py, embeddings.py and rewards.py
    wording.py      their words, token by token; schemas.py: values for a JSON schema
    streams.py      answers as events
    wire.py         what goes over the connection, and how it breaks
    batches.py      the Batch API; batch_api.py is its HTTP
    fine_tuning.py  fine-tuning jobs; fine_tuning_api.py is their HTTP
    calls.py        how calls to all of these go wrong
    hosting.py      the same server for a test that is not asynchronous

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
