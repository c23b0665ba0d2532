"""What publish.yaml adds to a README.md, in Markdown; and whether a README.md is still ours."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

import google_crc32c

from depthmask.manifest import DepthMeaning
from pipeline.publish.publication import Publication

# The last line of a README.md that nobody has changed: the checksum of what is above it.
_MARK = "\n<!-- depthmask wrote this: {:08x} -->\n"
_MARK_LINE = re.compile(rb"\n<!-- depthmask wrote this: [0-9a-f]{8} -->\n\Z")
_LISTS = {
    "uses": "Uses",
    "biases": "Biases",
    "personal_information": "Personal information",
}
_TEXTS = {
    "social_impact": "Social impact",
    "collection": "Collection",
    "maintenance": "Maintenance",
}


def marked(text: str) -> bytes:
    """Returns the bytes of a README.md of this text, marked as ours."""
    return (text + _MARK.format(google_crc32c.value(text.encode()))).encode()


def is_ours(data: bytes) -> bool:
    """Whether a README.md is as `marked` returned it, or empty: nobody has changed it."""
    found = _MARK_LINE.search(data)
    if not found:
        return not data
    text = data[: found.start()]
    return found[0] == _MARK.format(google_crc32c.value(text)).encode()


def list_lines(sentences: Iterable[str]) -> Iterator[str]:
    """Yields a list in Markdown."""
    for sentence in sentences:
        yield f"- {' '.join(sentence.split())}"


def publication_sections(
    publication: Publication, inputs: Mapping[str, str], depth: DepthMeaning | None
) -> Iterator[list[str]]:
    """Yields the sections, as lines, that say what only the maker knows.

    What of the licences and of the contact is not known yet has ``…`` in its place. `inputs`: as
    `Summary` has it.
    """
    for key, title in _LISTS.items():
        if sentences := getattr(publication, key):
            yield [f"## {title}", "", *list_lines(sentences)]
    for key, title in _TEXTS.items():
        if text := getattr(publication, key):
            yield [f"## {title}", "", text]
    yield ["## Licence", "", *_licence_lines(publication, inputs, depth)]
    if publication.citation:
        yield ["## Citation", "", "```", publication.citation, "```"]
    if publication.creators:
        yield ["## Creators", "", *list_lines(_creators(publication))]


def _licence_lines(
    publication: Publication, inputs: Mapping[str, str], depth: DepthMeaning | None
) -> Iterator[str]:
    lines = [f"licence of the dataset: {publication.licence or '…'}"]
    for kind in publication.kinds_of_sources(inputs):
        of = "measured depth" if kind == "depth" and kind in inputs else kind
        sources = publication.sources_of(kind)
        for source in sources:
            link = f" ({source.url})" if source.url else ""
            lines.append(f"{of}: {source.name}{link}, licence: {source.licence or '…'}")
        if not sources and kind != "masks":  # most often the foregrounds' makers'
            lines.append(f"source and licence of the {of}: …")
    if depth and depth.model:
        said = [source.licence for source in publication.sources_of("depth") if source.licence]
        licence = depth.licence or ", ".join(said) or "…"
        if "NC" in licence.upper().split("-"):  # CC-BY-NC-4.0
            licence += " (NC: it forbids commercial use)"
        lines.append(f"licence of the depth model ({depth.model}): {licence}")
    lines.append(f"contact: {publication.contact or '…'}")
    if any("…" in line for line in lines):
        yield "To be filled in by whoever publishes the dataset, in `publish.yaml`, from which"
        yield "`depthmask card` writes this anew:"
        yield ""
    yield from list_lines(lines)


def _creators(publication: Publication) -> Iterator[str]:
    for creator in publication.creators:
        yield ", ".join(filter(None, (creator.name, creator.email, creator.url)))
