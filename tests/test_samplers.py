import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler

from latentsr.diffusion import process, samplers
from latentsr.diffusion.samplers import SamplerConfig
from latentsr.experiments.run import ArmConfig

NAMES = {"cosine": "squaredcos_cap_v2", "linear": "linear"}
CONFIG = {"prediction_type": "sample", "clip_sample": False, "timestep_spacing": "trailing"}
COSINE = process.alphas_cumprod()


def drifting(z, condition, t):
    """A made-up denoiser that depends on all its inputs."""
    return torch.tanh(0.7 * z + condition) * (1 - t[:, None, None, None] / 2000)


def noise_of(count=2, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, 5, 7, generator=generator).to(dtype)


@pytest.mark.parametrize("num_inference_steps", [1, 2, 5, 10, 50, 1000])
def test_ddim_equals_diffusers(num_inference_steps):
    z, condition = noise_of(4).chunk(2)
    scheduler = DDIMScheduler(1000, beta_schedule="squaredcos_cap_v2", **CONFIG)
    scheduler.set_timesteps(num_inference_steps)
    expected = z
    for t in scheduler.timesteps:
        out = drifting(expected, condition, t.repeat(2))
        expected = scheduler.step(out, t, expected).prev_sample
    times = samplers.timesteps("spaced", num_inference_steps)
    found = samplers.ddim(drifting, z, condition, times, COSINE)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_released_steps_are_ddim_s_but_for_a_denominator():
    """Equal but where 1e-4 counts: next to no noise."""
    z, condition = noise_of(4, torch.float64).chunk(2)
    times, alphas = samplers.timesteps("spaced", 10), COSINE.double()
    plain = samplers.ddim(drifting, z, condition, times, alphas)
    released = samplers.ddim(drifting, z, condition, times, alphas, released=True)
    torch.testing.assert_close(plain, released, rtol=1e-3, atol=1e-3)
    assert not torch.equal(plain, released)


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_ancestral_and_multistep_samples_equal_diffusers(schedule):
    noise, alphas = noise_of(), process.alphas_cumprod(schedule)
    ancestral = DDPMScheduler(1000, beta_schedule=NAMES[schedule], **CONFIG)
    multistep = DPMSolverMultistepScheduler(
        1000,
        beta_schedule=NAMES[schedule],
        prediction_type="sample",
        timestep_spacing="trailing",
        lambda_min_clipped=-5.1,
        final_sigmas_type="zero",
    )
    for sampler, scheduler in (("ddpm", ancestral), ("dpm++", multistep)):
        scheduler.set_timesteps(10)
        expected, drawn = noise, samplers.generators(["a", "a"], 1)
        for t in scheduler.timesteps:
            out = drifting(expected, noise, t.repeat(len(noise)))
            fresh = {"generator": drawn} if sampler == "ddpm" else {}
            expected = scheduler.step(out, t, expected, **fresh).prev_sample
        times, drawn = scheduler.timesteps.tolist(), samplers.generators(["a", "a"], 1)
        found = samplers.sample_with_scheduler(
            sampler, drifting, noise, noise, times, alphas, drawn
        )
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


CASES = [
    (sampler, prediction)
    for sampler in samplers.SAMPLERS
    for prediction in process.PREDICTIONS
    if sampler == "ddim" or prediction != "flow"
]


@pytest.mark.parametrize(("sampler", "prediction"), CASES)
@pytest.mark.parametrize("error", [0.0, 0.01])
def test_an_oracle_recovers_the_image(sampler, prediction, error):
    """Told the truth it ends there; with 1% of error in its output it ends within 50%."""
    x0, noise, wrong = noise_of(6, torch.float64).chunk(3)
    alphas = COSINE.double()

    def oracle(z, condition, t):
        signal, rest = process.signal_and_noise(prediction, t, alphas)
        eps = (z - signal * x0) / rest if prediction != "one_step" else z
        output = process.training_target(prediction, x0, eps, t, alphas)
        return output + error * wrong * output.norm() / wrong.norm()

    config = SamplerConfig(10, sampler, prediction)
    found = config.sample(oracle, noise, noise, "spaced", samplers.generators("ab", 1))
    miss = float((found - x0).norm() / x0.norm())
    assert miss < (1e-5 if error == 0 else 0.5)


