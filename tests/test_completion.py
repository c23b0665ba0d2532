"""What shells complete, asked of the shells themselves."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.cli import COMMANDS, main
from pipeline.export import LAYOUTS
from pipeline.recipes import builtin_recipes

ASKED = {
    "depthmask ": set(COMMANDS),
    "depthmask ge": {"generate"},
    "depthmask generate --ba": {"--backgrounds", "--background-depths"},
    "depthmask generate --recipe ": {*builtin_recipes(), "mine.yaml", "pictures"},
    "depthmask generate --backgrounds pict": {"pictures"},
    "depthmask export made out --layout ": set(LAYOUTS),
    "depthmask sheet pictures pic": {"picture.png", "pictures"},
    "depthmask completion ": {"bash", "zsh", "fish"},
}
# As bash calls the function that completes a command.
BASH = """
source ./script
while IFS= read -r line; do
  read -ra COMP_WORDS <<< "$line"
  [[ $line == *" " ]] && COMP_WORDS+=("")
  COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
  function=$(complete -p depthmask | sed 's/.* -F \\([^ ]*\\).*/\\1/')
  $function depthmask "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
  echo "${COMPREPLY[@]}"
done
"""
FISH = """
source ./script
while read --delimiter '' line
  complete --do-complete "$line" | cut -f1 | string trim --right --chars / | string join ' '
end
"""


@pytest.mark.parametrize(("shell", "program"), [("bash", BASH), ("fish", FISH)])
def test_a_shell_completes(shell: str, program: str, tmp_path: Path, capsys):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not here")
    (tmp_path / "pictures").mkdir()
    for name in ("mine.yaml", "picture.png"):
        (tmp_path / name).touch()
    assert main(["completion", shell]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out)
    done = subprocess.run(
        [shell, "-c", program],
        check=True,
        cwd=tmp_path,
        input="".join(f"{line}\n" for line in ASKED),
        capture_output=True,
        text=True,
    )
    assert not done.stderr
    said = dict(zip(ASKED, map(set, map(str.split, done.stdout.splitlines())), strict=True))
    if shell == "fish":  # which lists files of all kinds
        said["depthmask generate --recipe "] -= {"picture.png", "script"}
    assert said == ASKED


def test_zsh_reads_its_script(tmp_path: Path, capsys):
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not here")
    assert main(["completion", "zsh"]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out)
    subprocess.run(["zsh", "-n", "script"], check=True, cwd=tmp_path)
