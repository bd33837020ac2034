"""The tools of the `tool_calls` task, as data.

Descriptions are short: a student reads those of two to four tools in each prompt, on a CPU.
"""

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
TEXTS: Schema = {"type": "array", "items": {"type": "string"}}


def one_of(*values: str) -> Schema:
    """The schema of a text that is one of these."""
    return {"type": "string", "enum": list(values)}


def _tool(name: str, description: str, required: dict[str, Schema], optional: dict[str, Schema]) -> Schema:
    parameters = {"type": "object", "properties": {**required, **optional}, "required": list(required)}
    return {"name": name, "description": description, "parameters": parameters}


_ALL = (
    _tool("get_weather", "Weather in a city.", {"city": TEXT}, {}),
    _tool("get_time", "Local time in a city.", {"city": TEXT}, {}),
    _tool("add_event", "Add to the calendar; date YYYY-MM-DD.", {"title": TEXT, "date": TEXT}, {}),
    _tool("list_events", "Events of a day; date YYYY-MM-DD.", {"date": TEXT}, {}),
    _tool("set_alarm", "Alarm at HH:MM, 24 hours.", {"time": TEXT}, {}),
    _tool("set_timer", "Start a timer.", {"minutes": WHOLE}, {"label": TEXT}),
    _tool("find_contact", "Phone number of a person.", {"name": TEXT}, {}),
    _tool("call_number", "Call a phone number.", {"number": TEXT}, {}),
    _tool("send_message", "Message a person.", {"to": TEXT, "text": TEXT}, {}),
    _tool("send_email", "Email some people.", {"to": TEXTS, "subject": TEXT}, {}),
    _tool("find_file", "Path of a file.", {"name": TEXT}, {}),
    _tool("open_file", "Open the file at a path.", {"path": TEXT}, {}),
    _tool("share_file", "Share the file at a path.", {"path": TEXT, "to": TEXT}, {}),
    _tool("search_web", "Search the web.", {"query": TEXT}, {"limit": WHOLE}),
    _tool("convert_units", "Convert a quantity.", {"value": NUMBER, "unit": TEXT, "to": TEXT}, {}),
    _tool("convert_money", "Convert money.", {"amount": NUMBER, "currency": TEXT, "to": TEXT}, {}),
    _tool("translate", "Translate a text.", {"text": TEXT, "language": TEXT}, {}),
    _tool("play_music", "Play music.", {"genre": TEXT}, {"minutes": WHOLE}),
    _tool("set_light", "Switch a light.", {"room": TEXT, "state": one_of("on", "off")}, {}),
    _tool("set_climate", "Heat or cool.", {"room": TEXT, "mode": one_of("heat", "cool", "off")}, {}),
    _tool("find_route", "Route to a city.", {"to": TEXT, "by": one_of("car", "train", "foot")}, {}),
    _tool("add_note", "Keep a note.", {"text": TEXT}, {"tag": TEXT}),
    _tool("add_items", "Add to the shopping list.", {"items": TEXTS}, {}),
)

CATALOGUE: dict[str, Schema] = {tool["name"]: tool for tool in _ALL}
"""By name: `{"name", "description", "parameters"}`, the parameters as a JSON schema."""
