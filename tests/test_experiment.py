import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_paper_path import prepared

from latentsr import io as scores
from latentsr.autoencoders import latents
from latentsr.autoencoders.load import load_autoencoder
from latentsr.degrade import degrade
from latentsr.diffusion import costs
from latentsr.diffusion import networks as denoisers
from latentsr.diffusion import train as training
from latentsr.diffusion.networks import Network
from latentsr.experiments import hours, lesion_trial, long_walk, plans
from latentsr.experiments import protocol as protocols
from latentsr.experiments import run as experiment
from latentsr.experiments.arms import Study, Walk
from latentsr.experiments.protocol import CONTROLLED, RELEASED, Switches
from latentsr.experiments.run import Base, Spec
from latentsr.metrics import image as metrics
from latentsr.metrics import lesions, observers

MAIN = ("natural-f8c4", "phantom-f4c3")
SETTINGS = training.Settings(3, 2, 1e-3, 0.0, 1.0, 7)
BASE = Base(Network((8, 16)), SETTINGS, sampling_steps=3)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A study of four phantoms at 64 px, as chapters 1 and 2 leave it."""
    folder = tmp_path_factory.mktemp("study")
    prepared(folder, 64)
    data = scores.read_arrays(folder / "data/knee")
    cards, kept = [], {}
    for name in MAIN:
        vae = load_autoencoder(name)
        codes = latents.encode_set(
            vae, np.array(data["hr"]), np.array(data["lr"]), 2,
            folder / "autoencoders/knee/latents" / name,
        )  # fmt: skip
        kept[name] = latents.decode_all(vae, codes["hr"][2:], 2)
        cards.append({"vae": name, "precision": "float32"})
    (folder / "autoencoders/knee/cards.json").write_text(json.dumps(cards))
    np.savez(folder / "autoencoders/knee/reconstructions.npz", **kept)
    return folder


@pytest.fixture
def study(results):
    return Study(results, "knee", 8)


def test_target_and_condition_may_come_from_two_autoencoders(study):
    f8, f4 = MAIN
    own = study.arm(f4, Switches("lr_latent"))
    crossed = study.arm(f4, Switches("lr_latent"), condition_vae=f8)
    assert own.target.shape == crossed.target.shape == (4, 12, 8, 8)
    assert torch.equal(own.target, crossed.target)
    assert own.condition.shape == (4, 3, 8, 8) and crossed.condition.shape == (4, 4, 8, 8)
    assert torch.equal(crossed.condition, study.arm(f8, Switches("lr_latent")).condition)
    assert (own.numbers_seen, crossed.numbers_seen) == (3 * 16, 4 * 4)  # of 256 LR pixels
    said = crossed.identity(1)
    assert (said["vae"], said["condition_vae"], said["protocol"]) == (f4, f8, "mixed")
    assert said["grid"] == "common"


def test_the_released_arm_keeps_its_own_grid_and_raw_latents(study):
    kept = scores.read_arrays(study.folder / "latents/phantom-f4c3")
    arm = study.arm("phantom-f4c3", RELEASED)
    assert arm.target.shape == (4, 3, 16, 16) and np.array_equal(arm.target, kept["hr"])
    wanted = torch.nn.functional.interpolate(
        torch.tensor(kept["lr"]), (16, 16), mode="bilinear", align_corners=False
    )
    assert torch.equal(arm.condition, wanted) and arm.identity(1)["protocol"] == "released"
    assert study.arm("natural-f8c4", RELEASED).target.shape == (4, 4, 8, 8)


def test_only_the_stand_in_of_stable_diffusion_is_sampled(study):
    """As published; the sample depends on image and seed, and scatters about the mean."""
    mean = study.arm("natural-f8c4", replace(RELEASED, posterior="mean")).target
    drawn = [study.arm("natural-f8c4", RELEASED, seed=seed).target for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    assert 0 < float((drawn[0] - mean).abs().mean()) < float(mean.std())
    f4 = [
        study.arm("phantom-f4c3", replace(RELEASED, posterior=p)) for p in ("mean", "as_published")
    ]
    assert torch.equal(f4[0].target, f4[1].target)


def test_a_perfect_network_gives_the_own_decode(study):
    """Under every switch: scales, grid and sampler are undone on the way back."""
    for name, switches in {**protocols.one_changed(CONTROLLED, RELEASED), "all": RELEASED}.items():
        for vae in MAIN:
            arm = study.arm(vae, switches, seed=3)
            truth = arm.target[~arm.is_training]
            made = arm.sample(lambda z, c, t, truth=truth: truth[: len(z)], Walk(4), seed=1)
            wanted = study.own_decode(vae)
            near = 0.1 if switches.posterior == "as_published" else 2e-5  # a sample of the latent
            assert np.abs(made - wanted).mean() < near, (name, vae)


def test_no_condition_shifts_the_image(study):
    """HR, the enlarged LR image and the decoded true latent lie on one another."""
    hr = study.test["hr"][0].astype(float)
    arm = study.arm("phantom-f4c3", CONTROLLED)
    decoded = arm.decode(arm.target[~arm.is_training])[0].astype(float)
    from latentsr.degrade import upsample

    for image in (decoded, upsample(study.test["lr"], hr.shape[-1])[0].astype(float)):
        assert np.abs(shift_px(image, hr)).max() < 0.05


def shift_px(image, reference):
    """Sub-pixel shift by least squares: image - reference = -(dy, dx) . gradient."""
    smooth = [np.real(np.fft.ifft2(np.fft.fft2(x) * low_pass(x.shape))) for x in (image, reference)]
    inner = (slice(8, -8), slice(8, -8))
    slopes = np.stack([slope[inner].ravel() for slope in np.gradient(smooth[1])], 1)
    difference = (smooth[0] - smooth[1])[inner].ravel()
    return np.linalg.lstsq(slopes, -difference, rcond=None)[0]


def low_pass(shape):
    rows, columns = (np.fft.fftfreq(side) for side in shape)
    return np.hypot(rows[:, None], columns[None]) < 0.1


@pytest.fixture
def seven(study):
    """The study with seven test images."""
    hr = np.array(study.data["hr"])
    images = np.concatenate([hr, hr[:3, :, ::-1]])
    return lesion_trial.with_test_images(study, images, [f"image {k}" for k in range(7)], "bicubic")


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
@pytest.mark.parametrize("vae", MAIN)
def test_company_and_order_do_not_change_an_image(study, seven, vae, sampler):
    """Alone, in a batch of seven, backwards: the noise to the bit, the result to 1e-3 dB."""
    done = experiment.trained(study, Spec(vae, steps=10.0), BASE)
    arm, walk = seven.arm(vae, CONTROLLED), Walk(5, sampler)

    def sampled(rows):
        starts = []

        def net(z, condition, times):
            starts.append(z.clone())
            return done.net(z, condition, times)

        few = arm.only(rows)
        made = few.sample(net, walk, seed=5, batch=7)
        assert len(few.test["image_id"]) == len(rows) and len(starts) == 5
        return starts[0], metrics.psnr_db(made, seven.test["hr"][rows])

    noise, psnr = sampled(range(7))
    backwards = list(range(6, -1, -1))
    turned, again = sampled(backwards)
    assert torch.equal(turned.flip(0), noise) and np.abs(again[::-1] - psnr).max() < 1e-3
    for row in range(7):
        alone, single = sampled([row])
        assert torch.equal(alone[0], noise[row]) and abs(single[0] - psnr[row]) < 1e-3
    assert np.ptp(psnr) > 0.1 and not torch.equal(noise[0], noise[1])


def trained_arm(study, **changes):
    spec = Spec("phantom-f4c3", **changes)
    done = experiment.trained(study, spec, BASE)
    assert len(done.losses) == 3
    return done.arm, done.net


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
    {"switches": RELEASED, "schedule": "released"},
    {"switches": RELEASED, "schedule": "released", "sampler": "ddpm"},
    {"log_snr_shift": -1.386},
]


@pytest.mark.parametrize("changes", VARIANTS, ids=lambda c: "-".join(map(str, c)))
def test_every_variant_trains_and_samples(study, changes):
    spec = Spec("phantom-f4c3", **changes)
    table, made, losses = experiment.score(study, spec, BASE)
    assert made.shape == (2, 64, 64) and len(table) == 2 and len(losses) == 3
    assert np.isfinite(table[["psnr_db", "gmsd", "lr_consistency_db"]]).all(axis=None)


def test_a_finished_training_is_read_again_and_shared(study, tmp_path):
    base = replace(BASE, keep=tmp_path, finished=tmp_path / "finished")
    first = Spec("natural-f8c4", switches=RELEASED, schedule="released")
    other = replace(first, switches=replace(RELEASED, initial_noise_sd=1.0), num_steps=5)
    assert first.training == other.training
    table, made, losses = experiment.score(study, first, base)
    ran = []
    _, same, again = experiment.score(study, first, base, lambda: ran.append(1))
    assert len(losses) == 3 and losses == again and np.array_equal(made, same)
    _, changed, _ = experiment.score(study, other, base, lambda: ran.append(1))
    assert not ran and not np.array_equal(made, changed)
    assert len(list(tmp_path.glob("finished/*.safetensors"))) == 1
    assert not list(tmp_path.glob("*.pt"))


def test_a_share_of_the_training_subjects():
    class Arm:
        is_training = torch.tensor([True] * 6 + [False])

    subjects = np.array(["a", "a", "b", "b", "c", "d", "e"])
    rows = experiment.training_rows(Arm, subjects, 0.5, 1)
    kept = set(subjects[rows.numpy()])
    assert len(kept) == 2 and "e" not in kept
    assert rows[:6].tolist() == [name in kept for name in subjects[:6]]


def test_a_flow_has_one_sampler(study):
    arm, net = trained_arm(study, prediction="flow")
    with pytest.raises(ValueError, match="a flow is sampled with ddim"):
        arm.sample(net, Walk(3, "ddpm", "flow"), seed=1)
    with pytest.raises(ValueError, match="a flow is sampled with ddim"):
        Spec("natural-f8c4", prediction="flow", sampler="dpm++")


def test_what_a_denoiser_costs():
    narrow = denoisers.build(12, 4, Network((8, 16)), 0)
    shape = (12, 8, 8), (4, 8, 8)
    by_hand = sum(value.numel() for value in narrow.parameters())
    assert denoisers.parameters(narrow) == by_hand
    wide = denoisers.build(12, 4, Network((8, 16)).wider(2), 0)
    ratio = denoisers.gflop(wide, *shape) / denoisers.gflop(narrow, *shape)
    assert 2 < ratio < 4
    assert denoisers.receptive_field(narrow, *shape) == 8
    plain = denoisers.build(2, 2, Network((8,)), 0)
    reach = denoisers.receptive_field(plain, (2, 41, 41), (2, 41, 41))
    convolutions = 1 + 2 + 2 * 2 + 2 * 2 + 1  # ends, down, middle, up: one layer a block
    assert reach == 2 * convolutions + 1
    small = (2, 8, 8), (2, 8, 8)  # the same network reaches as far on a grid that is too small
    assert denoisers.receptive_field(plain, *small) == 8 and costs.reach(plain, *small) == reach
    assert costs.reach(narrow, *shape) > 8
    mixer = denoisers.build(2, 2, Network((8,), kind="transformer"), 0)
    assert costs.reach(mixer, *small) == 8
    with pytest.raises(ValueError, match="network: 'mlp'; allowed are unet, transformer"):
        denoisers.build(2, 2, Network((8,), kind="mlp"), 0)


def test_a_plan_is_run_and_its_hours_are_told_first(study, tmp_path):
    base = replace(BASE, finished=tmp_path)
    plan = {
        ("switches", "released|natural-f8c4"): Spec("natural-f8c4", switches=RELEASED, num_steps=2),
        ("levers", "base"): Spec("natural-f8c4"),
        ("levers", "calls: 2"): Spec("natural-f8c4", num_steps=2),
    }
    key, spec = ("levers", "base"), plan["levers", "base"]
    long = {key: replace(spec, steps=40.0)}  # enough steps that the clock sees them
    assert hours.expected_hours(study, long, base) > 0
    seen = []
    table = experiment.run(study, plan, base, lambda: seen.append(1))
    assert len(seen) == 3 and len(list(tmp_path.glob("*.safetensors"))) == 2
    assert table.groupby(["analysis", "arm"])["image_id"].nunique().tolist() == [2, 2, 2]
    assert table.set_index("arm")["T"].to_dict() == {"released": 2, "base": 3, "calls: 2": 2}


def test_expected_hours_by_hand(study, monkeypatch):
    """Two seconds a step: 3 steps of 2 images are 18 calls' work, 2 test images of 3 calls are 6."""
    clock = [0.0]

    def trained(study, spec, base, progress):
        for step in range(base.settings.steps):
            clock[0] += 100.0 if step in (0, 7) else 2.0  # before the first; the machine is busy
            progress()

    monkeypatch.setattr(experiment, "trained", trained)
    monkeypatch.setattr(hours.time, "monotonic", lambda: clock[0])
    plan = {("levers", "base"): Spec("natural-f8c4")}
    told = hours.expected_hours(study, plan, BASE)
    assert told == pytest.approx(3 * 2.0 * (18 + 6) / 18 / 3600)
    plan["levers", "again"] = Spec("natural-f8c4", num_steps=9)  # shares the training
    told = hours.expected_hours(study, plan, BASE)
    assert told == pytest.approx(3 * 2.0 * (18 + 6 + 18) / 18 / 3600)


