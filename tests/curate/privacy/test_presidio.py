from __future__ import annotations

import importlib.util

import pytest
from pydantic import ValidationError

from synthkd.curate.privacy.find import find
from synthkd.curate.privacy.mask import MaskConfig
from synthkd.curate.privacy.patterns import KINDS

HERE = importlib.util.find_spec("presidio_analyzer") is not None


@pytest.mark.skipif(HERE, reason="presidio-analyzer is installed")
def test_without_presidio_the_extra_is_named() -> None:
    with pytest.raises(ValidationError, match=r"pip install 'synthkd\[pii\]'"):
        MaskConfig.model_validate({"fields": ["q"], "engine": "presidio"})


@pytest.mark.skipif(not HERE, reason="presidio-analyzer is not installed")
def test_presidio_finds_what_we_have_no_pattern_for() -> None:
    from synthkd.curate.privacy.presidio import open_presidio

    presidio = open_presidio(KINDS, "en", None, everything=True)
    text = "Send it to 1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa, card 4111 1111 1111 1111."
    assert [span.kind for span in find(text, [presidio])] == ["crypto", "card"]


@pytest.mark.skipif(not HERE, reason="presidio-analyzer is not installed")
def test_a_model_that_is_not_installed_is_never_fetched() -> None:
    with pytest.raises(ValidationError, match="no_such_model is not installed"):
        MaskConfig.model_validate({"fields": ["q"], "spacy_model": "no_such_model"})
