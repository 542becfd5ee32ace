"""Numbers with their unit, in one spelling: 18.5 kg, 12 "Millimeter", 5 km/h.

    >>> quantity_in("1,5 metres", "any", ",")
    {'number': 1.5, 'unit': 'm'}

A value is brought into another unit only where that is exact: grams into kilograms, inches into
centimetres; not Fahrenheit into Celsius, and 10 minutes into hours only if they were 15.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from synthkd.records.faults import NotNormal
from synthkd.records.numerals import LONGEST, Decimal, as_json, even, numerals_in, the_number
from synthkd.rows import Json

ANY = "any"


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit: `Unit("g", "mass", Fraction(1, 1000))`."""

    name: str
    """The one spelling."""
    of: str
    """What it measures."""
    size: Fraction
    """In the first unit of its kind, exactly."""


_TABLE = {
    "length": "m 1 metre meter | nm 1e-9 nanometre nanometer | \u03bcm 1e-6 micrometre"
    " micrometer micron | mm 0.001 millimetre millimeter | cm 0.01 centimetre centimeter"
    " zentimeter | dm 0.1 decimetre decimeter | km 1000 kilometre kilometer kms | in 0.0254 inch"
    " inches | ft 0.3048 foot feet"
    " | yd 0.9144 yard | mi 1609.344 mile",
    "mass": "kg 1 kilogram kilogramme kilogramm kilo kgs | g 0.001 gram gramme gramm gr"
    " | mg 0.000001 milligram milligramm | \u03bcg 1e-9 ug mcg microgram mikrogramm"
    " | ng 1e-12 nanogram | t 1000 tonne metric_ton | lb 0.45359237 pound lbs"
    " | oz 0.028349523125 ounce",
    "volume": "l 1 L litre liter ltr | ml 0.001 millilitre milliliter | cl 0.01 centilitre"
    " | \u03bcl 1e-6 microlitre microliter | dl 0.1 decilitre deciliter | hl 100 hectolitre"
    " | m3 1000 cubic_metre cubic_meter cbm | cm3 0.001 ccm cubic_centimetre",
    "area": "m2 1 square_metre square_meter sqm sq_m qm | cm2 0.0001 square_centimetre"
    " | km2 1000000 square_kilometre | ha 10000 hectare",
    "time": "s 1 second sec sekunde sekunden | ns 1e-9 nanosecond | \u03bcs 1e-6 microsecond"
    " | ms 0.001 millisecond | min 60 minute mins minuten"
    " | h 3600 hour hr hrs stunde stunden | d 86400 day tag tage | wk 604800 week",
    "speed": "m/s 1 | km/h 5/18 kph kmh | mph 0.44704 mi/h",
    "power": "W 1 watt | kW 1000 kilowatt | MW 1000000 megawatt | mW 0.001 milliwatt",
    "energy": "J 1 joule | kJ 1000 kilojoule | MJ 1000000 megajoule | Wh 3600 watt_hour"
    " | kWh 3600000 kilowatt_hour | MWh 3600000000 | kcal 4184 kilocalorie",
    "voltage": "V 1 volt | \u03bcV 1e-6 microvolt | mV 0.001 millivolt | kV 1000 kilovolt",
    "current": "A 1 amp ampere | \u03bcA 1e-6 microamp | mA 0.001 milliamp milliampere",
    "resistance": "\u03a9 1 ohm | k\u03a9 1000 kiloohm",
    "frequency": "Hz 1 hertz | kHz 1000 kilohertz | MHz 1000000 megahertz | GHz 1000000000",
    "pressure": "Pa 1 pascal | hPa 100 hectopascal | kPa 1000 | MPa 1000000 | bar 100000"
    " | mbar 100 millibar",
    "data": "B 1 byte | kB 1000 kilobyte | MB 1000000 megabyte | GB 1000000000 gigabyte"
    " | TB 1000000000000 terabyte",
    "share": "% 1 percent per_cent prozent",
    "count": "pcs 1 pc piece st\u00fcck stk",
    "celsius": "\u00b0C 1 degree_celsius degrees_celsius celsius",
    "fahrenheit": "\u00b0F 1 degree_fahrenheit degrees_fahrenheit fahrenheit",
    "kelvin": "K 1 kelvin",
}
"""Kind -> units: the spelling, its size, and further names; an English plural goes without saying.
Sizes are exact by definition (SI; the international yard and pound of 1959; the thermochemical
calorie)."""


def _units() -> dict[str, Unit]:
    named: dict[str, Unit] = {}
    for kind, units in _TABLE.items():
        for told in units.split(" | "):
            name, size, *others = told.split()
            unit = Unit(name, kind, Fraction(size))
            for other in (name, *others):
                named[other.replace("_", " ")] = unit
                if other.isascii() and len(other) > 3:
                    named.setdefault(other.replace("_", " ") + "s", unit)
    return named


