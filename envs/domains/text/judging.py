"""How the answers of own data are judged: by the text domain's scorer, another registered one, or the user's."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dataenvgym.envs.domains.base import Domain
from dataenvgym.envs.domains.text.domain import MARK, domain_for, scorer_of
from dataenvgym.envs.domains.text.instances import Item, gold, guess_scorer, question_of
from dataenvgym.envs.domains.text.options import CustomOptions
from dataenvgym.envs.domains.text.scoring.kinds import KINDS, Kind, Settings
from dataenvgym.envs.domains.text.scoring.objects import last_object
from dataenvgym.envs.domains.text.scoring.words import LONGEST
from dataenvgym.envs.errors import ConfigError, DataError, UnknownNameError
from dataenvgym.envs.loading import load_object
from dataenvgym.envs.scorers import SCORERS, Scorer
from dataenvgym.envs.types import Instance


@dataclass(frozen=True)
class Judge:
    """A scorer with its settings. `kind`: None for a scorer that is not the text domain's."""

    scorer: Scorer
    kind: Kind | None
    settings: Settings
    domain: Domain

    @property
    def name(self) -> str:
        """The scorer's name."""
        return self.scorer.name

    def instance(self, item: Item) -> Instance:
        """The instance of an item, with the id that the data give it, or none yet.

        Raises:
            DataError: its answer cannot be judged. It has no place yet.
        """
        made = Instance(
            id=item.id or "",
            question=question_of(item),
            answer=gold(item, self.name),
            solution=item.solution,
            skill=item.skill,
        )
        length = len(made.answer)
        fault = f"the answer has {length:,} characters. Expected at most {LONGEST:,}" if length > LONGEST else ""
        if not fault and self.kind is not None:
            fault = self.kind.fault(self.settings, made.question, made.answer)
        if not fault and self.kind is not None:
            accepted = self.kind.same(self.settings, made.question, made.answer, made.answer)
            fault = (
                "" if accepted else f"the scorer {self.name!r} refuses its own right answer {made.answer!r:.80}"
            )
        if not fault and self.domain.extract(self.domain.render_answer("", made.answer)) != made.answer:
            fault = f"the answer cannot be read back, e.g. because the mark stands in it: {made.answer!r:.80}"
        if fault:
            raise DataError(fault)
        return made

    def try_on(self, instance: Instance, place: str) -> None:
        """Try a scorer from elsewhere on a right answer.

        Raises:
            DataError: it fails, or refuses the answer.
        """
        if self.kind is not None:
            return
        mark = self.domain.marks([instance], [instance.answer])[0]
        if not mark.correct:
            why = mark.detail or f"scorer {self.name!r} refuses the right answer {instance.answer!r:.80}"
            raise DataError(f"{place}: {why}.")


def judge(options: CustomOptions, items: Sequence[Item]) -> Judge:
    """The scorer that the options name, or that the answers look like.

    Raises:
        UnknownNameError: there is none of that name.
        ConfigError: a setting that it needs is missing, or one is given that it does not read.
    """
    name = options.scorer or guess_scorer(options, items)
    kind, settings = KINDS.get(name), options.settings()
    if unread := options.set_but_unread(name):
        readers = sorted(kind.name for kind in KINDS.values() if unread[0] in kind.settings)
        raise ConfigError(
            f"task.options.{unread[0]}: the scorer {name!r} does not read it. It is for {', '.join(readers)}."
        )
    if name == "regex" and settings.pattern is None:
        raise ConfigError("task.options.pattern: the scorer 'regex' needs it, e.g. '[0-9]{4}-[0-9]{2}-[0-9]{2}'.")
    if name == "label" and not settings.labels:
        settings = replace(settings, labels=_labels(items))
    if name == "json" and not settings.fields:
        settings = replace(settings, fields=_common_fields(items))
    scorer = _scorer(name) if kind is None else scorer_of(kind, settings)
    mark = _mark(options)
    return Judge(scorer, kind, settings, domain_for(scorer, kind, settings, asks=options.instruction, mark=mark))


def load_own_scorer(options: CustomOptions) -> None:
    """Run the file of a scorer `file.py:function`, so that it goes by that name.

    Raises:
        ConfigError: no such file, or it fails.
        UnknownNameError: it has no such function.
    """
    if options.scorer is not None and ":" in options.scorer:
        SCORERS[options.scorer] = Scorer(
            options.scorer.rpartition("/")[2], "your own", load_object(options.scorer)
        )


def _scorer(name: str) -> Scorer:
    if ":" in name and name not in SCORERS:
        raise ConfigError(
            f"task.options.scorer: {name!r} is not loaded. Code is loaded for a config that `load_config` or the "
            "command line reads, never for one that comes over the network."
        )
    if name not in SCORERS:
        raise UnknownNameError("scorer", name, [*KINDS, *SCORERS])
    return SCORERS.find(name)


def _mark(options: CustomOptions) -> str:
    if options.mark is not None:
        return options.mark.strip()
    return MARK if options.instruction is None or MARK.casefold() in options.instruction.casefold() else ""


def _common_fields(items: Sequence[Item]) -> tuple[str, ...]:
    """The fields that all right answers have, where they have the same; none otherwise."""
    found = [tuple(last_object(_as_json(item.answer)) or ()) for item in items]
    return found[0] if len({frozenset(fields) for fields in found}) == 1 else ()


def _as_json(answer: object) -> str:
    return answer if isinstance(answer, str) else json.dumps(answer, default=str)


def _labels(items: Sequence[Item]) -> tuple[str, ...]:
    """The labels in the data, in alphabetical order. Answers that cannot be labels are found as faults later."""
    found = Counter[str]()
    for item in items:
        try:
            found[gold(item, "label")] += 1
        except DataError:
            continue
    if len({label.casefold() for label in found}) == 1:
        raise DataError(
            f"{items[0].record.where}: all {len(items)} answers are {next(iter(found))!r:.60}: one class. The "
            "scorer 'label' needs at least two (task.options.labels names those that the data lack)."
        )
    return tuple(sorted(found))
