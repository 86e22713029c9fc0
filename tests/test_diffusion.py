import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler

from latentsr.diffusion import process as diffusion
from latentsr.diffusion import samplers as sampling
from latentsr.experiments.arms import Walk
from latentsr.experiments.run import Spec

TIMES = torch.tensor([0, 3, 500, 900, 985])
CONFIG = {"prediction_type": "sample", "clip_sample": False, "timestep_spacing": "trailing"}


def pair(dtype=torch.float64):
    generator = torch.Generator().manual_seed(2)
    shape = (len(TIMES), 3, 5, 7)
    return [torch.randn(shape, generator=generator).to(dtype) for _ in range(2)]


@pytest.mark.parametrize("schedule", ["squaredcos_cap_v2", "linear"])
def test_noising_equals_diffusers(schedule):
    scheduler = DDIMScheduler(1000, beta_schedule=schedule)
    clean, noise = pair(torch.float32)
    ours = diffusion.signal_shares({"squaredcos_cap_v2": "cosine"}.get(schedule, schedule))
    expected = scheduler.add_noise(clean, noise, TIMES)
    torch.testing.assert_close(diffusion.noised(clean, noise, TIMES, ours), expected)
    expected = scheduler.get_velocity(clean, noise, TIMES)
    torch.testing.assert_close(diffusion.wanted("v", clean, noise, TIMES, ours), expected)


@pytest.mark.parametrize("prediction", diffusion.PREDICTIONS)
@pytest.mark.parametrize("schedule", diffusion.SCHEDULES)
def test_a_perfect_prediction_gives_the_image_back(prediction, schedule):
    clean, noise = pair()
    shares = diffusion.signal_shares(schedule).double()
    z = diffusion.noised(clean, noise, TIMES, shares, prediction)
    out = diffusion.wanted(prediction, clean, noise, TIMES, shares)
    again = diffusion.clean_of(prediction, out, z, TIMES, shares)
    torch.testing.assert_close(again, clean, rtol=0, atol=1e-9)


def test_flow_is_a_straight_line_and_one_step_sees_nothing():
    clean, noise = pair()
    shares = diffusion.signal_shares()
    half = diffusion.noised(clean[:1], noise[:1], torch.tensor([499]), shares, "flow")
    torch.testing.assert_close(half, (clean[:1] + noise[:1]) / 2)
    assert not diffusion.noised(clean, noise, TIMES, shares, "one_step").any()


def test_the_shift_for_a_grid_of_twice_the_side():
    """Means of 2 x 2 shifted latents are as noisy as single ones without the shift."""
    plain = diffusion.signal_shares()
    shifted = diffusion.signal_shares("cosine", diffusion.HALF_THE_GRID)
    noise = pair()[1][..., :4, :6]
    pooled = torch.nn.functional.avg_pool2d(noise, 2)
    assert float(pooled.var() / noise.var()) == pytest.approx(0.25, abs=0.1)
    wanted = ((1 - plain) / plain).double()
    found = ((1 - shifted) / shifted).double() / 4
    torch.testing.assert_close(found, wanted, rtol=2e-3, atol=0)


@pytest.mark.parametrize("prediction", ["x0", "v", "flow", "one_step"])
@pytest.mark.parametrize("num_steps", [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000])
def test_walks_start_at_999(prediction, num_steps):
    first = diffusion.first_time(prediction, diffusion.signal_shares())
    assert sampling.timesteps("spaced", num_steps, first)[0] == 999


def test_epsilon_starts_where_50_to_1_holds():
    for schedule, start in (("cosine", 986), ("linear", 878)):
        shares = diffusion.signal_shares(schedule)
        assert diffusion.first_time("epsilon", shares) == start
        ratio = ((1 - shares) / shares).sqrt()
        assert ratio[start] <= 50 < ratio[start + 1]


SAMPLERS = ("ddim", "ddpm", "dpm++")


def walked(sampler, prediction, net, noise, shares, num_steps=10):
    first = diffusion.first_time(prediction, shares)
    if sampler == "dpm++":
        first = min(first, sampling.DPM_FIRST)
    times = sampling.timesteps("spaced", num_steps, first)
    x0 = sampling.predicts_clean(net, prediction, shares)
    if sampler == "ddim":
        return sampling.ddim(x0, noise, noise, times, shares, prediction == "flow")
    drawn = sampling.generators(["a"] * len(noise), 1)
    return sampling.with_scheduler(sampler, x0, noise, noise, times, shares, drawn)


def test_dpm_solver_starts_where_its_log_ratio_is_allowed():
    """Lu et al., DPM-Solver++, 2022: diffusers clips the log of signal over noise at -5.1."""
    shares = diffusion.signal_shares().double()
    ratio = 0.5 * (shares.log() - (1 - shares).log())
    assert sampling.DPM_FIRST == 995 == int((ratio > -5.1).nonzero().max())


def allowed(sampler, prediction):
    return sampler == "ddim" or prediction != "flow"


CASES = [(s, p) for s in SAMPLERS for p in diffusion.PREDICTIONS if allowed(s, p)]


