"""The requests of the `tool_calls` task, as data: per skill its forms, with sentences and the calls they ask for.

Sentences and arguments are templates with the fields of `words.py`. An argument takes the type that its tool's
schema says; `$1` stands for the result of the first call.
"""

from dataclasses import dataclass
from typing import Any

CallTemplate = tuple[str, dict[str, Any]]
"""The name of a tool, and per argument a template or a list of them."""


@dataclass(frozen=True)
class Form:
    """Sentences that ask for the same calls.

    `near`: tools shown beside those that are called. `apart`: tools not shown, since they would do as well.
    """

    variant: str
    sentences: tuple[str, ...]
    calls: tuple[CallTemplate, ...]
    near: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()


def _one(variant: str, tool: str, arguments: dict[str, Any], *sentences: str) -> Form:
    return Form(variant, sentences, ((tool, arguments),))


def _several(variant: str, calls: list[CallTemplate], *sentences: str) -> Form:
    return Form(variant, sentences, tuple(calls))


def _none(variant: str, near: str, *sentences: str, apart: str = "search_web find_route") -> Form:
    return Form(variant, sentences, (), tuple(near.split()), tuple(apart.split()))


_WEATHER: CallTemplate = ("get_weather", {"city": "{city}"})
_FILE: CallTemplate = ("find_file", {"name": "{file}"})
_CONTACT: CallTemplate = ("find_contact", {"name": "{person}"})
_TRANSLATED: CallTemplate = ("translate", {"text": "{phrase}", "language": "{language}"})
_CALLED: CallTemplate = ("call_number", {"number": "$1"})
_SENT: CallTemplate = ("send_message", {"to": "{name}", "text": "$1"})
_NOTED: CallTemplate = ("add_note", {"text": "$1"})
_DATED = {"title": "{title}", "date": "{date}"}

