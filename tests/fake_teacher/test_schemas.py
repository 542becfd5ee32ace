"""What is made for a schema fits it, by pydantic's own judgement; a misfit does not."""

from __future__ import annotations

import hashlib
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from synthkd.fake_teacher.faults import Refusal
from synthkd.fake_teacher.schemas import instance, misfit


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Point(BaseModel):
    x: float = Field(gt=0, lt=1)
    y: int = Field(ge=-3, le=-1, multiple_of=2)


class Tree(BaseModel):
    name: str
    left: Tree | None
    children: list[Tree]


class Everything(BaseModel):
    label: Literal["a", "b"]
    only: Literal["x"]
    colour: Colour
    points: list[Point] = Field(min_length=1, max_length=3)
    pair: tuple[int, str]
    sure: bool
    score: float = Field(ge=0, le=1)
    stars: int = Field(ge=1, le=5)
    below: int = Field(lt=-100)
    above: int = Field(gt=7)
    text: str = Field(min_length=30, max_length=40)
    maybe: str | None
    either: int | str
    nothing: None
    extra: str = "a default"


SALTS = st.integers().map(lambda n: hashlib.sha256(str(n).encode()).digest())


@pytest.mark.parametrize("model", [Everything, Tree, Point])
@given(salt=SALTS)
def test_an_instance_fits_and_a_misfit_does_not(model: type[BaseModel], salt: bytes) -> None:
    schema = model.model_json_schema()
    value = instance(schema, salt)
    model.model_validate(value, strict=False)
    assert value == instance(schema, salt)
    with pytest.raises(ValidationError):
        model.model_validate(misfit(schema, salt))


SCALARS: list[Any] = [
    int,
    float,
    str,
    bool,
    None,
    list[int],
    int | None,
    Literal["a", "b", "c"],
    Annotated[int, Field(ge=5, le=5)],
]


@pytest.mark.parametrize("kind", SCALARS, ids=str)
def test_what_is_no_object(kind: Any) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    adapter.validate_python(instance(adapter.json_schema(), b"salt"), strict=True)
    with pytest.raises(ValidationError):
        adapter.validate_python(misfit(adapter.json_schema(), b"salt"), strict=True)


def test_salts_differ() -> None:
    schema = Everything.model_json_schema()
    made = [instance(schema, bytes([salt])) for salt in range(20)]
    assert {each["label"] for each in made} == {"a", "b"}
    assert {each["colour"] for each in made} == {"red", "blue"}
    assert len({each["stars"] for each in made}) == 5


def test_a_time_and_its_kin() -> None:
    for kind in ("date-time", "date", "uuid", "email"):
        assert instance({"type": "string", "format": kind}, b"")


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"type": "string", "pattern": "^a"}, "the pattern of value"),
        ({"type": "string", "format": "iban"}, "the format 'iban'"),
        ({"type": "cat"}, "type 'cat'"),
        ({"$ref": "#/$defs/Gone"}, "the reference '#/"),
        ({"enum": []}, "value, which nothing fits"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "the bounds of value"),
        ({"type": "object", "properties": {"me": {"$ref": "#"}}, "required": ["me"]}, "an end"),
        (17, "the schema 17"),
    ],
)
def test_what_is_not_understood_is_said(schema: Any, says: str) -> None:
    with pytest.raises(Refusal, match=says) as caught:
        instance(schema, b"")
    assert caught.value.status == 400