def test_work_is_counted_as_expected(study):
    done = experiment.trained(study, Spec("natural-f8c4"), BASE)
    call = done.cost()["gflop_a_call"]
    assert done.work(SETTINGS, 3) == pytest.approx(
        {"train_tflop": 18 * call / 1000, "image_gflop": 3 * call}
    )


def test_lr_images_of_another_size_are_made_and_encoded(study):
    """Twice the side: four times the numbers by pixels or latent; the default study is untouched."""
    large = study.with_lr(32, "bicubic")
    assert large.test["lr"].shape[1:] == (32, 32) and study.test["lr"].shape[1:] == (16, 16)
    for switches in (CONTROLLED, Switches("lr_latent")):
        small_arm, arm = (one.arm("phantom-f4c3", switches) for one in (study, large))
        assert arm.numbers_seen == 4 * small_arm.numbers_seen
        assert torch.equal(arm.target, small_arm.target)
    wanted = load_autoencoder("phantom-f4c3").encode(torch.tensor(large.data["lr"])[:, None])
    assert torch.allclose(large.codes("phantom-f4c3", "lr", "mean", 0), wanted, atol=1e-5)
    table, made, _ = experiment.score(study, Spec("phantom-f4c3", lr_side=2.0), BASE)
    assert made.shape[1:] == (64, 64) and np.isfinite(table.lr_consistency_db).all()


