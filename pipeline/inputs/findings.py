"""What is wrong with inputs, and how it is shown."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from depthmask.manifest import InputFinding

_log = logging.getLogger("depthmask")
# Similar findings that are shown.
_SHOWN = 10
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Finding:
    """What is wrong with an input, and the remedy. An error leaves it out; a warning does not.

    `file` is its path below its folder.
    """

    path: str
    file: str
    level: Literal["error", "warning"]
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}. {self.remedy}"

    @property
    def entry(self) -> InputFinding:
        """What the dataset keeps of it."""
        return InputFinding(self.level, self.file, self.problem, self.remedy)


def listing(findings: Iterable[Finding]) -> list[str]:
    """Returns a line for each finding; of similar ones the first ten, and how many more."""
    kinds: dict[str, list[Finding]] = {}
    for finding in findings:
        # Remedies may name sizes.
        kinds.setdefault(_NUMBER.sub("", finding.remedy), []).append(finding)
    lines: list[str] = []
    for kind in kinds.values():
        lines += map(str, kind[:_SHOWN])
        if len(kind) > _SHOWN:
            lines.append(f"… and {len(kind) - _SHOWN:,} more")
    return lines


def log_findings(findings: Sequence[Finding]) -> None:
    """Logs errors and warnings."""
    for level in ("error", "warning"):
        for line in listing(finding for finding in findings if finding.level == level):
            _log.warning("%s: %s", level, line)
