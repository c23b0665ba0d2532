"""Writing a dataset's or an export's README.md and croissant.json anew: depthmask card."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from depthmask.errors import DatasetError, UserError
from depthmask.manifest import CARD, CROISSANT, MANIFEST, PUBLICATION
from depthmask.parsing import JsonObject, ParseError, one_of, parse_json
from pipeline.dataset import (
    card_facts,
    dataset_card,
    dataset_croissant,
    open_dataset,
    reading_from,
)
from pipeline.export import LAYOUTS
from pipeline.export.layout import Facts
from pipeline.publish.licences import is_known
from pipeline.publish.publication import Publication, read_publication
from pipeline.publish.sections import is_ours
from pipeline.run import EXPORT, SET_ASIDE, Workspace, locked
from transforms.io.files import AnyPath, checked_path, exists, join, read_file

# What whoever publishes data is asked for first.
_ASKED_FOR = (
    *("title", "creators", "licence", "url", "date_published", "citation", "sources"),
    *("uses", "limits", "biases", "personal_information"),
)


@dataclass(frozen=True)
class Card:
    """What was written.

    `unsaid`: keys that people are asked for and publish.yaml does not have. `unknown_licences`:
    those in it that are no names known here, and no URLs.
    """

    path: str
    files: tuple[str, ...]
    unsaid: tuple[str, ...]
    unknown_licences: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"Up to date in {self.path}: {', '.join(self.files)}"]
        if self.unsaid:
            path = join(self.path, PUBLICATION)
            lines.append(f"Not said yet, in {path}: {', '.join(self.unsaid)}")
        if self.unknown_licences:
            known = "give SPDX's name of it, such as CC-BY-4.0, or a URL, if it has one"
            lines.append(f"Not known as a licence: {', '.join(self.unknown_licences)}; {known}.")
        return "\n".join(lines)


def write_card(path: AnyPath) -> Card:
    """Writes README.md and croissant.json of a dataset or an export anew, from its publish.yaml.

    All else there stays as it is. Raises UserError, with nothing written, where `path` is neither,
    publish.yaml cannot be used, or README.md was changed by hand.
    """
    path = checked_path(path)
    workspace = Workspace(path)
    if exists(workspace.work_path(SET_ASIDE)):
        raise UserError(
            f"{path}: a repair was interrupted. Go on: depthmask verify --repair {path}"
        )
    if not exists(workspace.path(MANIFEST)):
        workspace = Workspace(path, EXPORT)
        if not exists(workspace.path(EXPORT.last_file)):
            raise UserError(
                f"{path} is neither a finished dataset nor a finished export: it has no {MANIFEST} "
                f"and no {EXPORT.last_file}. Give a folder that generate or export has finished."
            )
    publication = read_publication(path)
    with locked(workspace) as workspace:
        of = _of_export if workspace.kind is EXPORT else _of_dataset
        files = of(workspace, publication)
        card = workspace.path(CARD)
        if exists(card) and not is_ours(read_file(card)):
            raise UserError(
                f"{card} was changed by hand, or an older depthmask wrote it, and would be lost. "
                f"Put what you wrote into {PUBLICATION}, delete {CARD}, and run this again."
            )
        for name, data in files.items():
            workspace.write(name, [data])
    unsaid = tuple(key for key in _ASKED_FOR if not getattr(publication, key))
    licences = (publication.licence, *(source.licence for source in publication.sources))
    unknown = dict.fromkeys(licence for licence in licences if licence and not is_known(licence))
    return Card(path, tuple(files), unsaid, tuple(unknown))


def _of_dataset(workspace: Workspace, publication: Publication) -> dict[str, bytes]:
    dataset = open_dataset(workspace.output)
    with reading_from(dataset.path):
        facts = card_facts(dataset.recipe, dataset.manifest, publication, workspace)
    return {CARD: dataset_card(facts), CROISSANT: dataset_croissant(facts)}


def _of_export(workspace: Workspace, publication: Publication) -> dict[str, bytes]:
    path = workspace.path(EXPORT.last_file)
    try:
        description: Any = parse_json(read_file(path))
        provenance = JsonObject(description, "").get("provenance", JsonObject)
        layout = LAYOUTS[provenance.get("layout", one_of(*LAYOUTS))]
        facts = Facts.from_json(description)
    except ParseError as error:
        raise DatasetError(
            f"{path} is damaged, or an older depthmask wrote it: {error}. Export into a new folder."
        ) from error
    return layout.published(facts, publication)