def test_an_autoencoder_whose_latents_were_not_kept_is_encoded(study, tmp_path):
    kept = study.codes("phantom-f4c3", "hr", "mean", 0)
    bare = study.with_lr(16, "bicubic")
    bare.folder = tmp_path
    assert torch.allclose(bare.codes("phantom-f4c3", "hr", "mean", 0), kept, atol=1e-5)


def test_an_autoencoder_without_an_arm_has_an_own_decode(study):
    found = study.own_decode("natural-f4c1")
    vae = load_autoencoder("natural-f4c1")
    wanted = vae.decode(vae.encode(torch.tensor(study.test["hr"])[:, None]))[:, 0]
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_other_test_images_go_through_a_trained_arm(study):
    """The study's own test images, given as others, come out as before; twins share their noise."""
    spec = Spec("phantom-f4c3", num_steps=2)
    done = experiment.trained(study, spec, BASE)
    wanted = done.arm.sample(done.net, experiment.walk_of(spec, BASE), spec.seed)
    hr, names = study.test["hr"], list(study.test["image_id"])
    other = lesion_trial.with_test_images(
        study, np.concatenate([hr, hr[:1]]), [*names, names[0]], "bicubic"
    )
    found = lesion_trial.super_resolved(other, spec, done.net, BASE)
    np.testing.assert_allclose(found[: len(hr)], wanted, atol=2e-4)
    np.testing.assert_allclose(found[-1], found[0], atol=2e-4)
    assert len(study.test["hr"]) == len(hr)  # the study itself is as it was
    copies = lesion_trial.copied(other, "phantom-f4c3")
    np.testing.assert_allclose(copies[: len(hr)], study.own_decode("phantom-f4c3"), atol=2e-3)


