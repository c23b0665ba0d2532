"""croissant.json: a dataset described in JSON-LD, as Croissant 1.1 and its RAI vocabulary have it.

http://mlcommons.org/croissant/1.1; read by the package ``mlcroissant``, from the folder it is in.
Files are described as sets, which need no SHA-256: manifest.json and export.json have checksums.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.publish.licences import licence_link
from pipeline.publish.publication import Publication
from pipeline.publish.summary import Summary

CSV, JSON_LINES, PARQUET = "text/csv", "application/jsonlines", "application/x-parquet"
# What no media type is registered for is named by the page that describes it.
TFRECORD = "https://www.tensorflow.org/tutorials/load_data/tfrecord"
_CONFORMS_TO = ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"]
# Terms of Croissant's own.
_TERMS = (
    *("annotation", "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty"),
    *("excludes", "extract", "field", "fileObject", "fileProperty", "fileSet", "format"),
    *("includes", "isArray", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path"),
    *("readLines", "recordSet", "references", "regex", "repeated", "replace", "samplingRate"),
    *("sdVersion", "separator", "source", "subField", "transform", "unArchive", "value"),
)
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    **{term: f"cr:{term}" for term in _TERMS},
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
}
_SPLITS = {
    "train": "cr:TrainingSplit",
    "validation": "cr:ValidationSplit",
    "val": "cr:ValidationSplit",
    "test": "cr:TestSplit",
}
_VERSION = "1.0.0"

DataType = Literal["sc:Text", "sc:Integer", "sc:Boolean", "sc:ImageObject", "mask"]


@dataclass(frozen=True)
class FileSet:
    """Files of one form, in the folder of croissant.json. `includes`: patterns of their paths."""

    name: str
    encoding: str
    includes: Sequence[str]
    description: str

    def to_json(self) -> dict[str, Any]:
        return {
            "@type": "cr:FileSet",
            "@id": self.name,
            "name": self.name,
            "description": self.description,
            "encodingFormat": self.encoding,
            "includes": list(self.includes),
        }


@dataclass(frozen=True)
class Field:
    """A field of records. `kind`: ``mask`` is a picture too.

    It is a `column` of the files, their ``content`` or their ``fullpath``. Of that it is what the
    group of a regular expression takes, or what is at a path in a value that has parts.
    """

    name: str
    kind: DataType
    column: str
    description: str
    regex: str | None = None
    json_path: str | None = None
    is_split: bool = False


@dataclass(frozen=True)
class RecordSet:
    """Records of the files of a set. `key`: the field that tells them apart."""

    name: str
    files: str
    key: str
    description: str
    fields: Sequence[Field]

    def to_json(self) -> dict[str, Any]:
        return {
            "@type": "cr:RecordSet",
            "@id": self.name,
            "name": self.name,
            "description": self.description,
            "key": {"@id": f"{self.name}/{self.key}"},
            "field": [self._field(field) for field in self.fields],
        }

    def _field(self, field: Field) -> dict[str, Any]:
        is_property = field.column in ("content", "fullpath")
        source: dict[str, Any] = {
            "fileSet": {"@id": self.files},
            "extract": {"fileProperty" if is_property else "column": field.column},
        }
        if field.regex:
            source["transform"] = {"regex": field.regex}
        elif field.json_path:
            source["transform"] = {"jsonPath": field.json_path}
        is_mask = field.kind == "mask"
        described = {
            "@type": "cr:Field",
            "@id": f"{self.name}/{field.name}",
            "name": field.name,
            "description": field.description,
            "dataType": ["cr:SegmentationMask", "sc:ImageObject"] if is_mask else field.kind,
            "source": source,
        }
        if field.is_split:
            described["references"] = {"field": {"@id": "splits/name"}}
        return described


def example_fields(numbers_kept: bool) -> tuple[Field, ...]:
    """The fields of an example beside its pictures and its split, as columns of index.csv.

    `numbers_kept`: whether readers take digits in a text for the text that they are. Where not,
    names are taken from the id, of which ``+`` parts them.
    """
    texts: tuple[Field, ...] = (
        Field("background", "sc:Text", "background", "the background's name"),
        Field("foreground", "sc:Text", "foreground", "the foreground's name"),
    )
    if not numbers_kept:
        texts = tuple(
            dataclasses.replace(field, column="id", regex=regex)
            for field, regex in zip(texts, (r"^([^+]+)\+", r"^[^+]+\+([^+]+)\+"), strict=True)
        )
    return (
        Field("id", "sc:Text", "id", "background+foreground+flip+place"),
        *texts,
        Field("background_class", "sc:Text", "background_class", "the background's class, or none"),
        Field("flip", "sc:Boolean", "flip", "whether the foreground is mirrored or turned"),
        Field("placement", "sc:Integer", "placement", "which of the pair's places, from 0"),
        *(
            Field(name, "sc:Integer", name, f"{what} of the pasted foreground, in pixels")
            for name, what in (
                ("x", "left edge"),
                ("y", "top edge"),
                ("width", "width"),
                ("height", "height"),
            )
        ),
    )


def split_field(column: str, regex: str | None = None) -> Field:
    """The field that says which split a record is in."""
    return Field("split", "sc:Text", column, "the split", regex=regex, is_split=True)


def croissant_json(
    summary: Summary,
    publication: Publication,
    splits: Sequence[str],
    files: Sequence[FileSet],
    records: Sequence[RecordSet],
) -> bytes:
    """Returns a croissant.json: what the dataset is, by whom, of what files and records.

    What nobody has said is left out.
    """
    described = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": publication.title or summary.name,
        "description": "\n\n".join(
            [*filter(None, [publication.description]), " ".join(summary.contents)]
        ),
        "conformsTo": _CONFORMS_TO,
        **_published(publication),
        "keywords": [*summary.uses, "synthetic", *publication.keywords],
        **_responsible(summary, publication),
        **_provenance(summary, publication),
        "distribution": [each.to_json() for each in files],
        "recordSet": [_splits(splits), *(each.to_json() for each in records)],
    }
    said = {key: value for key, value in described.items() if value not in (None, [])}
    return (json.dumps(said, indent=2, ensure_ascii=False) + "\n").encode()


def _published(publication: Publication) -> dict[str, Any]:
    date = publication.date_published
    return {
        "url": publication.url,
        "version": publication.version or _VERSION,
        "datePublished": date and date.isoformat(),
        "license": publication.licence and licence_link(publication.licence),
        "creator": [
            _without_none(
                {
                    "@type": f"sc:{creator.kind.capitalize()}",
                    "name": creator.name,
                    "url": creator.url,
                    "email": creator.email,
                }
            )
            for creator in publication.creators
        ],
        "citeAs": publication.citation,
    }


def _responsible(summary: Summary, publication: Publication) -> dict[str, Any]:
    """What conferences ask for by the names of the RAI vocabulary."""
    return {
        "rai:hasSyntheticData": True,
        "rai:dataCollection": publication.collection,
        "rai:dataPreprocessingProtocol": list(summary.making),
        "rai:machineAnnotationTools": list(summary.tools),
        "rai:dataUseCases": publication.uses,
        "rai:dataLimitations": [*summary.limits, *publication.limits],
        "rai:dataBiases": publication.biases,
        "rai:personalSensitiveInformation": publication.personal_information,
        "rai:dataSocialImpact": publication.social_impact,
        "rai:dataReleaseMaintenancePlan": publication.maintenance,
    }


def _provenance(summary: Summary, publication: Publication) -> dict[str, Any]:
    activity = {
        "@type": "prov:Activity",
        "prov:label": "composition of foregrounds and backgrounds",
        "description": " ".join(summary.making),
        "prov:wasAssociatedWith": [
            {"@type": "prov:SoftwareAgent", "prov:label": tool} for tool in summary.tools
        ],
    }
    return {
        "prov:wasDerivedFrom": list(_sources(summary, publication)),
        "prov:wasGeneratedBy": activity,
    }


def _sources(summary: Summary, publication: Publication) -> Iterator[dict[str, Any]]:
    named = Counter(source.url for source in publication.sources)
    for kind in publication.kinds_of_sources(summary.inputs):
        what, sources = summary.inputs.get(kind, kind), publication.sources_of(kind)
        for source in sources:
            yield _without_none(
                {
                    "@type": "prov:Entity",
                    # Two of one id would be taken for one.
                    "@id" if named[source.url] == 1 else "url": source.url,
                    "prov:label": f"{what}: {source.name}",
                    "license": source.licence and licence_link(source.licence),
                }
            )
        if not sources:
            yield {"@type": "prov:Entity", "prov:label": what}


def _splits(splits: Sequence[str]) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "description": "The splits of the examples.",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"splits/{name}",
                "name": name,
                "description": description,
                "dataType": kind,
            }
            for name, description, kind in (
                ("name", "the split's name", "sc:Text"),
                ("url", "what it is for", "sc:URL"),
            )
        ],
        "data": [
            {"splits/name": split, "splits/url": _SPLITS.get(split, "cr:Split")} for split in splits
        ],
    }


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
