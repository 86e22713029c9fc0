"""A data set, an autoencoder and other things of one's own, added; two book pages show the first."""

import filecmp
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_layouts import IMAGE, png

from latentsr.autoencoders import latents, registry
from latentsr.autoencoders.layouts import build_small
from latentsr.autoencoders.load import load_autoencoder, save_autoencoder
from latentsr.autoencoders.model import Autoencoder
from latentsr.companion.pipeline import params
from latentsr.datasets import (
    ADAPTERS,
    Adapter,
    Preparation,
    Record,
    SetEntry,
    list_images,
    load_set,
    pixels,
    recognise,
    verify,
)
from latentsr.datasets.records import seeded_split
from latentsr.metrics import image as metrics
from latentsr.phantoms import draw


# [adapter]
def records(root, *, split_by, test_fraction, seed):
    """List PNG files, one folder a patient; test.txt names those to test on, where it is."""
    paths = sorted(root.glob("*/*.png"))
    named = root / "test.txt"
    patients = [path.parent.name for path in paths]
    drawn = partial(seeded_split, patients, test_fraction, seed)
    tested = set(named.read_text().split()) if named.is_file() else drawn()
    return [
        Record(
            image_id=f"{path.parent.name}-{path.stem}",
            subject_id=path.parent.name,
            split="test" if path.parent.name in tested else "train",
            path=path,
            read=partial(pixels.read_image, path),  # opened later, not here
        )
        for path in paths
    ]


ADAPTER = Adapter(
    name="wrists",
    records=records,  # and the options that it names
    subject_word="patient",
    anatomy="folder",  # grey values are scaled as the keys of sets.yaml say
    tables="test.txt",
    root_of=lambda path, root: path.parent if path.name == "test.txt" else None,
)
# [/adapter]


@pytest.fixture
def added(monkeypatch, tmp_path):
    """Do in a test what the page asks for in the package; write a tiny set in that layout."""
    monkeypatch.setitem(ADAPTERS, "wrists", ADAPTER)
    for number in range(12):
        image = np.roll(IMAGE, number)[:16, :16]
        png(tmp_path / f"own/p{number // 2:02d}/view{number % 2}.png", image)
    (tmp_path / "own/test.txt").write_text("p03 p04 p05\n")
    return tmp_path


# [set]
def test_a_set_with_a_layout_of_its_own_goes_through_the_loader(added):
    # as sets.yaml would have it
    entry = SetEntry(adapter="wrists", folder="own", anatomy="folder")
    arrays = load_set("wrist", entry, added, Preparation(hr_px=16, lr_px=4))
    assert arrays["hr"].shape == (12, 16, 16)
    assert arrays["lr"].shape == (12, 4, 4)
    assert arrays["image_id"][0] == "p00-view0"
    tested = arrays["subject_id"][arrays["split"] == "test"]
    assert set(tested) == {"p03", "p04", "p05"}
    np.testing.assert_allclose(arrays["hr"][0], IMAGE[:16, :16] / 255, atol=1e-6)
    # [/set]


def test_all_else_reaches_it_too(added):
    """Recognition, verify-data, a contact sheet, the options of the study, the checks of a set."""
    root = added / "own"
    assert recognise(added) == ("wrists", root)
    rows, report = verify.verify("wrists", added, full=True, hr_px=16)
    assert report.good == 12 and not report.problems
    counts = {row.what: row.value for row in rows}
    assert (counts["images and volumes"], counts["subjects"]) == ("12", "6")
    assert verify.contact_sheet("wrists", root, side_px=16).shape == (32, 128)
    entry, how = SetEntry("wrists", "own", "folder"), Preparation(16, 4)
    (root / "test.txt").write_text("p03\n")
    with pytest.raises(ValueError, match=r"set wrist: 6 patients, 5 in train and 1 in test; at le"):
        load_set("wrist", entry, added, how)
    (root / "test.txt").unlink()
    drawn = [
        {r.subject_id for r in list_images("wrist", entry, root, how) if r.split == "test"}
        for how in (replace(how, split_seed=1), replace(how, split_seed=2))
    ]
    assert len(drawn[0]) == len(drawn[1]) == 3 and drawn[0] != drawn[1]
    with pytest.raises(ValueError, match="axis: '1'; adapter wrists does not take it"):
        SetEntry("wrists", "own", "folder", axis="1")


def psnr_of_copies(vae, images):
    decoded = latents.decode_all(vae, latents.encode_all(vae, images, batch=4), batch=4)
    return float(metrics.psnr_db(decoded, images).mean()), decoded


