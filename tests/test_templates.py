from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.errors import PromptError, Unrenderable
from synthkd.rows import Json
from synthkd.templates import FILTERS, compiled

PATH = Path("p.md.j2")


def rendered(source: str, **values: Json) -> str:
    return compiled(source, path=PATH).render(values)


@given(st.text(), st.text())
def test_what_data_says_is_text_and_never_a_template(text: str, other: str) -> None:
    assert rendered("<{{ a }}|{{ b }}>", a=text, b=other) == f"<{text}|{other}>"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.dictionaries(st.sampled_from("ab"), json_values))
def test_the_short_way_for_plain_templates_says_what_jinja_says(values: dict[str, Json]) -> None:
    plain = "\n- {{ a }}\n{{ b }} and {{a}}"
    short, long = (compiled(plain + end, path=PATH) for end in ("", "{% if false %}{% endif %}"))
    assert short.parts is not None
    assert long.parts is None
    said = []
    for template in (short, long):
        try:
            said.append(template.render(values))
        except Unrenderable as error:
            said.append(str(error))
    assert said[0] == said[1]


@pytest.mark.parametrize(
    "data",
    [
        "{{ 7*7 }}",
        "{% for i in range(3) %}x{% endfor %}",
        "{# system #}",
        "${7*7}",
        "{{ ''.__class__ }}",
        "%(x)s {0.__class__}",
    ],
)
def test_template_syntax_in_data_stays_literal(data: str) -> None:
    assert rendered("{{ x }}", x=data) == data
    assert rendered("{{ x | upper | lower | indent(2) }}", x=data) == data.lower()
    assert rendered("{% set y = x %}{{ y ~ '' }}", x=data) == data


ESCAPES_REFUSED_AT_LOAD = [
    "{{ x.__class__ }}",
    "{{ x['__class__'] }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ x | attr('__class__') }}",
    "{{ x | map('attr', '__class__') | list }}{{ x | attr('a') }}",
    "{{ x | map(attribute='__class__') | list }}",
    "{{ x | map(attribute='a.__class__') | list }}",
    "{{ x | selectattr('__class__') | list }}",
    "{{ x | groupby('_a') }}",
    "{{ x | sort(attribute='__class__') }}",
    "{{ self }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ _context }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ joiner.__init__ }}",
    "{{ range.__init__ }}",
    "{{ x.format(1) }}",
    "{{ '{0.__class__}'.format(x) }}",
    "{{ '%s' | format(x) }}",
    "{{ x.format_map({}) }}",
    "{{ x() }}",
    "{{ x.a.b() }}",
    "{{ x['items']() }}",
    "{{ x.append(1) }}",
    "{{ x.encode() }}",
    "{{ x.mro() }}",
    "{{ 10 ** 10 ** 10 }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}{{ os }}",
    "{% from 'os' import path %}{{ path }}",
    "{% extends 'base' %}",
    "{% block a %}{% endblock %}",
    "{% macro m() %}{{ caller }}{% endmacro %}{{ m() }}",
    "{% call x() %}{% endcall %}",
    "{{ x | safe }}",
    "{{ x | random }}",
    "{{ x | pprint }}",
    "{{ x | xmlattr }}",
]


@pytest.mark.parametrize("source", ESCAPES_REFUSED_AT_LOAD)
def test_an_escape_is_refused_before_anything_renders(source: str) -> None:
    with pytest.raises(PromptError, match=r"^p\.md\.j2 line 3: "):
        compiled(f"\n\n{source}", path=PATH)


ESCAPES_REFUSED_AT_RENDERING = [
    "{{ x[name] }}",
    "{{ x['_' ~ '_class__'] }}",
    "{{ x[('_', '_class_', '_') | join] }}",
    "{{ [x] | map(attribute=name) | first }}",
    "{{ [x] | map(attribute=name) | list }}",
    "{{ [x] | selectattr(name) | first }}",
    "{{ ([x] | groupby(name) | first)[0] }}",
    "{{ ([x, x] | sort(attribute=name) | first).a }}",
    "{% for i in [1] %}{{ loop[name] }}{% endfor %}",
    "{% set ns = namespace(a=1) %}{{ ns[name] }}",
    "{{ range[name] }}",
    "{{ x.items[name] if false else range(3)[name] }}",
    "{{ range(10 ** 2 if false else 1000000) | list }}",
    "{{ 'a' * 1000000000 }}",
    "{{ [0] * 1000000000 }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ range }}",
    "{{ namespace(a=1) }}",
]


@pytest.mark.parametrize("source", ESCAPES_REFUSED_AT_RENDERING)
@pytest.mark.parametrize("x", ["text", {"a": 1}, ["item"]])
def test_an_escape_that_only_shows_at_rendering_fails_there(source: str, x: Json) -> None:
    try:
        template = compiled(source, path=PATH)
    except PromptError:
        return
    with pytest.raises(Unrenderable):
        template.render({"x": x, "name": "__class__"})


