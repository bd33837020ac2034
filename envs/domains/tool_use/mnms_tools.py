"""The 33 tools of M&Ms as data (arXiv 2403.11085).

Names, arguments and outputs are the benchmark's; the descriptions are our own.
"""

from __future__ import annotations

from typing import Any, NamedTuple

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
# Plans write numbers as numbers and as texts.
NUMBER: Schema = {"type": ["integer", "string"]}
MEDIA: Schema = {"type": "string", "description": "a file's name, or the output of a tool"}
OBJECTS: Schema = {"description": "objects that a tool has found"}


class ToolOfMnms(NamedTuple):
    """A tool: what it does, its arguments, all of them required, and the names of what it returns."""

    description: str
    arguments: dict[str, Schema]
    outputs: tuple[str, ...]


_T = ToolOfMnms
TOOLS: dict[str, ToolOfMnms] = {
    "text_generation": _T("Continues a text, e.g. an instruction or a beginning.", {"text": TEXT}, ("text",)),
    "text_summarization": _T("Shortens a text to its main points.", {"text": TEXT}, ("text",)),
    "text_classification": _T("Names the class of a text, e.g. its mood.", {"text": TEXT}, ("text",)),
    "question_answering": _T("Answers a question from a text.", {"text": TEXT, "question": TEXT}, ("text",)),
    "automatic_speech_recognition": _T("Writes down what is said in a recording.", {"audio": MEDIA}, ("text",)),
    "image_generation": _T("Draws an image from a description.", {"text": TEXT}, ("image",)),
    "image_captioning": _T("Describes an image in a sentence.", {"image": MEDIA}, ("text",)),
    "image_editing": _T("Changes an image as it is told.", {"image": MEDIA, "prompt": TEXT}, ("image",)),
    "image_classification": _T("Names what an image mainly shows.", {"image": MEDIA}, ("text",)),
    "visual_question_answering": _T(
        "Answers a question about an image.", {"image": MEDIA, "question": TEXT}, ("text",)
    ),
    "object_detection": _T("Finds the objects of an image, with boxes.", {"image": MEDIA}, ("image", "objects")),
    "image_segmentation": _T("Finds the parts of an image, with masks.", {"image": MEDIA}, ("image", "objects")),
    "optical_character_recognition": _T("Reads the text in an image.", {"image": MEDIA}, ("text",)),
    "image_crop": _T("Cuts an image down to an object.", {"image": MEDIA, "object": OBJECTS}, ("image",)),
    "image_crop_left": _T("Keeps the left part of an image.", {"image": MEDIA}, ("image",)),
    "image_crop_right": _T("Keeps the right part of an image.", {"image": MEDIA}, ("image",)),
    "image_crop_top": _T("Keeps the upper part of an image.", {"image": MEDIA}, ("image",)),
    "image_crop_bottom": _T("Keeps the lower part of an image.", {"image": MEDIA}, ("image",)),
    "background_blur": _T("Blurs all but an object.", {"image": MEDIA, "object": OBJECTS}, ("image",)),
    "color_pop": _T("Takes the colour from all but an object.", {"image": MEDIA, "object": OBJECTS}, ("image",)),
    "count": _T("Counts objects.", {"objects": OBJECTS}, ("number",)),
    "tag": _T("Writes the names of objects into an image.", {"image": MEDIA, "objects": OBJECTS}, ("image",)),
    "emoji": _T(
        "Puts an emoji in the place of an object.",
        {"image": MEDIA, "object": OBJECTS, "emoji": TEXT},
        ("image",),
    ),
    "select_object": _T(
        "Picks one of some objects by its name.", {"objects": OBJECTS, "object_name": TEXT}, ("object",)
    ),
    "get_date_fact": _T("Tells something of a day of the year, given as month/day.", {"date": TEXT}, ("text",)),
    "get_year_fact": _T("Tells something of a year.", {"year": NUMBER}, ("text",)),
    "get_math_fact": _T("Tells something mathematical of a number.", {"number": NUMBER}, ("text",)),
    "get_trivia_fact": _T("Tells some trivia of a number.", {"number": NUMBER}, ("text",)),
    "love_calculator": _T(
        "Rates how well two people match.", {"first_name": TEXT, "second_name": TEXT}, ("number",)
    ),
    "get_location": _T("Finds longitude and latitude of a place.", {"city": TEXT}, ("lon", "lat")),
    "search_movie": _T("Looks up a film.", {"movie_title": TEXT, "movie_year": NUMBER}, ("text",)),
    "get_weather": _T("Forecasts the weather at coordinates.", {"lon": TEXT, "lat": TEXT}, ("objects",)),
    "wikipedia_simple_search": _T("Sums up the Wikipedia page that fits best.", {"text": TEXT}, ("text",)),
}

CATALOGUE: dict[str, Schema] = {
    name: {
        "name": name,
        "description": f"{tool.description} Returns {', '.join(tool.outputs)}.",
        "parameters": {"type": "object", "properties": tool.arguments, "required": list(tool.arguments)},
    }
    for name, tool in TOOLS.items()
}
"""By name: `{"name", "description", "parameters"}`, the parameters as a JSON schema."""


def signatures() -> str:
    """The tools as Python knows them, a line each: arguments, outputs, what it does."""
    lines = []
    for name, tool in TOOLS.items():
        outputs = ", ".join(repr(one) for one in tool.outputs)
        lines.append(f"{name}({', '.join(tool.arguments)}) -> {{{outputs}}}: {tool.description}")
    return "\n".join(lines)
