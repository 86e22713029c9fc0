"""Arms end to end on four small phantoms: prepared sets, plans, the lesion trial."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_paper_path import prepared

from latentsr import io
from latentsr.autoencoders import latents
from latentsr.autoencoders.load import load_autoencoder
from latentsr.degrade import degrade, upsample
from latentsr.diffusion import networks, process, samplers, train
from latentsr.diffusion.networks import Network
from latentsr.diffusion.samplers import SamplerConfig
from latentsr.experiments import lesions, protocol, run
from latentsr.experiments.arms import read_prepared
from latentsr.experiments.plans import PlanRow
from latentsr.experiments.protocol import CONTROLLED, RELEASED, Protocol
from latentsr.experiments.run import ArmConfig, TrainConfig
from latentsr.metrics import image as metrics

MAIN = ("natural-f8c4", "phantom-f4c3")
SETTINGS = train.Settings(3, 2, 1e-3, 0.0, 1.0, 7)
BASE = TrainConfig(Network((8, 16)), SETTINGS, sampling_steps=3)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A study of four phantoms at 64 px, as chapters 1 and 2 leave it."""
    folder = tmp_path_factory.mktemp("study")
    prepared(folder, 64)
    data = io.read_arrays(folder / "data/knee")
    cards, kept = [], {}
    for name in MAIN:
        vae = load_autoencoder(name)
        place = folder / "autoencoders/knee/latents" / name
        codes = latents.encode_set(vae, np.array(data["hr"]), np.array(data["lr"]), 2, place)
        kept[name] = latents.decode_all(vae, codes["hr"][2:], 2)
        cards.append({"vae": name, "precision": "float32"})
    (folder / "autoencoders/knee/cards.json").write_text(json.dumps(cards))
    np.savez(folder / "autoencoders/knee/reconstructions.npz", **kept)
    return folder


@pytest.fixture
def study(results):
    return read_prepared(results, "knee", 8)


def test_target_and_condition_may_come_from_two_autoencoders(study):
    f8, f4 = MAIN
    own = study.arm(f4, Protocol("lr_latent"))
    crossed = study.arm(f4, Protocol("lr_latent"), condition_vae=f8)
    assert own.target.shape == crossed.target.shape == (4, 12, 8, 8)
    assert torch.equal(own.target, crossed.target)
    assert own.condition.shape == (4, 3, 8, 8) and crossed.condition.shape == (4, 4, 8, 8)
    assert torch.equal(crossed.condition, study.arm(f8, Protocol("lr_latent")).condition)
    assert (own.condition_size, crossed.condition_size) == (3 * 16, 4 * 4)  # of 256 LR pixels
    columns = crossed.identity(1)
    assert (columns["vae"], columns["condition_vae"], columns["protocol"]) == (f4, f8, "mixed")
    assert (columns["grid"], columns["walk"]) == ("common", "spaced")


def test_the_released_arm_keeps_its_own_grid_and_raw_latents(study):
    kept = io.read_arrays(study.folder / "latents/phantom-f4c3")
    arm = study.arm("phantom-f4c3", RELEASED)
    assert arm.target.shape == (4, 3, 16, 16) and np.array_equal(arm.target, kept["hr"])
    enlarged = torch.nn.functional.interpolate(
        torch.tensor(kept["lr"]), (16, 16), mode="bilinear", align_corners=False
    )
    assert torch.equal(arm.condition, enlarged) and arm.identity(1)["protocol"] == "released"
    assert study.arm("natural-f8c4", RELEASED).target.shape == (4, 4, 8, 8)


