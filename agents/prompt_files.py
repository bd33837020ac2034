"""Put a prompt together from the files of a domain and those that all domains share.

The prompt `<domain>/<name>` is the first `<name>.jinja` in these folders: the user's `<domain>/`, the domain's own
folder, the packaged `<domain>/`, the user's `shared/`, the packaged `shared/`. A file whose front matter says
`extends: shared/<name>` holds only what the domain says differently. Its keys replace the keys of the shared front
matter, and its blocks replace the shared blocks of the same names:

    {% block advice %}
    - One line for each thing to watch.
    {% endblock %}

Each block tag has a line to itself. Two more things come from the same folders. The line `{% macros %}` becomes
the macros of `_macros.jinja` that the prompt calls. `{{ words.subject }}` becomes that entry of `words.yaml`.

The result is one template that stands alone; `dataenvgym prompts copy` writes it to a file. Each line keeps the
file and the line number it came from, so that an error can name them.
"""

import re
import textwrap
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import lru_cache
from importlib import resources
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from dataenvgym.envs.errors import TeacherError, UnknownNameError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

SUFFIX, SHARED, MACROS, WORDS = ".jinja", "shared", "_macros.jinja", "words.yaml"
WIDTH = 115
_BLOCK = re.compile(r"{% block (\w+) %}\s*")
_END_OF_BLOCK = re.compile(r"{% endblock %}\s*")
_MACROS = re.compile(r"{% macros %}\s*")
_MACRO = re.compile(r"{%-? *macro (\w+)\(")
_END_OF_MACRO = re.compile(r"{%-? *endmacro *-?%}")
_WORD = re.compile(r"{{ words\.(\w+) }}")


class Line(NamedTuple):
    """A line of a prompt with its line break, its file, and its line number there, from 1."""

    text: str
    file: str
    number: int

    def place(self) -> str:
        """Return the file and the line number, for messages."""
        return f"{self.file}, line {self.number}"


class WholePrompt(NamedTuple):
    """A prompt as one template.

    `head`: the front matter. `source`: the file nearest to the user. `system_source`: the file with the system
    message.
    """

    head: dict[str, Any]
    lines: tuple[Line, ...]
    source: str
    system_source: str

    @property
    def body(self) -> str:
        """The template of the user message."""
        return _join(self.lines)


def own_folder(domain: str) -> Path | None:
    """Return a domain's own folder of prompts; None if it has none."""
    from dataenvgym.envs.domains.base import DOMAINS

    return DOMAINS[domain].prompts() if domain in DOMAINS else None


def list_domains(overlay: Path | None = None) -> list[str]:
    """List all domains, including those that have prompts only in the user's folder."""
    from dataenvgym.envs.domains.base import DOMAINS

    return sorted({folder.name for root in _roots(overlay) for folder in _folders(root)} - {SHARED} | {*DOMAINS})


def list_prompts(domain: str, overlay: Path | None = None) -> list[str]:
    """List the names of a domain's prompts, including the shared ones.

    Raises:
        UnknownNameError: no folder has prompts of that domain.
    """
    files = _prompt_files(domain, overlay)
    return sorted(name.removesuffix(SUFFIX) for name in files if name.endswith(SUFFIX) and name != MACROS)


def prompt_file(domain: str, name: str, overlay: Path | None = None) -> "Traversable":
    """Return the file of a prompt, from the first folder that has it.

    Raises:
        UnknownNameError: no such domain or prompt; the text names the nearest.
        TeacherError: the overlay folder is absent.
    """
    files = _prompt_files(domain, overlay)
    if f"{name}{SUFFIX}" not in files:
        more = f"Looked for shared/{name}{SUFFIX} and {domain}/{name}{SUFFIX} in {overlay} too."
        if overlay is None:
            more = "A prompt of your own needs its folder: --prompts DIR, which is teacher.prompts."
        raise UnknownNameError(f"{domain} prompt", name, list_prompts(domain, overlay), more)
    return files[f"{name}{SUFFIX}"]


def shared_files(overlay: Path | None = None) -> "dict[str, Traversable]":
    """Map names to the files that all domains share; the user's files override the packaged ones."""
    folders = [root / SHARED for root in reversed(_roots(overlay))]
    return {file.name: file for folder in folders if folder.is_dir() for file in folder.iterdir()}


