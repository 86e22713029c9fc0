"""Files: read without running what is in them, completely or not at all, and what is shipped."""

import argparse
import io
import json
import os
import pickle
import shutil
import zipfile
from collections import OrderedDict, defaultdict
from hashlib import sha256
from pathlib import Path

import compvis
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from test_model import of_three_channels, random_weights

from latentsr.autoencoders import fetch, load, registry
from latentsr.autoencoders.layouts import build_small
from latentsr.autoencoders.load import load_autoencoder, save_autoencoder
from latentsr.autoencoders.model import Autoencoder

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.bool]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("protocol", [2, 4])
def test_every_dtype_and_view_arrives(tmp_path, dtype, protocol):
    whole = torch.arange(24).reshape(4, 6).to(dtype)
    state = {"a": whole, "transposed": whole.T, "part": whole[1:3, 2:5], "empty": whole[:0]}
    state["scalar"] = whole[2, 3]
    torch.save({"state_dict": OrderedDict(state)}, tmp_path / "x.ckpt", pickle_protocol=protocol)
    read = load.state_dict(tmp_path / "x.ckpt")
    assert list(read) == list(state) and all(tensor.dtype == dtype for tensor in read.values())
    assert all(torch.equal(read[key], value) for key, value in state.items())


class Callback:
    """A class that only the writer of a checkpoint has."""

    def __init__(self):
        self.best = torch.ones(2)


class Settings(dict):
    """Lightning keeps hyper-parameters in a subclass of dict."""


def test_what_lightning_adds_is_read_past(tmp_path):
    hyper = Settings(timesteps=1000, channel_mult=(1, 2, 4), rate=1e-4, name="cosine")
    module = torch.nn.Linear(3, 2)  # its state dict carries an attribute
    saved = {
        "epoch": 3,
        "callbacks": {Callback: {"best": np.float64(0.5)}},
        "hyper_parameters": hyper,
        "opt": argparse.Namespace(path=Path("x"), more=defaultdict(list, a=[1])),
        "object": Callback(),
        "state_dict": {"w": torch.nn.Parameter(torch.rand(2, 3)), **module.state_dict()},
        "inner": module.state_dict(),
    }
    torch.save(saved, tmp_path / "x.ckpt")
    read = load.read_checkpoint(tmp_path / "x.ckpt")
    assert read["epoch"] == 3 and dict(read["hyper_parameters"]) == dict(hyper)
    assert torch.equal(read["state_dict"]["w"], saved["state_dict"]["w"])
    assert torch.equal(read["inner"]["weight"], module.weight)
    assert type(read["object"]) is load.Inert and not hasattr(read["object"], "best")


class Hostile:
    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


def archive_of(path, content):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", content)
        archive.writestr("x/version", "3\n")
    return path


@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize("way", ["zip", "bare"])
def test_a_hostile_pickle_runs_nothing(tmp_path, protocol, way):
    mark, path = tmp_path / "was-here", tmp_path / "x.ckpt"
    calls = [
        Hostile(os.system, f"touch {mark}"),
        Hostile(eval, f"open({str(mark)!r}, 'w')"),
        Hostile(os.makedirs, str(mark)),
        Hostile(torch.save, 1, str(mark)),
    ]
    for call in calls:
        pickle.loads(pickle.dumps(call, protocol=protocol))  # noqa: S301 - it does work elsewhere
        assert mark.exists()
        mark.rmdir() if mark.is_dir() else mark.unlink()
        content = pickle.dumps({"state_dict": {"w": call}}, protocol=protocol)
        path.write_bytes(content) if way == "bare" else archive_of(path, content)
        with pytest.raises(ValueError, match=r"x\.ckpt: (cannot be read|1 entries that are no)"):
            load.state_dict(path)
        assert not mark.exists()


@pytest.mark.parametrize("state", [b"}(S'planted'\nI1\nu", b"(N}(S'planted'\nI1\nut"])
@pytest.mark.parametrize("name", ["os\nsystem", "torch._utils\n_rebuild_tensor_v2", "torch\nSize"])
def test_what_is_built_cannot_change_the_reader(tmp_path, name, state):
    """BUILD sets attributes; on a class or a function it would last beyond the file."""
    path = archive_of(tmp_path / "x.ckpt", b"c" + name.encode() + b"\n" + state + b"b.")
    with pytest.raises(ValueError, match="sets the state of a tensor"):
        load.read_checkpoint(path)
    assert not any(hasattr(kept, "planted") for kept in (load.Inert, *load.READ.values()))


@pytest.mark.parametrize("view", [(2, (4,), (1,)), (3, (2,), (-1,)), (0, (2, 3), (3, 1)), None])
def test_a_storage_is_not_left(tmp_path, view):
    """Strides beyond a storage would read foreign memory; so would a tensor that is built anew."""

    class Reaching:
        def __reduce__(self):
            function, arguments = torch.arange(4.0).__reduce_ex__(2)[:2]
            if view is None:
                return function, arguments, (0, (9,), (1,))
            return function, (arguments[0], *view, *arguments[4:])

    torch.save({"w": Reaching()}, tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match="cannot be read"):
        load.read_checkpoint(tmp_path / "x.ckpt")