def test_only_the_stand_in_of_stable_diffusion_is_sampled(study):
    """As published; the sample depends on image and seed, and scatters about the mean."""
    mean = study.arm("natural-f8c4", replace(RELEASED, posterior="mean")).target
    drawn = [study.arm("natural-f8c4", RELEASED, seed=seed).target for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    assert 0 < float((drawn[0] - mean).abs().mean()) < float(mean.std())
    by = [study.latents("phantom-f4c3", "hr", kind) for kind in ("mean", "as_published")]
    assert torch.equal(by[0], by[1])


def test_a_perfect_network_gives_the_reconstruction(study):
    """Under every switch: scales, grid and sampler are undone on the way back."""
    for name, chosen in {**protocol.one_at_a_time(CONTROLLED, RELEASED), "all": RELEASED}.items():
        for vae in MAIN:
            arm = study.arm(vae, chosen, seed=3)
            truth = arm.target[~arm.is_training]
            images = arm.sample(lambda z, c, t, x=truth: x[: len(z)], SamplerConfig(4), seed=1)
            near = 0.1 if chosen.posterior == "as_published" else 2e-5  # a sample of the latent
            assert np.abs(images - study.reconstruction(vae)).mean() < near, (name, vae)


def shift_px(image, reference):
    """Sub-pixel shift by least squares: image - reference = -(dy, dx) . gradient."""
    frequencies = np.fft.fftfreq(len(image))
    low_pass = np.hypot(frequencies[:, None], frequencies[None]) < 0.1
    smooth = [np.real(np.fft.ifft2(np.fft.fft2(x) * low_pass)) for x in (image, reference)]
    inner = (slice(8, -8), slice(8, -8))
    slopes = np.stack([slope[inner].ravel() for slope in np.gradient(smooth[1])], 1)
    return np.linalg.lstsq(slopes, -(smooth[0] - smooth[1])[inner].ravel(), rcond=None)[0]


def test_no_condition_shifts_the_image(study):
    """HR, the enlarged LR image and the decoded true latent lie on one another."""
    hr = study.test["hr"][0].astype(float)
    arm = study.arm("phantom-f4c3", CONTROLLED)
    for images in (arm.decode(arm.target[~arm.is_training]), upsample(study.test["lr"], 64)):
        assert np.abs(shift_px(images[0].astype(float), hr)).max() < 0.05


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
@pytest.mark.parametrize("vae", MAIN)
def test_company_and_order_do_not_change_an_image(study, vae, sampler):
    """Alone, in a batch of seven, backwards: the noise to the bit, the result to 1e-3 dB."""
    hr = np.array(study.data["hr"])
    names = [f"image {k}" for k in range(7)]
    seven = study.with_test_images(np.concatenate([hr, hr[:3, :, ::-1]]), names, "bicubic")
    trained = run.train_or_load(study, ArmConfig(vae, steps=10.0), BASE)
    arm = seven.arm(vae, CONTROLLED)

    def sampled(rows):
        starts = []

        def net(z, condition, times):
            starts.append(z.clone())
            return trained.net(z, condition, times)

        images = arm.subset(rows).sample(net, SamplerConfig(5, sampler), seed=5, batch=7)
        assert len(images) == len(rows) and len(starts) == 5
        return starts[0], metrics.psnr_db(images, seven.test["hr"][rows])

    noise, psnr = sampled(range(7))
    turned, backwards = sampled(list(range(6, -1, -1)))
    assert torch.equal(turned.flip(0), noise) and np.abs(backwards[::-1] - psnr).max() < 1e-3
    for row in range(7):
        alone, single = sampled([row])
        assert torch.equal(alone[0], noise[row]) and abs(single[0] - psnr[row]) < 1e-3
    assert np.ptp(psnr) > 0.1 and not torch.equal(noise[0], noise[1])


VARIANTS = [
    {"prediction": "v"},
    {"prediction": "epsilon"},
    {"prediction": "flow"},
    {"prediction": "one_step", "loss": "l2"},
    {"kind": "transformer"},
    {"schedule": "linear"},
    {"sampler": "ddpm"},
    {"sampler": "dpm++"},
    {"width": 2.0},
    {"images": 0.5},
    {"lr_side": 2.0},
    {"protocol": RELEASED, "schedule": "released"},
    {"protocol": RELEASED, "schedule": "released", "sampler": "ddpm"},
    {"log_snr_shift": -1.386},
]


@pytest.mark.parametrize("changes", VARIANTS, ids=lambda c: "-".join(map(str, c)))
def test_every_variant_trains_and_samples(study, changes):
    config = ArmConfig("phantom-f4c3", **changes)
    trained = run.train_or_load(study, config, BASE)
    table, images = run.score(study, config, BASE, trained)
    assert images.shape == (2, 64, 64) and len(table) == 2 and len(trained.losses) == 3
    assert np.isfinite(table[["psnr_db", "gmsd", "lr_consistency_db"]]).all(axis=None)


def test_a_training_is_read_again_and_shared(study, tmp_path):
    """From the cache, or from the file where it is stored; only where it is this very training."""
    base = replace(BASE, checkpoint_dir=tmp_path, cache_dir=tmp_path / "trained")
    first = ArmConfig("natural-f8c4", protocol=RELEASED, schedule="released")
    softer = replace(RELEASED, initial_noise_sd=1.0)
    other = replace(first, protocol=softer, num_inference_steps=5)
    assert first.for_training == other.for_training
    trained, steps = run.train_or_load(study, first, base), []
    again = run.train_or_load(study, other, base, lambda: steps.append(1))
    assert not steps and again.losses == trained.losses and again.identity == trained.identity
    images = [run.score(study, config, base, trained)[1] for config in (first, first, other)]
    assert np.array_equal(images[0], images[1]) and not np.array_equal(images[0], images[2])
    assert len(list(tmp_path.glob("trained/*.safetensors"))) == 1 and not list(
        tmp_path.glob("*.pt")
    )
    trained.save(stored := tmp_path / "weights" / "denoiser.safetensors")
    for seed, count in ((42, 0), (43, 3)):
        config = replace(first, seed=seed)
        run.train_or_load(study, config, BASE, lambda: steps.append(1), stored)
        assert len(steps) == count


def test_a_share_of_the_training_subjects():
    class Arm:
        is_training = torch.tensor([True] * 6 + [False])

    subjects = np.array(["a", "a", "b", "b", "c", "d", "e"])
    rows = run.training_rows(Arm, subjects, 0.5, 1)
    kept = set(subjects[rows.numpy()])
    assert len(kept) == 2 and "e" not in kept
    assert rows[:6].tolist() == [name in kept for name in subjects[:6]]


def test_a_plan_is_run(study, tmp_path):
    base = replace(BASE, cache_dir=tmp_path)
    released = ArmConfig("natural-f8c4", protocol=RELEASED, num_inference_steps=2)
    plan = [
        PlanRow("switches", "released", released, "natural-f8c4", "released"),
        PlanRow("levers", "base", ArmConfig("natural-f8c4")),
        PlanRow("levers", "calls: 2", ArmConfig("natural-f8c4", num_inference_steps=2)),
    ]
    done = []
    table = run.run(study, plan, base, lambda: done.append(1))
    assert len(done) == 3 and len(list(tmp_path.glob("*.safetensors"))) == 2
    assert table.groupby(["analysis", "arm"])["image_id"].nunique().tolist() == [2, 2, 2]
    assert table.set_index("arm")["T"].to_dict() == {"released": 2, "base": 3, "calls: 2": 2}
    assert set(table["role"]) == {"natural-f8c4", ""}


def test_what_an_arm_costs(study):
    trained = run.train_or_load(study, ArmConfig("natural-f8c4"), BASE)
    cost = trained.cost()
    assert cost["parameters"] == sum(value.numel() for value in trained.net.parameters())
    call = cost["gflop_a_call"]
    work = {"train_tflop": 3 * 2 * 3 * call / 1000, "image_gflop": 3 * call}  # 3 steps of 2 images
    assert trained.operations(SETTINGS, 3) == pytest.approx(work)


def test_lr_images_of_another_size_are_made_and_encoded(study):
    """Twice the side: four times the values by pixels or latent; the set itself is untouched."""
    large = study.with_lr(32, "bicubic")
    assert large.test["lr"].shape[1:] == (32, 32) and study.test["lr"].shape[1:] == (16, 16)
    for chosen in (CONTROLLED, Protocol("lr_latent")):
        small_arm, arm = (one.arm("phantom-f4c3", chosen) for one in (study, large))
        assert arm.condition_size == 4 * small_arm.condition_size
        assert torch.equal(arm.target, small_arm.target)
    expected = load_autoencoder("phantom-f4c3").encode(torch.tensor(large.data["lr"])[:, None])
    assert torch.allclose(large.latents("phantom-f4c3", "lr"), expected, atol=1e-5)


def test_what_was_not_kept_is_encoded_and_decoded(study):
    bare = study.with_images(study.data)
    kept = study.latents("phantom-f4c3", "hr")
    assert torch.allclose(bare.latents("phantom-f4c3", "hr"), kept, atol=1e-5)
    vae = load_autoencoder("natural-f4c1")
    expected = vae.decode(vae.encode(torch.tensor(study.test["hr"])[:, None]))[:, 0]
    np.testing.assert_allclose(study.reconstruction("natural-f4c1"), expected, atol=1e-4)


def test_an_added_autoencoder_gets_arms_of_its_own(study):
    added = replace_name(load_autoencoder("phantom-f4c3"), "mine")
    extended = study.with_autoencoder(added)
    config = ArmConfig("mine", protocol=Protocol("lr_latent"))
    table, _ = run.score(extended, config, BASE, run.train_or_load(extended, config, BASE))
    assert set(table.vae) == {"mine"} and np.isfinite(table.psnr_db).all()
    own, other = extended.reconstruction("mine"), study.reconstruction("phantom-f4c3")
    assert np.allclose(own, other, atol=1e-3) and "mine" not in study.autoencoders


def replace_name(vae, name):
    return type(vae)(name, vae.model)


def test_other_test_images_go_through_a_trained_arm(study):
    """The set's own test images, given as others, come out as before; twins share their noise."""
    config = ArmConfig("phantom-f4c3", num_inference_steps=2)
    trained = run.train_or_load(study, config, BASE)
    expected = trained.arm.sample(trained.net, BASE.sampler_of(config), config.seed)
    hr, names = study.test["hr"], list(study.test["image_id"])
    other = study.with_test_images(np.concatenate([hr, hr[:1]]), [*names, names[0]], "bicubic")
    images, _ = lesions.sample_trial(other, config, trained.net, BASE)
    np.testing.assert_allclose(images[: len(hr)], expected, atol=2e-4)
    np.testing.assert_allclose(images[-1], images[0], atol=2e-4)
    assert len(study.test["hr"]) == len(hr)
    decoded = lesions.reconstructions(other, "phantom-f4c3")
    np.testing.assert_allclose(decoded[: len(hr)], study.reconstruction("phantom-f4c3"), atol=2e-3)


def test_several_samples_of_a_few_images(study):
    """The first sample is the arm's own, whichever images are asked for; others differ."""
    config = ArmConfig("phantom-f4c3", num_inference_steps=2)
    trained = run.train_or_load(study, config, BASE)
    once, several = lesions.sample_trial(study, config, trained.net, BASE, [1], 3)
    np.testing.assert_array_equal(several[0], once[[1]])
    assert several.shape == (3, 1, *once.shape[1:])
    assert np.abs(several[1] - several[0]).max() > 1e-4 < np.abs(several[2] - several[1]).max()
    third = trained.arm.sample(trained.net, BASE.sampler_of(config), config.seed + 2)
    np.testing.assert_allclose(several[2], third[[1]], atol=1e-5)


def test_unscaled_latents_are_those_that_are_decoded(study):
    arm = study.arm("phantom-f4c3", CONTROLLED)
    raw = arm.unscale(arm.target)
    np.testing.assert_allclose(raw, study.latents("phantom-f4c3", "hr"), atol=1e-5)
    decoded = study.autoencoder("phantom-f4c3").decode(raw)[:, 0]
    np.testing.assert_array_equal(arm.decode(arm.target), decoded)


DESIGN = lesions.LesionDesign((1.5,), (4.0,), noise_sd=0.01, operator="bicubic", seed=1)


@pytest.mark.parametrize("share, count", [(0.5, 1), (1.0, 2)])
def test_a_share_of_the_training_images_gets_a_lesion(study, share, count):
    augmented = lesions.augment_training(study, share, DESIGN)
    rows = study.is_training.numpy()
    changed = np.abs(augmented.data["hr"] - study.data["hr"]).max((1, 2)) > 0
    assert changed[rows].sum() == count and not changed[~rows].any()
    small = degrade(np.array(augmented.data["hr"]), 16, "bicubic")
    np.testing.assert_allclose(augmented.data["lr"], small, atol=1e-6)
    before, after = (one.latents("phantom-f4c3", "hr") for one in (study, augmented))
    differs = np.abs(after - before).amax((1, 2, 3)).numpy() > 1e-3
    np.testing.assert_array_equal(differs, changed)


def test_the_trial_is_repeated_on_arms_that_met_lesions(study):
    configs = {("lr_pixels", "phantom-f4c3"): ArmConfig("phantom-f4c3", num_inference_steps=1)}
    images, inserted, n_free = lesions.retrain_with_lesions(study, configs, BASE, 1.0, 2, DESIGN)
    trial, expected, count = lesions.prepare_trial(study, 2, DESIGN)
    assert inserted == expected and n_free == count  # the same lesions in the same test images
    assert all(len(stack) == n_free + len(inserted) for stack in images.values())
    np.testing.assert_array_equal(images[lesions.HR], trial.test["hr"])


def test_images_of_nan_are_refused():
    images = np.full((2, 4, 4), 0.5, np.float32)
    assert lesions.check_finite(images, "knee") is images
    images[1, 2, 2] = np.nan
    with pytest.raises(ValueError, match="knee: 1 images hold NaN or infinity; train it again"):
        lesions.check_finite(images, "knee")


def test_networks_report_what_they_cost():
    narrow = networks.build(12, 4, Network((8, 16)), 0)
    wide = networks.build(12, 4, Network((8, 16)).wider(2), 0)
    target, condition = (12, 8, 8), (4, 8, 8)
    ratio = networks.gflop(wide, target, condition) / networks.gflop(narrow, target, condition)
    assert 2 < ratio < 4 and networks.receptive_field(narrow, target, condition) > 8
    plain, small = networks.build(2, 2, Network((8,)), 0), (2, 8, 8)
    convolutions = 1 + 2 + 2 * 2 + 2 * 2 + 1  # ends, down, middle, up: one layer a block
    for shape in (small, (2, 41, 41)):  # it reaches as far on a grid that is too small
        assert networks.receptive_field(plain, shape, shape) == 2 * convolutions + 1
    mixer = networks.build(2, 2, Network((8,), kind="transformer"), 0)
    assert networks.receptive_field(mixer, small, small) == 8
    with pytest.raises(ValueError, match="network: 'mlp'; allowed are unet, transformer"):
        networks.build(2, 2, Network((8,), kind="mlp"), 0)


def test_a_trajectory_has_the_steps_that_make_the_image(study):
    spec = ArmConfig("phantom-f4c3")
    done, sampler = run.train_or_load(study, spec, BASE), BASE.sampler_of(spec)
    steps = done.arm.trajectory(done.net, sampler, spec.seed)
    assert [t for t, *_ in steps] == samplers.timesteps("spaced", BASE.sampling_steps)
    noise = samplers.initial_noise(study.test["image_id"][:1], steps[0][1].shape[1:], spec.seed)
    torch.testing.assert_close(steps[0][1], noise)
    a = process.alphas_cumprod()
    for (t, z, x0), (following, after, _) in zip(steps, steps[1:], strict=False):
        eps = (z - a[t].sqrt() * x0) / (1 - a[t]).sqrt()
        expected = a[following].sqrt() * x0 + (1 - a[following]).sqrt() * eps
        torch.testing.assert_close(after, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        steps[-1][2], done.arm.sample_latents(done.net, sampler, spec.seed, images=1)
    )