def test_several_samples_of_a_few_images(study):
    """The first sample is the arm's own, whichever images are asked for; others differ."""
    spec = Spec("phantom-f4c3", num_steps=2)
    done = experiment.trained(study, spec, BASE)
    whole, few = lesion_trial.sampled(study, spec, done.net, BASE, [1], 3)
    np.testing.assert_array_equal(few[0], whole[[1]])
    assert few.shape == (3, 1, *whole.shape[1:])
    assert np.abs(few[1] - few[0]).max() > 1e-4 < np.abs(few[2] - few[1]).max()
    again = done.arm.sample(done.net, experiment.walk_of(spec, BASE), spec.seed + 2)
    np.testing.assert_allclose(few[2], again[[1]], atol=1e-5)


def test_raw_latents_are_those_that_are_decoded(study):
    spec = Spec("phantom-f4c3", num_steps=2)
    done = experiment.trained(study, spec, BASE)
    scaled = done.arm.draw(done.net, experiment.walk_of(spec, BASE), spec.seed)
    raw = done.arm.raw(scaled)
    assert raw.shape == (len(study.test["hr"]), 3, 16, 16)
    wanted = study.autoencoder("phantom-f4c3").decode(raw)[:, 0]
    np.testing.assert_array_equal(done.arm.decode(scaled), wanted)
    codes = study.codes("phantom-f4c3", "hr", "mean", 0)
    np.testing.assert_allclose(done.arm.raw(done.arm.target), codes, atol=1e-5)