UNITS = _units()
"""By every name."""
_FOLDED: dict[str, Unit | None] = {}
for _name, _unit in UNITS.items():
    if len(_name) == 1:
        continue  # "3 a day" is no current
    _key = _name.casefold()
    _FOLDED[_key] = _unit if _FOLDED.get(_key, _unit) == _unit else None  # mW and MW
_WORD = r"[^\W\d_]+[23]?(?![-\w])"
_NAME = re.compile(
    rf"\s?((?:%|\u00b0\s?[CFcf]\b|[\u03a9\u2126]|{_WORD}\.?(?:/[^\W\d_]+)?)(?:\s[^\W\d_]+)?)"
)
_PER = re.compile(r"\s(?:per|pro|je)\s+([^\W\d_]+)")


def quantity_in(words: str, unit: str | None, decimal: Decimal | None) -> Json:
    """The number in the words, with its unit where `unit` is `any`.

    Args:
        words: at most 2,000 characters.
        unit: None = a number without; `any` = `{"number": 18.5, "unit": "kg"}`; else the unit that
            it is brought into, which is also meant where the number stands alone: behind
            it no word may stand that is no unit.
        decimal: as of `numerals_in`.

    Raises:
        NotNormal: `not_a_number`, `several_values`, `ambiguous_number`, `no_unit`, `other_unit`,
            `too_precise`.
    """
    text = even(words[:LONGEST])
    numerals = numerals_in(text, decimal)
    number = the_number(numerals, words)
    if unit is None:
        return as_json(number, words)
    said = {found for n in numerals if (found := _unit_at(text, n.end)) is not None}
    if len(said) > 1:
        raise NotNormal("several_values", f"several units in {words!r:.200}")
    found = next(iter(said), None)
    if unit == ANY:
        if found is None:
            raise NotNormal("no_unit", f"no unit that is known in {words!r:.200}")
        return {"number": as_json(number, words), "unit": found.name}
    if found is None and (
        word := next(filter(None, (_other_at(text, n.end) for n in numerals)), "")
    ):
        raise NotNormal("other_unit", f"{word!r:.40} in {words!r:.200} is no unit that is known")
    return _brought(number, found, UNITS[unit], words)


def quantities_in(words: str, unit: str | None, decimal: Decimal | None) -> list[Json]:
    """Every value that `quantity_in` could have read here, each numeral by itself."""
    text = even(words[:LONGEST])
    found: list[Json] = []
    for numeral in numerals_in(text, decimal):
        said = None if unit is None else _unit_at(text, numeral.end)
        if unit is not None and said is None and _is_rate(_other_at(text, numeral.end)):
            continue
        for number in numeral.values:
            try:
                if unit in (None, ANY):
                    value = as_json(number, words)
                    told: Json = {"number": value, "unit": said.name} if said else value
                    found.append(told if unit == ANY else value)
                else:
                    found.append(_brought(number, said, UNITS[unit], words))
            except NotNormal:
                continue
    return found


def unit_named(name: str) -> Unit | None:
    """The unit of that name, in whatever case where that leaves no doubt."""
    plain = " ".join(name.replace("\u00b2", "2").replace("\u00b3", "3").split()).rstrip(".")
    plain = plain.replace("\u00b0 ", "\u00b0").replace("\u2126", "\u03a9")
    return UNITS.get(plain) or _FOLDED.get(plain.casefold())


def _unit_at(text: str, at: int) -> Unit | None:
    """The unit that stands there, in two words or one."""
    if (match := _NAME.match(text, at)) is None:
        return None
    first, *more = match[1].split()
    if first == "in" and more:  # "5 in all" is no length
        return None
    if (whole := unit_named(match[1])) is not None:
        return whole
    found = unit_named(first)
    if found is not None and (rate := _PER.match(text, match.start(1) + len(first))):
        under = unit_named(rate[1])
        return found if under is None else unit_named(f"{found.name}/{under.name}")
    return found


def _other_at(text: str, at: int) -> str:
    """What stands where a unit would, and is none that is known; "" = nothing."""
    if _unit_at(text, at) is not None or (match := _NAME.match(text, at)) is None:
        return ""
    word = match[1].split()[0]
    rate = _PER.match(text, match.start(1) + len(word))
    return f"{word}{rate[0]}" if rate else word


def _is_rate(word: str) -> bool:
    """Whether it is so much of something else, as g/l: whatever the number is, it is none of g."""
    return "/" in word or " " in word


def _brought(number: Fraction, found: Unit | None, wanted: Unit, words: str) -> Json:
    if found is None or found == wanted:
        return as_json(number, words)
    if found.of != wanted.of:
        raise NotNormal("other_unit", f"{words!r:.200} is in {found.name}, not in {wanted.name}")
    try:
        return as_json(number * found.size / wanted.size, words)
    except NotNormal:
        raise NotNormal(
            "other_unit", f"{words!r:.200} is not exactly a number of {wanted.name}"
        ) from None
