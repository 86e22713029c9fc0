"""The guard of `data/` and the switch to own images, in a throw-away git and DVC repository."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_files import dicom
from tiny_layouts import mimic_of

from latentsr.companion.pipeline import data
from latentsr.datasets import Preparation, list_images, load_set, read_sets, study_sets

REPO = Path(__file__).parents[1]
DVC_YAML = """\
stages:
  phantoms:
    cmd: echo phantoms >> log && python draw.py
    deps: [value.txt]
    outs:
    - assets/phantoms:
        persist: true
  list:
    cmd: echo list >> log && mkdir -p results && find data -type f | sort > results/list
    deps: [data]
    outs: [results/list]
"""
DRAW = """\
import shutil
from pathlib import Path
from latentsr.companion.pipeline.data import PHANTOMS, before_import
print(*before_import(folder=PHANTOMS), sep="\\n")
value, folder = Path("value.txt").read_text(), Path("assets/phantoms/knee")
shutil.rmtree(folder, ignore_errors=True)
folder.mkdir(parents=True)
for name in ("same", f"only-{value}"):
    (folder / name).write_text(name)
(folder / "changes").write_text(value)
"""


def _run(root, *command):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(REPO)}
    return subprocess.run(
        command, cwd=root, capture_output=True, text=True, env=environment, check=False
    )


def _repro(root):
    """Run a plain `dvc repro`; return (its process, the stages that ran)."""
    (root / "log").write_text("")
    done = _run(root, "dvc", "repro")
    return done, (root / "log").read_text().split()


def _images(folder, count=6, side_px=64):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(count):
        image = rng.integers(0, 256, (side_px, side_px), dtype=np.uint8)
        Image.fromarray(image).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def study(tmp_path):
    root = tmp_path / "study"
    root.mkdir()
    (root / ".gitignore").write_text("/assets/\n/data/\n/results/\n/log\n")
    for name, text in (("dvc.yaml", DVC_YAML), ("draw.py", DRAW), ("value.txt", "1")):
        (root / name).write_text(text)
    for name in ("data.dvc", "sets.yaml"):
        (root / name).write_text(data.DEFAULTS[name])
    shutil.copy(REPO / "profiles/smoke.yaml", root / "params.yaml")
    _run(root, "git", "init", "-q")
    _run(root, "dvc", "init", "-q")
    return root


def _in(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_the_committed_files_are_the_phantom_import():
    def committed(name):  # somebody may have their own images in use
        found = subprocess.run(
            ["git", "show", f"HEAD:{name}"], cwd=REPO, capture_output=True, text=True
        )
        return found.stdout or (REPO / name).read_text()

    assert committed("sets.yaml") == data.DEFAULTS["sets.yaml"]
    lines = committed("data.dvc").splitlines()  # DVC adds hashes after the first import
    assert all(line in lines for line in data.DEFAULTS["data.dvc"].splitlines())


def test_a_plain_repro_never_loses_a_file(study):
    (study / "data").mkdir()
    (study / "data/early").write_text("before the first run")
    done, ran = _repro(study)
    assert (done.returncode, ran) == (0, ["phantoms", "list"]), done.stderr
    assert (study / "data-rescued/1/data/early").read_text() == "before the first run"
    assert _in(study / "data") == ["knee/changes", "knee/only-1", "knee/same"]
    done, ran = _repro(study)
    assert (done.returncode, ran) == (0, [])

    # added and changed by hand: DVC refuses, and both are still there
    (study / "data/knee/mine.png").write_text("mine")
    (study / "data/knee/changes").write_text("edited")
    done, ran = _repro(study)
    assert done.returncode and "without a confirmation" in done.stderr
    assert (study / "data/knee/mine.png").read_text() == "mine"
    assert (study / "data/knee/changes").read_text() == "edited"
    # what make repro does first: then the same results come without a stage that runs
    (line,) = data.rescue(study)
    assert "data/ held 2 file(s) not of its import" in line and "data-rescued/2" in line
    assert (study / "data-rescued/2/data/knee/mine.png").read_text() == "mine"
    assert (study / "data-rescued/2/data/knee/changes").read_text() == "edited"
    done, ran = _repro(study)
    assert (done.returncode, ran) == (0, [])
    assert (study / "data/knee/changes").read_text() == "1"

    # the same while the phantoms change: rescued by their command; nothing stale stays
    (study / "data/knee/changes").write_text("edited again")
    (study / "value.txt").write_text("2")
    done, ran = _repro(study)
    assert (done.returncode, ran) == (0, ["phantoms", "list"]) and "data-rescued/3" in done.stdout
    assert (study / "data-rescued/3/data/knee/changes").read_text() == "edited again"
    assert _in(study / "data") == ["knee/changes", "knee/only-2", "knee/same"]
    (study / "value.txt").write_text("1")  # back: results from the run cache, no stale file
    done, ran = _repro(study)
    assert (done.returncode, ran) == (0, ["phantoms"])
    assert _in(study / "data") == ["knee/changes", "knee/only-1", "knee/same"]
    assert "data-rescued" not in _run(study, "git", "status", "--short").stdout


def test_links_are_moved_and_not_followed(study, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "scan").write_text("far away")
    (study / "data/knee").mkdir(parents=True)
    (study / "data/knee/link").symlink_to(outside)
    (study / "data/knee/relative").symlink_to("../../../outside/scan")
    (study / "data/knee/gone").symlink_to("nowhere")
    data.before_import(study)
    assert not (study / "data").exists()
    assert (study / "data-rescued/1/data/knee/relative").read_text() == "far away"
    assert (study / "data-rescued/1/data/knee/gone").is_symlink()
    assert (study / "data-rescued/1/data/knee/link/scan").read_text() == "far away"
    (study / "data").symlink_to(outside)  # the whole folder
    assert len(data.before_import(study)) == 1
    assert not (study / "data").is_symlink() and (outside / "scan").is_file()
    assert data.rescue(study) == []


def test_files_that_a_manifest_does_not_name_are_counted(study, tmp_path):
    own = _images(tmp_path / "own", count=7)
    rows = "".join(f"{i}.png,s{i}\n" for i in range(6))
    (own / "manifest.csv").write_text(f"file,subject\n{rows}")
    left, line = data.use([f"hand_1={own}"], [], study)
    assert left == "set hand_1: manifest.csv does not name 1 files, 6.png the first"
    assert "hand_1 (folder, 6 images in 6 files)" in line
    gathered = [*(f"{i}.png" for i in range(6)), "manifest.csv"]
    assert _in(study / "assets/own/hand_1") == gathered


def test_use_reset_and_back(study, tmp_path):
    own = _images(tmp_path / "own")
    (line,) = data.use([f"hand_1={own}"], [], study)
    assert "hand_1 (folder, 6 images in 6 files)" in line and "make repro" in line
    source, entries = read_sets(study / "sets.yaml")
    assert source == "own" and list(entries) == ["hand_1"]
    assert not entries["hand_1"].allow_images
    done, _ = _repro(study)
    assert done.returncode == 0, done.stderr
    assert _in(study / "data") == [f"hand_1/{i}.png" for i in range(6)]
    assert list(data.status(study))[1] == "hand_1: folder, data/hand_1 (6 files)"
    assert _in(own) == [f"{i}.png" for i in range(6)]

    (study / "data/late").write_text("late")
    lines = data.reset(study)
    assert (study / "data-rescued/1/data/late").is_file() and len(lines) == 2
    done, ran = _repro(study)
    assert done.returncode == 0 and ran[-1] == "list"
    assert _in(study / "data") == ["knee/changes", "knee/only-1", "knee/same"]
    assert (study / "sets.yaml").read_text() == data.DEFAULTS["sets.yaml"]


def test_an_original_that_changes_later_changes_nothing_by_itself(study, tmp_path):
    """Were the study's copy a link, DVC would import it anew, over what stands in data/."""
    own = _images(tmp_path / "own")
    data.use([f"hand={own}"], [], study)
    _repro(study)
    (study / "data/hand/1.png").write_bytes(b"edited by hand")
    (own / "1.png").write_bytes((own / "2.png").read_bytes())
    done, ran = _repro(study)
    assert ran == [] and done.returncode == 0 or "without a confirmation" in done.stderr
    assert (study / "data/hand/1.png").read_bytes() == b"edited by hand"


