"""What presidio-analyzer and a spaCy model recognise besides our own patterns (extra `pii`).

Nothing is downloaded. Presidio fetches a missing spaCy model by itself, so a model is only ever
used when it is installed, and without one its recognisers get spaCy's blank pipeline of the
language; its recognisers of emails and URLs fetch a list of domains, so ours stand for them. Its
kinds become ours where there is one (`KIND_OF`), else their own name in small letters. Names of
persons come from the model (entity labels PERSON and PER) and from nothing else.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from synthkd.curate.privacy.find import Recogniser, Span
from synthkd.errors import UserError

if TYPE_CHECKING:
    from presidio_analyzer import AnalyzerEngine
    from spacy.language import Language

LEAST_SCORE = 0.5
"""Of presidio: below are patterns that wait for a word of context and did not find it."""
MOST_CHARS = 100_000
"""Of a text at once: spaCy refuses more than a million, and memory grows with it."""
KIND_OF = {
    "EMAIL_ADDRESS": "email",
    "PHONE_NUMBER": "phone",
    "CREDIT_CARD": "card",
    "IBAN_CODE": "iban",
    "IP_ADDRESS": "ip",
    "US_SSN": "us_ssn",
    "UK_NINO": "uk_nino",
    "ES_NIF": "es_dni",
    "ES_NIE": "es_dni",
    "IT_FISCAL_CODE": "it_cf",
    "PL_PESEL": "pl_pesel",
    "DE_TAX_ID": "de_tax_id",
}
NOT_PERSONAL = frozenset({"DATE_TIME", "URL", "NRP", "LOCATION", "ORGANIZATION", "PERSON"})
"""Presidio's kinds that are left: dates and links identify nobody, names are the model's matter."""
_CALL_HOME = ("EmailRecognizer", "UrlRecognizer")


def missing(spacy_model: str | None) -> str | None:
    """What must be installed first, and how; None = all is there."""
    if importlib.util.find_spec("presidio_analyzer") is None:
        return "engine presidio and spacy_model need the extra: pip install 'synthkd[pii]'"
    # A name with dots would import its parent to be looked for.
    if spacy_model is not None and not (
        spacy_model.isidentifier() and importlib.util.find_spec(spacy_model)
    ):
        return (
            f"spacy_model: {spacy_model} is not installed, and models are never downloaded by"
            f" themselves: install its package first"
        )
    return None


def open_presidio(
    kinds: Sequence[str], language: str, spacy_model: str | None, *, everything: bool
) -> Recogniser:
    """Presidio's recognisers of these kinds, and names where `kinds` has `person`.

    Args:
        kinds: ours.
        language: of the texts, as ISO 639-1 code.
        spacy_model: an installed model.
        everything: presidio's own recognisers too; else only the names.

    Raises:
        UserError: spaCy does not know the language, or the package is no model.
    """
    import spacy

    try:
        pipeline = spacy.blank(language) if spacy_model is None else spacy.load(spacy_model)
    except (ImportError, OSError) as error:  # a language or a package that spaCy does not know
        raise UserError(f"spaCy cannot open {spacy_model or language}: {error}") from error
    names = pipeline if "person" in kinds and spacy_model is not None else None
    return _Presidio(
        analyzer=_analyzer(pipeline, language) if everything else None,
        language=language,
        names=names,
        kinds=frozenset(kinds),
    )


def _analyzer(pipeline: Language, language: str) -> AnalyzerEngine:
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    engine = SpacyNlpEngine(models=[{"lang_code": language, "model_name": "unused"}])
    engine.nlp = {language: pipeline}  # given, not loaded: loading would fetch what is missing
    registry = RecognizerRegistry(supported_languages=[language])
    registry.load_predefined_recognizers(languages=[language], nlp_engine=engine)
    return AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=[language])


class _Presidio:
    def __init__(
        self,
        *,
        analyzer: AnalyzerEngine | None,
        language: str,
        names: Language | None,
        kinds: frozenset[str],
    ) -> None:
        self._analyzer = analyzer
        self._language = language
        self._names = names
        self._kinds = kinds

    def find(self, text: str) -> Iterator[Span]:
        """See `Recogniser`; a long text is read in pieces, cut at white space."""
        for start, piece in _pieces(text):
            for span in self._in_piece(piece):
                yield Span(start + span.start, start + span.end, span.kind, span.sure, span.value)

    def _in_piece(self, text: str) -> Iterator[Span]:
        if self._analyzer is not None:
            for found in self._analyzer.analyze(text, self._language, score_threshold=LEAST_SCORE):
                kind = KIND_OF.get(found.entity_type, found.entity_type.lower())
                # What we have no name for is not among the kinds, and is masked all the same.
                wanted = kind in self._kinds or found.entity_type not in KIND_OF
                if wanted and found.entity_type not in NOT_PERSONAL:
                    said = text[found.start : found.end]
                    yield Span(found.start, found.end, kind, found.score >= 1, said.upper())
        if self._names is not None:
            for name in self._names(text).ents:
                if name.label_ in {"PERSON", "PER"}:
                    written = name.text.removesuffix("'s").removesuffix("\u2019s")
                    said = " ".join(written.split()).casefold()
                    end = name.start_char + len(written)
                    yield Span(name.start_char, end, "person", False, said)


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    start = 0
    while start < len(text):
        end = min(start + MOST_CHARS, len(text))
        if end < len(text):
            end = max(text.rfind(" ", start, end), start) + 1 if " " in text[start:end] else end
        yield start, text[start:end]
        start = end
