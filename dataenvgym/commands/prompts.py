"""`dataenvgym prompts`: list, show and check the prompts, and copy them for editing."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from dataenvgym.commands.arguments import Commands, add_prompts
from dataenvgym.envs.errors import ConfigError, TeacherError, UnknownNameError

if TYPE_CHECKING:
    from dataenvgym.agents.prompts import PromptTemplate
    from dataenvgym.commands.prompt_samples import Sample

SUFFIX, SHARED = ".jinja", "shared"
PACKAGED = "packaged"
UNWRAPPED = ("domain", "name", "tool", "version", "field", "required", "what")
"""Columns of the tables that do not wrap, because their text is for copying."""
EXAMPLES = """\
examples:
  dataenvgym prompts list
  dataenvgym prompts show math/generate_rows --rendered
  dataenvgym prompts copy math/generate_rows my_prompts   then edit my_prompts/math/generate_rows.jinja
  dataenvgym prompts check --prompts my_prompts
"""


class Finding(NamedTuple):
    """A finding of the check about a prompt.

    `file`: "packaged", or the path in the user's folder. `kind`: `fault` for a prompt that fails; `unknown` for a
    name that no node gives or asks for; `note` for a remark that is not a mistake.
    """

    prompt: str
    file: str
    kind: Literal["fault", "unknown", "note"]
    text: str


def check_prompts(overlay: Path | None = None) -> list[Finding]:
    """Load and render every prompt with sample variables; prompts of the folder override the packaged ones.

    Raises:
        TeacherError: the folder is missing.
    """
    from dataenvgym.agents.prompt_files import list_domains

    found = [] if overlay is None else [*_strays(overlay)]
    for domain in list_domains(overlay):
        found += _check_domain(domain, overlay)
    return found


def copy_prompts(names: Iterable[str], folder: Path) -> list[Path]:
    """Copy packaged prompts (`domain/name`; none: all) to `folder/domain/name.jinja`; return the new files.

    A copy is complete: it includes the parts that the prompt shares with other domains. `shared/name` copies the
    shared file unchanged, with its blocks; an edit of that copy changes the prompt in every domain.

    Raises:
        UnknownNameError: no such prompt; the text names the nearest.
        ConfigError: a file of that name exists, and nothing was copied; or the folder cannot be written.
    """
    from dataenvgym.agents.prompt_files import MACROS, prompt_text, read_file, shared_files, whole_prompt
    from dataenvgym.envs.store import write_bytes

    def copied(domain: str, name: str) -> str:
        if domain == SHARED:
            return read_file(shared[f"{name}{SUFFIX}"])
        whole = whole_prompt(domain, name)
        return prompt_text(whole.head, whole.body)

    prompts, shared = _names(None), shared_files()
    files = sorted(file for file in shared if file.endswith(SUFFIX) and file != MACROS)
    known = [*prompts, *(f"{SHARED}/{file.removesuffix(SUFFIX)}" for file in files)]
    if str(folder) in known:
        raise ConfigError(f"{folder} is a prompt; give the folder last, e.g. prompts copy {folder} my_prompts")
    chosen = [_split(name, known) for name in list(names) or prompts]
    copies = {folder / domain / f"{name}{SUFFIX}": copied(domain, name) for domain, name in chosen}
    taken = [path for path in copies if path.exists()]
    if taken:
        raise ConfigError(f"{taken[0]} already exists; nothing was copied. Move it away, or name other prompts")
    for path, text in copies.items():
        try:
            write_bytes(path, text.encode())
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
    return list(copies)


def _names(overlay: Path | None) -> list[str]:
    from dataenvgym.agents.prompt_files import list_domains, list_prompts

    return [f"{domain}/{name}" for domain in list_domains(overlay) for name in list_prompts(domain, overlay)]


def _split(prompt: str, known: Iterable[str]) -> tuple[str, str]:
    known = list(known)
    if prompt not in known:
        raise UnknownNameError("prompt", prompt, known)
    domain, _, name = prompt.partition("/")
    return domain, name


def _source(domain: str, name: str, overlay: Path | None) -> str:
    """Return the path of the user's file, in the domain's folder or the shared one, or "packaged"."""
    for folder in () if overlay is None else (overlay / domain, overlay / SHARED):
        if (mine := folder / f"{name}{SUFFIX}").is_file():
            return str(mine)
    return PACKAGED


def _strays(overlay: Path) -> Iterator[Finding]:
    """Find files and folders of the user that are not read, or of a domain that is not packaged."""
    from dataenvgym.agents.prompt_files import list_domains
    from dataenvgym.agents.prompts import hint
    from dataenvgym.commands.prompt_samples import NAMES

    packaged = list_domains()
    for file in sorted(overlay.iterdir()) if overlay.is_dir() else []:
        if file.is_file() and file.suffix == SUFFIX:
            right = " or ".join(str(overlay / domain / file.name) for domain in packaged)
            yield Finding(
                file.stem, str(file), "unknown", f"is not read: it must be in a domain's folder, as {right}"
            )
        if not file.is_dir() or file.name.startswith(("_", ".")):
            continue
        if file.name not in (*packaged, SHARED):
            text = f"no packaged domain is called {file.name!r}.{hint(file.name, packaged)}"
            yield Finding(file.name, str(file), "unknown", f"{text} Your own task may use it.")
        for inner in sorted(file.iterdir()):
            name = inner.name.partition(".")[0]
            if inner.suffix != SUFFIX and name in NAMES:
                text = f"is not read: the name must be {name}{SUFFIX}"
                yield Finding(f"{file.name}/{name}", str(inner), "unknown", text)


def _check_domain(domain: str, overlay: Path | None) -> Iterator[Finding]:
    from dataenvgym.agents.prompt_files import list_prompts, prompt_file
    from dataenvgym.agents.prompts import hint, load_prompt
    from dataenvgym.commands.prompt_samples import samples

    known = samples(domain)
    names = list_prompts(domain, overlay)
    for name in names:
        prompt, file = f"{domain}/{name}", _source(domain, name, overlay)
        try:
            template = load_prompt(domain, name, overlay)
        except TeacherError as error:
            path = str(prompt_file(domain, name, overlay))
            yield Finding(prompt, file, "fault", _without_path(error, path, file))
            continue
        if name in known:
            yield from (Finding(prompt, file, kind, text) for kind, text in _check_template(template, known[name]))
        else:
            text = f"no standard node asks for {name!r}.{hint(name, known)}"
            yield Finding(prompt, file, "unknown", f"{text} Your own node may.")


def _check_template(
    template: PromptTemplate, sample: Sample
) -> Iterator[tuple[Literal["fault", "unknown", "note"], str]]:
    from dataenvgym.agents.prompts import hint
    from dataenvgym.commands.prompt_samples import END, TOOLS

    tool = template.head.tool
    if tool != sample.tool:
        what = f"unknown tool {tool!r}" if tool not in TOOLS else f"tool {tool!r} belongs to another prompt"
        yield "fault", f"{what}; {sample.node} is answered through {sample.tool!r}"
    used, given = template.used(), set(sample.full)
    failure: TeacherError | None = None
    for variables in (sample.bare, sample.full):
        try:
            prompt = template.render(**variables)
        except TeacherError as error:
            failure = error
    strange = sorted(used - given)
    for variable in strange:
        text = f"{sample.node} gives no {variable!r}.{hint(variable, given)} Given: {', '.join(sorted(given))}."
        yield ("fault" if failure else "unknown"), text
    if failure is not None and not strange:
        yield "fault", _without_path(failure, template.source)
    if failure is None:
        ends = template.render(**_tame(sample.full)).text.count(END)
        if 0 < ends < prompt.text.count(END):
            yield (
                "note",
                f"a text that contains {END} ends the data early: show texts with the packaged macro text()",
            )
    unused = sorted(given - used)
    if unused:
        yield "note", f"given and not used: {', '.join(unused)}"
    idle = sorted(set(template.head.variables) - used - given)
    if idle:
        yield "note", f"declared, but neither given nor used: {', '.join(idle)}"


def _tame(value: Any) -> Any:
    """Remove the hostile text from the sample."""
    from dataenvgym.commands.prompt_samples import HOSTILE

    if isinstance(value, dict):
        return {key: _tame(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_tame(inner) for inner in value]
    return value.replace(HOSTILE, "") if isinstance(value, str) else value


def _without_path(error: TeacherError, *paths: str) -> str:
    """Remove the file from the message if it is one of these; the table has a column for it."""
    text = str(error)
    for path in paths:
        text = text.removeprefix(f"prompt file {path}")
    return text.lstrip(":, ")


def add_parser(commands: Commands) -> None:
    """Add the command `prompts`."""
    prompts = commands.add_parser(
        "prompts",
        help="list, show, copy or check the prompts",
        description="The prompts that the teacher's nodes send are Jinja files: one folder (shared) for all "
        "domains, and one per domain for the differences. Files in your own folder override the packaged ones.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = prompts.add_subparsers(required=True, metavar="list|show|copy|check")

    listing = actions.add_parser("list", help="list the prompts and their purposes")
    listing.set_defaults(command=_list)

    show = actions.add_parser("show", help="show a prompt's file and the expected answer")
    show.add_argument("prompt", metavar="DOMAIN/NAME", help="e.g. math/generate_rows")
    show.add_argument("--rendered", action="store_true", help="fill in samples, as a model gets the prompt")
    show.set_defaults(command=_show)

    copy = actions.add_parser("copy", help="copy packaged prompts into a folder, for editing")
    copy.add_argument(
        "names",
        nargs="*",
        metavar="DOMAIN/NAME",
        help="e.g. math/solve, or shared/solve to change it in every domain; default: all prompts of all domains",
    )
    copy.add_argument("folder", type=Path, metavar="DIR", help="your folder; no file in it is overwritten")
    copy.set_defaults(command=_copy)

    check = actions.add_parser(
        "check",
        help="load and render every prompt",
        description="Load and render every prompt with sample variables, as the nodes give them. The exit status "
        "is 1 if there is a fault.",
    )
    check.set_defaults(command=_check)

    for action in (listing, show, check):
        add_prompts(action)


def _list(arguments: argparse.Namespace) -> int:
    from dataenvgym.agents.prompts import load_prompt

    overlay: Path | None = arguments.prompts
    rows = []
    for prompt in _names(overlay):
        domain, _, name = prompt.partition("/")
        try:
            head = load_prompt(domain, name, overlay).head
            purpose, tool, version = head.purpose, head.tool, head.version
        except TeacherError:
            purpose, tool, version = "faulty: see `dataenvgym prompts check`", "-", "-"
        source = _source(domain, name, overlay)
        rows.append([domain, name, tool, version, purpose if source == PACKAGED else f"{purpose}\n({source})"])
    _table(["domain", "name", "tool", "version", "what it is for"], rows)
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from dataenvgym.agents.prompt_files import prompt_text, whole_prompt
    from dataenvgym.agents.prompts import load_prompt
    from dataenvgym.commands.prompt_samples import item_fields, item_model, samples

    overlay: Path | None = arguments.prompts
    domain, name = _split(arguments.prompt, _names(overlay))
    known = samples(domain)
    if arguments.rendered and name not in known:
        raise ConfigError(f"no standard node asks for {name!r}, so it has no sample variables")
    if not arguments.rendered:
        whole = whole_prompt(domain, name, overlay)
        sys.stdout.write(prompt_text(whole.head, whole.body).rstrip() + "\n\n")
        head = load_prompt(domain, name, overlay).head
        model = item_model(head.tool, domain)
        if model is None:
            sys.stdout.write(f"answered through {head.tool}\n")
            return 0
        sys.stdout.write(f"answered through {head.tool}, each item with:\n")
        fields = item_fields(model)
        rows = [[f.name, f.type, "yes" if f.required else "no", f.description] for f in fields]
        _table(["field", "type", "required", "what it is"], rows)
        return 0
    prompt = load_prompt(domain, name, overlay).render(**known[name].full)
    for part, text in (("system", prompt.system), ("user", prompt.text)):
        sys.stdout.write(f"[{part}]\n{text}\n\n")
    sys.stdout.write(f"tool {prompt.tool}, hash {prompt.hash}\n")
    return 0


def _copy(arguments: argparse.Namespace) -> int:
    for path in copy_prompts(arguments.names, arguments.folder):
        sys.stdout.write(f"{path}\n")
    folder = shlex.quote(str(arguments.folder))
    sys.stdout.write(
        f"Edit them, then:\n"
        f"  dataenvgym prompts check --prompts {folder}\n"
        f"  dataenvgym run ... --prompts {folder}\n"
        f"Delete the files that you do not change: the packaged ones are then used.\n"
    )
    return 0


def _check(arguments: argparse.Namespace) -> int:
    found = check_prompts(arguments.prompts)
    if found:
        where = [f.prompt if f.file == PACKAGED else f.file for f in found]
        _table(["prompt", "what", "finding"], [[at, f.kind, f.text] for at, f in zip(where, found, strict=True)])
    count = {kind: sum(f.kind == kind for f in found) for kind in ("fault", "unknown", "note")}
    checked = len(_names(arguments.prompts))
    counts = ", ".join(f"{kind}: {number}" for kind, number in count.items())
    sys.stdout.write(f"{checked} prompts checked; {counts}\n")
    return 1 if count["fault"] else 0


def _table(header: list[str], rows: list[list[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for title in header:
        table.add_column(title, no_wrap=title in UNWRAPPED, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))  # a text of the user's is no markup
    Console().print(table)