@given(
    st.recursive(
        st.text() | st.integers(0, 9),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=5,
    ),
    st.sampled_from(["__class__", "__init__", "__doc__", "format", "__len__", "_x", "append"]),
)
def test_no_dynamic_name_ever_reaches_an_attribute(value: Json, name: str) -> None:
    source = "{{ x[name] is defined }}"
    held = isinstance(value, dict) and name in value
    assert rendered(source, x=value, name=name) == ("true" if held else "false")


def test_values_that_are_not_text_are_written_as_json() -> None:
    assert rendered(
        "{{ a }} {{ b }} {{ c }} {{ d }}", a=[1, "ä"], b={"k": None}, c=True, d=2.5
    ) == ('[1,"ä"] {"k":null} true 2.5')
    assert rendered("{{ a | tojson }}", a="<b>'") == '"<b>\'"'
    assert rendered("{{ a | tojson(indent=2) }}", a=[1]) == "[\n  1\n]"


def test_loops_methods_and_filters_that_prompts_need() -> None:
    source = (
        "{% for key, value in x.items() %}{{ loop.index }}. {{ key }}={{ value }}\n{% endfor %}"
        "{% set ns = namespace(n=0) %}{% for i in range(3) %}{% set ns.n = ns.n + i * 2 %}"
        "{% endfor %}{{ ns.n }} {{ ', '.join(x.keys()) }} {{ x['items'] | default('none') }}"
    )
    assert rendered(source, x={"a": 1, "b": 2}) == "1. a=1\n2. b=2\n6 a, b none"


def test_a_field_called_like_a_method_is_not_taken_for_it() -> None:
    with pytest.raises(PromptError, match=r"\.values is a method: call it.*\['values'\]"):
        compiled("{{ x.values }}", path=PATH)
    assert rendered("{{ x['values'] }} {{ x.title }}", x={"values": 1, "title": "T"}) == "1 T"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("a\n{{ x", "line 2: unexpected end of template"),
        ("{% if x %}", "line 1: Unexpected end of template"),
        ("a\n\n{{ x | uper }}", "line 3: there is no filter 'uper'; did you mean upper"),
        ("{{ x is nothing }}", "line 1: No test named 'nothing'"),
        (r"a\n{{ x ~ '\ud83d' }}", "half of a character"),
        ("{{" + "(" * 3000 + "x" + ")" * 3000 + "}}", "nested too deeply"),
        ("{{ foo(x) }}", r"line 1: foo\(\.\.\.\) may not be called: there are the functions"),
    ],
)
def test_faults_name_the_line_and_the_way_out(source: str, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        compiled(source, path=PATH)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("\n\n{{ missing }}", "line 3: cannot be rendered: 'missing' is undefined"),
        ("\n{{ x.y.z }}", "line 2: .*has no attribute 'y'"),
        ("{{ x }}\n{{ x | join(1, 2, 3, 4) }}", "line 2: cannot be rendered"),
        ("{{ 1 / 0 }}", "line 1: cannot be rendered: division"),
        ("{{ 'word' | truncate(-5) }}", "line 1: cannot be rendered: expected length"),
        ("{{ [1] | map('string') }}", "not JSON serializable: generator"),
    ],
)
def test_faults_of_rendering_name_the_line(source: str, message: str) -> None:
    with pytest.raises(Unrenderable, match=message):
        rendered(source, x={})


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(st.sampled_from(sorted(FILTERS)), min_size=1, max_size=2), ANY_JSON)
def test_whatever_a_filter_makes_of_a_value_at_most_that_row_fails(
    filters: list[str], value: Json
) -> None:
    template = compiled(f"{{{{ {' | '.join(['x', *filters])} }}}}", path=PATH)
    try:
        text = template.render({"x": value})
    except Unrenderable:
        return
    assert isinstance(text, str)


@pytest.mark.parametrize(
    "source",
    [
        "{% for tag in x %}{{ tag }}{% endfor %}",
        "{{ x | join(', ') }}",
        "{{ x | dictsort }}",
        "{{ x.items() }}",
        "{{ x + 1 }}",
        "{{ x < 1 }}",
        "{{ x[0] }}",
        "{{ -x }}",
    ],
)
def test_null_where_the_template_counts_on_something_fails_that_row(source: str) -> None:
    with pytest.raises(Unrenderable):
        rendered(source, x=None)


def test_it_says_which_names_it_needs_and_whether_it_is_constant() -> None:
    template = compiled("a\n{{ x }}{% for i in y %}{{ i }}{{ x }}{% endfor %}", path=PATH)
    assert template.names == {"x", "y"}
    assert (template.lines["x"], template.lines["y"]) == (2, 2)
    assert not template.is_constant
    assert compiled("plain {# a comment #} text", path=PATH).is_constant
    assert not compiled("{{ 1 + 1 }}", path=PATH).is_constant