def whole_prompt(domain: str, name: str, overlay: Path | None = None) -> WholePrompt:
    """Put the prompt `<domain>/<name>` together as one template.

    Raises:
        UnknownNameError: no such domain or prompt.
        TeacherError: a file cannot be read, its front matter is not a mapping, or it does not fit the file it
            extends.
    """
    file = prompt_file(domain, name, overlay)
    source = system_source = str(file)
    head, own_lines = split(read_file(file), source)
    parts = _parts(own_lines)
    if (base := head.pop("extends", None)) is not None:
        if base != f"{SHARED}/{name}":
            raise TeacherError(f"prompt file {source}: extends is {base!r}; it can only be '{SHARED}/{name}'.")
        shared = shared_files(overlay).get(f"{name}{SUFFIX}")
        if shared is None:
            raise TeacherError(f"prompt file {source} extends {base}, but that file does not exist.")
        under, text = split(read_file(shared), str(shared))
        system_source = source if "system" in head else str(shared)
        if all(isinstance(one.get("variables"), dict) for one in (under, head)):
            head["variables"] = {**under["variables"], **head["variables"]}
        head, parts = {**under, **head}, _with_blocks(_parts(text), parts, str(shared))
    lines = _without_tags(parts)
    if any(_MACROS.fullmatch(line.text) for line in lines):
        macros = _used_macros(_macros(domain, overlay), _join(lines))
        lines = [new for old in lines for new in (macros if _MACROS.fullmatch(old.text) else [old])]
    words = _words(domain, overlay)
    lines = [line._replace(text=_fill_words(line.text, words, line.place())) for line in lines]
    if isinstance(head.get("system"), str):
        head["system"] = _fill_words(head["system"], words, system_source)
    return WholePrompt(head, tuple(lines), source, system_source)


def prompt_text(head: dict[str, Any], body: str) -> str:
    """Return the text of a file with this front matter and body, for a person to edit."""
    keys = {key: value for key, value in head.items() if key != "system"}
    text = yaml.safe_dump(keys, sort_keys=False, allow_unicode=True, width=10_000)
    if system := head.get("system"):
        folded = "system: >-\n" + textwrap.indent(textwrap.fill(system, WIDTH - 2, break_on_hyphens=False), "  ")
        same = yaml.safe_load(folded) == {"system": system}
        text += folded + "\n" if same else yaml.safe_dump({"system": system}, allow_unicode=True, width=WIDTH)
    return f"---\n{text}---\n{body}"


def split(text: str, source: str) -> tuple[dict[str, Any], list[Line]]:
    """Split a file's text into front matter and body.

    Raises:
        TeacherError: the front matter is missing or is not YAML.
    """
    lines = _lines(text, source)
    marks = [i for i, line in enumerate(lines) if line.text.rstrip() == "---"][:2]
    if len(marks) < 2 or marks[0] != 0:
        raise TeacherError(
            f"prompt file {source} must start with front matter between two lines '---' "
            "(keys: purpose, variables, tool, version, system)."
        )
    try:
        head = _parse_yaml(_join(lines[1 : marks[1]])) or {}
    except yaml.YAMLError as error:
        raise TeacherError(f"prompt file {source}: the front matter is not YAML: {error}") from error
    if not isinstance(head, dict):
        raise TeacherError(f"prompt file {source}: the front matter must be keys and values, not {head!r:.80}.")
    return dict(head), lines[marks[1] + 1 :]


def read_file(file: "Traversable") -> str:
    """Read a file as text, with uniform line breaks and one at the end.

    Raises:
        TeacherError: the file cannot be read or is not UTF-8.
    """
    try:
        text = file.read_text(encoding="utf-8").removeprefix("\ufeff").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise TeacherError(f"prompt file {file} cannot be read: {error}") from error
    return text if text.endswith("\n") else text + "\n"


@lru_cache(maxsize=256)  # parsing takes some 20 ms per prompt, and each call to a model needs it
def _parse_yaml(text: str) -> Any:
    return yaml.safe_load(text)


class _Part(NamedTuple):
    """A block, or lines between blocks, whose `name` is empty. `opened`: the place of the block's first tag."""

    name: str
    opened: str
    lines: list[Line]


def _lines(text: str, source: str) -> list[Line]:
    return [Line(line, source, number) for number, line in enumerate(StringIO(text), 1)]


def _join(lines: Iterable[Line]) -> str:
    return "".join(line.text for line in lines)


def _parts(lines: Iterable[Line]) -> list[_Part]:
    """Split a text into its blocks and the parts between them, in order, without the tags."""
    parts = [_Part("", "", [])]
    for line in lines:
        if found := _BLOCK.fullmatch(line.text):
            if parts[-1].name:
                break
            parts.append(_Part(found[1], line.place(), []))
        elif parts[-1].name and _END_OF_BLOCK.fullmatch(line.text):
            parts.append(_Part("", "", []))
        else:
            parts[-1].lines.append(line)
    if parts[-1].name:
        raise TeacherError(
            f"prompt file {parts[-1].opened}: the block {parts[-1].name!r} does not end with a line "
            "{% endblock %}. A block cannot contain another block."
        )
    return parts