# [autoencoder]
def test_an_autoencoder_of_ones_own_is_trained_saved_and_used_by_its_path(tmp_path):
    torch.manual_seed(0)
    phantoms = [draw("chest", seed=5, subject=i).image for i in range(3)]
    prepared = [pixels.prepare_pixels(one, "chest", 64) for one in phantoms]
    hr = np.stack(prepared)  # (N, H, W) in [0, 1]
    net = build_small(factor=4, latent_channels=1)  # or any AutoencoderKL of diffusers
    before, _ = psnr_of_copies(Autoencoder("mine", net), hr)

    net.requires_grad_(True)  # an Autoencoder is frozen
    images = torch.from_numpy(hr)[:, None] * 2 - 1  # (B, 1, H, W) in [-1, 1]
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3)
    for _ in range(20):
        latent = net.encode(images).latent_dist.mode()
        loss = (net.decode(latent).sample - images).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    path = tmp_path / "mine.safetensors"
    save_autoencoder(Autoencoder("mine", net), path)

    vae = load_autoencoder(str(path))  # this path is what params.yaml names
    assert registry.is_vae(str(path)) and registry.display_name(str(path)).startswith("mine-")
    after, decoded = psnr_of_copies(vae, hr)
    assert after > before + 3  # dB
    codes = latents.encode_all(vae, hr, batch=4)  # (N, C, h, w)
    card = latents.card(vae, codes, decoded, hr)
    assert (card["factor"], card["latent_channels"]) == (4, 1)
    # [/autoencoder]


def test_its_path_is_taken_as_a_parameter(tmp_path):
    text = Path("profiles/smoke.yaml").read_text()
    named = text.replace("vaes: [", f"vaes: [{tmp_path}/mine.safetensors, ", 1)
    assert named != text
    (tmp_path / "params.yaml").write_text(named)
    settings = params.read(tmp_path / "params.yaml")
    assert settings["autoencoders"].vaes[0] == f"{tmp_path}/mine.safetensors"


ADDED = {  # by thing: the edits, (file, before which text, what), and what then holds
    "an autoencoder": (
        [("autoencoders/registry.yaml", "  natural-f8c4-s1:", "  mine-f4c1: {factor: 4, "
          "latent_channels: 1, trained_on: [natural], color: '#123456'}\n")],
        "from latentsr import load_autoencoder as load; assert load('mine-f4c1').geometry == 'f4c1'",
    ),
    "a data set": (
        [("datasets/sets.py", "ADAPTERS = {", "from latentsr.datasets import wrists\n\n"),
         ("datasets/sets.py", "folder.ADAPTER)", "wrists.ADAPTER, ")],
        "from latentsr.datasets import ADAPTERS; assert 'wrists' in ADAPTERS",
    ),
    "a metric": (
        [("metrics/image.py", '    "ms_ssim": Metric(', '    "mine": Metric(gmsd, "mine"),\n')],
        "from latentsr.metrics import image; assert image.QUALITY['mine'] == 'mine'",
    ),
    "an ablation": (
        [("experiments/plans.py", '    "target v"', '    "mine": {"prediction": "v"},\n')],
        "from latentsr.experiments import plans; assert 'mine' in plans.ablations('u', 'lr_pixels', 1, 0)",
    ),
    "a claim": (
        [("companion/claims/claims.yaml", "- id: C1\n", "- id: X1\n  title: x\n  claim: x\n"
          "  tests:\n    - {quantity: x_db, paper: {knee: 1}, arms: {released: x}}\n")],
        "from latentsr.companion.claims import ledger; assert 'X1' in {p.id for p in ledger.ledger()}",
    ),
}  # fmt: skip
MOST_FILES = {
    "an autoencoder": 3,  # its row; weights and their card, which `make pretrain` writes
    "a data set": 2,
    "a metric": 1,
    "an ablation": 1,
    "a claim": 1,
}


@pytest.mark.parametrize("thing", ADDED)
def test_adding_touches_few_files(thing, tmp_path):
    """The edit of CONTRIBUTING's table, made in a copy of the package, is enough."""
    package, (edits, holds) = Path(registry.__file__).parents[1], ADDED[thing]
    copy = shutil.copytree(package, tmp_path / "latentsr", ignore=shutil.ignore_patterns("__py*"))
    for name, before, text in edits:
        whole = (copy / name).read_text()
        assert before in whole
        (copy / name).write_text(whole.replace(before, text + before, 1))
    if thing == "an autoencoder":
        for name in (copy / "weights").glob("natural-f4c1.*"):
            shutil.copy(name, name.with_stem("mine-f4c1"))
    if thing == "a data set":
        head, code = Path(__file__).read_text().split("# [adapter]\n", 1)
        imports = "from functools import partial\nfrom latentsr.datasets import pixels\nfrom "
        imports += "latentsr.datasets.records import Adapter, Record, seeded_split\n"
        (copy / "datasets/wrists.py").write_text(imports + code.split("# [/adapter]")[0])
    done = subprocess.run(
        [sys.executable, "-B", "-c", holds], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    files = [path.relative_to(copy) for path in copy.rglob("*") if path.is_file()]
    same = filecmp.cmpfiles(copy, package, files, shallow=False)[0]
    assert len(files) - len(same) <= MOST_FILES[thing]