FORMS: tuple[tuple[str, str, tuple[Form, ...]], ...] = (
    (
        "choose_tool",
        "one call with one argument, of the tool that fits",
        (
            _one("places", *_WEATHER, "What is the weather like in {city}?", "Is it raining in {city}?"),
            _one("places", "get_time", {"city": "{city}"}, "What time is it in {city}?", "Is it late in {city}?"),
            _one("people", *_CONTACT, "What is the number of {person}?", "Look up the number of {person}."),
            _one("people", "call_number", {"number": "{number}"}, "Call {number}.", "Please ring {number}."),
            _one("things", *_FILE, "Where is the file {file}?", "Look for the file {file}."),
            _one("things", "add_note", {"text": "{chore}"}, "Note down: {chore}.", "Make a note to {chore}."),
        ),
    ),
    (
        "fill_arguments",
        "one call with two or three arguments",
        (
            _one(
                "messages",
                "send_message",
                {"to": "{name}", "text": "{phrase}"},
                "Text {name}: {phrase}.",
                "Message {name} '{phrase}'.",
            ),
            _one(
                "conversions",
                "convert_units",
                {"value": "{amount}", "unit": "{unit}", "to": "{unit2}"},
                "Convert {amount} {unit} to {unit2}.",
                "How many {unit2} are {amount} {unit}?",
            ),
            _one(
                "conversions",
                "convert_money",
                {"amount": "{amount}", "currency": "{currency}", "to": "{currency2}"},
                "Change {amount} {currency} into {currency2}.",
                "What are {amount} {currency} worth in {currency2}?",
            ),
            _one(
                "translations",
                *_TRANSLATED,
                "Translate '{phrase}' into {language}.",
                "Say '{phrase}' in {language}.",
            ),
        ),
    ),
    (
        "optional_argument",
        "an optional argument, filled only where the request says it",
        (
            _one(
                "given",
                "search_web",
                {"query": "{topic}", "limit": "{count}"},
                "Search the web for {topic}, {count} results.",
                "Find {count} web pages about {topic}.",
            ),
            _one(
                "given",
                "set_timer",
                {"minutes": "{minutes}", "label": "{label}"},
                "Set a {minutes} minute timer for the {label}.",
                "Time the {label} for {minutes} minutes.",
            ),
            _one(
                "given",
                "play_music",
                {"genre": "{genre}", "minutes": "{minutes}"},
                "Play {minutes} minutes of {genre}.",
                "Play {genre} for {minutes} minutes.",
            ),
            _one(
                "left out",
                "search_web",
                {"query": "{topic}"},
                "Search the web for {topic}.",
                "Look up {topic} online.",
            ),
            _one(
                "left out",
                "set_timer",
                {"minutes": "{minutes}"},
                "Set a timer for {minutes} minutes.",
                "Start a {minutes} minute timer.",
            ),
        ),
    ),
    (
        "convert_date",
        "a date in words as YYYY-MM-DD",
        (
            _one(
                "day first",
                "add_event",
                _DATED,
                "Put {title} on {day} {month} {year} in the calendar.",
                "I have {title} on {day} {month} {year}; add it.",
            ),
            _one(
                "month first",
                "add_event",
                _DATED,
                "Put {title} on {month} {day}, {year} in the calendar.",
                "I have {title} on {month} {day}, {year}; add it.",
            ),
            _one(
                "a day's events",
                "list_events",
                {"date": "{date}"},
                "What is on {day} {month} {year}?",
                "Am I free on {month} {day}, {year}?",
            ),
        ),
    ),
    (
        "clock_time",
        "a time with am or pm on the 24-hour clock",
        (
            _one(
                "morning",
                "set_alarm",
                {"time": "{morning}"},
                "Wake me at {hour}:{minute} am.",
                "Set an alarm for {hour}:{minute} am.",
            ),
            _one(
                "evening",
                "set_alarm",
                {"time": "{evening}"},
                "Wake me at {hour}:{minute} pm.",
                "Set an alarm for {hour}:{minute} pm.",
            ),
        ),
    ),
    (
        "allowed_value",
        "one of the values that an argument may have",
        (
            _one("light", "set_light", {"room": "{room}", "state": "on"}, "It is too dark in the {room}."),
            _one("light", "set_light", {"room": "{room}", "state": "on"}, "Light up the {room}."),
            _one("light", "set_light", {"room": "{room}", "state": "off"}, "It is too bright in the {room}."),
            _one(
                "light",
                "set_light",
                {"room": "{room}", "state": "off"},
                "Nobody is in the {room}; it may be dark.",
            ),
            _one("climate", "set_climate", {"room": "{room}", "mode": "heat"}, "It is too cold in the {room}."),
            _one("climate", "set_climate", {"room": "{room}", "mode": "heat"}, "Warm up the {room}."),
            _one("climate", "set_climate", {"room": "{room}", "mode": "cool"}, "It is too hot in the {room}."),
            _one("climate", "set_climate", {"room": "{room}", "mode": "cool"}, "Make the {room} less warm."),
            _one("route", "find_route", {"to": "{city}", "by": "car"}, "How do I drive to {city}?"),
            _one("route", "find_route", {"to": "{city}", "by": "train"}, "How do I get to {city} by rail?"),
            _one("route", "find_route", {"to": "{city}", "by": "foot"}, "How do I walk to {city}?"),
        ),
    ),
    (
        "list_argument",
        "several values in one argument",
        (
            _one(
                "two entries",
                "send_email",
                {"to": ["{name}", "{name2}"], "subject": "{topic}"},
                "Email {name} and {name2} about {topic}.",
                "Write an email on {topic} to {name} and {name2}.",
            ),
            _one(
                "two entries",
                "add_items",
                {"items": ["{item}", "{item2}"]},
                "We need {item} and {item2}.",
                "Put {item} and {item2} on the shopping list.",
            ),
            _one(
                "three entries",
                "send_email",
                {"to": ["{name}", "{name2}", "{name3}"], "subject": "{topic}"},
                "Email {name}, {name2} and {name3} about {topic}.",
                "Write an email on {topic} to {name}, {name2} and {name3}.",
            ),
            _one(
                "three entries",
                "add_items",
                {"items": ["{item}", "{item2}", "{item3}"]},
                "We need {item}, {item2} and {item3}.",
                "Put {item}, {item2} and {item3} on the shopping list.",
            ),
        ),
    ),
    (
        "parallel_calls",
        "two calls that do not depend on each other",
        (
            _several(
                "the same tool",
                [_WEATHER, ("get_weather", {"city": "{city2}"})],
                "What is the weather in {city} and in {city2}?",
                "Is it warmer in {city} or in {city2}?",
            ),
            _several(
                "the same tool",
                [_FILE, ("find_file", {"name": "{file2}"})],
                "Where are the files {file} and {file2}?",
                "Look for the files {file} and {file2}.",
            ),
            _several(
                "two tools",
                [("play_music", {"genre": "{genre}"}), ("set_light", {"room": "{room}", "state": "off"})],
                "Play some {genre} and turn off the light in the {room}.",
                "Turn off the light in the {room} and play some {genre}.",
            ),
            _several(
                "two tools",
                [("get_time", {"city": "{city}"}), ("add_note", {"text": "{chore}"})],
                "What time is it in {city}? And note down: {chore}.",
                "Make a note to {chore} and tell me the time in {city}.",
            ),
        ),
    ),
    (
        "chained_calls",
        "calls that need the result of an earlier one",
        (
            _several("look up and use", [_CONTACT, _CALLED], "Call {person}.", "Please ring {person}."),
            _several(
                "look up and use",
                [_FILE, ("open_file", {"path": "$1"})],
                "Open the file {file}.",
                "Find and open the file {file}.",
            ),
            _several("tell a person", [_WEATHER, _SENT], "Text {name} the weather in {city}."),
            _several("tell a person", [_TRANSLATED, _SENT], "Text {name} '{phrase}' in {language}."),
            _several(
                "three calls",
                [_FILE, ("open_file", {"path": "$1"}), ("share_file", {"path": "$1", "to": "{name}"})],
                "Open the file {file} and share it with {name}.",
            ),
            _several("three calls", [_CONTACT, _CALLED, _NOTED], "Call {person} and note down the number."),
        ),
    ),
    (
        "no_tool",
        "a request that none of the tools serves",
        (
            _none("another action", "set_alarm", "Cancel the alarm at {hour}:{minute} am."),
            _none("another action", "find_file open_file", "Delete the file {file}.", "Rename the file {file}."),
            _none("another action", "add_items", "Take {item} and {item2} off the shopping list."),
            _none("another action", "add_event list_events", "Cancel {title} on {day} {month} {year}."),
            _none("another topic", "add_note", "Write a poem about {topic}.", "Draw me some {topic}."),
            _none("another topic", "find_contact send_message", "How old is {person}?", "Is {person} married?"),
            _none("another topic", "get_weather get_time", "Book a flight to {city} on {day} {month} {year}."),
        ),
    ),
)
