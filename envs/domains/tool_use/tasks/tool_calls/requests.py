"""The procedural skills of the `tool_calls` task: requests, the tools that stand beside them, and the calls.

A question's text tells its skill, its calls and the tools that are shown with it, so that the same request is the
same problem wherever it turns up.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any, NamedTuple

from dataenvgym.envs.domains.tool_use.calls import Call, write_calls
from dataenvgym.envs.domains.tool_use.plans import plan_key
from dataenvgym.envs.domains.tool_use.schemas import properties
from dataenvgym.envs.domains.tool_use.tasks.tool_calls.catalogue import CATALOGUE, Schema
from dataenvgym.envs.domains.tool_use.tasks.tool_calls.forms import FORMS, Form
from dataenvgym.envs.domains.tool_use.tasks.tool_calls.words import PATTERNS, Values, derived, draw
from dataenvgym.envs.errors import UnknownNameError
from dataenvgym.envs.tasks.procedural import Problem, sentence_pattern

FEWEST_TOOLS, MOST_TOOLS = 2, 4
LONGEST_QUESTION = 300
"""Characters of a text that may be a request of the task."""


class Asked(NamedTuple):
    """What a question says: of which skill and form, with which words."""

    skill: str
    form: Form
    values: Values

    def calls(self) -> list[Call]:
        """The gold calls."""
        known = derived(self.values)
        return [Call(tool, _filled(tool, arguments, known)) for tool, arguments in self.form.calls]

    def key(self) -> str:
        """The same for every phrasing of the request, and for no other request."""
        if self.form.calls:
            return plan_key(self.calls())
        known = derived(self.values)
        return f"{self.form.sentences[0]}: " + "/".join(known[name] for name in sorted(known))


def _filled(tool: str, arguments: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    known = properties(CATALOGUE[tool])
    return {name: _value(known[name], template, values) for name, template in arguments.items()}


def _value(schema: Mapping[str, Any], template: Any, values: Mapping[str, str]) -> Any:
    if isinstance(template, list):
        return [_value(schema["items"], one, values) for one in template]
    text = template.format(**values)
    return int(text) if schema["type"] in ("integer", "number") else text


@dataclass(frozen=True)
class Skill:
    """A named skill; several of its forms may be of one variant."""

    name: str
    summary: str
    forms: tuple[Form, ...]

    @property
    def variants(self) -> tuple[str, ...]:
        """The names of its sub-kinds."""
        return tuple(dict.fromkeys(form.variant for form in self.forms))

    def generate(self, rng: Random, variant: str | None = None) -> Problem:
        """A problem drawn from `rng`, of `variant` or of any; `answer` is its calls as JSON.

        Raises:
            UnknownNameError: the skill has no such variant.
        """
        chosen = rng.choice(self.variants) if variant is None else variant
        forms = [form for form in self.forms if form.variant == chosen]
        if not forms:
            raise UnknownNameError("variant", chosen, self.variants)
        form = rng.choice(forms)
        sentence = rng.choice(form.sentences)
        asked = Asked(self.name, form, draw(_fields(sentence), rng))
        question, answer = sentence.format(**asked.values), write_calls(asked.calls())
        return Problem(question, "", answer, self.name, chosen, asked.key())

    def read(self, question: str) -> Asked | None:
        """What a question of this skill says; None for any other text. White space aside."""
        text = " ".join(question[:LONGEST_QUESTION].split())
        for form in self.forms:
            for sentence in form.sentences:
                if match := _pattern(sentence).fullmatch(text):
                    return Asked(self.name, form, match.groupdict())
        return None


def _fields(sentence: str) -> list[str]:
    return re.findall(r"\{(\w+)\}", sentence)


@cache
def _pattern(sentence: str) -> re.Pattern[str]:
    return sentence_pattern(sentence, PATTERNS)


SKILLS: dict[str, Skill] = {name: Skill(name, summary, forms) for name, summary, forms in FORMS}
"""By name, in a fixed order."""


def problem(skill: str, seed: int, index: int, variant: str | None = None) -> Problem:
    """Problem number `index` of a skill: a pure function of its arguments.

    Raises:
        UnknownNameError: no such skill, or the skill has no such variant.
    """
    if skill not in SKILLS:
        raise UnknownNameError("skill", skill, SKILLS)
    # Seeding by a string is defined by its sha512: the same in every process and Python version.
    return SKILLS[skill].generate(Random(f"tool_calls/{skill}/{variant}/{seed}/{index}"), variant)


def read(question: str) -> Asked | None:
    """What a question of the task says; None for text that no skill writes."""
    return next((asked for skill in SKILLS.values() if (asked := skill.read(question))), None)


def recognise(question: str) -> str | None:
    """The skill that asks a question, told from its text; None for text that no skill writes."""
    asked = read(question)
    return None if asked is None else asked.skill


def identity(question: str) -> str | None:
    """The request that a question makes, in any phrasing; None for text that no skill writes."""
    asked = read(question)
    return None if asked is None else asked.key()


def tools_shown(asked: Asked) -> list[Schema]:
    """Two to four tools of the catalogue: those that are called or near, and others, in any order.

    A pure function of what is asked.
    """
    rng = Random(f"tools/{json.dumps([asked.skill, asked.key()])}")
    needed = list(dict.fromkeys([*(tool for tool, _ in asked.form.calls), *asked.form.near]))
    others = [name for name in CATALOGUE if name not in needed and name not in asked.form.apart]
    fewest = max(FEWEST_TOOLS, len(needed) + (1 if asked.form.calls else 0))
    count = rng.randint(min(fewest, MOST_TOOLS), MOST_TOOLS)
    names = [*needed, *rng.sample(others, count - len(needed))]
    rng.shuffle(names)
    return [CATALOGUE[name] for name in names]
