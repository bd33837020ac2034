"""Where a prompt's text comes from: the files of a domain over those that all domains share.

A prompt `<domain>/<name>` is the first `<name>.jinja` found in the user's `<domain>/`, the domain's own folder and
the packaged `<domain>/`, and after these in the user's and the packaged `shared/`. A file of a domain that says
`extends: shared/<name>` in its front matter holds only what the domain says differently: its keys replace those of
the shared front matter, and its blocks replace the shared blocks of the same names:

    {% block advice %}
    - One line for each thing to watch.
    {% endblock %}

Each block tag has a line to itself. Two more things are filled in from the same folders: the line `{% macros %}`
becomes `_macros.jinja`, and `{{ words.subject }}` becomes that entry of `words.yaml`. The result is one template
that stands alone, the same that `dataenvgym prompts copy` writes.
"""

import re
import textwrap
from collections.abc import Callable
from difflib import get_close_matches
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from dataenvgym.envs.errors import TeacherError, UnknownNameError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

SUFFIX, SHARED, MACROS, WORDS = ".jinja", "shared", "_macros.jinja", "words.yaml"
WIDTH = 115
_BLOCK = re.compile(r"^{% block (\w+) %}\n(.*?)^{% endblock %}\n", re.MULTILINE | re.DOTALL)
_MACRO = re.compile(r"(?:^{#[^\n]*#}\n)?^{% macro (\w+)\(.*?endmacro -%}\n", re.MULTILINE | re.DOTALL)
_INCLUDE = re.compile(r"^{% macros %}\n", re.MULTILINE)
_WORD = re.compile(r"{{ words\.(\w+) }}")

own_folder: Callable[[str], Path | None] = lambda domain: None  # noqa: E731
"""Domain -> the folder of prompts it brings along, if it does. Set by whoever knows the domains."""


def list_domains(overlay: Path | None = None) -> list[str]:
    """The domains that have prompts, packaged or in the user's folder."""
    return sorted({folder.name for root in _roots(overlay) for folder in _folders(root)} - {SHARED})


def list_prompts(domain: str, overlay: Path | None = None) -> list[str]:
    """Names of a domain's prompts, the shared ones among them.

    Raises:
        UnknownNameError: no folder has prompts of that domain.
    """
    files = _found(domain, overlay)
    return sorted(name.removesuffix(SUFFIX) for name in files if name.endswith(SUFFIX) and name != MACROS)


def prompt_file(domain: str, name: str, overlay: Path | None = None) -> "Traversable":
    """The file of a prompt that is nearest to the user.

    Raises:
        UnknownNameError: no such domain or prompt; the text names the nearest.
        TeacherError: the overlay folder is absent.
    """
    files = _found(domain, overlay)
    if f"{name}{SUFFIX}" not in files:
        raise UnknownNameError(f"{domain} prompt", name, list_prompts(domain, overlay))
    return files[f"{name}{SUFFIX}"]


def whole_prompt(domain: str, name: str, overlay: Path | None = None) -> tuple[dict[str, Any], str, str]:
    """(front matter, body, the file it came from) of a prompt as one template.

    Raises:
        UnknownNameError: no such domain or prompt.
        TeacherError: a file cannot be read, its front matter is no mapping, or what it extends does not fit.
    """
    file = prompt_file(domain, name, overlay)
    source = str(file)
    head, body = split(_read(file), source)
    if (base := head.pop("extends", None)) is not None:
        if base != f"{SHARED}/{name}":
            raise TeacherError(f"prompt file {source}: extends is {base!r}; it can only be '{SHARED}/{name}'.")
        shared = _shared(overlay).get(f"{name}{SUFFIX}")
        if shared is None:
            raise TeacherError(f"prompt file {source} extends {base}, and there is no such file.")
        under, text = split(_read(shared), str(shared))
        head, body = {**under, **head}, _with_blocks(text, body, source)
    if _INCLUDE.search(body):
        macros = _macros(domain, overlay)
        body = _INCLUDE.sub(lambda found: _needed(_BLOCK.sub(lambda block: block[2], macros), body), body)
    body = _BLOCK.sub(lambda found: found[2], body)
    words = _words(domain, overlay)
    body = _worded(body, words, source)
    if isinstance(head.get("system"), str):
        head["system"] = _worded(head["system"], words, source)
    return head, body, source


def written(head: dict[str, Any], body: str) -> str:
    """The text of a file with this front matter and body, to be edited by a person."""
    keys = {key: value for key, value in head.items() if key != "system"}
    text = yaml.safe_dump(keys, sort_keys=False, allow_unicode=True, width=10_000)
    if system := head.get("system"):
        folded = "system: >-\n" + textwrap.indent(textwrap.fill(system, WIDTH - 2, break_on_hyphens=False), "  ")
        same = yaml.safe_load(folded) == {"system": system}
        text += folded + "\n" if same else yaml.safe_dump({"system": system}, allow_unicode=True, width=WIDTH)
    return f"---\n{text}---\n{body}"