def test_results_of_sets_that_are_gone_are_put_away(study, tmp_path):
    for place in ("arms/hand/vae/sr.npz", "arms/knee/vae/sr.npz", "autoencoders/hand/cards.json"):
        (study / "results/mini" / place).parent.mkdir(parents=True)
        (study / "results/mini" / place).touch()
    data.use([f"hand={_images(tmp_path / 'own')}"], [], study)
    assert _in(study / "results/mini") == ["arms/hand/vae/sr.npz", "autoencoders/hand/cards.json"]
    data.reset(study)
    assert _in(study / "results/mini") == []


def test_use_takes_images_that_were_put_into_data(study):
    _images(study / "data/mine")
    lines = data.use(["mine=" + str(study / "data/mine")], [], study)
    assert len(lines) == 2 and len(_in(study / "assets/own/mine")) == 6
    data.use(["again=" + str(study / "assets/own/mine")], ["again"], study)
    assert len(_in(study / "assets/own/again")) == 6 and not (study / "assets/own/mine").exists()
    assert read_sets(study / "sets.yaml")[1]["again"].split_by == "image"


def test_use_reports_every_problem_and_touches_nothing(study, tmp_path):
    bad = _images(tmp_path / "bad")
    (bad / "1.png").write_text("x")
    small = _images(tmp_path / "small", side_px=32)
    before = {name: (study / name).read_text() for name in ("sets.yaml", "data.dvc")}
    with pytest.raises(ValueError, match="cannot be read") as caught:
        data.use([f"a={bad}", f"b={small}"], [], study)
    assert len(str(caught.value).splitlines()) == 1 + 6
    assert before == {name: (study / name).read_text() for name in before}
    assert not (study / "assets").exists()