def test_a_compiled_model_is_not_opened(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "x.pt")
    with pytest.raises(ValueError, match="a compiled model; its state dict is needed"):
        load.state_dict(tmp_path / "x.pt")


def test_safetensors_and_files_of_old_torch(tmp_path):
    state = {"w": torch.rand(2, 3)}
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "b.pt", _use_new_zipfile_serialization=False)
    for name in ("a.safetensors", "b.pt"):
        assert torch.equal(load.state_dict(tmp_path / name)["w"], state["w"])


def truncated():
    torch.save({"w": torch.rand(100)}, buffer := io.BytesIO())
    return buffer.getvalue()[:700]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"", "cannot be read"),
        (b"PK\x03\x04 no archive", "cannot be read"),
        (truncated(), "cannot be read"),
        ({"state_dict": {}}, "no state dict in it"),
        ([torch.zeros(1)], "no state dict in it"),
        ({"w": torch.zeros(1), "step": 3}, r"1 entries that are no tensors \(step\)"),
        ({3: torch.zeros(1)}, r"1 entries that are no tensors \(3\)"),
    ],
)
def test_what_is_no_checkpoint_is_one_line(tmp_path, content, message):
    path = tmp_path / "x.ckpt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(ValueError, match=message) as caught:
        load.state_dict(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def random_medvae(path, channels):
    _, state = compvis.random_state(1, channels, (1, 2, 4))
    torch.save({"state_dict": state}, path)


def test_any_file_of_ones_own_is_loaded_by_its_path(tmp_path):
    random_medvae(tmp_path / "mine.ckpt", 1)
    of_three_channels().save_pretrained(tmp_path / "folder")
    assert load_autoencoder(str(tmp_path / "mine.ckpt")).geometry == "f4c1"
    assert load_autoencoder(str(tmp_path / "folder")).image_channels == 3
    for name, message in (("gone.ckpt", "no such file or folder"), ("", "config.json and")):
        with pytest.raises(ValueError, match=message) as caught:
            load_autoencoder(str(tmp_path / name))
        assert "\n" not in str(caught.value)
    for config in ({"a": 1}, {"_class_name": "UNet2DModel"}):  # of something else, beside it
        (tmp_path / "config.json").write_text(json.dumps(config))
        assert load_autoencoder(str(tmp_path / "mine.ckpt")).latent_channels == 1


@pytest.mark.parametrize("kind", ["small", "colour", "tiny"])
def test_what_is_saved_is_loaded_again(tmp_path, kind):
    """The number of groups stands in no tensor: a file carries it, or the configuration beside."""
    from diffusers import AutoencoderTiny

    torch.manual_seed(3)
    models = {"colour": of_three_channels, "tiny": AutoencoderTiny}
    model = models.get(kind, lambda: build_small(4, 1))()
    vae, images = Autoencoder("x", model), torch.rand(1, 1, 32, 32)
    save_autoencoder(vae, tmp_path / "x.safetensors")
    vae.model.save_pretrained(tmp_path / "mine")
    for name in ("x.safetensors", "mine", "mine/diffusion_pytorch_model.safetensors"):
        loaded = load_autoencoder(str(tmp_path / name))
        assert torch.equal(loaded.encode(images), vae.encode(images))
    (tmp_path / "mine/config.json").write_text("{")
    with pytest.raises(ValueError, match="config.json: cannot be read"):
        load_autoencoder(str(tmp_path / "mine"))


@pytest.mark.parametrize("name", registry.SHIPPED)
def test_shipped_weights(name):
    card, vae = load.training_card(name), load_autoencoder(name)
    weights = load_file(fetch.weights_path(name))
    assert {str(tensor.dtype) for tensor in weights.values()} == {"torch.float16"}
    assert card["geometry"] == registry.spec(name).geometry == vae.geometry
    ramp = torch.linspace(0.1, 0.9, 64).expand(1, 1, 64, 64)
    untrained = random_weights(vae.factor, vae.latent_channels)
    error, random_error = (
        float((v.decode(v.encode(ramp)) - ramp).abs().mean()) for v in (vae, untrained)
    )
    assert error < min(0.03, random_error / 5)  # a ramp is unlike anything they were trained on


@pytest.fixture
def shipped_copy(tmp_path, monkeypatch):
    """A shipped autoencoder's weights and card in a folder of their own."""
    for path in fetch.WEIGHTS.glob("natural-f8c4.*"):
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(fetch, "WEIGHTS", tmp_path)
    load.training_card.cache_clear()
    yield tmp_path / "natural-f8c4.safetensors"
    load.training_card.cache_clear()


def test_missing_and_unexpected_keys_stop(shipped_copy):
    state = load_file(shipped_copy)
    state["extra"] = state.pop("quant_conv.bias")
    save_file(state, shipped_copy)
    card = json.loads(shipped_copy.with_suffix(".json").read_text())
    card["sha256"] = sha256(shipped_copy.read_bytes()).hexdigest()
    shipped_copy.with_suffix(".json").write_text(json.dumps(card))
    message = r"1 keys missing \(quant_conv.bias\); 1 keys unexpected \(extra\)"
    with pytest.raises(ValueError, match=message):
        load_autoencoder("natural-f8c4")


def test_a_changed_file_stops(shipped_copy):
    with shipped_copy.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ValueError, match="has sha256 .*, its card"):
        load_autoencoder("natural-f8c4")
