import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from latentsr.diffusion import networks, train

NETWORK = networks.Network((8, 16))
SETTINGS = train.Settings(
    steps=12, batch=4, max_learning_rate=3e-3, weight_decay=0.0, gradient_clip=1.0, seed=7
)


def stop_after(count):
    """Return a progress callback that interrupts a training after ``count`` steps."""
    calls = []

    def stop():
        calls.append(1)
        if len(calls) == count:
            raise KeyboardInterrupt

    return stop


def tensors():
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(8, 3, 8, 8, generator=generator)
    return target, target[:, :2] * 0.5


def trained(settings=SETTINGS):
    net = networks.build(3, 2, NETWORK, seed=1)
    return net, train.train(net, *tensors(), settings)


def same(net, other):
    pairs = zip(net.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_training_is_bit_identical_and_learns():
    state = torch.get_rng_state()
    (first, losses), (second, again) = trained(), trained()
    assert losses == again and same(first, second)
    assert sum(losses[-4:]) < sum(losses[:4])
    assert torch.equal(torch.get_rng_state(), state)  # the global generator is left alone


SHARED = """
import sys, torch
sys.path.insert(0, {tests!r})
from test_train import trained
from latentsr.diffusion.networks import Denoiser
sizes, forward = set(), Denoiser.forward
def spy(self, noisy, *rest):
    sizes.add(len(noisy))
    return forward(self, noisy, *rest)
Denoiser.forward = spy
net, losses = trained()
assert sizes == {{2}}, sizes  # half of a batch of 4
import torch.distributed as dist
assert dist.get_world_size() == 2
if dist.get_rank() == 0:
    torch.save((net.state_dict(), losses), {out!r})
"""


@pytest.mark.slow
def test_two_processes_share_each_batch(tmp_path):
    """Under `torchrun` the result is that of one process, but for rounding."""
    script, out = tmp_path / "shared.py", tmp_path / "shared.pt"
    script.write_text(SHARED.format(tests=str(Path(__file__).parent), out=str(out)))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run([*launch, str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    weights, losses = torch.load(out)
    one, alone = trained()
    assert losses == pytest.approx(alone, abs=1e-5)
    other = networks.build(3, 2, NETWORK, seed=1).eval()
    other.load_state_dict(weights)
    target, condition = tensors()  # outputs: Adam turns rounding into steps where gradients vanish
    with torch.no_grad():
        outputs = [net(target, condition, torch.full((8,), 500)) for net in (one, other)]
    torch.testing.assert_close(*outputs, atol=1e-4, rtol=0)


def test_a_loss_that_is_not_finite_stops_with_one_line():
    target, condition = tensors()
    target[0] = float("nan")
    net = networks.build(3, 2, NETWORK, seed=1)
    with pytest.raises(ValueError, match=r"training: loss nan at step \d+"):
        train.train(net, target[:1], condition[:1], SETTINGS)


def test_one_network_serves_all_geometries_but_for_its_ends():
    def inner(net):
        ends = ("unet.conv_in", "unet.conv_out")
        return {k: v.shape for k, v in net.state_dict().items() if not k.startswith(ends)}

    assert inner(networks.build(4, 4, NETWORK, 0)) == inner(networks.build(12, 3, NETWORK, 0))


def test_save_and_load(tmp_path):
    net, _ = trained()
    path = tmp_path / "net.safetensors"
    networks.save(net, (3, 2), NETWORK, path)
    again = networks.load(path)
    z, condition, t = torch.randn(2, 3, 8, 8), torch.randn(2, 2, 8, 8), torch.tensor([3, 700])
    with torch.no_grad():
        assert torch.equal(net(z, condition, t), again.eval()(z, condition, t))


def test_arms_of_one_seed_see_the_same_images_and_times():
    """Whatever the shape of the target, so that geometries are trained on the same draws."""
    seen = {}

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.bias = torch.nn.Parameter(torch.zeros(()))

        def forward(self, noisy, condition, times):
            seen.setdefault(noisy.shape[1], []).append((condition[:, 0, 0, 0].clone(), times))
            return noisy + self.bias

    condition = torch.arange(8.0)[:, None, None, None]
    for channels in (4, 12):
        train.train(Net(), torch.zeros(8, channels, 2, 2), condition, SETTINGS)
    pairs = zip(seen[4], seen[12], strict=True)
    assert all(torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in pairs)


@pytest.mark.parametrize(("killed_after", "ema_decay"), [(1, 0.0), (5, 0.8), (11, 0.0)])
def test_a_killed_training_goes_on_to_the_same_bits(tmp_path, killed_after, ema_decay):
    settings = replace(SETTINGS, ema_decay=ema_decay)
    whole, losses = trained(settings)
    net = networks.build(3, 2, NETWORK, seed=1)
    how = {"checkpoint_dir": tmp_path / "states", "save_every_s": 0}
    with pytest.raises(KeyboardInterrupt):
        train.train(net, *tensors(), settings, progress=stop_after(killed_after), **how)
    (state,) = (tmp_path / "states").iterdir()
    again = networks.build(3, 2, NETWORK, seed=1)
    calls = []
    resumed = train.train(again, *tensors(), settings, progress=lambda: calls.append(1), **how)
    assert resumed == losses and same(again, whole)
    assert len(calls) == settings.steps and not state.exists()


KILLED = """
import os, signal, sys, torch
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_train import KILL_AFTER, LONG, NETWORK, tensors
from latentsr.diffusion import networks, train
torch.set_num_threads(1)
try:  # imports what a training needs once; stops before a backward pass, after which none may fork
    target, condition = tensors()
    train.train(networks.build(3, 2, NETWORK, 1), target * float("nan"), condition, LONG)
except ValueError:
    pass
for count in KILL_AFTER:
    steps, told = os.pipe()
    child = os.fork()
    if child == 0:
        net = networks.build(3, 2, NETWORK, seed=1)
        place = Path({out!r}) / str(count)
        step = lambda: os.write(told, b".")
        train.train(net, *tensors(), LONG, progress=step, checkpoint_dir=place, save_every_s=0)
        os._exit(0)
    for _ in range(count):
        os.read(steps, 1)
    os.kill(child, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
LONG = replace(SETTINGS, steps=40, ema_decay=0.8)
KILL_AFTER = (2, 6, 11, 17, 24)  # steps; the kill falls wherever the loop then is


def test_five_processes_that_were_killed_go_on_to_the_same_bits(tmp_path):
    """By SIGKILL, which no handler sees, in the middle of a step or of a write."""
    script = tmp_path / "killed.py"
    script.write_text(KILLED.format(tests=str(Path(__file__).parent), out=str(tmp_path)))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["-9"] * 5
    whole, losses = trained(LONG)
    for count in KILL_AFTER:
        place = tmp_path / str(count)
        (state,) = place.glob("*.pt")
        assert count <= len(torch.load(state)["losses"]) < LONG.steps
        again = networks.build(3, 2, NETWORK, seed=1)
        found = train.train(again, *tensors(), LONG, checkpoint_dir=place, save_every_s=60)
        assert found == losses and same(again, whole)
        assert not state.exists()


def test_a_state_of_another_training_is_not_taken_up(tmp_path):
    """Other settings, other data: another name. The same name with another content is refused."""
    net = networks.build(3, 2, NETWORK, seed=1)
    how = {"checkpoint_dir": tmp_path, "save_every_s": 0}
    with pytest.raises(KeyboardInterrupt):
        train.train(net, *tensors(), SETTINGS, progress=stop_after(1), **how)
    (state,) = tmp_path.iterdir()
    other, alone = (networks.build(3, 2, NETWORK, seed=1) for _ in range(2))
    longer = replace(SETTINGS, steps=13)
    train.train(other, *tensors(), longer, **how)
    train.train(alone, *tensors(), longer)
    assert same(other, alone) and state.exists()
    target, condition = tensors()
    assert train.fingerprint(alone, target, condition, SETTINGS) != train.fingerprint(
        alone, target + 1, condition, SETTINGS
    )
    content = torch.load(state)
    torch.save(content | {"identity": "something else"}, state)
    with pytest.raises(ValueError, match="the state of another training; remove it"):
        train.train(networks.build(3, 2, NETWORK, seed=1), *tensors(), SETTINGS, **how)


@pytest.mark.parametrize("library", ["torch", "diffusers"])
def test_a_training_of_another_version_is_another(library, monkeypatch):
    import diffusers

    given = (networks.build(3, 2, NETWORK, seed=1), *tensors(), SETTINGS)
    before = train.fingerprint(*given)
    assert train.fingerprint(*given) == before
    monkeypatch.setattr({"torch": torch, "diffusers": diffusers}[library], "__version__", "0.0.1")
    assert train.fingerprint(*given) != before


def test_the_moving_average_is_what_is_kept():
    settings = replace(SETTINGS, steps=3, ema_decay=0.5)
    path = []
    for steps in range(4):  # the same first steps: the schedule alone depends on their number
        net = networks.build(3, 2, NETWORK, seed=1)
        if steps:
            plain, stop = replace(settings, ema_decay=0.0), stop_after(steps)
            with pytest.raises(KeyboardInterrupt):
                train.train(net, *tensors(), plain, progress=stop)
        path.append(net.state_dict()["unet.conv_in.weight"].clone())
    net = networks.build(3, 2, NETWORK, seed=1)
    train.train(net, *tensors(), settings)
    wanted = path[0]
    for weights in path[1:]:
        wanted = 0.5 * wanted + 0.5 * weights
    torch.testing.assert_close(net.state_dict()["unet.conv_in.weight"], wanted)