@pytest.mark.parametrize("spacing", samplers.SPACINGS)
@pytest.mark.parametrize("num_inference_steps", [1, 3, 50, 1000])
def test_timesteps_start_at_999_and_descend(spacing, num_inference_steps):
    times = samplers.timesteps(spacing, num_inference_steps)
    assert times[0] == 999 and len(times) == num_inference_steps
    assert all(a > b >= 0 for a, b in zip(times, times[1:], strict=False))


def test_truncated_timesteps_end_in_noise_and_spaced_do_not():
    assert samplers.timesteps("spaced", 1000) == samplers.timesteps("first", 1000)
    assert COSINE[samplers.timesteps("first", 50)[-1]] < 0.01
    assert COSINE[samplers.timesteps("spaced", 50)[-1]] > 0.99


def test_dpm_solver_starts_where_its_log_ratio_is_allowed():
    """Lu et al., DPM-Solver++, 2022: diffusers clips the log of signal over noise at -5.1."""
    alphas = COSINE.double()
    ratio = 0.5 * (alphas.log() - (1 - alphas).log())
    assert samplers.DPM_START == 995 == int((ratio > -5.1).nonzero().max())
    assert SamplerConfig(2, "dpm++").timesteps() == [995, 499]
    assert SamplerConfig(5, prediction="one_step").timesteps() == [999]


def test_noise_depends_on_id_and_seed_alone():
    ids = ["a", "b", "ü 3", "d"]
    noise = samplers.initial_noise(ids, (3, 5, 7), seed=4)
    backwards = samplers.initial_noise(ids[::-1], (3, 5, 7), seed=4)
    assert torch.equal(noise, backwards.flip(0))
    assert not torch.equal(noise, samplers.initial_noise(ids, (3, 5, 7), seed=5))
    assert noise.std() == pytest.approx(1, abs=0.1)


def test_batches_do_not_change_the_result():
    noise, times = noise_of(7), samplers.timesteps("spaced", 5)

    def sample(z, condition, rows):
        return samplers.ddim(drifting, z, condition, times, COSINE)

    one = samplers.in_batches(sample, noise, noise, batch=7)
    many = samplers.in_batches(sample, noise, noise, batch=2)
    torch.testing.assert_close(one, many, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("sampler", "heun", r"sampler: 'heun'; allowed are ddim, ddpm, dpm\+\+"),
        ("prediction", "score", "prediction: 'score'; allowed are x0, v, "),
        ("schedule", "sine", "schedule: 'sine'; allowed are cosine, "),
        ("kind", "mamba", "'mamba'; allowed are"),
        ("loss", "l3", "'l3'; allowed are"),
    ],
)
def test_samplers_and_arms_know_their_names(name, value, message):
    if name not in ("kind", "loss"):
        with pytest.raises(ValueError, match=message):
            SamplerConfig(5, **{name: value})
    with pytest.raises(ValueError, match=message):
        ArmConfig("natural-f8c4", **{name: value})


def test_what_cannot_be_sampled_is_refused():
    with pytest.raises(ValueError, match="a flow is sampled with ddim"):
        SamplerConfig(3, "ddpm", "flow")
    with pytest.raises(ValueError, match=r"^sampler: 'heun'; allowed are ddpm, dpm\+\+$"):
        samplers.sample_with_scheduler("heun", drifting, None, None, [999], COSINE, [])
    with pytest.raises(ValueError, match="^timestep_spacing: 'loop'; allowed are spaced, first$"):
        samplers.timesteps("loop", 5)
    for calls in (0, 1001):
        with pytest.raises(ValueError, match=f"^num_inference_steps: {calls}, but 1 to 1000 are"):
            samplers.timesteps("spaced", calls)
