"""Downloads against a local server in the place of the hub and of an archive; random weights."""

import re
import threading
import zipfile
from dataclasses import replace
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from huggingface_hub import constants
from test_load import random_medvae
from test_model import of_three_channels
from typer.testing import CliRunner

from latentsr.autoencoders import fetch, registry
from latentsr.autoencoders.layouts import build_small
from latentsr.autoencoders.load import load_autoencoder, read_model, save_autoencoder
from latentsr.autoencoders.model import Autoencoder
from latentsr.companion.cli import main as cli

CONTENT = bytes(range(256)) * 20_000


class Server(BaseHTTPRequestHandler):
    """Serves the bytes of `files` by path, with ranges; of those in `broken` the first half once."""

    def reply(self, body):
        server = self.server
        server.asked.append((self.command, self.path, self.headers.get("Range")))
        content = server.files.get(self.path)
        if content is None or server.status:
            self.send_error(server.status or 404)
            return
        start = int(re.match(r"bytes=(\d+)-", self.headers.get("Range") or "bytes=0-")[1])
        if start >= len(content) and start:
            self.send_error(416)
            return
        self.send_response(206 if self.headers.get("Range") else 200)
        self.send_header("ETag", f'"{sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", sha256(content).hexdigest()[:40])
        self.send_header("Content-Length", str(len(content) - start))
        if self.headers.get("Range"):
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.path in server.broken and body:
            server.broken.remove(self.path)
            content = content[: len(content) // 2]
        self.wfile.write(content[start:] if body else b"")

    def do_GET(self):
        self.reply(True)

    def do_HEAD(self):
        self.reply(False)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A project folder, and a server whose files, faults and requests a test sets and reads."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    Path("vaes.lock").write_text("# kept\n")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.files, server.broken, server.asked, server.status = {}, set(), [], None
    server.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def serve(served, name, content):
    row = registry.PUBLISHED[name]
    served.files[f"/{row.repo}/resolve/{row.revision}/{row.file}"] = content


def written(path, write, *arguments):
    write(path, *arguments)
    return path.read_bytes()


def test_the_first_fetch_records_and_later_ones_must_match(served, tmp_path):
    good = written(tmp_path / "x.ckpt", random_medvae, 1)
    serve(served, "medvae-4-1", good)
    with pytest.raises(ValueError, match="medvae-4-1.ckpt is not there; `latentsr vaes fetch med"):
        load_autoencoder("medvae-4-1")
    said = fetch.fetch("medvae-4-1", read_model)
    path = Path("assets/vaes/medvae-4-1.ckpt")
    assert path.read_bytes() == good and "recorded when it was first seen" in said
    row = yaml.safe_load(fetch.LOCK.read_text())["medvae-4-1"]
    assert row["sha256"] == sha256(good).hexdigest() == fetch.locked("medvae-4-1")
    asked = len(served.asked)
    assert fetch.fetch("medvae-4-1", read_model) == f"medvae-4-1: already at {path}"
    assert load_autoencoder("medvae-4-1").geometry == "f4c1" and len(served.asked) == asked
    path.unlink()
    assert fetch.fetch("medvae-4-1", read_model).endswith("verified")
    assert [way for way, *_ in served.asked].count("GET") == 1  # the hub's own cache has it
    path.write_bytes(b"changed")
    for run in (lambda: fetch.fetch("medvae-4-1", read_model), lambda: load_autoencoder(path.stem)):
        with pytest.raises(ValueError, match=r"has sha256 .*, vaes.lock says .*; remove the file"):
            run()
    assert fetch.LOCK.read_text().startswith("# kept\n")


def test_outside_a_project_files_and_digests_are_the_users(served, tmp_path, monkeypatch):
    fetch.LOCK.unlink()
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / "cache" / name)
    serve(served, "medvae-4-1", written(tmp_path / "x.ckpt", random_medvae, 1))
    fetch.fetch("medvae-4-1", read_model)
    files = {str(p.relative_to(tmp_path)) for p in (tmp_path / "cache").rglob("*") if p.is_file()}
    assert files == {"cache/latentsr/vaes/medvae-4-1.ckpt", "cache/latentsr/vaes.lock"}
    assert load_autoencoder("medvae-4-1").latent_channels == 1
    assert not any(Path().iterdir())


def test_what_is_published_is_opened_and_checked(served, tmp_path):
    serve(served, "medvae-4-1", written(tmp_path / "x.ckpt", random_medvae, 4))
    with pytest.raises(ValueError, match="an autoencoder f4c4, but medvae-4-1 is f4c1"):
        fetch.fetch("medvae-4-1", read_model)
    serve(served, "medvae-8-1", b"<html>")
    with pytest.raises(ValueError, match="cannot be read"):
        fetch.fetch("medvae-8-1", read_model)
    serve(served, "taesd", b"another")  # its digest is its publisher's
    with pytest.raises(ValueError, match=r"vaes.lock says d7956d.*, or give it a row in vaes.lock"):
        fetch.fetch("taesd", read_model)
    assert yaml.safe_load(fetch.LOCK.read_text()) is None
    assert not Path("assets/vaes/medvae-4-1.ckpt").exists()
    serve(served, "medvae-4-1", written(tmp_path / "x.ckpt", random_medvae, 1))
    assert "its sha256 is now in" in fetch.fetch("medvae-4-1", read_model)  # not the bad one again


def test_a_file_put_there_by_hand(served, tmp_path):
    path = fetch.weights_path("medvae-4-3")
    path.parent.mkdir(parents=True)
    path.write_text("<html>")
    for look in (fetch.fetch, fetch.note):
        with pytest.raises(ValueError, match="medvae-4-3.ckpt: cannot be read"):
            look("medvae-4-3", read_model)
    assert fetch.locked("medvae-4-3") is None
    random_medvae(path, 3)
    assert "its sha256 is now in" in fetch.note("medvae-4-3", read_model)
    assert "already at" in fetch.fetch("medvae-4-3", read_model) and not served.asked
    assert fetch.note("medvae-4-3", read_model) is None


def test_a_folder_of_the_hub(served, tmp_path):
    name = f"hf/someone/mine/{'7' * 40}/vae"
    build_small(4, 1).save_pretrained(tmp_path / "vae")
    for file in ("config.json", registry.WEIGHTS_FILE):
        address = f"/someone/mine/resolve/{'7' * 40}/vae/{file}"
        served.files[address] = (tmp_path / "vae" / file).read_bytes()
    with pytest.raises(ValueError, match=f"`latentsr vaes fetch {name}` gets it, or put into that"):
        load_autoencoder(name)
    assert "its sha256 is now in vaes.lock" in fetch.fetch(name, read_model)
    assert "already at assets/vaes/hf" in fetch.fetch(name, read_model)
    assert load_autoencoder(name).latent_channels == 1
    table = CliRunner().invoke(cli.app, ["vaes", "list"]).stdout
    assert "hf/someone/mine" in table.replace("\n", "")
    (fetch.weights_path(name) / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"has sha256 .*, vaes.lock says"):
        load_autoencoder(name)


@pytest.fixture
def archive(served, tmp_path, monkeypatch):
    """The archive of a published autoencoder."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("deep/model.ckpt", CONTENT)
        file.writestr("config.yaml", b"")
    served.files["/a.zip"] = (tmp_path / "a.zip").read_bytes()
    row = replace(registry.PUBLISHED["kl-f4"], url=f"{served.url}/a.zip")
    monkeypatch.setitem(registry.PUBLISHED, "kl-f4", row)
    return served


def test_an_archive_goes_on_where_it_ended(archive):
    archive.broken.add("/a.zip")
    with pytest.raises(ValueError, match="bytes did not come; try again, what came is kept"):
        fetch.fetch("kl-f4", lambda name, path: None)
    fetch.fetch("kl-f4", lambda name, path: None)
    (_, _, first), (_, _, second) = archive.asked
    assert first == "bytes=0-" and int(second[6:-1]) == len(archive.files["/a.zip"]) // 2
    (path,) = Path("assets/vaes").iterdir()
    assert path.name == "kl-f4.ckpt" and path.read_bytes() == CONTENT


@pytest.mark.parametrize("rest", ["whole", "other"])
def test_what_is_left_of_an_earlier_archive(archive, rest):
    """All of it is unpacked without asking for more; another file is removed and fetched again."""
    left = archive.files["/a.zip"] if rest == "whole" else b"other" * len(CONTENT)
    part = Path("assets/vaes/kl-f4.fetched.ckpt.zip")
    part.parent.mkdir(parents=True)
    part.write_bytes(left)
    if rest == "other":
        with pytest.raises(ValueError, match="BadZipFile"):
            fetch.fetch("kl-f4", lambda name, path: None)
    fetch.fetch("kl-f4", lambda name, path: None)
    assert Path("assets/vaes/kl-f4.ckpt").read_bytes() == CONTENT and not part.exists()


def test_what_is_refused_is_one_line(archive, tmp_path):
    target = tmp_path / "x.ckpt"
    with pytest.raises(ValueError, match=r"0 files other.ckpt in"):
        fetch.from_archive(f"{archive.url}/a.zip", "other.ckpt", target)
    for status, message in ((401, "accept its form at .*HF_TOKEN"), (404, "404.*; try again")):
        archive.status = status
        with pytest.raises(ValueError, match=rf"^medvae-4-1: .*{message}") as caught:
            fetch.fetch("medvae-4-1", read_model)
        assert "\n" not in str(caught.value) and "by hand" in str(caught.value)
    for name, message in (("natural-f8c4", "comes with the package"), ("hf/a/b/main", "allowed")):
        with pytest.raises(ValueError, match=f"vaes fetch: '?{name}'?.*{message}"):
            fetch.fetch(name, read_model)


def test_a_changed_file_of_ones_own_is_noticed(served, tmp_path):
    path = tmp_path / "mine.safetensors"
    save_autoencoder(Autoencoder("x", of_three_channels()), path)
    assert fetch.note("natural-f8c4", read_model) is None
    assert [fetch.note(str(path), read_model) for _ in range(2)] == [None, None]
    load_autoencoder(str(path))
    save_autoencoder(Autoencoder("x", build_small(4, 1)), path)
    with pytest.raises(ValueError, match=r"mine.safetensors has sha256 .*, vaes.lock says"):
        load_autoencoder(str(path))
    assert fetch.note(str(path), read_model) == f"{path}: changed since the last run"
    load_autoencoder(str(path))


@pytest.mark.parametrize("text", ["x: 5\n", "x: {}\n", "<<<<<<< ours\n", "- a\n"])
def test_a_broken_lock_file_is_one_line(served, text):
    fetch.LOCK.write_text(text)
    with pytest.raises(ValueError, match="vaes.lock: ") as caught:
        fetch.locked("x")
    assert "\n" not in str(caught.value)
