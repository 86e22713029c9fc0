import re
import threading
import zipfile
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from latentsr.autoencoders import digests
from latentsr.autoencoders import fetch as fetching

CONTENT = bytes(range(256)) * 20_000  # five pieces


class Server(BaseHTTPRequestHandler):
    """Serves CONTENT, with ranges; on /once/ it stops in the middle at the first request."""

    asked: list = []
    ranges = True
    told = "right"  # about the range that is sent

    def do_GET(self):
        place = self.headers.get("Range")
        Server.asked.append((self.path, place, self.headers.get("Authorization")))
        if "missing" in self.path:
            self.send_error(404)
            return
        content = Server.archive if self.path.endswith(".zip") else CONTENT
        start = int(re.fullmatch(r"bytes=(\d+)-", place)[1]) if place and Server.ranges else 0
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start and Server.told:
            place = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.send_header("Content-Range", Server.told if "bytes" in Server.told else place)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        stop = start + 3_000_000 if "once" in self.path and len(Server.asked) == 1 else len(content)
        self.wfile.write(content[start:stop])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def url(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Server.asked, Server.ranges, Server.told = [], True, "right"
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_the_first_fetch_records_and_later_ones_must_match(url):
    path = Path("assets/vaes/x.bin")
    seen = []
    said = fetching.fetch("x", f"{url}/x.bin", path, progress=lambda *place: seen.append(place))
    assert path.read_bytes() == CONTENT and "recorded when it was first seen" in said
    assert seen[-1] == (len(CONTENT), len(CONTENT)) and len(seen) > 3
    row = yaml.safe_load(digests.LOCK.read_text())["x"]
    assert row["sha256"] == sha256(CONTENT).hexdigest() == digests.locked("x")
    assert fetching.fetch("x", f"{url}/x.bin", path) == f"x: already at {path}"
    assert len(Server.asked) == 1
    path.unlink()
    assert fetching.fetch("x", f"{url}/x.bin", path).endswith("verified")
    path.write_bytes(b"changed")
    with pytest.raises(ValueError, match=r"has sha256 .*, vaes.lock says"):
        fetching.fetch("x", f"{url}/x.bin", path)


def test_a_mismatch_stops_and_is_kept_aside(url):
    digests.LOCK.write_text(f"x:\n  sha256: {'0' * 64}\n")
    with pytest.raises(ValueError, match="vaes.lock says 0000"):
        fetching.fetch("x", f"{url}/x.bin", Path("x.bin"))
    assert not Path("x.bin").exists()
    assert Path("x.bin.mismatch").read_bytes() == CONTENT


def test_an_interrupted_fetch_goes_on(url):
    with pytest.raises(ValueError, match="try again"):
        fetching.fetch("x", f"{url}/once/x.bin", Path("x.bin"))
    got = Path("x.fetched.bin.part").stat().st_size
    assert 0 < got <= 3_000_000 and not Path("x.bin").exists()
    fetching.fetch("x", f"{url}/once/x.bin", Path("x.bin"))
    assert Server.asked[1][1] == f"bytes={got}-" and len(Server.asked) == 2
    assert Path("x.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("there", [CONTENT[:1000], CONTENT, CONTENT + b"more", b"other" * 400])
@pytest.mark.parametrize("server", ["right", "", "bytes 0-9/10", "no ranges"])
def test_what_is_left_of_an_earlier_fetch(url, there, server):
    """A longer or an unconfirmed rest is fetched anew; only another head can slip in."""
    Server.ranges, Server.told = server != "no ranges", server
    Path("x.fetched.bin.part").write_bytes(there)
    if there.startswith(b"other") and server == "right":
        digests.LOCK.write_text(f"x:\n  sha256: '{sha256(CONTENT).hexdigest()}'\n")
        with pytest.raises(ValueError, match="vaes.lock says"):
            fetching.fetch("x", f"{url}/x.bin", Path("x.bin"))
        return
    fetching.fetch("x", f"{url}/x.bin", Path("x.bin"))
    assert Path("x.bin").read_bytes() == CONTENT


def test_a_page_does_not_become_the_digest(url):
    def looks_right(path):
        raise ValueError(f"{path}: cannot be read")

    with pytest.raises(ValueError, match="cannot be read"):
        fetching.fetch("x", f"{url}/x.bin", Path("x.bin"), looks_right=looks_right)
    assert digests.locked("x") is None and not Path("x.bin").exists()


def test_a_file_put_there_by_hand_is_recorded(url):
    Path("x.bin").write_bytes(CONTENT)
    assert "already at" in fetching.fetch("x", f"{url}/x.bin", Path("x.bin"))
    assert digests.locked("x") == sha256(CONTENT).hexdigest() and not Server.asked


@pytest.mark.parametrize("text", ["x: 5\n", "x: {}\n", "<<<<<<< ours\n", "- a\n"])
def test_a_broken_lock_file_is_one_line(url, text):
    digests.LOCK.write_text(text)
    with pytest.raises(ValueError, match="vaes.lock: ") as caught:
        digests.locked("x")
    assert "\n" not in str(caught.value)


def test_one_file_of_an_archive(url, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("deep/model.ckpt", CONTENT)
        archive.writestr("config.yaml", b"")
    Server.archive = (tmp_path / "a.zip").read_bytes()
    fetching.fetch("x", f"{url}/x.zip", Path("kept/x.ckpt"), inside="model.ckpt")
    assert [path.name for path in Path("kept").iterdir()] == ["x.ckpt"]
    assert Path("kept/x.ckpt").read_bytes() == CONTENT
    with pytest.raises(ValueError, match=r"0 files other.ckpt in it; the archive is kept"):
        fetching.fetch("y", f"{url}/x.zip", Path("y.ckpt"), inside="other.ckpt")


def test_what_the_server_refuses_is_one_line(url):
    told = {f"{url}/missing": "status 404", "http://127.0.0.1:9/x": "try again, what came is kept"}
    for place, why in told.items():
        with pytest.raises(ValueError, match=f"{why}.*; or put the file at x.bin by") as caught:
            fetching.fetch("x", place, Path("x.bin"))
        assert "\n" not in str(caught.value)


def test_a_token_goes_to_the_hub_alone(url, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    fetching.fetch("x", f"{url}/x.bin", Path("x.bin"))
    assert Server.asked[0][2] is None
