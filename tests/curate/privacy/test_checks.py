"""Our checks say what python-stdnum says, on every number of the form."""

from __future__ import annotations

import random
import string
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from stdnum import iban as std_iban
from stdnum import luhn as std_luhn
from stdnum.br import cpf as std_cpf
from stdnum.de import idnr as std_idnr
from stdnum.es import dni as std_dni
from stdnum.es import nie as std_nie
from stdnum.fr import nir as std_nir
from stdnum.it import codicefiscale as std_cf
from stdnum.nl import bsn as std_bsn
from stdnum.pl import pesel as std_pesel
from stdnum.us import ssn as std_ssn

from synthkd.curate.privacy import checks
from tests.curate.privacy.planted import MAKERS, digits


def numbers(length: int) -> st.SearchStrategy[str]:
    return st.text(string.digits, min_size=length, max_size=length)


@given(st.text(string.digits, min_size=1, max_size=25))
def test_luhn(number: str) -> None:
    assert checks.luhn(number) == std_luhn.is_valid(number)


@pytest.mark.parametrize(
    ("ours", "theirs", "length"),
    [
        (checks.de_tax_id, std_idnr.is_valid, 11),
        (checks.br_cpf, std_cpf.is_valid, 11),
        (checks.nl_bsn, std_bsn.is_valid, 9),
    ],
)
def test_numbers_with_check_digits(
    ours: Callable[[str], bool], theirs: Callable[[str], bool], length: int
) -> None:
    rng = random.Random(1)
    for _ in range(3000):
        number = digits(rng, length)
        assert ours(number) == theirs(number), number


@pytest.mark.parametrize(
    ("kind", "theirs"),
    [
        ("de_tax_id", std_idnr.is_valid),
        ("br_cpf", std_cpf.is_valid),
        ("nl_bsn", std_bsn.is_valid),
        ("pl_pesel", std_pesel.is_valid),
        ("fr_nir", std_nir.is_valid),
        ("it_cf", std_cf.is_valid),
        ("es_dni", lambda text: std_dni.is_valid(text) or std_nie.is_valid(text)),
        ("iban", lambda text: std_iban.is_valid(text, check_country=False)),
        ("us_ssn", std_ssn.is_valid),
    ],
)
def test_one_wrong_sign_is_seen_as_they_see_it(kind: str, theirs: Callable[[str], bool]) -> None:
    """Valid numbers, and each with one sign changed: the difference that check digits are for."""
    ours = getattr(checks, kind)
    rng = random.Random(kind)
    for _ in range(300):
        number = "".join(c for c in MAKERS[kind](rng, "en") if c.isalnum())
        place = rng.randrange(len(number))
        alphabet = string.digits if number[place].isdigit() else string.ascii_uppercase
        wrong = number[:place] + rng.choice(alphabet) + number[place + 1 :]
        assert ours(number)
        if kind == "fr_nir" and wrong[0] not in "12":
            continue  # the pattern's matter
        assert ours(wrong) == theirs(wrong), wrong


@given(numbers(8), st.sampled_from(string.ascii_uppercase))
@example("12345678", "Z")
def test_dni(number: str, letter: str) -> None:
    assert checks.es_dni(number + letter) == std_dni.is_valid(number + letter)


@pytest.mark.parametrize("check_digits", ["00", "01", "99"])
def test_check_digits_of_an_iban_are_from_02_to_98(check_digits: str) -> None:
    assert not any(checks.iban(f"DE{check_digits}{n:018}") for n in range(300))


@pytest.mark.parametrize(
    ("number", "is_card"),
    [
        ("4111111111111111", True),
        ("4111111111111112", False),
        ("378282246310005", True),
        ("6011111111111117", True),
        ("5555555555554444", True),
        ("30569309025904", True),
        ("3530111333300000", True),
        ("0000000000000000", False),
        ("9999999999999995", False),
    ],
)
def test_cards(number: str, is_card: bool) -> None:
    assert checks.card(number) is is_card
