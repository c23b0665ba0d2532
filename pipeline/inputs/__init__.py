"""The user's pictures: found, checked, prepared once."""

from pipeline.inputs.findings import Finding, log_findings
from pipeline.inputs.folders import SAME_NAME, InputFolders, find_pictures
from pipeline.inputs.prepare import PreparedSet, prepare_inputs

__all__ = [
    "SAME_NAME",
    "Finding",
    "InputFolders",
    "PreparedSet",
    "find_pictures",
    "log_findings",
    "prepare_inputs",
]