@pytest.mark.parametrize(
    ("pairs", "split_by_image", "message"),
    [
        ([], [], "no set: NAME=DIR is needed"),
        (["Knee=."], [], "'Knee=.': NAME=DIR is needed, with a NAME of a-z"),
        (["../a=."], [], "NAME=DIR is needed"),
        (["knee"], [], "NAME=DIR is needed"),
        (["1=."], [], "a letter first"),  # YAML would read a number
        (["no=."], [], "not a word such as all, no or null"),  # and here false
        (["knee=nowhere"], [], "nowhere is not there"),
        (["a=.", "a=."], [], "set a is named twice"),
        (["a=."], ["b"], "--split-by-image b: no such set; given are a"),
    ],
)
def test_wrong_arguments_of_use(study, pairs, split_by_image, message):
    with pytest.raises(ValueError, match=message):
        data.use(pairs, split_by_image, study)


def test_pages_of_sets_that_are_gone_go_with_them(tmp_path):
    pages = tmp_path / "results/mini/notebooks"
    pages.mkdir(parents=True)
    gone = ["02_autoencoders_my_old.ipynb", "03_train_arm_my_old_natural-f8c4.ipynb"]
    stay = ["02_autoencoders_knee.ipynb", "03_train_arm_knee_natural-f8c4.ipynb", "01_data.ipynb"]
    for name in gone + stay:
        (pages / name).touch()
    data._switch(tmp_path, data.DEFAULTS)
    assert sorted(path.name for path in pages.iterdir()) == sorted(stay)


def test_a_broken_data_dvc_is_one_line(tmp_path):
    (tmp_path / "data.dvc").write_text("outs: [")
    with pytest.raises(ValueError, match=r"^data.dvc: cannot be read; `git checkout data.dvc`"):
        data.imported_folder(tmp_path)


def test_of_a_huge_set_only_what_is_sampled_is_copied(study, tmp_path):
    rows = [(f"d{i:02d}", f"1{i:07d}", "PA", "train" if i < 30 else "test") for i in range(40)]
    root = mimic_of(tmp_path / "mimic", rows)
    rng = np.random.default_rng(1)
    for path in root.rglob("*.jpg"):
        Image.fromarray(rng.integers(0, 256, (64, 64), dtype=np.uint8)).save(path)
    data.use([f"chest={root}"], [], study)
    copied = [name for name in _in(study / "assets/own/chest") if name.endswith(".jpg")]
    assert len(copied) == 24 + 8  # the limits of the smoke profile
    records = list_images(
        "chest",
        read_sets(study / "sets.yaml")[1]["chest"],
        study / "assets/own/chest",
        Preparation(64, 16),
    )
    assert len(records) == 32


def test_files_of_a_series_are_copied_together(study, tmp_path):
    pytest.importorskip("pydicom")
    for subject in range(6):
        for place in range(3):
            pixels = np.random.default_rng(subject * 9 + place).integers(0, 999, (64, 64))
            tags = {"SeriesInstanceUID": f"1.{subject}", "InstanceNumber": place}
            dicom(tmp_path / f"own/{subject}/{place}.dcm", pixels, PatientID=f"p{subject}", **tags)
    data.use([f"scans={tmp_path / 'own'}"], [], study)
    assert len(_in(study / "assets/own/scans")) == 18


@pytest.mark.parametrize("listed", [True, False])
def test_what_is_skipped_is_told_once_and_not_copied(study, tmp_path, listed):
    own = _images(tmp_path / "own", count=9)
    (own / "3.png").write_text("x")
    volume = np.random.default_rng(1).normal(size=(9, 64, 64))
    volume[:, 3, 3] = np.nan
    np.save(own / "vol.npy", volume)
    if listed:
        names = [*(f"{i}.png" for i in range(9)), "vol.npy", "gone.png"]
        (own / "manifest.csv").write_text(
            "file,subject\n" + "".join(f"{name},s{name}\n" for name in names)
        )
    lines = data.use([f"hand={own}"], [], study, ["hand.on_error=skip"])
    bad = ["3.png", "vol.npy"] + ["gone.png"] * listed
    assert [sum(f"own/{name}: " in line for line in lines) for name in bad] == [1] * len(bad)
    assert len(lines) == len(bad) + 1 and "hand (folder, 8 images in 8 files)" in lines[-1]
    gathered = study / "assets/own/hand"
    good = [f"{i}.png" for i in range(9) if i != 3]
    assert _in(gathered) == [".left-out", *good, *["manifest.csv"] * listed]
    left_out = []
    how = Preparation(64, 16, test_fraction=0.4, split_seed=1)
    entry = read_sets(study / "sets.yaml")[1]["hand"]
    arrays = load_set("hand", entry, gathered.parent, how, left_out=left_out)
    assert len(arrays["hr"]) == 8  # and the report of chapter 1 still lists what was left out
    counts = {
        name: sum(line.startswith(f"set hand: {name}: ") for line in left_out) for name in bad
    }
    assert counts.pop("vol.npy") > 1  # its slices that were to be read
    assert set(counts.values()) == {1}


