"""Where an OpenAI-compatible teacher is reached, who it is, and its API key; nothing is sent here.

Kept apart from `synthkd.teachers.http`, because aiohttp takes 0.3 s to import, and who replays from
the ledger needs none of it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from synthkd.config import TeacherConfig
from synthkd.errors import UserError
from synthkd.rows import canonical
from synthkd.teachers.request import Api, Identity
from synthkd.teachers.wire import PATH, path_of


def http_identity(config: TeacherConfig) -> Identity:
    """Who answers: `served_by`, or else the endpoints and the declared headers."""
    if config.served_by is not None:
        return Identity(served_by=config.served_by)
    urls = sorted({_normal(urlsplit(url)) for url in base_urls(config)})
    if len(urls) == 1 and not config.headers:
        return Identity(served_by=urls[0])
    headers = {header.lower(): value for header, value in config.headers.items()}
    return Identity(served_by=canonical({"endpoints": urls, "headers": headers}).decode())


def batch_endpoint(config: TeacherConfig) -> str | None:
    """The one endpoint of a teacher, in one spelling; None = it has several, or none."""
    urls = base_urls(config)
    return _normal(urlsplit(urls[0])) if len(urls) == 1 else None


def api_urls(name: str, config: TeacherConfig) -> list[Mapping[Api, str]]:
    """Where to post the requests of each API, for each endpoint; a query stays at the end.

    Raises:
        UserError: an endpoint that is no URL, or has a secret in it, or none at all.
    """
    bases = [base_url(f"teachers.{name}", url) for url in base_urls(config)]
    if not bases:
        raise UserError(f"teachers.{name}.endpoint is an empty list: name at least one base URL")
    return [
        {api: base._replace(path=path_of(base.path, api)).geturl() for api in PATH}
        for base in bases
    ]


def api_key(name: str, config: TeacherConfig) -> str | None:
    """The key from the environment; None = the teacher names none.

    Raises:
        UserError: the variable is not set, or holds what no header can.
    """
    return key_from(config.api_key_env, f"teachers.{name}")


def key_from(variable: str | None, place: str) -> str | None:
    """The key from an environment variable that a block names; None = it names none.

    Args:
        variable: its name.
        place: of the block in the pipeline file, for messages.

    Raises:
        UserError: the variable is not set, or holds what no header can.
    """
    if variable is None:
        return None
    key = os.environ.get(variable, "")
    if not key:
        raise UserError(
            f"{place}.api_key_env names the environment variable {variable}, "
            f"which is not set: export {variable}=..."
        )
    if not key.isascii() or not key.isprintable() or key != key.strip():
        raise UserError(
            f"the API key in the environment variable {variable} (for {place}) has a line "
            f"break, a space at an end or another character that no header may hold: set it anew"
        )
    return key


def headers_with(config: TeacherConfig, key: str | None) -> dict[str, str]:
    """What every request carries, the key among it: for a session, and for nobody to see."""
    headers = {"Content-Type": "application/json", "User-Agent": "synthkd", **config.headers}
    if key is not None:
        bearer = config.api_key_header == "Authorization"
        headers[config.api_key_header] = f"Bearer {key}" if bearer else key
    return headers


def base_urls(config: TeacherConfig) -> list[str]:
    """The base URLs as the pipeline file has them."""
    endpoint = config.endpoint
    if endpoint is None:
        return []
    return [endpoint] if isinstance(endpoint, str) else endpoint


def base_url(place: str, base: str) -> SplitResult:
    """The base URL of a block, in parts.

    Raises:
        UserError: it is no URL, or has a secret in it.
    """
    url = _split(base)
    if url is None:
        raise UserError(
            f"{place}.endpoint must be a URL such as http://127.0.0.1:8000/v1, got {base!r:.200}"
        )
    if "@" in url.netloc:
        raise UserError(
            f"{place}.endpoint holds a user or a password, and secrets have no place in a "
            f"pipeline file: put it into an environment variable and name that in `api_key_env`"
        )
    return url._replace(path=url.path.rstrip("/"), fragment="")


def _split(base: str) -> SplitResult | None:
    try:
        url = urlsplit(base)
        whole = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:  # a port that is no number, half an IPv6 address
        return None
    return url if whole else None


def _normal(url: SplitResult) -> str:
    """One spelling: host in lower case, without the scheme's own port or a last slash."""
    port = {"http": 80, "https": 443}.get(url.scheme)
    netloc = url.netloc.lower().removesuffix(f":{port}")
    return url._replace(netloc=netloc, path=url.path.rstrip("/"), fragment="").geturl()
