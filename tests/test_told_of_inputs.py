"""What plan, summary, card and verify say of inputs that are not as they might be."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from depthmask.manifest import CARD
from pipeline.cli import main
from pipeline.dataset import open_dataset
from pipeline.inputs import InputFolders
from pipeline.verify import verify_dataset
from tests.conftest import ONE_WORKER, SMALL, make_dataset
from tests.drawn import World, ball, rgba

ANYWHERE = (*("placements.region=anywhere", "foregrounds.size={mode: native}", "image.format=png"),)


@pytest.fixture(scope="module")
def sparse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of inputs: a small thing in the corner of a large clear frame."""
    world = World(tmp_path_factory.mktemp("sparse"))
    frame = Image.new("RGBA", (120, 120))
    frame.paste(rgba(ball(20, 20, 7)), (95, 70))
    world.save("f/small.png", frame)
    return world.root


def folders(root: Path) -> InputFolders:
    return InputFolders(str(root / "b"), str(root / "f"))


@pytest.fixture(scope="module")
def made(sparse: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("made") / "dataset"
    return make_dataset(folders(sparse), output, *ANYWHERE, "placements.per_pair=40")


def test_empty_masks_are_counted_and_told(
    made: Path, sparse: Path, capfd: pytest.CaptureFixture[str]
):
    dataset = open_dataset(str(made))
    empty, total = dataset.manifest.tally.empty_masks, dataset.manifest.examples
    assert total == 80 and 10 < empty < 75
    assert f"Nothing is seen of the foreground in {empty} examples" in (made / CARD).read_text()
    checks = list(verify_dataset(str(made)))
    assert not any(check.problems for check in checks)
    assert f"{empty} are empty" in "\n".join(map(str, checks))
    settings = [text for setting in (*SMALL, *ANYWHERE) for text in ("--set", setting)]
    inputs = ["--backgrounds", str(sparse / "b"), "--foregrounds", str(sparse / "f")]
    arguments = [*inputs, *settings, "--set", "placements.per_pair=40", "--depth-model", "none"]
    assert main(["plan", *arguments]) == 0
    assert re.search(r"about \d+% of the masks are empty", capfd.readouterr().out)
    assert main(["generate", *arguments, "--output", str(made), *ONE_WORKER]) == 0
    assert f"{empty} masks are empty: nothing is seen" in capfd.readouterr().out


def test_a_frame_that_is_trimmed_leaves_none_empty(sparse: Path, tmp_path: Path):
    made = make_dataset(folders(sparse), tmp_path / "out", *ANYWHERE, "foregrounds.trim=true")
    assert open_dataset(str(made)).manifest.tally.empty_masks == 0
    assert "Nothing is seen" not in (made / CARD).read_text()


def test_warnings_about_inputs_are_told_by_card_and_verify(made: Path):
    warnings = open_dataset(str(made)).manifest.findings
    assert [finding.level for finding in warnings] == ["warning"]
    assert "`errors.jsonl` has 1 warnings about inputs" in (made / CARD).read_text()
    (inputs,) = [check for check in verify_dataset(str(made), 1) if check.name == "inputs"]
    assert "1 warnings about them are in errors.jsonl" in str(inputs)


def test_verify_sees_a_foreground_that_is_hardly_drawn(made: Path, monkeypatch: pytest.MonkeyPatch):
    """As a mask of 0 and 1 used to draw it: verify shares no assumption with what made it."""
    from transforms.prepared import PreparedInputs

    drawn = PreparedInputs.foreground

    def faint(self: PreparedInputs, name: str):
        cutout = drawn(self, name)
        alpha = cutout.alpha.point([level // 200 for level in range(256)])
        return type(cutout)(cutout.colour, alpha, cutout.mask)

    monkeypatch.setattr(PreparedInputs, "foreground", faint)
    (inputs,) = [check for check in verify_dataset(str(made), 1) if check.name == "inputs"]
    assert "small: what its mask marks is drawn at an opacity of 0.4%" in str(inputs)