def split(text: str, source: str) -> tuple[dict[str, Any], str]:
    """Front matter and body of a file's text.

    Raises:
        TeacherError: there is no front matter, or it is not YAML.
    """
    lines = text.removeprefix("\ufeff").splitlines(keepends=True)
    marks = [i for i, line in enumerate(lines) if line.rstrip() == "---"][:2]
    if len(marks) < 2 or marks[0] != 0:
        raise TeacherError(
            f"prompt file {source} must start with front matter between two lines '---' "
            "(keys: purpose, variables, tool, version, system)."
        )
    try:
        head = _parsed("".join(lines[1 : marks[1]])) or {}
    except yaml.YAMLError as error:
        raise TeacherError(f"prompt file {source}: the front matter is not YAML: {error}") from error
    if not isinstance(head, dict):
        raise TeacherError(f"prompt file {source}: the front matter must be keys and values, not {head!r:.80}.")
    return dict(head), "".join(lines[marks[1] + 1 :])


@lru_cache(maxsize=256)  # some 20 ms for a prompt, which each call to a model would pay again
def _parsed(text: str) -> Any:
    return yaml.safe_load(text)


def _with_blocks(text: str, blocks: str, source: str) -> str:
    """A shared body with the blocks of a domain's in place of its own."""
    mine = {found[1]: found[2] for found in _BLOCK.finditer(blocks)}
    known = [found[1] for found in _BLOCK.finditer(text)]
    if rest := _BLOCK.sub("", blocks).strip():
        raise TeacherError(
            f"prompt file {source} extends a shared one, so it may hold blocks only, but "
            f"{rest.splitlines()[0]!r:.80} stands outside of them. A block begins with a line "
            "{% block NAME %} and ends with a line {% endblock %}."
        )
    for name in sorted(set(mine) - set(known)):
        near = get_close_matches(name, known, n=1, cutoff=0.4)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise TeacherError(
            f"prompt file {source}: the shared file has no block {name!r}.{hint} Blocks: {', '.join(known)}."
        )
    return _BLOCK.sub(
        lambda found: f"{{% block {found[1]} %}}\n{mine.get(found[1], found[2])}{{% endblock %}}\n", text
    )


def _worded(text: str, words: dict[str, str], source: str) -> str:
    def word(found: re.Match[str]) -> str:
        if found[1] not in words:
            near = get_close_matches(found[1], list(words), n=1, cutoff=0.4)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise TeacherError(f"prompt file {source}: {WORDS} has no {found[1]!r}.{hint}")
        return words[found[1]]

    return _WORD.sub(word, text)


def _words(domain: str, overlay: Path | None) -> dict[str, str]:
    words: dict[str, str] = {}
    for folder in reversed(_order(domain, overlay)):
        file = folder / WORDS
        if file.is_file():
            try:
                words |= _parsed(_read(file)) or {}
            except (yaml.YAMLError, TypeError) as error:
                raise TeacherError(f"{file} must hold keys and values in YAML: {error}") from error
    return {key: str(value) for key, value in words.items()}


def _macros(domain: str, overlay: Path | None) -> str:
    folders = [folder for folder in _order(domain, overlay) if (folder / MACROS).is_file()]
    shared = next(folder for folder in folders if folder.name == SHARED)
    text = _read(shared / MACROS)
    for folder in reversed(folders):
        if folder.name != SHARED:
            text = _with_blocks(text, _read(folder / MACROS), str(folder / MACROS))
    return text


def _needed(macros: str, body: str) -> str:
    """The macros that the body calls, or that those call, in the order they stand in."""
    defined = {found[1]: found[0] for found in _MACRO.finditer(macros)}
    kept: set[str] = set()
    text = body
    while more := {name for name in set(defined) - kept if re.search(rf"\b{name}\(", text)}:
        kept |= more
        text = "".join(defined[name] for name in more)
    return "".join(text for name, text in defined.items() if name in kept)


def _roots(overlay: Path | None) -> "list[Traversable]":
    """The folders that hold folders of domains, the user's first."""
    packaged: Traversable = resources.files("dataenvgym.prompts")
    if overlay is None:
        return [packaged]
    if not overlay.is_dir():
        raise TeacherError(f"prompt folder {overlay} does not exist or is no folder.")
    return [overlay, packaged]


def _folders(root: "Traversable") -> "list[Traversable]":
    return [entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(("_", "."))]


def _order(domain: str, overlay: Path | None) -> "list[Traversable]":
    """The folders that a domain's prompts are looked up in, first to last; those that are there."""
    roots = _roots(overlay)
    own = own_folder(domain)
    order: list[Traversable] = [root / domain for root in roots]
    if own is not None:
        order.insert(len(roots) - 1, own)
    order += [root / SHARED for root in roots]
    return [folder for folder in order if folder.is_dir()]


def _found(domain: str, overlay: Path | None) -> "dict[str, Traversable]":
    order = _order(domain, overlay)
    if domain == SHARED or all(folder.name == SHARED for folder in order):
        raise UnknownNameError("prompt domain", domain, list_domains(overlay))
    files: dict[str, Traversable] = {}
    for folder in order:
        for file in folder.iterdir():
            if file.name.endswith(SUFFIX) and file.is_file():
                files.setdefault(file.name, file)
    return files


def _shared(overlay: Path | None) -> "dict[str, Traversable]":
    folders = [root / SHARED for root in reversed(_roots(overlay))]
    return {file.name: file for folder in folders if folder.is_dir() for file in folder.iterdir()}


def _read(file: "Traversable") -> str:
    try:
        return file.read_text(encoding="utf-8").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise TeacherError(f"prompt file {file} cannot be read: {error}") from error
