"""What a reply means that is no answer: told by status and error code, never by its text.

    400, 413, 422                            RequestRefused: this request, for good
    401, 402, 403, 404, a redirect,          TeacherRefused: every request, the run stops
      insufficient_quota, model_not_found
    anything else                            AttemptFailed: worth another attempt

The API key is cut out of what goes into an error: some providers echo it.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

import orjson

from synthkd.errors import FILTERED, AttemptFailed, RequestRefused, SynthkdError, TeacherRefused
from synthkd.teachers.headers import retry_after_s
from synthkd.teachers.request import Api
from synthkd.teachers.wire import PATH

LONGEST_MESSAGE = 500
"""Characters of a provider's error message that are kept: some echo the whole prompt."""

REFUSED_REQUEST = {400, 413, 422}
REFUSED_TEACHER = {401, 402, 403, 404, 405, 410}
AWAY = {502, 503, 504}
"""What a proxy says for a server that is not there."""

WAY_OUT = {
    401: "Check the API key",
    402: "Add credit at the provider, then run again",
    403: "Check what the API key may use",
    404: "Check `endpoint` (a base URL usually ends in /v1) and `model`",
}
CODE_WAY_OUT = {
    "insufficient_quota": "Add credit at the provider, then run again",
    "model_not_found": "Check `model`",
}
NO_SUCH_PATH = {404, 405}
NOTHING_THERE: Mapping[Api, str] = {
    "completions": (
        "; the prompt is a raw one, which only a server can take that continues text, such as vLLM:"
        " this one may take chat messages alone"
    ),
    "embeddings": "; a server whose model writes text makes no vectors, it needs a model for them",
    "classify": (
        "; a reward model is asked at /classify, beside the /v1 of `endpoint`, and a server whose"
        " model writes text has no such path: vLLM has it for a model served with `--runner"
        " pooling`"
    ),
}
"""Of a path that a server does not have, beside the usual way out."""


class _Secret:
    """An API key that no repr, log or traceback shows."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def cut_from(self, text: str) -> str:
        """The text without the key."""
        return text.replace(self._value, "[API key]")


class Unreachable(AttemptFailed):
    """The server is not there; another one of the same teacher may be."""


class Refusals:
    """Reads the refusals of one teacher.

    Args:
        key_env: the environment variable of the API key; None = none is sent.
        key: the API key, to be cut out of messages.
    """

    def __init__(self, key_env: str | None, key: str | None) -> None:
        self._key_env = key_env
        self._secret = None if key is None else _Secret(key)

    def quoted(self, text: str) -> str:
        """What a provider said, fit for an error: without the key, in one line, not too long."""
        if self._secret is not None:
            text = self._secret.cut_from(text)
        text = " ".join(text.split()) or "(nothing)"
        return text if len(text) <= LONGEST_MESSAGE else text[:LONGEST_MESSAGE] + "..."

    def of(self, label: str, status: int, headers: Mapping[str, str], reply: bytes) -> SynthkdError:
        """The error that a status other than 2xx means."""
        codes, said = error_of(reply)
        message = self.quoted(said)
        where = f"{label} answers HTTP {status}"
        if 300 <= status < 400:
            target = self.quoted(_host_of(headers.get("Location", "")) or "another path")
            return TeacherRefused(
                f"{where}, a redirect to {target}, which is not followed because of the API key: "
                f"write the final address into `endpoint`"
            )
        for code in CODE_WAY_OUT.keys() & codes:
            return TeacherRefused(f"{where} ({code}): {message}. {CODE_WAY_OUT[code]}")
        if status in REFUSED_TEACHER:
            way_out = WAY_OUT.get(status, WAY_OUT[404]) + self._key_hint(status)
            if status in NO_SUCH_PATH:
                way_out += "".join(
                    said
                    for api, said in NOTHING_THERE.items()
                    if label.endswith(PATH[api]) and not label.endswith(PATH["chat"])
                )
            return TeacherRefused(f"{where}: {message}. {way_out}")
        if status in REFUSED_REQUEST:
            filtered = FILTERED if "content_filter" in codes else ""
            return RequestRefused(status, filtered + message)
        wait_s = retry_after_s(headers)
        asked = "" if wait_s is None else f", asks to wait {wait_s:g} s"
        kind = Unreachable if status in AWAY else AttemptFailed
        return kind(f"{where}{asked}: {message}", wait_s=wait_s, status=status)

    def _key_hint(self, status: int) -> str:
        if status not in {401, 403}:
            return ""
        if self._key_env is None:
            return ": none was sent, name its environment variable in `api_key_env`"
        return f": it came from the environment variable {self._key_env}"


def _host_of(location: str) -> str | None:
    try:
        return urlsplit(location).hostname
    except ValueError:
        return location[:100]


def error_of(reply: bytes) -> tuple[set[str], str]:
    """The error codes in a body and the message for people, in any of the shapes in use."""
    try:
        body = orjson.loads(reply)
    except orjson.JSONDecodeError:
        return set(), reply.decode("utf-8", "replace")
    error = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(error, dict):
        return set(), str(error)
    codes = {error[name] for name in ("code", "type") if isinstance(error.get(name), str)}
    message = error.get("message") or error.get("detail") or reply.decode("utf-8", "replace")
    return codes, str(message)
