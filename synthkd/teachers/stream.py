"""A streamed answer, put together again: server-sent events in, an ordinary reply out.

    answer = Assembling("chat")
    async for block in response.content.iter_any():
        if answer.feed(block): ...          # something of the answer came: the model is at work
    reply = answer.reply()                  # what the ledger keeps: the shape of an unstreamed one

One line `data: {...}` is one event, as every server in use sends them. Sends nothing and waits for
nothing: time is the matter of `synthkd.teachers.http`.
"""

from __future__ import annotations

from typing import Any, Literal

import orjson

from synthkd.errors import AttemptFailed
from synthkd.rows import Json
from synthkd.teachers.wire import read_json

REPETITION = "repetition"
"""How an answer ended that went round in circles."""
LOOP_CHARS = 4096
"""So many characters at the end that repeat one chunk are a loop: some 1,000 tokens."""
LONGEST_CHUNK = 512
"""Characters of the chunk: it came at least eight times."""
LOOK_EVERY_CHARS = 1024
_PROBE = 32


class Assembling:
    """One answer on its way.

    Args:
        api: of the request.
    """

    def __init__(self, api: Literal["chat", "completions"]) -> None:
        self.api = api
        self.ended = False
        """Whether [DONE] or a reason to finish came: without either, the answer is cut."""
        self.done = False
        """Whether [DONE] came: nothing follows."""
        self.began = False
        """Whether a piece of the answer came: text, reasoning, a tool call."""
        self.error: bytes | None = None
        """The event in which the server reports an error in mid-stream."""
        self.loop: str | None = None
        """The chunk that the answer repeats without end."""
        self._rest = b""
        self._head: dict[str, Json] = {}
        self._texts: dict[str, list[str]] = {}
        """Field of the message -> its pieces."""
        self._calls: dict[int, dict[str, Any]] = {}
        self._logprobs: dict[str, list[Json]] = {}
        self._has_choice = False
        self._finish: str | None = None
        self._usage: Json = None
        self._tail = ""
        self._unseen_chars = 0

    def feed(self, block: bytes) -> bool:
        """Take what came over the wire; whether a piece of the answer was in it."""
        *lines, self._rest = (self._rest + block).split(b"\n")
        came = False
        for line in lines:
            if line.startswith(b"data:"):
                came |= self._take(line[5:].strip())
        self.began |= came
        return came

    def reply(self) -> bytes:
        """The reply as it would have come unstreamed."""
        choice: dict[str, Json] = {
            "index": 0,
            "finish_reason": REPETITION if self.loop is not None else self._finish,
        }
        if self._logprobs:
            choice["logprobs"] = self._logprobs
        texts = {name: "".join(pieces) for name, pieces in self._texts.items()}
        if self.api == "chat":
            calls = [self._calls[place] for place in sorted(self._calls)]
            message: dict[str, Json] = {"role": "assistant", "content": None, **texts}
            choice["message"] = message | ({"tool_calls": calls} if calls else {})
        else:
            choice["text"] = texts.get("text", "")
        kind = "chat.completion" if self.api == "chat" else "text_completion"
        choices = [choice] if self._has_choice else []  # without one it is no answer
        return orjson.dumps(
            {**self._head, "object": kind, "choices": choices, "usage": self._usage}
        )

    def _take(self, data: bytes) -> bool:
        if data == b"[DONE]":
            self.ended = self.done = True
            return False
        try:
            event = read_json(data)
        except AttemptFailed:
            self.error = data
            return False
        if not isinstance(event, dict):
            return False
        if event.get("error"):
            self.error = data
            return False
        if not self._head:
            told = {name: event.get(name) for name in ("id", "created", "model")}
            self._head = {name: value for name, value in told.items() if value is not None}
        if event.get("system_fingerprint"):
            self._head["system_fingerprint"] = event["system_fingerprint"]
        if event.get("usage"):
            self._usage = event["usage"]
        choices = event.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            return False
        return self._choice(choices[0])

    def _choice(self, choice: dict[str, Any]) -> bool:
        self._has_choice = True
        if isinstance(finish := choice.get("finish_reason"), str) and finish:
            self._finish, self.ended = finish, True
        if isinstance(logprobs := choice.get("logprobs"), dict):
            for name, values in logprobs.items():
                if isinstance(values, list):
                    self._logprobs.setdefault(name, []).extend(values)
        if self.api == "completions":
            return self._text("text", choice.get("text"))
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            return False
        came = False
        for name in ("content", "reasoning_content", "reasoning", "refusal"):
            if name in delta:
                came |= self._text(name, delta[name])
        for place, call in enumerate(delta.get("tool_calls") or ()):
            came |= self._call(place, call)
        return came

    def _text(self, name: str, piece: object) -> bool:
        if not isinstance(piece, str) or not piece:
            return False
        self._texts.setdefault(name, []).append(piece)
        self._tail += piece
        self._unseen_chars += len(piece)
        if self._unseen_chars >= LOOK_EVERY_CHARS:
            self._unseen_chars = 0
            self._tail = self._tail[-LOOP_CHARS:]
            if self.loop is None:
                self.loop = loop_in(self._tail)
        return True

    def _call(self, place: int, piece: dict[str, Any]) -> bool:
        """A piece of a tool call: its name comes once, its arguments bit by bit."""
        call = self._calls.setdefault(
            piece.get("index", place),
            {"id": "", "type": "function", "function": {"name": "", "arguments": ""}},
        )
        function = piece.get("function") or {}
        call["id"] = call["id"] or piece.get("id") or ""
        call["function"]["name"] += function.get("name") or ""
        call["function"]["arguments"] += function.get("arguments") or ""
        return True


def loop_in(tail: str, *, chars: int = LOOP_CHARS, longest: int = LONGEST_CHUNK) -> str | None:
    """The chunk that the whole tail repeats; None = it does not, or is too short to tell.

    Args:
        tail: the end of a text.
        chars: a tail of fewer characters is too short.
        longest: characters of the longest chunk that counts.
    """
    if len(tail) < chars:
        return None
    end = len(tail) - _PROBE
    period = end - tail.rfind(tail[end:], 0, len(tail) - 1)
    if period > longest or tail[period:] != tail[:-period]:
        return None
    return tail[-period:]
