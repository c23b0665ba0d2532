"""Exports, read the way that each team's training code read its files: without depthmask."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import webdataset
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import GoogleCloudOptions
from PIL import Image

from depthmask.errors import RunError, UserError
from pipeline.cli import main
from pipeline.dataset import open_dataset
from pipeline.export import LAYOUTS, export_dataset
from pipeline.export import pieces as pieces_module
from pipeline.export.layout import flat_name
from pipeline.export.zips import ZipEntry, end_of_directory, zip_file
from pipeline.inputs import InputFolders
from pipeline.recipes import builtin_recipes
from tests.conftest import ONE_WORKER, file_bytes
from tests.test_dataset import records
from transforms.prepared import PreparedPicture, PreparedSource


def exported(dataset: Path, output: Path, layout: str, workers=ONE_WORKER) -> Path:
    export_dataset(dataset, output, layout, workers)
    return output


def examples(dataset: Path) -> dict[str, dict]:
    """The dataset's records by BG_FG_FLIP_K."""
    found = {}
    for record in records(dataset):
        background, foreground, flip, k = record["id"].decode().split("+")
        found[f"{flat_name(background)}_{flat_name(foreground)}_{flip}_{k}"] = record
    return found


def opened(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def test_the_command_line_knows_every_layout(dataset: Path, tmp_path: Path, capsys):
    assert set(builtin_recipes()) - LAYOUTS.keys() == {"default"}
    arguments = [str(dataset), str(tmp_path / "out")]
    assert main(["export", *arguments, "--layout", "folder", *ONE_WORKER]) == 0
    assert "72 examples are in" in capsys.readouterr().out
    arguments = [str(dataset), str(tmp_path / "other")]
    assert main(["export", *arguments, "--layout", "office"]) == 2
    assert "has no depth, which layout office needs" in capsys.readouterr().err
    assert main(["gallery", str(dataset), str(tmp_path / "page.html"), "--examples", "3"]) == 0
    assert "3 examples are shown" in capsys.readouterr().out


def test_webdataset_reads_its_tars(with_depth: Path, tmp_path: Path):
    made = exported(with_depth, tmp_path / "out", "webdataset")
    urls = [str(path) for path in sorted(made.glob("train-*.tar"))]
    assert len(urls) == 4
    known = examples(with_depth)
    found = list(webdataset.WebDataset(urls, shardshuffle=False).decode("rgb8"))
    assert len(found) == 65
    for sample in found:
        record = known[sample["__key__"]]
        assert sample["json"]["id"] == record["id"].decode()
        assert (sample["image.jpg"] == opened(record["image"])).all()
        assert (sample["mask.png"] == opened(record["mask"])[..., None] * 255).all()
        assert sample["depth.png16"] == record["depth"], "its own decoders leave it alone"
    with tarfile.open(urls[0]) as archive:
        assert {member.mtime for member in archive} == {0}


def test_a_folder_without_depth_has_what_the_dataset_has(dataset: Path, tmp_path: Path):
    made = exported(dataset, tmp_path / "out", "folder")
    rows = list(csv.DictReader((made / "index.csv").open(encoding="utf-8")))
    known = {record["id"].decode(): record for record in records(dataset)}
    for row in rows:
        assert (made / row["image"]).read_bytes() == known[row["id"]]["image"]
        assert (made / row["mask"]).read_bytes() == known[row["id"]]["mask"]
        assert row["depth"] == "" and int(row["x"]) == known[row["id"]]["x"]
    assert len(rows) == 72


@pytest.mark.parametrize("layout", ["office", "webdataset"])
def test_workers_change_no_byte(with_depth: Path, tmp_path: Path, layout: str):
    two = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
    one = file_bytes(exported(with_depth, tmp_path / "one", layout))
    assert file_bytes(exported(with_depth, tmp_path / "two", layout, two)) == one


@pytest.mark.parametrize("layout", ["monodepthmask", "restaurant-mall"])
def test_an_interrupted_export_goes_on_to_the_same_bytes(
    with_depth: Path, tmp_path: Path, layout: str, monkeypatch: pytest.MonkeyPatch
):
    expected = file_bytes(exported(with_depth, tmp_path / "whole", layout))
    make, log = pieces_module.make_piece, tmp_path / "log"
    log.touch()

    # Workers get copies of these: what they share is a file.
    def fail_at_the_fourth(job, key):
        if len(log.read_text().split()) == 3:
            raise OSError("the plug was pulled")
        log.write_text(f"{log.read_text()} {job.order(key)}")
        return make(job, key)

    monkeypatch.setattr("pipeline.export.graph.make_piece", fail_at_the_fourth)
    with pytest.raises(RunError, match="plug was pulled"):
        exported(with_depth, tmp_path / "out", layout)
    assert not (tmp_path / "out" / "export.json").exists()
    with pytest.raises(UserError, match=rf"layout: {layout} → folder"):
        exported(with_depth, tmp_path / "out", "folder")

    def count(job, key):
        log.write_text(f"{log.read_text()} {job.order(key)}")
        return make(job, key)

    monkeypatch.setattr("pipeline.export.graph.make_piece", count)
    assert file_bytes(exported(with_depth, tmp_path / "out", layout)) == expected
    # The inputs and five shards: none was made twice.
    assert sorted(map(int, log.read_text().split())) == [-1, 0, 17, 33, 49, 65]


def test_a_finished_export_is_left_alone(dataset: Path, tmp_path: Path, caplog):
    caplog.set_level("INFO", "depthmask")
    made = exported(dataset, tmp_path / "out", "webdataset")
    before = file_bytes(made)
    exported(dataset, made, "webdataset")
    assert "nothing is left to do" in caplog.text
    assert file_bytes(made) == before
    (made / "inputs.tar").unlink()
    with pytest.raises(UserError, match=r"inputs.tar is missing or damaged"):
        exported(dataset, made, "webdataset")


def test_options_reach_the_file_systems_first(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def project(path: str) -> None:
        options = FileSystems._pipeline_options.view_as(GoogleCloudOptions)
        raise UserError(f"project {options.project}")

    monkeypatch.setattr("pipeline.export.export.open_dataset", project)
    with pytest.raises(UserError, match="project mine"):
        exported(dataset, tmp_path / "out", "folder", (*ONE_WORKER, "--project=mine"))


def test_a_lost_picture_of_a_finished_export_is_said(dataset: Path, tmp_path: Path):
    made = exported(dataset, tmp_path / "out", "folder")
    next(made.glob("train/mask/*")).unlink()
    with pytest.raises(UserError, match="1 pictures are missing"):
        exported(dataset, made, "folder")


def test_a_damaged_part_is_made_again(
    with_depth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    expected = file_bytes(exported(with_depth, tmp_path / "whole", "restaurant-mall"))

    def fail(*_):
        raise OSError("the plug was pulled")

    with monkeypatch.context() as patch:
        patch.setattr(pieces_module.ExportJob, "finish_file", fail)
        with pytest.raises(RunError, match="plug was pulled"):
            exported(with_depth, tmp_path / "out", "restaurant-mall")
    parts = sorted((tmp_path / "out" / "_unfinished").rglob("*.tfrecord"))
    parts[0].write_bytes(parts[0].read_bytes()[:-7])
    parts[1].write_bytes(b"")
    assert file_bytes(exported(with_depth, tmp_path / "out", "restaurant-mall")) == expected


def test_what_cannot_be_exported_is_said_before_anything_is_done(
    dataset: Path, with_depth: Path, folders: InputFolders, tmp_path: Path
):
    out = tmp_path / "out"
    for layout in ("living-room", "office", "monodepthmask"):
        with pytest.raises(UserError, match=f"has no depth, which layout {layout} needs"):
            exported(dataset, out, layout)
    with pytest.raises(UserError, match=r"manifest.json does not exist, so this is not a finished"):
        exported(tmp_path, out, "folder")
    copy = Path(shutil.copytree(dataset, tmp_path / "copy"))
    shard = next(copy.glob("*train*"))
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(UserError, match=rf"is damaged: {shard.name} has .* bytes instead of"):
        exported(copy, out, "folder")
    assert not out.exists()
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match=r"is not empty \(it holds .*mine.txt\)"):
        exported(dataset, out, "folder")
    assert file_bytes(out) == {"mine.txt": b"mine"}
    (out / "_unfinished").mkdir()
    (out / "mine.txt").rename(out / "_unfinished" / "mine.txt")
    with pytest.raises(UserError, match=r"mine.txt is not a file of depthmask's"):
        exported(dataset, out, "folder")
    with pytest.raises(UserError, match=r"mine.txt is a file"):
        exported(dataset, out / "_unfinished" / "mine.txt" / "x", "folder")
    assert file_bytes(out) == {"_unfinished/mine.txt": b"mine"}


def test_classes_and_metres_are_asked_for(
    with_depth: Path, folders: InputFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    copy = Path(shutil.copytree(with_depth, tmp_path / "copy"))
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["depth"]["unit"] = None
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="in no unit, and layout office needs metres"):
        exported(copy, tmp_path / "out", "office")
    monkeypatch.setattr("shutil.disk_usage", lambda path: shutil._ntuple_diskusage(9, 8, 1000))
    with pytest.raises(UserError, match=r"needs about .* kB while .* and 1.0 kB are free"):
        exported(with_depth, tmp_path / "out", "monodepthmask")
    assert not (tmp_path / "out").exists()


def test_names_too_long_for_a_file_are_refused(with_depth: Path):
    long = PreparedSource(
        "", (PreparedPicture("b" * 200, 8, 8, 0, 0),), "", (PreparedPicture("f" * 99, 8, 8, 0, 0),)
    )
    with pytest.raises(UserError, match="come to 299 bytes, too long"):
        LAYOUTS["folder"].check(open_dataset(with_depth), long)


def test_names_can_be_told_apart_whatever_they_hold():
    names = ["a_b", "a%5Fb", "a/b", "a.b", "a b", "a,b", "Küche", "a-b"]
    flat = [flat_name(name) for name in names]
    assert len(set(flat)) == len(names)
    assert all(re.fullmatch(r"[\w%-]+", name) and "_" not in name for name in flat)
    assert flat[-2:] == ["Küche", "a-b"]


def test_zips_of_more_than_65535_files_are_read(tmp_path: Path):
    path = tmp_path / "many.zip"
    names = [f"ü{number}" for number in range(70_000)]
    offset, data, directory = 0, [], []
    for name in names:
        data.append(zip_file(name, name.encode(), deflated=False))
        directory.append(ZipEntry.parse(data[-1]).directory_record(offset))
        offset += len(data[-1])
    records = b"".join(directory)
    end = end_of_directory(len(names), len(records), offset)
    path.write_bytes(b"".join(data) + records + end)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == names
        assert archive.read("ü69999") == "ü69999".encode()
        assert archive.infolist()[0].compress_type == zipfile.ZIP_STORED
