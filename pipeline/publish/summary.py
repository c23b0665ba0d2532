"""What a dataset is, in sentences: of its card, and of what says the same of its exports."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from depthmask.parsing import JsonObject, dict_of, text, tuple_of


@dataclass(frozen=True)
class Summary:
    """What a dataset is, in sentences without Markdown.

    `uses`: what it teaches, such as ``foreground segmentation``. `inputs`: what it was made from,
    such as ``4 backgrounds``, by backgrounds, foregrounds, masks and depth. `tools`: the programs
    and networks that made it.
    """

    name: str
    uses: tuple[str, ...]
    contents: tuple[str, ...]
    making: tuple[str, ...]
    limits: tuple[str, ...]
    inputs: Mapping[str, str]
    tools: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Any, at: str = "") -> Summary:
        """Raises ParseError."""
        get = JsonObject(data, at).get
        return cls(
            name=get("name", text),
            uses=get("uses", tuple_of(text)),
            contents=get("contents", tuple_of(text)),
            making=get("making", tuple_of(text)),
            limits=get("limits", tuple_of(text)),
            inputs=get("inputs", dict_of(text)),
            tools=get("tools", tuple_of(text)),
        )
