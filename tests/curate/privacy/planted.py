"""Personal data planted in texts of our own, in six languages, with what looks like it beside it.

    for text in planted(seed=0, each=20):
        text.text, text.spans

Every value is invented. Check digits are found by trying until python-stdnum, which knows nothing of
our checks, accepts the number. Hard negatives (`look_alikes`) are order numbers, dates, versions,
hashes, part numbers that begin like an IBAN, and their kin.
"""

from __future__ import annotations

import base64
import hashlib
import random
import string
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

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

Make = Callable[[random.Random, str], str]
LANGUAGES = ("en", "de", "fr", "es", "it", "zh")


@dataclass(frozen=True, slots=True)
class Text:
    """A text and where personal data is in it."""

    text: str
    spans: tuple[tuple[int, int, str], ...]
    """(start, end, kind)."""
    language: str


def digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choices(string.digits, k=count))


def signs(
    rng: random.Random, count: int, alphabet: str = string.ascii_letters + string.digits
) -> str:
    return "".join(rng.choices(alphabet, k=count))


def until(accepts: Callable[[str], bool], make: Callable[[], str]) -> str:
    """The first value made that is accepted."""
    while not accepts(value := make()):
        pass
    return value


NAMES = (
    "anna",
    "j.miller",
    "lucia_rossi",
    "k-weber",
    "sofia.garcia",
    "li.wei",
    "marc+news",
    "o'neil",
)
HOSTS = (
    "mail.com",
    "posta.it",
    "web.de",
    "correo.es",
    "uni-bonn.de",
    "firma.co.uk",
    "post.example.org",
)


def email(rng: random.Random, language: str) -> str:
    return f"{rng.choice(NAMES)}{rng.choice(['', digits(rng, 2)])}@{rng.choice(HOSTS)}"


def phone(rng: random.Random, language: str) -> str:
    d = partial(digits, rng)
    first = rng.choice("23456789")
    forms: Mapping[str, tuple[str, ...]] = {
        "en": (f"({first}{d(2)}) {first}{d(2)}-{d(4)}", f"{first}{d(2)}-{first}{d(2)}-{d(4)}",
               f"+1 {first}{d(2)} {first}{d(2)} {d(4)}", f"020 7{d(3)} {d(4)}", f"+44 20 7{d(3)} {d(4)}"),
        "de": (f"+49 30 {first}{d(6)}", f"030 {first}{d(6)}", f"0171/{first}{d(6)}",
               f"+49 (0) 171 {first}{d(6)}", f"0049 171 {first}{d(6)}"),
        "fr": (f"06 {d(2)} {d(2)} {d(2)} {d(2)}", f"01.{d(2)}.{d(2)}.{d(2)}.{d(2)}",
               f"+33 6 {d(2)} {d(2)} {d(2)} {d(2)}", f"+336{d(8)}"),
        "es": (f"+34 6{d(2)} {d(3)} {d(3)}", f"6{d(2)} {d(3)} {d(3)}", f"6{d(8)}", f"+346{d(8)}"),
        "it": (f"+39 34{d(1)} {d(3)} {d(4)}", f"34{d(1)} {d(3)} {d(4)}", f"02 {first}{d(3)} {d(4)}"),
        "zh": (f"138{d(8)}", f"+86 138 {d(4)} {d(4)}", f"010-{first}{d(3)}{d(4)}"),
    }  # fmt: skip
    return rng.choice(forms[language])


def card(rng: random.Random, language: str) -> str:
    head, length = rng.choice((("4", 16), ("51", 16), ("55", 16), ("37", 15), ("2221", 16)))
    whole = until(std_luhn.is_valid, lambda: head + digits(rng, length - len(head)))
    if rng.random() < 0.3:
        return whole
    cuts = (4, 10) if length == 15 else (4, 8, 12)
    return rng.choice(" -").join(
        whole[a:b] for a, b in zip((0, *cuts), (*cuts, length), strict=True)
    )


def iban(rng: random.Random, language: str) -> str:
    country, body = rng.choice(
        (("DE", digits(rng, 18)), ("FR", digits(rng, 20) + "N" + digits(rng, 2)), ("NL", "INGB" + digits(rng, 10)),
         ("GB", "NWBK" + digits(rng, 14)), ("AT", digits(rng, 16)), ("BE", digits(rng, 12)))
    )  # fmt: skip
    number = "".join(str(int(sign, 36)) for sign in f"{body}{country}00")
    whole = f"{country}{98 - int(number) % 97:02}{body}"
    assert std_iban.is_valid(whole, check_country=False)
    if rng.random() < 0.4:
        return whole
    return " ".join(whole[n : n + 4] for n in range(0, len(whole), 4))


