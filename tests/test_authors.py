import compvis
import numpy as np
import pytest
import torch
from diffusers import UNet2DModel
from test_paper_path import prepared

from latentsr.autoencoders import fetch
from latentsr.companion import authors
from latentsr.diffusion.samplers import SamplerConfig
from latentsr.experiments.protocol import RELEASED

KIND = {"block_out_channels": (32, 32, 64), "layers_per_block": 1}
PLAIN, ATTENDS = ("DownBlock2D", "UpBlock2D"), ("AttnDownBlock2D", "AttnUpBlock2D")


def checkpoint(path, attention=2, average="", **changes):
    """A checkpoint in the authors' layout, with random weights."""
    torch.manual_seed(attention)
    kinds = [ATTENDS if level == attention else PLAIN for level in range(3)]
    unet = UNet2DModel(
        in_channels=6,
        out_channels=3,
        down_block_types=[kind[0] for kind in kinds],
        up_block_types=[kind[1] for kind in kinds[::-1]],
        **KIND,
    ).eval()
    state = {f"model.{key}": value for key, value in unet.state_dict().items()}
    if average:
        spelt = (lambda key: key.replace(".", "")) if average == "undotted" else (lambda key: key)
        before = "module." if average == "module" else ""
        state |= {
            f"model_ema.{before}{spelt(key)}": value + 0.01
            for key, value in unet.state_dict().items()
        }
    state["alphas"] = authors.authors_alphas()
    told = {"base_channels": 32, "channel_mult": [1, 1, 2], "attention_resolutions": [16]}
    saved = {"state_dict": state, "hyper_parameters": told, "epoch": 3} | changes
    torch.save(saved, path)
    return unet


@pytest.mark.parametrize("attention", [1, 2])
def test_attention_levels_come_from_the_tensors(tmp_path, attention):
    unet = checkpoint(tmp_path / "x.ckpt", attention)
    net = authors.load(tmp_path / "x.ckpt")
    z, lr = torch.randn(2, 3, 16, 16), torch.randn(2, 3, 4, 4)
    shown = torch.nn.functional.interpolate(lr, (16, 16), mode="bilinear", align_corners=False)
    with torch.no_grad():
        wanted = unet(torch.cat([z, shown], 1), torch.tensor([7, 7])).sample
    assert torch.allclose(net(z, lr, torch.tensor([7, 7])), wanted, atol=1e-6)


@pytest.mark.parametrize("average", ["same", "module", "undotted"])
def test_the_moving_average_is_used(tmp_path, average):
    unet = checkpoint(tmp_path / "x.ckpt", average=average)
    net = authors.load(tmp_path / "x.ckpt")
    wanted = unet.state_dict()["conv_in.weight"] + 0.01
    assert torch.equal(net.unet.state_dict()["conv_in.weight"], wanted)