def _without_tags(parts: Iterable[_Part]) -> list[Line]:
    return [line for part in parts for line in part.lines]


def _with_blocks(shared: Sequence[_Part], blocks: Iterable[_Part], source: str) -> list[_Part]:
    """Replace blocks of the shared file `source` by those of `blocks` with the same names."""
    known = [part.name for part in shared if part.name]
    mine: dict[str, _Part] = {}
    for part in blocks:
        stray = next((line for line in part.lines if line.text.strip()), None)
        if not part.name and stray is not None:
            raise TeacherError(
                f"prompt file {stray.place()}: a file that extends a shared one holds only blocks, but "
                f"{stray.text.strip()!r:.80} is outside of them. A block begins with a line "
                "{% block NAME %} and ends with a line {% endblock %}."
            )
        if part.name and part.name not in known:
            near = get_close_matches(part.name, known, n=1, cutoff=0.4)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise TeacherError(
                f"prompt file {part.opened}: the shared file {source} has no block {part.name!r}.{hint} "
                f"Its blocks: {', '.join(known) or 'none'}."
            )
        if part.name:
            mine[part.name] = part
    return [mine.get(part.name, part) for part in shared]


def _fill_words(text: str, words: dict[str, str], place: str) -> str:
    def word(found: re.Match[str]) -> str:
        if found[1] not in words:
            near = get_close_matches(found[1], list(words), n=1, cutoff=0.4)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise TeacherError(f"prompt file {place}: {WORDS} has no {found[1]!r}.{hint}")
        return words[found[1]]

    return _WORD.sub(word, text)


def _words(domain: str, overlay: Path | None) -> dict[str, str]:
    words: dict[str, str] = {}
    for folder in reversed(_order(domain, overlay)):
        file = folder / WORDS
        if file.is_file():
            try:
                words |= _parse_yaml(read_file(file)) or {}
            except (yaml.YAMLError, TypeError, ValueError) as error:
                raise TeacherError(f"{file} must hold keys and values in YAML: {error}") from error
    return {key: str(value) for key, value in words.items()}


def _macros(domain: str, overlay: Path | None) -> list[Line]:
    folders = [folder for folder in _order(domain, overlay) if (folder / MACROS).is_file()]
    shared = next(folder for folder in folders if folder.name == SHARED) / MACROS
    parts = _parts(_lines(read_file(shared), str(shared)))
    for folder in reversed(folders):
        if folder.name != SHARED:
            file = folder / MACROS
            parts = _with_blocks(parts, _parts(_lines(read_file(file), str(file))), str(shared))
    return _without_tags(parts)


def _used_macros(lines: Iterable[Line], body: str) -> list[Line]:
    """Select the macros that the body calls, directly or not, in order, each with the comment above it."""
    macros: dict[str, list[Line]] = {}
    above: list[Line] = []
    inside: list[Line] | None = None
    for line in lines:
        if inside is None and (found := _MACRO.match(line.text)):
            inside = macros[found[1]] = above
        if inside is not None:
            inside.append(line)
            if _END_OF_MACRO.search(line.text):
                inside, above = None, []
        else:
            above = [line] if line.text.startswith("{#") else []
    kept: set[str] = set()
    text = body
    while more := {name for name in set(macros) - kept if re.search(rf"\b{name}\(", text)}:
        kept |= more
        text = "".join(_join(macros[name]) for name in more)
    return [line for name, lines in macros.items() if name in kept for line in lines]


def _roots(overlay: Path | None) -> "list[Traversable]":
    """Return the folders that contain the domains' folders, the user's first."""
    packaged: Traversable = resources.files("dataenvgym.prompts")
    if overlay is None:
        return [packaged]
    if not overlay.is_dir():
        raise TeacherError(f"prompt folder {overlay} does not exist or is not a folder.")
    return [overlay, packaged]


def _folders(root: "Traversable") -> "list[Traversable]":
    return [entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(("_", "."))]


def _order(domain: str, overlay: Path | None) -> "list[Traversable]":
    """Return the existing folders for a domain's prompts, in lookup order."""
    roots = _roots(overlay)
    own = own_folder(domain)
    order: list[Traversable] = [root / domain for root in roots]
    if own is not None:
        order.insert(len(roots) - 1, own)
    order += [root / SHARED for root in roots]
    return [folder for folder in order if folder.is_dir()]


def _prompt_files(domain: str, overlay: Path | None) -> "dict[str, Traversable]":
    order = _order(domain, overlay)
    if domain == SHARED or domain not in list_domains(overlay):
        raise UnknownNameError("prompt domain", domain, list_domains(overlay))
    files: dict[str, Traversable] = {}
    for folder in order:
        for file in folder.iterdir():
            if file.name.endswith(SUFFIX) and file.is_file():
                files.setdefault(file.name, file)
    return files
