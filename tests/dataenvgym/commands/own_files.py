"""Five files of one's own data, as people have them."""

import csv
import json
from pathlib import Path
from typing import Any

FILMS = ("The plot", "The music", "The cast", "The ending", "The camera", "The pace")
NAMES = ("Ann", "Bo", "Cem", "Dora", "Eli", "Fay")
PLACES = {"fox": "den", "bee": "hive", "cow": "barn", "bird": "nest", "spider": "web"}


def _lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def numbers(folder: Path) -> Path:
    rows = [
        {"question": f"A crate holds {a} jars. How many jars do {b} crates hold?", "answer": a * b}
        for a in range(12, 20)
        for b in range(2, 6)
    ]
    return _lines(folder / "numbers.jsonl", rows)


def choice(folder: Path) -> Path:
    places = sorted(PLACES.values())
    rows = [
        {
            "question": f"Where does the {animal} of {name} live?",
            "choices": [other for other in places if other == place or other in places[:2]],
            "answer": place,
            "topic": "wild" if animal in ("fox", "bird", "spider") else "tame",
        }
        for name in NAMES
        for animal, place in PLACES.items()
    ]
    return _lines(folder / "choice.jsonl", rows)


def sentiment(folder: Path) -> Path:
    path = folder / "sentiment.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["text", "label"])
        for film in range(4):
            table.writerows([f"{what} of film {film} is a joy.", "positive"] for what in FILMS)
            table.writerows([f"{what} of film {film} is dull.", "negative"] for what in FILMS)
    return path


def extraction(folder: Path) -> Path:
    rows = [
        {"text": f"{name} from room {room} called.", "target": {"name": name, "room": room}}
        for name in NAMES
        for room in range(101, 106)
    ]
    path = folder / "extraction.json"
    path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return path


def free_text(folder: Path) -> Path:
    rows = [
        {"prompt": f"Who keeps the key of room {room}?", "response": f"{name} keeps key {room}."}
        for room, name in enumerate(NAMES * 5)
    ]
    return _lines(folder / "free_text.jsonl", rows)


FILES = {
    "number": numbers,
    "choice": choice,
    "label": sentiment,
    "json": extraction,
    "text": free_text,
}
"""The scorer that each is judged by -> what makes it."""
