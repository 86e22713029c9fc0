import pytest
import torch
from diffusers import DDIMScheduler

from latentsr.diffusion import process as diffusion
from latentsr.diffusion import samplers as sampling


def drifting(z, condition, t):
    """A made-up denoiser that depends on all its inputs."""
    return torch.tanh(0.7 * z + condition) * (1 - t[:, None, None, None] / 2000)


@pytest.mark.parametrize("num_steps", [1, 2, 5, 10, 50, 1000])
def test_ddim_equals_diffusers(num_steps):
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(2, 3, 5, 7, generator=generator)
    condition = torch.randn(2, 3, 5, 7, generator=generator)
    scheduler = DDIMScheduler(
        1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="sample",
        clip_sample=False,
        timestep_spacing="trailing",
    )
    scheduler.set_timesteps(num_steps)
    expected = z
    for t in scheduler.timesteps:
        out = drifting(expected, condition, t.repeat(2))
        expected = scheduler.step(out, t, expected).prev_sample
    got = sampling.ddim(drifting, z, condition, sampling.timesteps("spaced", num_steps))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("num_steps", [1, 2, 3, 5, 10, 25, 50, 100, 999, 1000])
@pytest.mark.parametrize("walk", ["spaced", "first"])
def test_walks_start_at_999_and_descend(walk, num_steps):
    times = sampling.timesteps(walk, num_steps)
    assert times[0] == 999
    assert len(times) == num_steps
    assert all(a > b >= 0 for a, b in zip(times, times[1:], strict=False))


def test_both_walks_are_the_same_at_1000():
    assert sampling.timesteps("spaced", 1000) == sampling.timesteps("first", 1000)


def test_truncated_walk_ends_in_noise_and_spaced_does_not():
    signal = diffusion.signal_shares()
    assert signal[sampling.timesteps("first", 50)[-1]] < 0.01
    assert signal[sampling.timesteps("spaced", 50)[-1]] > 0.99


@pytest.mark.parametrize(("walk", "n"), [("spaced", 0), ("spaced", 1001), ("loop", 5)])
def test_bad_walks_are_refused(walk, n):
    with pytest.raises(ValueError, match="num_steps|walk"):
        sampling.timesteps(walk, n)


@pytest.mark.parametrize("num_steps", [1, 7, 50])
def test_oracle_recovers_x0(num_steps):
    clean = torch.randn(1, 2, 6, 5, generator=torch.Generator().manual_seed(2)).double()
    noise = torch.randn(1, 2, 6, 5, generator=torch.Generator().manual_seed(3)).double()
    times = sampling.timesteps("spaced", num_steps)
    got = sampling.ddim(lambda z, c, t: clean, noise, clean, times)
    assert torch.equal(got, clean)


def test_noise_depends_on_id_and_seed_alone():
    ids = ["a", "b", "ü 3", "d"]
    whole = sampling.initial_noise(ids, (3, 5, 7), seed=4)
    backwards = sampling.initial_noise(ids[::-1], (3, 5, 7), seed=4)
    assert torch.equal(whole, backwards.flip(0))
    assert not torch.equal(whole, sampling.initial_noise(ids, (3, 5, 7), seed=5))
    assert whole.std() == pytest.approx(1, abs=0.1)


def test_batches_do_not_change_the_result():
    noise = sampling.initial_noise([str(i) for i in range(7)], (3, 5, 7), seed=0)
    times = sampling.timesteps("spaced", 5)

    def walk(z, c, rows):
        return sampling.ddim(drifting, z, c, times)

    one = sampling.in_batches(walk, noise, noise, batch=7)
    many = sampling.in_batches(walk, noise, noise, batch=2)
    torch.testing.assert_close(one, many, rtol=0, atol=1e-6)