@pytest.mark.parametrize("num_steps", [1, 2, 10, 50, 1000])
def test_the_formulas_hold_to_a_millionth_on_a_toy_network(num_steps):
    """Schedule, half noise, walk and steps, from their description alone, in float64."""
    last = 1000
    place = np.linspace(0, last + 1, last + 1) / (last + 1)
    cosine = np.cos((place + 0.008) / 1.008 * np.pi / 2) ** 2
    betas = np.clip(1 - cosine[1:] / cosine[:-1], 0, 0.9999)
    a = np.cumprod(1 - betas)[::-1]  # from noise to image
    assert np.abs(authors.authors_alphas().numpy() - a).max() < 1e-6
    rng = np.random.default_rng(num_steps)
    noise, seen = rng.normal(size=(2, 2, 3, 5, 4))

    def toy(z, c, index):
        return np.tanh(0.7 * z + c) * (1 - index / 2000)

    def net(z, c, index):
        times = index.numpy()[:, None, None, None]
        return torch.from_numpy(toy(z.numpy(), c.numpy(), times))

    def by_hand(a):
        z = 0.5 * noise
        for i in range(num_steps - 1):
            x0 = toy(z, seen, i)
            eps = (z - np.sqrt(a[i]) * x0) / (np.sqrt(1 - a[i]) + 1e-4)
            z = z + (np.sqrt(a[i + 1]) - np.sqrt(a[i])) * x0
            z = z + (np.sqrt(1 - a[i + 1]) - np.sqrt(1 - a[i])) * eps
        return toy(z, seen, num_steps - 1)

    given = [torch.from_numpy(x.copy()) for x in (noise, seen, a)]
    assert np.abs(authors.sample(net, *given, num_steps).numpy() - by_hand(a)).max() < 1e-6
    # an arm of the released protocol takes the same steps; its time runs down from 999
    sampler, start = (
        SamplerConfig(num_steps, schedule="released"),
        RELEASED.initial_noise_sd * given[0],
    )
    found = sampler.sample(lambda z, c, t: net(z, c, 999 - t), start, given[1], "first", [])
    stored = authors.authors_alphas().double().numpy()  # in float32, 1 - a of the end is rounded
    assert np.abs(found.numpy() - by_hand(stored)).max() < 1e-6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state_dict": None}, "no state_dict in it"),
        ({"state_dict": {"alphas": torch.zeros(1000)}}, "no tensor under model. among 1"),
        ({"state_dict": {"model.conv_out.weight": torch.zeros(1)}}, r"its widths are \[\], its"),
        (
            {"hyper_parameters": {"base_channels": 128, "channel_mult": [1, 2]}},
            r"its widths are \[32, 32, 64\], its hyper_parameters say \[128, 256\]",
        ),
    ],
)
def test_a_checkpoint_that_differs_is_one_line(tmp_path, changes, message):
    checkpoint(tmp_path / "x.ckpt", **changes)
    with pytest.raises(ValueError, match=message) as caught:
        authors.load(tmp_path / "x.ckpt")
    assert "\n" not in str(caught.value) and "x.ckpt" in str(caught.value)
    checkpoint(tmp_path / "x.ckpt")
    saved = torch.load(tmp_path / "x.ckpt")
    saved["state_dict"]["model.more"] = torch.zeros(1)
    torch.save(saved, tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match=r"1 keys unexpected \(more\)"):
        authors.load(tmp_path / "x.ckpt")


@pytest.fixture
def cached(tmp_path):
    folder = tmp_path / "test_latent"
    folder.mkdir()
    for i in range(12):
        np.save(folder / f"hr_{i}.npy", np.full((3, 4, 4), i, np.float32))
        np.save(folder / f"lr_{i}.npy", np.full((3, 1, 1), i, np.float32))
    (folder / "filenames.txt").write_text("".join(f"image{i}.png\n" for i in range(12)))
    return tmp_path


def test_latents_carry_the_names_of_their_lines(cached):
    found = authors.read_latents(cached, "test")
    assert found.hr.shape == (12, 3, 4, 4) and found.lr.shape == (12, 3, 1, 1)
    assert list(found.names) == [f"image{i}.png" for i in range(12)]
    np.testing.assert_array_equal(found.hr[:, 0, 0, 0], range(12))


