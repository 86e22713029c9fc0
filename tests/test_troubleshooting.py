"""Every message of the troubleshooting page is provoked: the page quotes what the package says."""

import os
import pickle
import re
import shutil
from inspect import signature
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_layouts import IMAGE, folder_of, png, write_manifest

from latentsr.autoencoders import fetch, load
from latentsr.autoencoders.load import load_autoencoder
from latentsr.companion import others
from latentsr.companion.book import build as book
from latentsr.companion.pipeline import data, notebook, params, repro, stage
from latentsr.datasets import Preparation, SetEntry, load_set

REPOSITORY = Path(__file__).parents[1]
PAGE = (REPOSITORY / "book" / "troubleshooting.md").read_text()
ROWS = re.findall(r"^\| `(.+?)` \|", PAGE, re.M)
HOW = Preparation(16, 4, brain_slices=1, test_fraction=0.5, split_seed=1)


def load_folder(folder):
    load_set("mine", SetEntry("folder", folder.name, "folder"), folder.parent, HOW)


def edited(old, new):
    text = Path("params.yaml").read_text()
    assert old in text
    Path("params.yaml").write_text(text.replace(old, new, 1))


def outside_a_clone(root):
    os.chdir(root.parent)
    notebook.repository()


def another_profile(root):
    repro.use_profile("tiny")


def edits_of_ones_own(root):
    edited("threads: 1", "threads: 3")
    repro.use_profile("mini")


def unknown_key(root):
    edited("screening:", "screening:\n  confidance: 0.9")
    params.read(Path("params.yaml"))


def wrong_value(root):
    edited("threads: 1", "threads: many")
    params.read(Path("params.yaml"))


def no_yaml(root):
    edited("threads: 1", "threads: [1")
    params.read(Path("params.yaml"))


def paper_needs_more(root):
    repro.run("paper")


def nothing_to_publish(root):
    book.publish("smoke")


def failing_cell(root):
    path = Path("notebooks/09_screening.ipynb")
    text = path.read_text()
    path.write_text(text.replace('"import ', "\"raise KeyError('x'); import ", 1))
    assert path.read_text() != text
    stage.execute("09_screening", {})


def killed_kernel(root, monkeypatch):
    import papermill
    from nbclient.exceptions import DeadKernelError

    def dies(*_, **__):
        raise DeadKernelError("Kernel died")

    monkeypatch.setattr(papermill, "execute_notebook", dies)
    stage.execute("09_screening", {})


def stopped_pipeline(root):
    raise ValueError(repro.stopped())


def broken_book(root, monkeypatch):
    monkeypatch.setattr(book, "gather", lambda *_: None)

    def builds(command, stdout, **_):
        stdout.write("book/intro.md:3: WARNING: 'myst' cross-reference target not found: 'x'\n")
        return SimpleNamespace(returncode=1)

    monkeypatch.setattr(book.subprocess, "run", builds)
    book.build({"profile": "smoke"})


def no_such_run(root):
    notebook.start("04_vae_swap", {"inputs": "results/mini", "outputs": "x"})


def chapter_one_reads_images(root):
    (root / "results/smoke").mkdir(parents=True)
    notebook.start("01_data", {"inputs": "results/smoke", "outputs": "x"})


def empty_folder(root):
    (root / "mine").mkdir()
    load_folder(root / "mine")


def few_subjects(root):
    load_folder(folder_of(root / "mine", 4))


def colour(root):
    png(folder_of(root / "mine") / "0.png", np.stack([IMAGE, IMAGE, IMAGE // 2], -1))
    load_folder(root / "mine")


def small_image(root):
    png(folder_of(root / "mine") / "0.png", IMAGE[:8])
    load_folder(root / "mine")


def twelve_bits(root):
    for number in range(8):
        png(root / f"mine/{number}.png", np.roll(IMAGE, number).astype(np.uint16) * 8)
    load_folder(root / "mine")


def same_name_twice(root):
    folder_of(root / "mine")
    png(root / "mine/a/b.png", IMAGE)
    png(root / "mine/a-b.png", IMAGE.T.copy())
    load_folder(root / "mine")


def subject_on_both_sides(root):
    rows = [(f"{i}.png", f"s{i % 7}", "test" if i < 3 else "train") for i in range(8)]
    write_manifest(folder_of(root / "mine"), *rows, header=("file", "subject", "split"))
    load_folder(root / "mine")


def strangers_in_data(root):
    png(root / "data/mine.png")
    raise ValueError(data.rescue()[0])


def autoencoder_not_here(root):
    load_autoencoder("kl-f4")


def another_file(root):
    (root / "vaes.lock").write_text("taesd: {sha256: abc}")
    (root / "assets/vaes").mkdir(parents=True)
    (root / "assets/vaes/taesd.safetensors").write_bytes(b"other")
    load_autoencoder("taesd")


def pickled_code(root):
    (root / "odd.ckpt").write_bytes(pickle.dumps({"x": SimpleNamespace(y=1)}))
    load.read_checkpoint(root / "odd.ckpt")


def closed_download(root):
    import httpx
    from huggingface_hub.errors import GatedRepoError

    def refuse(*_, **__):
        response = httpx.Response(401, request=httpx.Request("GET", "https://huggingface.co"))
        raise GatedRepoError("closed", response=response)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.hf_hub_download", refuse)
        fetch.from_hub("someone/mine", "x.ckpt", "main", root / "x.ckpt")


def extra_not_installed(root):
    others._package("no_such_package")


PROVOKED = [
    function
    for function in list(globals().values())
    if getattr(function, "__module__", "") == __name__ and "root" in signature(function).parameters
]


def said(provoke, root, monkeypatch):
    """Return the lines that the package says, in a throw-away clone."""
    for name in ("notebooks", "profiles"):
        shutil.copytree(REPOSITORY / name, root / name)
    for name in ("dvc.yaml", "sets.yaml", "data.dvc", "vaes.lock"):
        shutil.copy(REPOSITORY / name, root)
    shutil.copy(REPOSITORY / "profiles/smoke.yaml", root / "params.yaml")
    (root / ".dvc").mkdir()
    (root / ".dvc/config").write_text("[core]\n    no_scm = True\n")
    with monkeypatch.context() as patch, pytest.raises(ValueError) as caught:
        patch.chdir(root)
        for key, value in {
            "OMP_NUM_THREADS": "1",
            "MPLBACKEND": "agg",
            notebook.IN_STAGE: "",
        }.items():
            patch.setenv(key, value)  # a stage that is run by a test sets them for good
        wanted = {"monkeypatch": patch} if "monkeypatch" in signature(provoke).parameters else {}
        provoke(root, **wanted)
    return str(caught.value).replace("`", "").splitlines()


def matches(row, line):
    pattern = ".*".join(re.escape(part) for part in row.split("…"))
    return re.fullmatch(pattern, line) is not None


def test_every_message_is_one_that_is_said(tmp_path, monkeypatch):
    unseen = set(ROWS)
    for provoke in PROVOKED:
        root = tmp_path / provoke.__name__ / "clone"
        root.mkdir(parents=True)
        lines = said(provoke, root, monkeypatch)
        rows = {row for row in ROWS if any(matches(row, line) for line in lines)}
        assert rows, lines
        unseen -= rows
    assert len(ROWS) > 20 and not unseen
