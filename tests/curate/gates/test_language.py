from __future__ import annotations

import pytest
from pydantic import ValidationError

from synthkd.curate.gates.language import LanguageConfig
from synthkd.recipes.languages import LANGUAGES, NO_LANGUAGE, probabilities
from tests.curate.gates.passing import reason_of
from tests.curate.language_texts import TEXTS


async def test_most_short_texts_are_told_apart() -> None:
    """Each text passes its own language's gate and not another's: 15 of 16 at least."""
    wrong = 0
    for wanted, texts in TEXTS.items():
        other = next(code for code in ("en", "ru") if code != wanted)
        for text in texts:
            wrong += await reason_of("gate.language", {"languages": [wanted]}, text) is not None
            wrong += await reason_of("gate.language", {"languages": [other]}, text) is None
    assert wrong <= sum(map(len, TEXTS.values())) / 16


async def test_the_rejection_says_what_was_found() -> None:
    told = await reason_of("gate.language", {"languages": ["en", "fr"]}, "Wo ist denn mein Paket?")
    assert told is not None
    assert told.startswith("other_language: text is de (p ")
    assert "languages are en, fr" in told


@pytest.mark.parametrize(
    "text", ["", "   ", "42", "OK", "\ud800\udfff", "1 + 1 = 2", "```python\nfür = der + die\n```"]
)
async def test_what_nobody_can_tell_passes(text: str) -> None:
    assert await reason_of("gate.language", {"languages": ["en"]}, text) is None


async def test_code_in_fences_is_not_read() -> None:
    german = "Die folgende Funktion zählt die Wörter in einem Text:"
    code = "```\n" + "the function counts words and returns them\n" * 20 + "```"
    assert await reason_of("gate.language", {"languages": ["de"]}, f"{code}\n{german}") is None


async def test_a_long_text_is_known_by_its_beginning() -> None:
    text = "The train leaves at seven and arrives before noon. " * 100_000
    assert await reason_of("gate.language", {"languages": ["en"]}, text) is None
    assert await reason_of("gate.language", {"languages": ["de"]}, text) is not None


def test_the_list_of_languages_is_the_models() -> None:
    assert set(probabilities("The list of languages")) - {NO_LANGUAGE} == LANGUAGES


@pytest.mark.parametrize(
    ("code", "message"), [("english", "no ISO 639 code"), ("EN", "'EN' is no ISO")]
)
def test_a_language_that_is_not_known(code: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LanguageConfig.model_validate({"field": "text", "languages": [code]})


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValidationError, match=r"pip install 'synthkd\[language\]'"):
        LanguageConfig.model_validate({"field": "text", "languages": ["en"]})
