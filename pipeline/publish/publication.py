"""publish.yaml: what only its maker can say of a dataset, for its card and its croissant.json."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from depthmask.errors import UserError
from depthmask.manifest import PUBLICATION
from pipeline.recipes.loading import parse_yaml, validate
from transforms.io.files import exists, join, read_file

_MAX_BYTES = 256 * 2**10


class _Section(BaseModel):
    # As recipes: a number is no text, and a key that is not known is a mistake.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Line = Annotated[Text, StringConstraints(pattern=r"^[^\r\n]+$")]
Link = Annotated[str, StringConstraints(pattern=r"^https?://[^\s<>\"]+$")]
# MAJOR.MINOR.PATCH, as Croissant asks for.
Version = Annotated[str, StringConstraints(pattern=r"^(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}$")]


class Creator(_Section):
    """Somebody who made the dataset."""

    name: Text
    kind: Literal["person", "organization"] = "person"
    url: Link | None = None
    email: Text | None = None


class Source(_Section):
    """Where pictures or depth are from."""

    of: Literal["backgrounds", "foregrounds", "masks", "depth"]
    name: Text
    url: Link | None = None
    licence: Text | None = None


class Publication(_Section):
    """What publish.yaml says; every key can be left out."""

    title: Line | None = None
    description: Text | None = None
    version: Version | None = None
    url: Link | None = Field(None, description="where the dataset is published")
    date_published: datetime.date | None = Field(None, strict=False)
    creators: list[Creator] = []
    licence: Text | None = Field(None, description="SPDX's name, such as CC-BY-4.0, or a URL")
    citation: Text | None = Field(None, description="how to cite it, best as BibTeX")
    keywords: list[Text] = []
    sources: list[Source] = []
    uses: list[Text] = Field([], description="what it is for")
    limits: list[Text] = Field([], description="what it is not for, and where it fails")
    biases: list[Text] = []
    personal_information: list[Text] = Field(
        [], description="faces, names …; or that there is none"
    )
    social_impact: Text | None = None
    collection: Text | None = Field(None, description="how the pictures were come by")
    maintenance: Text | None = Field(None, description="who keeps it up, and how")
    contact: Text | None = None

    def kinds_of_sources(self, known: Iterable[str]) -> list[str]:
        """Returns the kinds that are `known`, and then those that sources are of besides."""
        return list(dict.fromkeys((*known, *(source.of for source in self.sources))))

    def sources_of(self, kind: str) -> list[Source]:
        """Returns the sources of backgrounds, foregrounds, masks or depth."""
        return [source for source in self.sources if source.of == kind]


def publication_bytes(folder: str) -> bytes | None:
    """Returns the publish.yaml in a folder, or None. Raises UserError where it cannot be read."""
    path = join(folder, PUBLICATION)
    if not exists(path):
        return None
    try:
        return read_file(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error


def parse_publication(data: bytes | None, path: str = PUBLICATION) -> Publication:
    """Returns what a publish.yaml says; without one, nothing. `path`: its file, for messages.

    Raises UserError for one that cannot be used: names the key, its value and what would be right.
    """
    if data is None:
        return Publication()
    if len(data) > _MAX_BYTES:
        raise UserError(f"{path}: larger than {_MAX_BYTES >> 10} KiB.")
    try:
        found = parse_yaml(data.decode("utf-8"), path)
    except ValueError as error:
        raise UserError(f"{path}: not a text file.") from error
    if found is None:  # nothing but comments
        return Publication()
    if not isinstance(found, dict):
        raise UserError(
            f"{path}: must be a mapping of keys. There are: {', '.join(Publication.model_fields)}."
        )
    return validate(Publication, found, path)


def read_publication(folder: str) -> Publication:
    """Returns what the publish.yaml in a folder says. Raises UserError, as those two do."""
    return parse_publication(publication_bytes(folder), join(folder, PUBLICATION))