def ip(rng: random.Random, language: str) -> str:
    if rng.random() < 0.6:
        first = until(lambda n: n not in {"0", "127"}, lambda: str(rng.randrange(1, 224)))
        return ".".join([first, *(str(rng.randrange(256)) for _ in range(3))])
    groups = [f"{rng.randrange(0x1000, 0x10000):x}" for _ in range(rng.choice((5, 8)))]
    return "2a02:" + (
        ":".join(groups[1:]) if len(groups) == 8 else "::".join((groups[1], ":".join(groups[2:])))
    )


def url(rng: random.Random, language: str) -> str:
    host = rng.choice(("api.shop.example", "files.example.org", "example.com:8443"))
    return rng.choice((
        f"https://{host}/v1/list?page=2&access_token={signs(rng, 24)}",
        f"https://admin:{signs(rng, 10)}@{host}/",
        f"postgresql://app:{signs(rng, 12)}@db.example.org:5432/main",
        f"https://{host}/reset?token={signs(rng, 32, '0123456789abcdef')}",
        f"https://{host}/o/a.png?Expires=1700000000&Signature={signs(rng, 28)}",
    ))  # fmt: skip


def api_key(rng: random.Random, language: str) -> str:
    return rng.choice((
        "sk-" + signs(rng, 40), "sk-proj-" + signs(rng, 48), "AKIA" + signs(rng, 16, string.ascii_uppercase + string.digits),
        "ghp_" + signs(rng, 36), "hf_" + signs(rng, 34), "xoxb-" + digits(rng, 12) + "-" + signs(rng, 24),
        "AIza" + signs(rng, 35), "glpat-" + signs(rng, 20), signs(rng, 48), "sk_" + "live_" + signs(rng, 24),
    ))  # fmt: skip


def us_ssn(rng: random.Random, language: str) -> str:
    return f"{rng.randrange(1, 666):03}-{rng.randrange(1, 100):02}-{rng.randrange(1, 10000):04}"


def uk_nino(rng: random.Random, language: str) -> str:
    number = [
        rng.choice(("AB", "CE", "JG", "SP", "WM")),
        *(digits(rng, 2) for _ in range(3)),
        rng.choice("ABCD"),
    ]
    return rng.choice(("", " ")).join(number)


def de_tax_id(rng: random.Random, language: str) -> str:
    def make() -> str:
        body = rng.sample(string.digits, 9)
        body.insert(rng.randrange(10), rng.choice(body))
        return "".join(body) + digits(rng, 1)

    whole = until(std_idnr.is_valid, make)
    return rng.choice((whole, f"{whole[:2]} {whole[2:5]} {whole[5:8]} {whole[8:]}"))


def fr_nir(rng: random.Random, language: str) -> str:
    body = f"{rng.choice('12')}{digits(rng, 2)}{rng.randrange(1, 13):02}{rng.randrange(1, 96):02}{digits(rng, 6)}"
    whole = until(std_nir.is_valid, lambda: body + f"{rng.randrange(1, 98):02}")
    parts = (whole[0], whole[1:3], whole[3:5], whole[5:7], whole[7:10], whole[10:13], whole[13:])
    return rng.choice(("", " ")).join(parts)


def es_dni(rng: random.Random, language: str) -> str:
    if rng.random() < 0.7:
        body = digits(rng, 8)
        return until(std_dni.is_valid, lambda: body + rng.choice(string.ascii_uppercase))
    body = rng.choice("XYZ") + digits(rng, 7)
    return until(std_nie.is_valid, lambda: body + rng.choice(string.ascii_uppercase))


def it_cf(rng: random.Random, language: str) -> str:
    consonants = "BCDFGLMNPRSTVZ"
    body = (f"{signs(rng, 6, consonants)}{rng.randrange(40, 100)}{rng.choice('ABCDEHLMPRST')}"
            f"{rng.randrange(1, 29):02}{rng.choice('ABCDEFGHL')}{rng.randrange(100, 999)}")  # fmt: skip
    return until(std_cf.is_valid, lambda: body + rng.choice(string.ascii_uppercase))


