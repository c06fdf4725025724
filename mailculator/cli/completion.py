"""completion: a static script for a shell. No press of Tab starts Python."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import typer


class Shell(StrEnum):
    """What SHELL takes."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@dataclass(frozen=True, slots=True)
class Level:
    """What can follow some words.

    Arguments:
        path: the commands that were typed, as one string (`queue list`); "" at the beginning.
        words: commands, options and values of arguments.
        values: by option: the values it takes; none where it takes one that nobody knows beforehand.
        files: whether it takes names of files.
    """

    path: str
    words: tuple[str, ...]
    values: dict[str, tuple[str, ...]]
    files: bool


def completion(
    context: typer.Context,
    shell: Annotated[Shell, typer.Argument(help="Which one.", metavar="bash|zsh|fish")],
) -> None:
    """Print a completion script for a shell.

    For bash: mailculator completion bash > /etc/bash_completion.d/mailculator
    For zsh: mailculator completion zsh > ~/.zsh/mailculator.zsh, and source it from ~/.zshrc after compinit.
    For fish: mailculator completion fish > ~/.config/fish/completions/mailculator.fish
    """
    levels = list(_levels(context.find_root().command, ""))
    print(_fish(levels) if shell is Shell.FISH else _bash(levels, zsh=shell is Shell.ZSH))


def _levels(command: Any, path: str) -> Iterator[Level]:
    """A command and all beneath it; Any, since typer brings click along in some versions and not in others."""
    below = getattr(command, "commands", {})
    words = [*below]
    values: dict[str, tuple[str, ...]] = {}
    files = False
    for one in command.params:
        known = _values(one)
        if one.param_type_name == "argument":
            words += known
            files = files or one.metavar == "FILE"
            continue
        words += one.opts
        if not one.is_flag:
            values |= dict.fromkeys(one.opts, known)
    yield Level(path, (*words, "--help"), values, files)
    for name, inner in below.items():
        yield from _levels(inner, f"{path} {name}".strip())


def _values(parameter: Any) -> tuple[str, ...]:
    """What it takes, by the word that --help shows for it."""
    from mailculator.lifecycle import STAGES
    from mailculator.model import Status

    if parameter.metavar == "STATUS":
        return tuple(Status)
    if parameter.metavar == "PIPELINE":
        return tuple(stage.name for stage in STAGES)
    metavar = parameter.metavar or ""
    return tuple(metavar.split("|")) if "|" in metavar else ()


_BASH = """\
_mailculator() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} path= one list= at
    for ((at = 1; at < COMP_CWORD; at++)); do
        one=${{COMP_WORDS[at]}}
        case "$path $one" in
{steps}
        esac
    done
    COMPREPLY=()
    case "$path:$before" in
{values}
        *)
            case "$path" in
{words}
            esac ;;
    esac
    COMPREPLY=($(compgen -W "$list" -- "$word"))
    case "$path" in
        {files}) COMPREPLY+=($(compgen -f -- "$word")) ;;
    esac
}}
complete -o filenames -F _mailculator mailculator"""


def _bash(levels: list[Level], *, zsh: bool) -> str:
    steps = "\n".join(f'            " {one.path}"|"{one.path}") path="{one.path}" ;;' for one in levels if one.path)
    values = "\n".join(
        f'        "{one.path}:{option}") list="{" ".join(known)}" ;;'
        for one in levels
        for option, known in one.values.items()
    )
    words = "\n".join(f'                "{one.path}") list="{" ".join(one.words)}" ;;' for one in levels)
    files = "|".join(f'"{one.path}"' for one in levels if one.files)
    script = _BASH.format(steps=steps, values=values, words=words, files=files)
    # zsh understands bash's own completion words.
    return f"autoload -U +X bashcompinit && bashcompinit\n{script}" if zsh else script


_FISH_AT = """\
function __mailculator_at
    set -l path ''
    for one in (commandline -opc)[2..-1]
        if contains -- (string trim -- "$path $one") {paths}
            set path (string trim -- "$path $one")
        end
    end
    test "$path" = "$argv[1]"
end
complete -c mailculator -f"""


def _fish(levels: list[Level]) -> str:
    lines = [_FISH_AT.format(paths=" ".join(f"'{one.path}'" for one in levels if one.path))]
    for one in levels:
        at = f"complete -c mailculator -n \"__mailculator_at '{one.path}'\""
        for word in one.words:
            if word.startswith("--"):
                known = one.values.get(word)
                takes = "" if known is None else f" -x -a '{' '.join(known)}'"
                lines.append(f"{at} -l {word[2:]}{takes}")
            elif not word.startswith("-"):
                lines.append(f"{at} -a '{word}'")
        if one.files:
            lines.append(f"{at} -F")
    return "\n".join(lines)
