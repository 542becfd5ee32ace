"""Messages with images: in a Request they stand by the hash of their bytes.

    request = with_images(request, [image_part(data, "image/png")])

A picture of some megabytes is hashed once, however many samples are asked for, and the key is the
same whichever way its bytes were spelled. Only what goes over the wire has the bytes in it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping, Sequence

from synthkd.errors import Unrenderable
from synthkd.rows import Fields, Json
from synthkd.teachers.request import Request

HASHED = "sha256:"
NO_TEXT = ("image_url", "input_image", "input_audio", "video_url", "file")
"""Types of content parts that are no text."""


def image_part(data: bytes, media_type: str) -> dict[str, Json]:
    """The content part of an image.

    Args:
        data: the file's bytes.
        media_type: such as `image/png`.
    """
    url = f"data:{media_type};base64,{base64.b64encode(data).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def by_hash(messages: Json) -> tuple[Json, dict[str, str]]:
    """The messages with `sha256:HEX` in place of every data: URL, and what each one stands for.

    Raises:
        Unrenderable: a data: URL that is not valid base64.
    """
    images: dict[str, str] = {}

    def hashed(value: Json) -> Json:
        if isinstance(value, str):
            return _hashed(value, images)
        if isinstance(value, Mapping):
            # Text that happens to begin like a data: URL is text.
            return {
                name: item if name in {"text", "role"} else hashed(item)
                for name, item in value.items()
            }
        return [hashed(item) for item in value] if isinstance(value, list | tuple) else value

    if not isinstance(messages, list | tuple):
        return messages, images
    return [_with_content(message, hashed) for message in messages], images


def with_images(request: Request, images: Sequence[Fields]) -> Request:
    """The same question with images behind the words of the user's last message.

    Raises:
        Unrenderable: there is no such message, or an image is not valid base64.
    """
    messages = request.body.get("messages")
    turns = list(messages) if isinstance(messages, list | tuple) else []
    for place in reversed(range(len(turns))):
        turn = turns[place]
        if isinstance(turn, Mapping) and turn.get("role") == "user":
            words: Json = {"type": "text", "text": turn["content"]}
            turns[place] = {**turn, "content": [words, *images]}
            seen, found = by_hash(turns)
            return request._replace(body={**request.body, "messages": seen}, images=found)
    raise Unrenderable("images go into a message of the user, and the prompt has none")


def put_back(value: Json, images: Mapping[str, str]) -> Json:
    """The messages as they go out: every hash replaced by what it stands for."""
    if isinstance(value, str):
        return images.get(value, value)
    if isinstance(value, Mapping):
        return {name: put_back(item, images) for name, item in value.items()}
    return [put_back(item, images) for item in value] if isinstance(value, list | tuple) else value


def has_parts(value: Json) -> bool:
    """Whether a row's value is content with a part that is no text."""
    if isinstance(value, list | tuple):
        return any(has_parts(part) for part in value)
    return isinstance(value, Mapping) and value.get("type") in NO_TEXT


def _with_content(message: Json, hashed: Callable[[Json], Json]) -> Json:
    if not isinstance(message, Mapping) or not isinstance(message.get("content"), list | tuple):
        return message
    return {**message, "content": hashed(message["content"])}


def _hashed(url: str, images: dict[str, str]) -> str:
    if not url.startswith("data:"):
        return url
    head, _, data = url.partition(",")
    if not head.endswith(";base64"):
        return url
    try:
        content = base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise Unrenderable(f"an image is not valid base64 ({error}): {url[:60]!r}...") from error
    name = HASHED + hashlib.sha256(content).hexdigest()
    images[name] = url
    return name