def pl_pesel(rng: random.Random, language: str) -> str:
    body = f"{rng.randrange(40, 100)}{rng.randrange(1, 13):02}{rng.randrange(1, 29):02}{digits(rng, 4)}"
    return until(std_pesel.is_valid, lambda: body + digits(rng, 1))


def br_cpf(rng: random.Random, language: str) -> str:
    body = digits(rng, 9)
    whole = until(std_cpf.is_valid, lambda: body + digits(rng, 2))
    return f"{whole[:3]}.{whole[3:6]}.{whole[6:9]}-{whole[9:]}"


def nl_bsn(rng: random.Random, language: str) -> str:
    return until(std_bsn.is_valid, lambda: digits(rng, 9))


MAKERS: Mapping[str, Make] = {
    "email": email, "phone": phone, "card": card, "iban": iban, "ip": ip, "url": url, "api_key": api_key,
    "us_ssn": us_ssn, "uk_nino": uk_nino, "de_tax_id": de_tax_id, "fr_nir": fr_nir, "es_dni": es_dni,
    "it_cf": it_cf, "pl_pesel": pl_pesel, "br_cpf": br_cpf, "nl_bsn": nl_bsn,
}  # fmt: skip

SAYINGS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "en": {
        "email": ("Please write to {} by Friday.", "My address is {}, thanks!", "cc: {}"),
        "phone": ("Call me on {} after six.", "Phone: {}", "You can text me at {}, any time."),
        "other": ("Here it is: {}.", "I entered {} and nothing happened.", "{} is what the letter says."),
        "nl_bsn": ("My BSN is {}.",),
    },
    "de": {
        "email": ("Bitte schreiben Sie an {}.", "Meine Adresse lautet {}", "E-Mail: {}, danke!"),
        "phone": ("Rufen Sie mich unter {} an.", "Telefon: {}", "Mein Handy hat die Nummer {}."),
        "other": ("Hier ist sie: {}.", "Ich habe {} eingegeben, und nichts geschah.", "{} steht im Brief."),
        "nl_bsn": ("Meine BSN ist {}.",),
    },
    "fr": {
        "email": ("\u00c9crivez-moi \u00e0 {}, merci.", "Mon adresse : {}", "Contact : {}."),
        "phone": ("Appelez-moi au {}.", "T\u00e9l. : {}", "Mon num\u00e9ro de portable est le {}."),
        "other": ("Le voici : {}.", "J'ai saisi {} et rien ne s'est pass\u00e9.", "{} figure sur la lettre."),
        "nl_bsn": ("Mon BSN est {}.",),
    },
    "es": {
        "email": ("Escr\u00edbame a {}, por favor.", "Mi correo es {}", "Contacto: {}."),
        "phone": ("Ll\u00e1mame al {}.", "Tel\u00e9fono: {}", "Mi m\u00f3vil es el {}."),
        "other": ("Aqu\u00ed est\u00e1: {}.", "Puse {} y no pas\u00f3 nada.", "{} es lo que dice la carta."),
        "nl_bsn": ("Mi BSN es {}.",),
    },
    "it": {
        "email": ("Scrivimi a {}, grazie.", "La mia mail: {}", "Contatto: {}."),
        "phone": ("Chiamami al {}.", "Telefono: {}", "Il mio cellulare \u00e8 {}."),
        "other": ("Eccolo: {}.", "Ho inserito {} e non \u00e8 successo nulla.", "{} \u00e8 scritto nella lettera."),
        "nl_bsn": ("Il mio BSN \u00e8 {}.",),
    },
    "zh": {
        "email": ("\u8bf7\u5199\u4fe1\u7ed9{}\u3002", "\u6211\u7684\u90ae\u7bb1\u662f{}\uff0c\u8c22\u8c22\uff01"),
        "phone": ("\u6211\u7684\u7535\u8bdd\u662f{}\u3002", "\u624b\u673a\u53f7\u7801\uff1a{}", "\u8bf7\u8054\u7cfb{}\u3002"),
        "other": ("\u5728\u8fd9\u91cc\uff1a{}\u3002", "\u6211\u8f93\u5165\u4e86{}\uff0c\u4f46\u6ca1\u6709\u53cd\u5e94\u3002"),
        "nl_bsn": ("\u6211\u7684BSN\u662f{}\u3002",),
    },
}  # fmt: skip
KEY_SAYINGS = ("api_key = '{}'", "Authorization: Bearer {}", "export TOKEN={}", "{}")


