import argparse
import io
import os
import pickle
import zipfile
from collections import OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from latentsr.autoencoders import checkpoints

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32]
DTYPES += [torch.int16, torch.int8, torch.uint8, torch.bool]


class Callback:
    """A class that only the writer of a checkpoint has."""

    def __init__(self):
        self.best = torch.ones(2)


class Settings(dict):
    """Lightning keeps hyper-parameters in a subclass of dict."""


def equal(found, wanted):
    return found.dtype == wanted.dtype and torch.equal(found, wanted)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("protocol", [2, 4])
def test_every_dtype_and_view_arrives(tmp_path, dtype, protocol):
    whole = torch.arange(24).reshape(4, 6).to(dtype)
    state = {"a": whole, "transposed": whole.T, "part": whole[1:3, 2:5], "empty": whole[:0]}
    state["scalar"] = whole[2, 3]
    torch.save({"state_dict": OrderedDict(state)}, tmp_path / "x.ckpt", pickle_protocol=protocol)
    found = checkpoints.state_dict(tmp_path / "x.ckpt")
    assert list(found) == list(state)
    assert all(equal(found[key], value) for key, value in state.items())


def test_what_lightning_adds_is_read_past(tmp_path):
    hyper = Settings(timesteps=1000, channel_mult=(1, 2, 4), rate=1e-4, name="cosine")
    saved = {
        "epoch": 3,
        "callbacks": {Callback: {"best": np.float64(0.5)}},
        "hyper_parameters": hyper,
        "opt": argparse.Namespace(path=Path("x"), more=defaultdict(list, a=[1])),
        "object": Callback(),
        "state_dict": {"w": torch.nn.Parameter(torch.rand(2, 3))},
    }
    torch.save(saved, tmp_path / "x.ckpt")
    found = checkpoints.read(tmp_path / "x.ckpt")
    assert found["epoch"] == 3 and dict(found["hyper_parameters"]) == dict(hyper)
    assert torch.equal(found["state_dict"]["w"], saved["state_dict"]["w"])
    assert type(found["object"]) is checkpoints.Inert and not hasattr(found["object"], "best")


class Hostile:
    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("way", ["zip", "bare"])
def test_a_hostile_pickle_runs_nothing(tmp_path, protocol, way):
    mark = tmp_path / "was-here"
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
        path = tmp_path / "x.ckpt"
        if way == "bare":
            path.write_bytes(content)
        else:
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("x/data.pkl", content)
        with pytest.raises(ValueError, match=r"x\.ckpt: (cannot be read|1 entries that are no)"):
            checkpoints.state_dict(path)
        assert not mark.exists()


def test_what_is_built_cannot_change_the_reader(tmp_path):
    """BUILD sets attributes; on a class it would last beyond the file."""
    for name in (
        b"os\nsystem",
        b"torch._utils\n_rebuild_tensor_v2",
        b"torch._utils\n_rebuild_parameter",
    ):
        for state in (b"}(S'planted'\nI1\nu", b"(N}(S'planted'\nI1\nut"):
            with zipfile.ZipFile(tmp_path / "x.ckpt", "w") as archive:
                archive.writestr("x/data.pkl", b"c" + name + b"\n" + state + b"b.")
            with pytest.raises(ValueError, match="cannot be read"):
                checkpoints.read(tmp_path / "x.ckpt")
    for kept in (checkpoints.Inert, checkpoints._Rebuild, checkpoints._Made):
        assert not hasattr(kept, "planted")


def test_a_tensor_cannot_be_built_anew(tmp_path):
    class Sly:
        def __reduce__(self):
            inner = torch.arange(4.0)
            return inner.__reduce_ex__(2)[0], inner.__reduce_ex__(2)[1], (0, (9,), (1,))

    torch.save({"w": Sly()}, tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match="sets the state of a tensor"):
        checkpoints.state_dict(tmp_path / "x.ckpt")


def test_a_storage_is_not_left(tmp_path):
    """A tensor whose strides reach beyond its storage would read foreign memory."""
    torch.save({"w": torch.arange(4.0)}, tmp_path / "x.ckpt")
    with zipfile.ZipFile(tmp_path / "x.ckpt") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    (name,) = (name for name in parts if name.endswith("/data/0"))
    parts[name] = parts[name][:8]
    with zipfile.ZipFile(tmp_path / "short.ckpt", "w") as archive:
        for key, content in parts.items():
            archive.writestr(key, content)
    with pytest.raises(ValueError, match="storage 0 has 2 of 4 values"):
        checkpoints.read(tmp_path / "short.ckpt")
    made, rebuild = checkpoints._Made(torch.arange(4.0)), checkpoints._Rebuild(False)
    for how in ((2, (4,), (1,)), (3, (2,), (-1,))):
        with pytest.raises(RuntimeError):
            rebuild(made, *how)


def test_safetensors_and_files_of_old_torch(tmp_path):
    state = {"w": torch.rand(2, 3)}
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "b.pt", _use_new_zipfile_serialization=False)
    for name in ("a.safetensors", "b.pt"):
        assert torch.equal(checkpoints.state_dict(tmp_path / name)["w"], state["w"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"", "cannot be read"),
        (b"PK\x03\x04 no archive", "cannot be read"),
        ({"state_dict": {}}, "no state dict in it"),
        ([torch.zeros(1)], "no state dict in it"),
        ({"w": torch.zeros(1), "step": 3}, r"1 entries that are no tensors \(step\)"),
    ],
)
def test_what_is_no_checkpoint_is_one_line(tmp_path, content, message):
    path = tmp_path / "x.ckpt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(ValueError, match=message) as caught:
        checkpoints.state_dict(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_a_truncated_file_is_one_line(tmp_path):
    torch.save({"w": torch.rand(100)}, buffer := io.BytesIO())
    (tmp_path / "x.ckpt").write_bytes(buffer.getvalue()[:700])
    with pytest.raises(ValueError, match="cannot be read"):
        checkpoints.state_dict(tmp_path / "x.ckpt")
