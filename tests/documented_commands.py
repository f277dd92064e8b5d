"""The commands that Markdown pages show: those of fenced blocks whole, those within sentences too."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click

from mocap_opt.cli.main import cli

PROGRAM = "mocap-opt"
SHELLS = ("", "sh", "bash", "shell", "console")


def blocks(page: Path, languages: tuple[str, ...]) -> list[str]:
    """Contents of the fenced blocks in one of these languages."""
    found = re.findall(
        r"^```([\w-]*)[^\n]*\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    return [text for language, text in found if language in languages]


def shell_lines(page: Path) -> list[str]:
    """Lines of shell blocks that run the program somewhere, continued lines joined."""
    lines = [
        line.strip().removeprefix("$ ")
        for block in blocks(page, SHELLS)
        for line in block.replace("\\\n", " ").splitlines()
    ]
    return [
        line for line in lines if re.search(rf"(^|[\s/]){PROGRAM}(\s|$)", line) and not line.startswith("#")
    ]


def commands(line: str) -> list[list[str]]:
    """Arguments of each call of the program in a line, ``a && b`` and ``a; b`` taken apart."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|<>")
    lexer.whitespace_split = True
    parts: list[list[str]] = [[]]
    for token in lexer:
        if set(token) <= set(";&|<>"):
            parts.append([])
        else:
            parts[-1].append(token)
    return [part[1:] for part in parts if part and Path(part[0]).name == PROGRAM]


def inline_commands(page: Path) -> list[list[str]]:
    """Arguments of each call within a sentence, in backquotes."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found = re.findall(rf"`{PROGRAM} ([^`]+)`", text)
    return [shlex.split(" ".join(call.split())) for call in found]


def resolve(arguments: list[str]) -> tuple[click.Command, list[str]]:
    """The command that arguments name, and what is left of them."""
    command: click.Command = cli
    rest = list(arguments)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        below = command.get_command(click.Context(command), rest[0])
        if below is None:
            break
        command, rest = below, rest[1:]
    return command, rest


def options(command: click.Command) -> set[str]:
    """Every option of a command, those of the default command of a group included."""
    own = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    if isinstance(command, click.Group):
        own |= {name for below in command.commands.values() for name in options(below)}
    return own | {"--help", "-h"}