def look_alikes(rng: random.Random) -> str:
    """What is no personal data and looks like it."""
    d = partial(digits, rng)
    letters = partial(signs, rng, alphabet=string.ascii_uppercase)
    raw = rng.randbytes(32)
    year, month, day = rng.randrange(1950, 2030), rng.randrange(1, 13), rng.randrange(1, 29)
    return rng.choice((
        d(8), d(10), d(11), d(12), d(13), d(16), f"#{d(7)}", f"ORD-{year}-{d(6)}", f"{letters(2)}{d(8)}",
        f"{letters(2)}{d(2)} {d(4)} {letters(4)} {d(4)} {d(4)}", f"DE{d(20)}", f"{letters(3)}-{d(3)}-{d(4)}",
        f"{day:02}.{month:02}.{year}", f"{year}-{month:02}-{day:02}", f"{month:02}/{day:02}/{year}",
        f"{year}-{month:02}-{day:02}T{rng.randrange(24):02}:{rng.randrange(60):02}:00Z", f"{year}{month:02}{day:02}",
        f"version {rng.randrange(20)}.{rng.randrange(20)}.{rng.randrange(20)}.{rng.randrange(20)}",
        f"v{rng.randrange(9)}.{rng.randrange(99)}.{rng.randrange(999)}", f"{d(1)}.{d(2)}.{d(1)}-beta.{d(1)}",
        hashlib.md5(raw).hexdigest(), hashlib.sha1(raw).hexdigest(), hashlib.sha256(raw).hexdigest(),
        "sha256-" + base64.b64encode(raw).decode(), f"{d(8)}-{d(4)}-4{d(3)}-8{d(3)}-{d(12)}",
        f"978-{d(1)}-{d(4)}-{d(4)}-{d(1)}", f"978{d(10)}", f"ISSN {d(4)}-{d(4)}", f"1Z{signs(rng, 16, string.ascii_uppercase + string.digits)}",
        f"{rng.randrange(1, 99)},{d(3)},{d(3)}.00", f"{rng.randrange(1, 99)}.{d(3)}.{d(3)},00 EUR", f"{rng.randrange(1, 99)} {d(3)} {d(3)}",
        f"{rng.randrange(90)}.{d(6)}, -{rng.randrange(180)}.{d(6)}", f"{rng.randrange(24):02}:{rng.randrange(60):02}:{rng.randrange(60):02}",
        ":".join(f"{n:02x}" for n in raw[:6]), "127.0.0.1", "255.255.255.0", f"pages {d(3)}-{d(3)}", f"{d(4)}-{d(4)}-{d(4)}",
        "icon@2x.png", "lodash@4.17.21", "git@github.com:team/project.git", "@anna_92", "std::vector", "a[1::2]",
        "https://example.com/search?q=token&page=3", f"https://example.com/item/{d(9)}", f"LOT{d(6)}{letters(1)}", f"{d(7)}{letters(1)}-{d(2)}",
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", f"3.14159{d(10)}", f"1e-{d(2)}", f"{d(3)} x {d(3)} x {d(3)}",
    ))  # fmt: skip


def planted(seed: int, each: int, kinds: Iterable[str] = tuple(MAKERS)) -> Iterator[Text]:
    """`each` texts for every kind and language, each with one planted value and one look-alike."""
    for kind in kinds:
        for language in LANGUAGES:
            rng = random.Random(f"{seed} {kind} {language}")
            for _ in range(each):
                yield _text(rng, kind, language)


def _text(rng: random.Random, kind: str, language: str) -> Text:
    sayings = SAYINGS[language]
    saying = rng.choice(KEY_SAYINGS if kind == "api_key" else sayings.get(kind, sayings["other"]))
    value = MAKERS[kind](rng, language)
    before, after = saying.split("{}")
    other = rng.choice(sayings["other"]).format(look_alikes(rng))
    if rng.random() < 0.5:
        before = f"{other}\n{before}"
    else:
        after = f"{after}\n{other}"
    spans = ((len(before), len(before) + len(value), kind),)
    return Text(before + value + after, spans, language)


def innocent(seed: int, count: int) -> Iterator[Text]:
    """Texts with look-alikes and nothing else."""
    rng = random.Random(f"{seed} innocent")
    for _ in range(count):
        language = rng.choice(LANGUAGES)
        said = [rng.choice(SAYINGS[language]["other"]).format(look_alikes(rng)) for _ in range(2)]
        yield Text("\n".join(said), (), language)
