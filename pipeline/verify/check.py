"""What checking a dataset says."""

from __future__ import annotations

from dataclasses import dataclass

# What reading bytes that may be anything raises; SyntaxError is Pillow's, of broken pictures.
DAMAGE = (OSError, ValueError, LookupError, OverflowError, SyntaxError)
# Problems of a check that its text shows.
_SHOWN = 5


@dataclass(frozen=True)
class Check:
    """One check: what it looked at, and what is wrong with that (nothing: it holds)."""

    name: str
    detail: str = ""
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        """A line of text, and some of the problems a line each."""
        if not self.problems:
            return f"ok    {self.name}: {self.detail}"
        shown = [f"        {problem}" for problem in self.problems[:_SHOWN]]
        if len(self.problems) > _SHOWN:
            shown.append(f"        … and {len(self.problems) - _SHOWN:,} more")
        return "\n".join([f"FAIL  {self.name}: {len(self.problems):,} wrong", *shown])