def test_names_by_position_are_those_of_the_released_reader(cached):
    found = authors.read_latents(cached, "test", by_position=True)
    listing = sorted(f"hr_{i}.npy" for i in range(12))
    wanted = {file: f"image{line}.png" for line, file in enumerate(listing)}
    assert list(found.names) == [wanted[f"hr_{i}.npy"] for i in range(12)]
    assert sum(name != f"image{i}.png" for i, name in enumerate(found.names)) == 10


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "filenames.txt").unlink(), "filenames.txt: not there"),
        (lambda f: (f / "lr_3.npy").unlink(), "lr_3.npy: not there, but .* has 12 lines"),
        (lambda f: np.save(f / "hr_12.npy", np.zeros((3, 4, 4))), "13 files .*, but 12 lines"),
        (lambda f: np.save(f / "hr_2.npy", np.zeros((3, 8, 8))), "must all be"),
    ],
)
def test_latents_that_do_not_match_are_one_line(cached, spoil, message):
    spoil(cached / "test_latent")
    with pytest.raises(ValueError, match=message):
        authors.read_latents(cached, "test")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run as chapters 1 and 2 leave it, with a denoiser and an autoencoder of random weights."""
    prepared(tmp_path, 64)
    monkeypatch.setattr(fetch, "fetched_dir", lambda: tmp_path / "vaes")
    monkeypatch.setattr(authors, "FETCHED", tmp_path / "denoisers")
    for name in ("vaes", "denoisers", "autoencoders/knee"):
        (tmp_path / name).mkdir(parents=True)
    _, state = compvis.random_state(3, 3, (1, 2, 4), rank=4)
    torch.save({"state_dict": state}, tmp_path / "vaes/medvae-4-3.ckpt")
    checkpoint(tmp_path / "denoisers/medvae-4-3_mrnet.ckpt")
    copies = {"image_id": np.array(["c", "d"]), "medvae-4-3": np.full((2, 64, 64), 0.5)}
    np.savez(tmp_path / "autoencoders/knee/reconstructions.npz", **copies)
    return tmp_path


def test_released_denoisers_are_scored_without_training(run):
    table = authors.score(run, "medvae-4-3_mrnet", 3, seed=1)
    assert table["image_id"].tolist() == ["c", "d"] and set(table["protocol"]) == {"released"}
    assert table["psnr_db"].between(0, 60).all()
    one = authors.score(run, "medvae-4-3_mrnet", 3, seed=1, batch=1)
    np.testing.assert_allclose(one["psnr_db"], table["psnr_db"], atol=1e-3)


def test_what_scoring_lacks_is_one_line(run):
    with pytest.raises(ValueError, match="denoiser: 'x_mrnet'; allowed are sdvae_mrnet"):
        authors.score(run, "x_mrnet", 3, 1)
    with pytest.raises(ValueError, match="`latentsr denoisers fetch kl-f4_mrnet` gets it"):
        authors.score(run, "kl-f4_mrnet", 3, 1)
    checkpoint(run / "denoisers/kl-f4_mrnet.ckpt")
    with pytest.raises(ValueError, match="no kl-f4 in it; add it to autoencoders.arms"):
        authors.score(run, "kl-f4_mrnet", 3, 1)
    checkpoint(run / "denoisers/medvae-4-3_cxr.ckpt")
    with pytest.raises(ValueError, match="data/chest: not there; run chapter 1"):
        authors.score(run, "medvae-4-3_cxr", 3, 1)


def test_cached_latents_are_scored_by_the_names_they_are_given(run):
    """By position another image's name, so another PSNR to HR, but the same to its own decode."""
    draw = np.random.default_rng(0)
    folder = run / "test_latent"
    folder.mkdir()
    for i in range(12):
        np.save(folder / f"hr_{i}.npy", draw.normal(size=(3, 16, 16)).astype(np.float32))
        np.save(folder / f"lr_{i}.npy", draw.normal(size=(3, 4, 4)).astype(np.float32))
    (folder / "filenames.txt").write_text("".join(f"knee/i{i}.png\n" for i in range(12)))
    images = {f"i{i}": draw.random((64, 64), np.float32) for i in range(12)}
    tables = [
        authors.score_latents(
            authors.read_latents(run, "test", by_position=rule), "medvae-4-3_mrnet", 3, 1, images
        )
        for rule in (False, True)
    ]
    named, ruled = tables
    np.testing.assert_array_equal(named.psnr_own_decode_db, ruled.psnr_own_decode_db)
    moved = (named.name != ruled.name).to_numpy()
    assert moved.sum() == 10 and (named.psnr_db != ruled.psnr_db)[moved].all()
    assert (named.psnr_db == ruled.psnr_db)[~moved].all()
    none = authors.score_latents(
        authors.read_latents(run, "test"), "medvae-4-3_mrnet", 3, 1, {}, batch=5
    )
    assert none.psnr_db.isna().all()
    np.testing.assert_allclose(none.psnr_own_decode_db, named.psnr_own_decode_db, atol=1e-3)
    np.save(folder / "hr_0.npy", np.zeros((4, 16, 16), np.float32))
    with pytest.raises(ValueError, match="must all be"):
        authors.read_latents(run, "test")
    np.save(folder / "hr_0.npy", np.full((3, 16, 16), np.nan, np.float32))
    with pytest.raises(ValueError, match="hr_0.npy: a number is not finite"):
        authors.read_latents(run, "test")
    odd = authors.Latents(np.zeros((1, 3, 9, 9)), np.zeros((1, 3, 2, 2)), ["x"])
    with pytest.raises(ValueError, match="latents: 9 x 9 places; multiples of"):
        authors.score_latents(odd, "medvae-4-3_mrnet", 3, 1, {})
    wrong = authors.Latents(np.zeros((1, 4, 8, 8)), np.zeros((1, 4, 2, 2)), ["x"])
    with pytest.raises(ValueError, match="4 and 4 channels; 3 are needed for medvae-4-3_mrnet"):
        authors.score_latents(wrong, "medvae-4-3_mrnet", 3, 1, {})
