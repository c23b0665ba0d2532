"""Names of licences: as SPDX, Croissant and Hugging Face's Hub have them."""

from __future__ import annotations

# Of data and pictures, as SPDX writes them. The Hub's words are these in small letters, but for
# those named below.
_SPDX = (
    *("Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Unlicense", "CC0-1.0"),
    *(f"CC-BY-{number}" for number in ("2.0", "2.5", "3.0", "4.0")),
    *(f"CC-BY-SA-{number}" for number in ("3.0", "4.0")),
    *(f"CC-BY-NC-{number}" for number in ("2.0", "3.0", "4.0")),
    *(f"CC-BY-NC-SA-{number}" for number in ("2.0", "3.0", "4.0")),
    *("CC-BY-ND-4.0", "CC-BY-NC-ND-3.0", "CC-BY-NC-ND-4.0"),
    *("CDLA-Permissive-1.0", "CDLA-Permissive-2.0", "CDLA-Sharing-1.0", "C-UDA-1.0"),
    *("ODC-By-1.0", "ODbL-1.0", "PDDL-1.0", "etalab-2.0"),
)
_HUB = {"C-UDA-1.0": "c-uda", "ODC-By-1.0": "odc-by", "ODbL-1.0": "odbl", "PDDL-1.0": "pddl"}
_BY_SMALL = {name.lower(): name for name in _SPDX}


def _spdx_name(licence: str) -> str | None:
    """SPDX's name of a licence, which may be written in small letters and with spaces."""
    return _BY_SMALL.get(licence.lower().replace(" ", "-"))


def is_known(licence: str) -> bool:
    """Whether a licence has a name that is known here, or is a URL."""
    return _spdx_name(licence) is not None or _is_link(licence)


def _is_link(licence: str) -> bool:
    return licence.startswith(("http://", "https://"))


def licence_link(licence: str) -> str:
    """Returns the page of a licence that SPDX has, else what was given: a URL, or words."""
    known = _spdx_name(licence)
    return f"https://spdx.org/licenses/{known}.html" if known else licence


def hub_licence(licence: str | None) -> dict[str, str]:
    """Returns what the Hub's metadata says of a licence; None: that it is not known."""
    if licence is None:
        return {"license": "unknown"}
    known = _spdx_name(licence)
    if known:
        return {"license": _HUB.get(known, known.lower())}
    return {"license": "other", "license_link" if _is_link(licence) else "license_name": licence}
