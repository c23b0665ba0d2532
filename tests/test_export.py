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
from PIL import Image

from depthmask.errors import RunError, UserError
from pipeline.cli import main
from pipeline.export import LAYOUTS, export_dataset
from pipeline.export import pieces as pieces_module
from pipeline.export.layouts import flat_name
from pipeline.export.zips import ZipEntry, end_of_directory
from pipeline.inputs import InputFolders
from pipeline.recipes import builtin_recipes
from tests.conftest import ONE_WORKER, file_bytes
from tests.test_dataset import records


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


def test_monodepthmask_is_read_by_its_csv(with_depth: Path, tmp_path: Path):
    made = exported(with_depth, tmp_path / "out", "monodepthmask")
    known = examples(with_depth)
    seen = []
    for split, count in (("train", 65), ("test", 7)):
        rows = list(csv.DictReader((made / f"{split}.csv").open(encoding="utf-8")))
        assert len(rows) == count
        for row in rows:
            base = zipfile.ZipFile(made / row["BaseImageFName"])
            depths = zipfile.ZipFile(made / row["DepthImageFName"])
            backgrounds = zipfile.ZipFile(made / row["BGImageFName"])
            record = known[row["ImageName"].split(".")[0]]
            seen.append(row["ImageName"])
            # The composite is the dataset's own file; the mask was stored otherwise.
            assert base.read(row["ImageName"]) == record["image"]
            mask = Image.open(base.open(row["MaskName"]))
            assert (mask.format, mask.mode, mask.size) == ("JPEG", "RGB", (48, 40))
            exact = np.asarray(Image.open(io.BytesIO(record["mask"])).convert("L"))
            assert ((np.asarray(mask)[..., 0] >= 128) == (exact == 255)).mean() > 0.99
            depth = Image.open(depths.open(row["Depthname"]))
            assert (depth.mode, depth.size) == ("RGB", (24, 20))
            assert Image.open(backgrounds.open(row["BGImageName"])).size == (48, 40)
            assert row["BGType"] == record["background_class"].decode()
    assert len(set(seen)) == 72
    assert len(list(csv.reader((made / "sample.csv").open(encoding="utf-8")))) == 73
    assert list(rows[0]) == [
        *("ImageName", "MaskName", "Depthname", "BGImageName", "BaseImageFName"),
        *("DepthImageFName", "BGType", "BGImageFName"),
    ]


def test_living_room_is_read_by_its_labels(with_depth: Path, tmp_path: Path):
    made = exported(with_depth, tmp_path / "out", "living-room")
    zips = [zipfile.ZipFile(path) for path in sorted(made.glob("*.zip"))]
    assert [archive.testzip() for archive in zips] == [None] * 6
    where = {name: archive for archive in zips for name in archive.namelist()}
    known = examples(with_depth)
    lines = (made / "labels.txt").read_text("utf-8").splitlines()
    assert len(lines) == 72
    for line in lines:
        bg, fg, fg_bg, mask, depth = (Image.open(where[p].open(p)) for p in line.split("\t"))
        modes = [picture.mode for picture in (bg, fg, fg_bg, mask, depth)]
        assert modes == ["RGB", "RGBA", "RGB", "L", "L"]
        record = known[Path(line.split("\t")[2]).stem]
        metres = opened(record["depth"]).astype(float)
        expected = (metres - metres.min()) / np.ptp(metres) * 255
        assert np.abs(np.asarray(depth) - expected).mean() < 4
    for part in range(1, 6):
        names = zipfile.ZipFile(made / f"fg_bg_mask_depth_{part}.zip").namelist()
        assert len(names) in (14 * 3, 15 * 3)


def test_grey_gallery_is_read_by_its_names(with_depth: Path, tmp_path: Path):
    made = exported(with_depth, tmp_path / "out", "grey-gallery")
    inputs = zipfile.ZipFile(made / "inputs.zip")
    known = examples(with_depth)
    seen = set()
    for path in sorted(made.glob("fg_bg_*.zip")):
        archive = zipfile.ZipFile(path)
        for name in archive.namelist():
            if not name.startswith("fg_bg/"):
                continue
            stem = Path(name).stem
            foreground, background, flip, k = stem.removeprefix("fg_bg_").split("_")
            record = known[f"{background}_{foreground}_{flip}_{k}"]
            assert (record["flip"], record["placement"]) == (int(flip), int(k))
            assert Image.open(archive.open(name)).mode == "L"
            assert Image.open(archive.open(f"mask/{stem}.jpg")).mode == "L"
            assert Image.open(archive.open(f"depth/{stem}.png")).mode == "RGB"
            assert Image.open(inputs.open(f"bg/{background}.png")).size == (48, 40)
            assert Image.open(inputs.open(f"fg_mask/{foreground}.png")).mode == "L"
            seen.add(stem)
    assert len(seen) == 72 and len(list(made.glob("fg_bg_*.zip"))) == 10


