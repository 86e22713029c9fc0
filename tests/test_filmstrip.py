"""The walk of an arm, looked at from inside."""

import numpy as np
import torch
from test_arms import BASE, MAIN, results, study  # noqa: F401 - fixtures

from latentsr.companion.pipeline import notebook
from latentsr.diffusion import process, samplers
from latentsr.experiments import run
from latentsr.experiments.run import ArmConfig
from latentsr.metrics import image as metrics
from latentsr.plots import filmstrip
from latentsr.plots import style as figures

FACTS = {"mine": {"may_be_shown": False}, "knee": {"may_be_shown": True, "is_phantom": True}}


def test_frames_are_the_steps_of_the_walk_that_makes_the_image(study):  # noqa: F811
    spec = ArmConfig("phantom-f4c3")
    done, walk = run.train_or_load(study, spec, BASE), BASE.sampler_of(spec)
    seen = filmstrip.frames(done.arm, done.net, walk, spec.seed)
    assert [t for t, *_ in seen] == samplers.timesteps("spaced", BASE.sampling_steps)
    noise = samplers.initial_noise(study.test["image_id"][:1], seen[0][1].shape[1:], spec.seed)
    torch.testing.assert_close(seen[0][1], noise)
    a = process.alphas_cumprod()
    for (t, z, x0), (following, after, _) in zip(seen, seen[1:], strict=False):
        eps = (z - a[t].sqrt() * x0) / (1 - a[t]).sqrt()
        expected = a[following].sqrt() * x0 + (1 - a[following]).sqrt() * eps
        torch.testing.assert_close(after, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        seen[-1][2], done.arm.sample_latents(done.net, walk, spec.seed, images=1)
    )


def test_the_figure_ends_where_the_arm_does(study, results, monkeypatch):  # noqa: F811
    ends = []
    for vae in MAIN:
        spec = ArmConfig(vae)
        done = run.train_or_load(study, spec, BASE)
        (folder := results / "weights" / "knee" / vae).mkdir(parents=True, exist_ok=True)
        done.save(folder / "denoiser_lr_pixels.safetensors")
        made = done.arm.sample(done.net, BASE.sampler_of(spec), spec.seed, images=1)
        ends.append(f"{metrics.psnr_db(made, study.test['hr'][:1])[0]:.1f} dB")
    known = {"main_vaes": MAIN, "lr_conditions": ["lr_latent", "lr_pixels"], "grid_factor": 8}
    known |= {"sampling_steps": BASE.sampling_steps, "seed": ArmConfig(MAIN[0]).seed}
    monkeypatch.setattr(notebook, "study", lambda inputs: known)
    figures.style()
    name, figure, alt = filmstrip.of_run(results, FACTS)
    assert name == "knee" and "knee phantoms" in alt and "knee phantoms" in figure.get_suptitle()
    assert all(f"to {end}" in alt for end in ends)
    shown = [axis for axis in figure.axes if axis.images]
    assert len(shown) == 4 * (BASE.sampling_steps + 1)
    titles = [axis.get_title(loc="left") for axis in shown]
    assert [title for title in titles if title.endswith(tuple(ends))][-1] == titles[-2]
    assert titles[-1] == "HR" and titles[0] == "t = 999"
    hr = shown[-1].images[0].get_array()
    np.testing.assert_allclose(hr, study.test["hr"][0], atol=1e-6)


def test_an_image_that_may_not_be_shown_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(notebook, "study", lambda inputs: {})
    name, _, alt = filmstrip.of_run(tmp_path, {"mine": FACTS["mine"]})
    assert (name, alt) == ("mine", figures.NOT_SHOWN)
