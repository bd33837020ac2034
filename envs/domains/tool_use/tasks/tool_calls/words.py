"""The words and numbers that the requests of the `tool_calls` task are filled with."""

from collections.abc import Callable, Mapping
from random import Random

Values = dict[str, str]
"""What is put in a request's sentence, by field, as it stands there."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _lines(text: str) -> tuple[str, ...]:
    return tuple(" ".join(part.split()) for part in text.split(","))


FIRST_NAMES = _words(
    """Ana Ben Carl Dora Emma Finn Gus Hana Ivan Jane Kim Leo Mia Nora Omar Paul Rosa Sam Tara Uma Vera Will
    Yara Zoe Anton Bella Chen Dario Elif Farid"""
)
LAST_NAMES = _words(
    """Adams Baker Cohen Diaz Evans Fischer Garcia Hill Ito Jones Khan Lopez Moore Novak Okoye Park Quinn
    Rossi Silva Turner"""
)
CITIES = _words(
    """Oslo Rome Paris Berlin Madrid Lisbon Vienna Prague Warsaw Athens Dublin London Cairo Tunis Lagos
    Nairobi Accra Dakar Delhi Mumbai Dhaka Hanoi Manila Tokyo Osaka Seoul Beijing Shanghai Sydney Perth
    Auckland Lima Quito Bogota Santiago Havana Boston Chicago Denver Dallas Seattle Toronto Montreal
    Geneva Zurich Milan Naples Turin Porto Ghent Bergen Malmo Tampere Riga Vilnius Tallinn Sofia Zagreb
    Split Ankara"""
)
ROOMS = _words(
    """kitchen bedroom bathroom hall office garage attic cellar study nursery porch lounge library workshop
    pantry studio gym lobby balcony laundry corridor den playroom sunroom shed greenhouse barn stable
    chapel parlour canteen classroom bakery bar cafe clinic crypt dairy foyer gallery hangar hotel hut
    inn lab mill museum shop tent theatre tower vault ward winery"""
)
TITLES = _lines(
    """lunch, dentist, yoga, team meeting, piano lesson, book club, car check, board meeting, haircut,
    football match, job interview, school play, picnic, choir practice, house viewing, tax deadline,
    birthday party, film night, doctor's visit, parents' evening, garden work, staff party, swimming,
    chess club"""
)
ADJECTIVES = _words(
    """cheap easy old new famous modern healthy local quiet small strange common early large rare simple
    safe great popular tasty"""
)
NOUNS = _words(
    """hotels recipes castles phones painters houses snacks markets islands dogs birds games trains rivers
    stars plants boats bridges songs museums bikes lamps films trees cakes"""
)
VERBS = _words("buy sell clean fix paint check return order move wash sort pack")
OBJECTS = _words(
    """lamp bike sofa printer fence tent desk piano boiler carpet mirror window kettle ladder oven camera
    guitar drill gate heater"""
)
FILES = _words(
    """budget report invoice contract photo letter essay plan menu agenda recipe diary ticket lease manual
    poster survey draft sketch roster"""
)
GENRES = _words(
    "jazz rock pop blues folk soul techno opera disco reggae metal swing salsa punk funk gospel tango house"
)
PHRASES = _lines(
    """good morning, good night, see you soon, thank you, well done, I am late, call me back, on my way,
    happy birthday, good luck, welcome home, I miss you, take care, no problem, see you tomorrow, get
    well soon, we won, come early, bring the keys, lock the door, feed the cat, dinner is ready, the
    train is late, I am at work, you are right, let us meet, have fun, wait for me, I am home, it is
    late, all is well, great news, not today, I agree"""
)
LANGUAGES = _words(
    "French German Spanish Italian Polish Greek Turkish Dutch Swedish Danish Czech Arabic Hindi Korean Finnish"
)
ITEMS = _words(
    """milk eggs bread rice beans apples pears plums onions carrots butter cheese flour sugar salt pepper
    honey tea coffee juice soap candles paper nuts olives lemons garlic yoghurt oats pasta"""
)
LABELS = _words("pasta rice eggs tea cake pizza bread soup nap workout oven roast laundry homework stew dough")
UNITS = _words(
    "miles kilometres metres feet inches yards kilograms pounds ounces grams stones litres gallons pints cups"
)
CURRENCIES = _words("euros dollars pounds yen francs kroner pesos rupees zloty lira rand won")
MONTHS = _words("January February March April May June July August September October November December")

_POOLS: dict[str, tuple[str, ...]] = {
    "name": FIRST_NAMES,
    "city": CITIES,
    "room": ROOMS,
    "title": TITLES,
    "genre": GENRES,
    "phrase": PHRASES,
    "language": LANGUAGES,
    "item": ITEMS,
    "label": LABELS,
    "unit": UNITS,
    "currency": CURRENCIES,
    "month": MONTHS,
}
_PAIRS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "person": (FIRST_NAMES, LAST_NAMES),
    "topic": (ADJECTIVES, NOUNS),
    "chore": (VERBS, OBJECTS),
    "file": (FILES, tuple(map(str, range(2015, 2027)))),
}
_NUMBERS: dict[str, tuple[int, int]] = {
    "day": (1, 28),
    "year": (2024, 2027),
    "hour": (1, 11),
    "minutes": (2, 120),
    "count": (2, 20),
    "amount": (2, 400),
}


def _phone(rng: Random) -> str:
    return f"555-{rng.randint(0, 9999):04d}"


_DRAWS: dict[str, Callable[[Random], str]] = {"number": _phone, "minute": lambda rng: f"{rng.randint(1, 59):02d}"}


def kind_of(field: str) -> str:
    """The kind of a field: its name without the number that tells it from others of its kind."""
    return field.rstrip("23")


def draw(fields: list[str], rng: Random) -> Values:
    """What stands in the fields; two of a kind differ."""
    values: Values = {}
    for field in fields:
        while (value := _drawn(kind_of(field), rng)) in values.values():
            pass
        values[field] = value
    return values


def _drawn(kind: str, rng: Random) -> str:
    if kind in _POOLS:
        return rng.choice(_POOLS[kind])
    if kind in _PAIRS:
        first, second = _PAIRS[kind]
        return f"{rng.choice(first)} {rng.choice(second)}"
    if kind in _NUMBERS:
        return str(rng.randint(*_NUMBERS[kind]))
    return _DRAWS[kind](rng)


def _patterns() -> Mapping[str, str]:
    found = {kind: "|".join(pool) for kind, pool in _POOLS.items()}
    found |= {kind: f"(?:{'|'.join(first)}) (?:{'|'.join(second)})" for kind, (first, second) in _PAIRS.items()}
    # No request has more digits, and a question may come from anywhere.
    found |= dict.fromkeys(_NUMBERS, "[0-9]{1,4}")
    found |= {"number": "555-[0-9]{4}", "minute": "[0-9]{2}"}
    return {f"{kind}{number}": pattern for kind, pattern in found.items() for number in ("", "2", "3")}


PATTERNS = _patterns()
"""The pattern of what may stand in a field."""


def derived(values: Mapping[str, str]) -> Values:
    """The values, and what follows from them: `date` (ISO 8601), `morning` and `evening` (24 hours)."""
    found = dict(values)
    if "month" in values:
        found["date"] = f"{values['year']}-{MONTHS.index(values['month']) + 1:02d}-{int(values['day']):02d}"
    if "hour" in values:
        hour, minute = int(values["hour"]), values["minute"]
        found |= {"morning": f"{hour:02d}:{minute}", "evening": f"{hour + 12:02d}:{minute}"}
    return found
