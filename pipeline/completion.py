"""Shell completion of the command line, by shtab, from what its parser says."""

from __future__ import annotations

from argparse import Action, ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from typing import Any

import shtab

from pipeline.recipes import builtin_recipes


def completion_script(parser: ArgumentParser, shell: str) -> str:
    """Returns what `shell` (bash, zsh or fish) is to run to complete the parser's command.

    `parser` has the arguments of all its subcommands.
    """
    by_value = {  # as help calls the values of arguments
        **dict.fromkeys(("DIR", "DEST", "OUT"), shtab.DIRECTORY),
        **dict.fromkeys(("PNG", "HTML"), shtab.FILE),
        "NAME|FILE": _recipes(),
    }
    for action in _actions(parser):
        if action.metavar in by_value:
            action.complete = by_value[action.metavar]  # type: ignore[attr-defined]
    return shtab.complete(parser, shell)


def _actions(parser: ArgumentParser) -> Iterator[Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, _SubParsersAction):
            for command in action.choices.values():
                command.description = None  # shells show the line of help instead
                yield from _actions(command)


def _recipes() -> dict[str, Any]:
    """How each shell lists recipes: those that come with depthmask, and files."""
    names = " ".join(builtin_recipes())
    return {
        "bash": "_depthmask_recipes",
        "zsh": "_depthmask_recipes",
        "fish": "(_depthmask_recipes)",
        "preamble": {
            "bash": f"""
_depthmask_recipes() {{
  compgen -W "{names}" -- $1
  compgen -f -X '!*.y*ml' -- $1
  compgen -d -- $1
}}""",
            "zsh": f"""
_depthmask_recipes() {{
  compadd {names}
  _files -g '*.(yaml|yml)'
}}""",
            "fish": f"""
function _depthmask_recipes
  printf '%s\\n' {names}
  __fish_complete_path (commandline -ct)
end""",
        },
    }