def test_too_few_images_left_is_told_before_anything_is_touched(study, tmp_path):
    own = _images(tmp_path / "own")
    (own / "3.png").write_text("x")
    before = (study / "sets.yaml").read_text()
    with pytest.raises(ValueError, match="set hand: 5 subjects, .* at least 6 are needed"):
        data.use([f"hand={own}"], [], study, ["hand.on_error=skip"])
    assert (study / "sets.yaml").read_text() == before and not (study / "assets/own").exists()


def test_use_takes_keys_and_keeps_how_a_set_is_read(study, tmp_path):
    own, place = _images(tmp_path / "own"), study / "sets.yaml"
    for path in own.iterdir():  # volumes of one row of slices
        np.save(path.with_suffix(".npy"), np.asarray(Image.open(path))[None].repeat(3, axis=0))
        path.unlink()
    settings = ["hand.slices=1", "hand.on_error=skip", "hand.allow_images=true"]
    data.use([f"hand={own}"], [], study, settings)
    entry = read_sets(place)[1]["hand"]
    assert (entry.slices, entry.on_error, entry.allow_images) == (1, "skip", True)
    lines = data.use([f"hand={own}"], [], study, ["hand.axis=0"])
    assert lines[0] == "set hand: read as before, slices: 1, on_error: skip"
    entry = read_sets(place)[1]["hand"]
    assert (entry.axis, entry.slices, entry.on_error) == ("0", 1, "skip")
    assert not entry.allow_images  # of a folder that may hold other images: to be said again
    data.use([f"other={own}"], [], study)
    assert read_sets(place)[1]["other"].slices == 5


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("a.axis=9", "--set a.axis: '9'; allowed are auto, 0, 1, 2"),
        ("a.folder=b", "--set a.folder=b: NAME.KEY=VALUE is needed, with a KEY of anatomy, split"),
        ("b.axis=0", "--set b.axis=0: no such set; given are a"),
        ("axis=0", "--set axis=0: NAME.KEY=VALUE is needed"),
        ("a.slices=0", "--set a.slices: 0; greater than or equal to 1 is needed"),
    ],
)
def test_wrong_keys_of_use(study, tmp_path, setting, message):
    with pytest.raises(ValueError, match=message):
        data.use([f"a={_images(tmp_path / 'own')}"], [], study, [setting])


def test_own_images_are_never_called_phantoms(study, monkeypatch):
    """A hand in sets.yaml alone would put them onto pages."""
    monkeypatch.chdir(study)
    assert study_sets(Path("results/smoke"))[0] == "phantoms"
    data.use([f"mine={_images(study.parent / 'mine')}"], [])
    assert study_sets(Path("results/smoke"))[0] == "own"
    text = (study / "sets.yaml").read_text()
    (study / "sets.yaml").write_text(text.replace("source: own", "source: phantoms"))
    with pytest.raises(ValueError, match="source: 'phantoms', but data.dvc imports assets/own"):
        study_sets(Path("results/smoke"))
    (study / "data.dvc").write_text("x")
    with pytest.raises(ValueError, match="data.dvc: cannot be read"):
        study_sets(Path("results/smoke"))


def test_what_use_cannot_take_is_one_line(study, tmp_path):
    mine = _images(tmp_path / "mine", count=8)
    (mine / "notes.txt").write_text("x")
    lines = data.use([f"mine={mine}"], [], study)
    assert any("of no kind that is read: 1 files, notes.txt the first" in line for line in lines)
    assert any("mine (folder, 8 images in 8 files)" in line for line in lines)
    with pytest.raises(ValueError, match=r"--set mine.slices=\[1: '\[1' is not YAML"):
        data.use([f"mine={mine}"], [], study, ["mine.slices=[1"])
    for image in mine.glob("*.png"):
        image.write_bytes(b"")
    with pytest.raises(ValueError, match="mine") as caught:
        data.use([f"mine={mine}"], [], study, ["mine.on_error=skip"])
    assert "Errno" not in str(caught.value)
