"""What a teacher block may say."""

from __future__ import annotations

import math
from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError

from synthkd.config import BudgetConfig, TeacherConfig
from synthkd.teachers.endpoint import http_identity
from synthkd.teachers.request import Request, key_of


def teacher(**changes: Any) -> TeacherConfig:
    return TeacherConfig.model_validate({"endpoint": "http://x/v1", "model": "m", **changes})


def test_params_become_plain_json() -> None:
    config = teacher(params={"logit_bias": {50256: -100}, "stop": ["a", {1: 2}]})
    assert config.params == {"logit_bias": {"50256": -100}, "stop": ["a", {"1": 2}]}
    assert key_of(Request(body=config.params, inputs={}), http_identity(config))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"temperature": math.nan}, "nan is not JSON"),
        ({"temperature": math.inf}, "inf is not JSON"),
        ({"seed": 2**64}, "does not fit into 64 bits"),
        ({"since": date(2026, 1, 1)}, "date is not a JSON type"),
        ({"logit_bias": {None: 1}}, "a field's name must be a string, got None"),
        ({"logit_bias": {1: 1, "1": 2}}, "a name stands twice, as a number and as text"),
    ],
)
def test_params_that_are_no_json(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        teacher(params=params)


@pytest.mark.parametrize("number", [math.inf, math.nan])
def test_numbers_are_finite(number: float) -> None:
    for name in ("usd", "wall_s"):
        with pytest.raises(ValidationError, match="finite number"):
            BudgetConfig.model_validate({name: number})
    with pytest.raises(ValidationError, match="finite number"):
        teacher(timeout_s=number)


SECRETS = ["key", "api-key", "X-Api-Key", "access_token", "client_secret", "Authorization",
           "X-Auth", "password", "X-Signature", "sig", "Cookie", "subscriptionKey"]  # fmt: skip


@pytest.mark.parametrize("name", SECRETS)
def test_names_that_look_like_secrets_are_refused(name: str) -> None:
    for changes in (
        {"headers": {name: "PLANTED"}},
        {"endpoint": f"http://x/v1?api-version=1&{name}=PLANTED"},
        {"endpoint": ["http://x/v1", f"http://y/v1?{name}"]},
    ):
        with pytest.raises(ValidationError, match=f"{name}.* in `api_key_env`") as caught:
            teacher(**changes)
        assert all("PLANTED" not in fault["msg"] for fault in caught.value.errors())


def test_other_names_are_taken() -> None:
    config = teacher(
        endpoint="http://x/v1?api-version=2026-01-01&max-tokens=3", headers={"X-Title": "mine"}
    )
    assert config.headers == {"X-Title": "mine"}


@pytest.mark.parametrize(
    ("name", "way_out"),
    [
        ("n", "use `samples` of a step"),
        ("stream", "use `stream` of the teacher"),
        ("messages", "remove it"),
    ],
)
def test_params_that_are_ours(name: str, way_out: str) -> None:
    with pytest.raises(ValidationError, match=rf"params\.{name} is set by synthkd: {way_out}"):
        teacher(params={name: 1})


def test_the_longest_answer_has_two_names() -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        config = teacher(params={name: 9, "temperature": 1})
        assert (config.length_param, config.max_tokens) == (name, 9)
        assert config.sampling == {"temperature": 1}
    assert (teacher().length_param, teacher().max_tokens) == ("max_tokens", None)
    with pytest.raises(ValidationError, match="keep one of them"):
        teacher(params={"max_tokens": 1, "max_completion_tokens": 1})


def test_a_block_is_read_again_as_the_manifest_has_it() -> None:
    blocks = [teacher(), TeacherConfig.model_validate({"vllm": {"model": "models/one"}})]
    for config in blocks:
        assert TeacherConfig.model_validate(config.model_dump(mode="json")) == config
    with pytest.raises(ValidationError, match="served_by belongs to an `endpoint`"):
        TeacherConfig.model_validate({"vllm": {"model": "models/one"}, "served_by": "me"})