WHERE = {"operator": "bicubic", "noise_sd": 0.01, "sizes_px": (1.5,), "levels": (4.0,), "seed": 1}


@pytest.mark.parametrize("share, count", [(0.5, 1), (1.0, 2)])
def test_a_share_of_the_training_images_gets_a_lesion(study, share, count):
    seen = lesion_trial.with_seen_lesions(study, share, **WHERE)
    rows = study.is_training.numpy()
    changed = np.abs(seen.data["hr"] - study.data["hr"]).max((1, 2)) > 0
    assert changed[rows].sum() == count and not changed[~rows].any()
    small = degrade(np.array(seen.data["hr"]), seen.data["lr"].shape[-1], "bicubic")
    np.testing.assert_allclose(seen.data["lr"], small, atol=1e-6)
    before, after = (s.codes("phantom-f4c3", "hr", "mean", 0) for s in (study, seen))
    differs = np.abs(after - before).amax((1, 2, 3)).numpy() > 1e-3
    np.testing.assert_array_equal(differs, changed)  # latents are those of the lesions' images


def test_the_trial_is_repeated_on_arms_that_met_lesions(study):
    specs = {("lr_pixels", "phantom-f4c3"): Spec("phantom-f4c3", num_steps=1)}
    images, spots, free = lesion_trial.retrained(study, specs, BASE, 1.0, 2, **WHERE)
    _, wanted, count = lesion_trial.planted(study, 2, **WHERE)
    assert spots == wanted and free == count  # the same lesions in the same test images
    assert all(len(stack) == free + len(spots) for stack in images.values())
    sides = study.test["hr"].shape[-1], study.test["lr"].shape[-1]
    matrix = lesions.operator_matrix(*sides, "bicubic")
    searches = observers.search_background_known(images, spots, matrix, 0.01, 0)
    references = {"HR", "HR ideal observer", "LR ideal observer"}
    assert {vae for _, vae in searches} == {"phantom-f4c3", *references}
    assert len(searches["lr_pixels", "phantom-f4c3"].lesions) == len(spots)


def test_a_long_walk_is_that_of_chapter_3s_arms(study, results):
    plan_of = {"lr_conditions": ["lr_latent"], "pixels_only": [], "main_vaes": list(MAIN)}
    plan_of |= {"main_arms": ["released"], "released_steps": 3, "longer_factor": 1, "seed": 7}
    network = {"unet_channels": [8, 16], "attention_levels": [], "save_every_s": 60.0}
    given = plan_of | network | vars(SETTINGS) | {"sampling_steps": 3, "seed": 7}
    level = {}
    for which in MAIN:
        folder = results / "arms" / "knee" / which
        folder.mkdir(parents=True, exist_ok=True)
        for kind, spec in plans.chapter_3(which, **plan_of).items():
            done = experiment.trained(study, spec, BASE)
            done.save(folder / f"denoiser_{kind}.safetensors")
            images = done.arm.sample(done.net, experiment.walk_of(spec, BASE), spec.seed)
            level[kind, which] = metrics.psnr_db(images, study.test["hr"]).mean()
    kinds = ["lr_latent", "released", "longer"]  # the last was not run
    walked = long_walk.of_run(results, study, kinds, given, [3, 2, 3], 100)
    assert list(walked.index) == [(kind, T) for kind in kinds[:2] for T in (2, 3)]
    assert set(walked["n_images"]) == {len(study.test["hr"])}  # not the 100 that were asked for
    for (kind, which), psnr_db in level.items():
        assert walked.loc[(kind, 3), which] == pytest.approx(psnr_db, abs=1e-3)
    gaps = long_walk.gaps(walked, MAIN)
    between = level["released", MAIN[1]] - level["released", MAIN[0]]
    assert gaps["released"][3] == pytest.approx(between, abs=2e-3)
    fewer = long_walk.of_run(results, study, ["released"], given, [2], 1)
    assert set(fewer["n_images"]) == {1}
