"""Asking the scripted model as the gateway does: a rendered prompt and one tool; sample variables for `math`."""

from typing import Any

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from pydantic import BaseModel

from dataenvgym.agents.llm.schemas import (
    ActionItem,
    CategoryItem,
    DiagnosisItem,
    LabelItem,
    ReplyItem,
    RequestItem,
    SolutionItem,
    SubskillItem,
)
from dataenvgym.agents.prompts import load_prompt
from dataenvgym.agents.scripted.chat_model import ScriptedChatModel
from dataenvgym.envs.domains.math.tasks.arithmetic_skills import SKILLS, problem


class RowItem(ReplyItem):
    question: str
    solution: str
    answer: str


ITEMS: dict[str, type[BaseModel]] = {
    "submit_rows": RowItem,
    "submit_requests": RequestItem,
    "submit_diagnoses": DiagnosisItem,
    "submit_subskills": SubskillItem,
    "submit_labels": LabelItem,
    "submit_categories": CategoryItem,
    "submit_actions": ActionItem,
    "submit_solutions": SolutionItem,
}
HISTORY = [
    {"iteration": 0, "rows": 0, "accuracy": 0.2, "n": 360},
    {"iteration": 1, "rows": 144, "accuracy": 0.5, "n": 360},
]


def exemplar(skill: str, index: int = 0) -> dict[str, str]:
    drawn = problem(skill, 99, index)
    return {
        "id": f"arithmetic/train/{skill}/{index:03d}",
        "question": drawn.question,
        "solution": drawn.solution,
        "answer": drawn.answer,
    }


def error(skill: str, index: int = 0, text: str = "I do not know.\n\nSkill: none") -> dict[str, str]:
    drawn = problem(skill, 98, index)
    name = f"arithmetic/val/{skill}/{index:03d}"
    return {"id": name, "question": drawn.question, "text": text, "gold": drawn.answer}


def listed(name: str, accuracy: float | None, errors: list[dict[str, str]]) -> dict[str, Any]:
    return {"name": name, "accuracy": accuracy, "n": 30, "rows": 12, "reward": None, "errors": errors}


def leaf(name: str, accuracy: float | None) -> dict[str, Any]:
    return {"name": name, "allocation": 10, "rows": 8, "accuracy": accuracy, "n": 8, "known_before": None}


SAMPLES: dict[str, dict[str, Any]] = {
    "generate_rows": {
        "skill": "addition",
        "subskill": "with carry",
        "count": 12,
        "reason": "It forgets\nthe carry.",
        "exemplars": [exemplar("addition")],
        "errors": [error("addition")],
        "avoid": [problem("addition", 1, 1).question],
        "answer_format": "The answer is one whole number.",
        "round": 0,
        "batch": 0,
    },
    "diagnose_errors": {
        "skills": [
            {"name": "addition", "errors": [error("addition", i) for i in range(3)]},
            {"name": "chain", "errors": [error("chain")]},
        ]
    },
    "plan_open_ended": {
        "budget": 100,
        "errors": [error("addition", i) for i in range(4)] + [error("chain", i) for i in range(2)],
        "examples_correct": 10,
        "n": 20,
        "accuracy": 0.5,
        "history": HISTORY,
        "start": "base",
        "diagnoses": [],
    },
    "plan_without_state": {"budget": 100, "examples": [exemplar("addition"), exemplar("chain")]},
    "plan_skill_list": {
        "budget": 100,
        "skills": [
            listed("addition", 0.25, [error("addition", i) for i in range(5)]),
            listed("double", 1.0, []),
            listed("chain", None, [error("chain")]),
        ],
        "history": HISTORY,
        "start": "base",
        "diagnoses": [],
    },
    "plan_skill_tree": {
        "budget": 90,
        "skills": [
            {"name": "addition", "accuracy": 0.4, "n": 30, "reward": 0.1, "subskills": []},
            {
                "name": "chain",
                "accuracy": 0.4,
                "n": 30,
                "reward": None,
                "subskills": [leaf("one-digit terms", 0.9), leaf("two-digit terms with plus", 0.1)],
            },
            {
                "name": "double",
                "accuracy": 1.0,
                "n": 30,
                "reward": 0.0,
                "subskills": [leaf("below 200", 1.0)],
            },
        ],
        "history": HISTORY,
        "start": "base",
        "diagnoses": [],
        "max_subskills": 5,
    },
    "propose_subskills": {
        "skill": "addition",
        "count": 3,
        "existing": ["No Carry"],
        "exemplars": [exemplar("addition")],
    },
    "label_skills": {
        "instances": [{"id": f"i{n}", "question": problem(s, 5, n).question} for n, s in enumerate(SKILLS)],
        "known": ["addition"],
    },
    "merge_skills": {
        "names": [{"name": f"skill_{n}", "count": n} for n in range(6)],
        "max_categories": 4,
    },
    "solve": {
        "problems": [{"id": f"p{n}", "question": problem(s, 5, n).question} for n, s in enumerate(SKILLS)],
        "answer_format": "End with 'Answer: X'.",
        "sample": 1,
    },
}
BARE: dict[str, dict[str, Any]] = {
    "generate_rows": {
        **SAMPLES["generate_rows"],
        "subskill": "",
        "reason": "",
        "exemplars": [],
        "errors": [],
        "avoid": [],
    },
    "diagnose_errors": {"skills": [{"name": "", "errors": [error("addition"), error("chain")]}]},
    "plan_open_ended": {**SAMPLES["plan_open_ended"], "errors": [], "history": [], "n": 0, "accuracy": 0.0},
    "plan_without_state": {**SAMPLES["plan_without_state"], "examples": []},
    "plan_skill_list": {**SAMPLES["plan_skill_list"], "history": []},
    "plan_skill_tree": {**SAMPLES["plan_skill_tree"], "history": []},
    "propose_subskills": {**SAMPLES["propose_subskills"], "existing": [], "exemplars": []},
    "label_skills": {**SAMPLES["label_skills"], "known": []},
    "merge_skills": SAMPLES["merge_skills"],
    "solve": {**SAMPLES["solve"], "problems": SAMPLES["solve"]["problems"][:1]},
}


def tool_schema(name: str, item: type[BaseModel] | None = None) -> dict[str, Any]:
    """The OpenAI form of a tool whose one argument is a list of items."""
    items = {"type": "array", "items": (item or ITEMS[name]).model_json_schema()}
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": "Hand in the items.",
            "parameters": {"type": "object", "properties": {"items": items}, "required": ["items"]},
        },
    }


def request(name: str, variables: dict[str, Any], domain: str = "math") -> tuple[str, list[Any]]:
    prompt = load_prompt(domain, name).render(**variables)
    return prompt.tool, [SystemMessage(prompt.system), HumanMessage(prompt.text)]


def ask(name: str, model: ScriptedChatModel | None = None, **changes: Any) -> AIMessage:
    tool, messages = request(name, {**SAMPLES[name], **changes})
    bound = (model or ScriptedChatModel()).bind_tools([tool_schema(tool)], tool_choice=tool)
    return bound.invoke(messages)


def items(message: AIMessage) -> list[dict[str, Any]]:
    assert len(message.tool_calls) == 1
    return list(message.tool_calls[0]["args"]["items"])