def test_office_is_read_by_its_lines_and_arrays(
    with_depth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("pipeline.export.layouts._NPZ_EXAMPLES", 30)
    made = exported(with_depth, tmp_path / "out", "office")
    archive = zipfile.ZipFile(made / "data.zip")
    arrays = [np.load(path)["depth"] for path in sorted(made.glob("depth_*.npz"))]
    assert [(a.shape, a.dtype) for a in arrays] == [
        ((30, 20, 24), np.dtype("float32")),
        ((30, 20, 24), np.dtype("float32")),
        ((12, 20, 24), np.dtype("float32")),
    ]
    depths = np.concatenate(arrays)
    known = examples(with_depth)
    lines = (made / "data_label.txt").read_text("utf-8").splitlines()
    assert len(lines) == 72
    for number, line in enumerate(lines):
        image, mask, x, y, w, h = line.split("\t")
        record = known[Path(image).stem]
        assert [int(v) for v in (x, y, w, h)] == [record[k] for k in ("x", "y", "width", "height")]
        assert archive.read(image) == record["image"]
        assert Image.open(archive.open(mask)).mode == "L"
        stored = opened(record["depth"]).astype(np.float32) * np.float32(0.001)
        assert (depths[number] == stored).all()


def test_restaurant_mall_is_folders(with_depth: Path, tmp_path: Path):
    made = exported(with_depth, tmp_path / "out", "restaurant-mall")
    known = examples(with_depth)
    for stem, record in known.items():
        assert (made / "fg_bg" / f"{stem}.jpg").read_bytes() == record["image"]
        mask = opened((made / "fg_bg_mask" / f"{stem}.png").read_bytes())
        assert mask.dtype == np.uint8 and (mask == opened(record["mask"]) * np.uint8(255)).all()
        assert Image.open(made / "fg_bg_depth" / f"{stem}.png").mode == "L"
    assert len(list((made / "fg_bg").iterdir())) == len(known)
    assert {path.name for path in (made / "fg").iterdir()} == {f"fg{i}.png" for i in range(3)}


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
        assert sample["mask.png"].shape == (40, 48, 3)
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


@pytest.mark.parametrize("layout", ["living-room", "office", "webdataset"])
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


def test_a_lost_picture_of_a_finished_export_is_said(dataset: Path, tmp_path: Path):
    made = exported(dataset, tmp_path / "out", "folder")
    next(made.glob("train/mask/*")).unlink()
    with pytest.raises(UserError, match="1 pictures are missing"):
        exported(dataset, made, "folder")


def test_a_damaged_list_of_entries_is_made_again(
    with_depth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    expected = file_bytes(exported(with_depth, tmp_path / "whole", "living-room"))

    def fail(*_):
        raise OSError("the plug was pulled")

    with monkeypatch.context() as patch:
        patch.setattr(pieces_module.ExportJob, "finish_file", fail)
        with pytest.raises(RunError, match="plug was pulled"):
            exported(with_depth, tmp_path / "out", "living-room")
    entries = sorted((tmp_path / "out" / "_unfinished").rglob("*.entries"))
    entries[0].write_bytes(entries[0].read_bytes()[:-7])
    entries[1].write_bytes(b"")
    assert file_bytes(exported(with_depth, tmp_path / "out", "living-room")) == expected


def test_what_cannot_be_exported_is_said_before_anything_is_done(
    dataset: Path, with_depth: Path, folders: InputFolders, tmp_path: Path
):
    out = tmp_path / "out"
    for layout in ("living-room", "office", "monodepthmask"):
        with pytest.raises(UserError, match=f"has no depth, which layout {layout} needs"):
            exported(dataset, out, layout)
    with pytest.raises(
        UserError, match=r"manifest.json: there is no such file. So this is not a finished"
    ):
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
        exported(with_depth, tmp_path / "out", "living-room")
    assert not (tmp_path / "out").exists()


def test_backgrounds_without_class_do_not_fit_monodepthmask(
    folders: InputFolders, with_depth: Path, tmp_path: Path
):
    from pipeline.dataset import open_dataset
    from transforms.prepared import PreparedPicture, PreparedSource

    source = PreparedSource(
        "", (PreparedPicture("b", 8, 8, 0, 0),), "", (PreparedPicture("f", 8, 8, 0, 0),)
    )
    with pytest.raises(UserError, match="background b has none"):
        LAYOUTS["monodepthmask"].check(open_dataset(str(with_depth)), source)
    long = PreparedSource(
        "", (PreparedPicture("b" * 200, 8, 8, 0, 0),), "", (PreparedPicture("f" * 99, 8, 8, 0, 0),)
    )
    with pytest.raises(UserError, match="come to 299 bytes, too long"):
        LAYOUTS["folder"].check(open_dataset(str(with_depth)), long)


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
        entry = ZipEntry.of(name, name.encode())
        data += [entry.header(), name.encode()]
        directory.append(entry.directory_record(offset))
        offset += entry.stored_size
    records = b"".join(directory)
    end = end_of_directory(len(names), len(records), offset)
    path.write_bytes(b"".join(data) + records + end)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == names
        assert archive.read("ü69999") == "ü69999".encode()
        assert archive.infolist()[0].compress_type == zipfile.ZIP_STORED