@pytest.mark.parametrize(("sampler", "prediction"), CASES)
@pytest.mark.parametrize("error", [0.0, 0.01])
def test_an_oracle_recovers_the_image(sampler, prediction, error):
    """Told the truth it ends there; with 1% of error in its output it ends within 50%."""
    clean, noise = pair()
    shares = diffusion.signal_shares().double()
    wrong = torch.randn(clean.shape, generator=torch.Generator().manual_seed(5)).double()

    def oracle(z, condition, times):
        signal, rest = diffusion._weights(prediction, times, shares)
        eps = (z - signal * clean) / rest if prediction != "one_step" else z
        out = diffusion.wanted(prediction, clean, eps, times, shares)
        return out + error * wrong * out.norm() / wrong.norm()

    found = walked(sampler, prediction, oracle, noise, shares)
    miss = float((found - clean).norm() / clean.norm())
    assert miss < (1e-6 if error == 0 else 0.5)


def drifting(z, condition, t):
    return torch.tanh(0.7 * z + condition) * (1 - t[:, None, None, None] / 2000)


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_ancestral_and_multistep_walks_equal_diffusers(schedule):
    _, noise = pair(torch.float32)
    shares = diffusion.signal_shares(schedule)
    name = {"cosine": "squaredcos_cap_v2"}.get(schedule, schedule)
    ancestral = DDPMScheduler(1000, beta_schedule=name, **CONFIG)
    multistep = DPMSolverMultistepScheduler(
        1000,
        beta_schedule=name,
        prediction_type="sample",
        timestep_spacing="trailing",
        lambda_min_clipped=-5.1,
        final_sigmas_type="zero",
    )
    for sampler, scheduler in (("ddpm", ancestral), ("dpm++", multistep)):
        scheduler.set_timesteps(10)
        expected, drawn = noise, sampling.generators(["a"] * len(noise), 1)
        for t in scheduler.timesteps:
            out = drifting(expected, noise, t.repeat(len(noise)))
            given = {"generator": drawn} if sampler == "ddpm" else {}
            expected = scheduler.step(out, t, expected, **given).prev_sample
        times = scheduler.timesteps.tolist()
        again = sampling.generators(["a"] * len(noise), 1)
        found = sampling.with_scheduler(sampler, drifting, noise, noise, times, shares, again)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_what_is_not_known_is_refused():
    clean, noise = pair()
    shares = diffusion.signal_shares()
    with pytest.raises(
        ValueError, match="^schedule: 'sine'; allowed are cosine, linear, released$"
    ):
        diffusion.signal_shares("sine")
    unknown = "^prediction: 'score'; allowed are x0, v, epsilon, flow, one_step$"
    for call in (
        lambda: diffusion.wanted("score", clean, noise, TIMES, shares),
        lambda: diffusion.noised(clean, noise, TIMES, shares, "score"),
        lambda: diffusion.clean_of("score", noise, noise, TIMES, shares),
        lambda: diffusion.first_time("score", shares),
        lambda: sampling.predicts_clean(drifting, "score", shares),
    ):
        with pytest.raises(ValueError, match=unknown):
            call()
    with pytest.raises(ValueError, match=r"^sampler: 'heun'; allowed are ddpm, dpm\+\+$"):
        sampling.with_scheduler("heun", drifting, noise, noise, [999], shares, [])
    with pytest.raises(ValueError, match="^walk: 'loop'; allowed are spaced, first$"):
        sampling.timesteps("loop", 5)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("sampler", "heun", r"sampler: 'heun'; allowed are ddim, ddpm, dpm\+\+"),
        ("prediction", "score", "prediction: 'score'; allowed are x0, v, "),
        ("schedule", "sine", "schedule: 'sine'; allowed are cosine, "),
    ],
)
def test_walks_and_arms_know_their_names(name, value, told):
    with pytest.raises(ValueError, match=told):
        Walk(5, **{name: value})
    with pytest.raises(ValueError, match=told):
        Spec("natural-f8c4", **{name: value})


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("kind", "mamba", "network: 'mamba'; allowed are unet, transformer"),
        ("loss", "l3", "loss: 'l3'; allowed are l1, l2"),
    ],
)
def test_arms_know_networks_and_losses(name, value, told):
    with pytest.raises(ValueError, match=told):
        Spec("natural-f8c4", **{name: value})


def test_signal_along_two_walks():
    """Spaced walks end near the image, whatever their length; the first entries stay in noise."""
    along = (
        sampling.signal_along(["spaced", "first"], [10, 50])
        .set_index(["walk", "T", "call"])
        .sort_index()
    )
    share = along["signal_share"]
    assert len(along) == 2 * (10 + 50)
    for walk, calls in (("spaced", 10), ("spaced", 50), ("first", 10), ("first", 50)):
        assert share[walk, calls].is_monotonic_increasing
        assert along["time"][walk, calls, 1] == 999
    cosine = np.cos((100 / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2  # t = 99, by its formula
    assert share["spaced", 10, 10] == pytest.approx(
        cosine / np.cos(0.008 / 1.008 * np.pi / 2) ** 2, rel=1e-4
    )
    assert share["spaced", 50, 50] > 0.99 and share["first", 50, 50] < 0.01
