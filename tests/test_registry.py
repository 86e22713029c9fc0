"""The table of autoencoders, and what a name or a path means."""

from pathlib import Path

import pytest

from latentsr.autoencoders import registry
from latentsr.autoencoders.layouts import build_small
from latentsr.companion.pipeline import params


def test_the_table_is_whole():
    for name in registry.NAMES:
        row = registry.spec(name)
        assert row.name == name and row.color.startswith("#") and row.licence
        assert row.posterior in ("mean", "sampled")
        assert (name in registry.PUBLISHED) == bool(row.source)
    for row in registry.SHIPPED.values():
        assert set(row.trained_on) <= {registry.NATURAL, *registry.ANATOMIES}
        model = build_small(row.factor, row.latent_channels)
        assert sum(p.numel() for p in model.parameters()) <= 950_000
    sampled = {name for name in registry.NAMES if registry.posterior(name) == "sampled"}
    assert sampled == {"natural-f8c4", "sd-vae-ft-ema", "sd-vae-ft-mse"}
    assert registry.posterior("/my/own.ckpt") == "mean"
    assert registry.spec("kl-f4").source == "ommer-lab.com/files/latent-diffusion/kl-f4.zip"
    with pytest.raises(ValueError, match="vae: unknown name 'sdvae'; known are natural-f8c4, "):
        registry.spec("sdvae")


def test_design_cells_are_domain_by_geometry():
    cells = registry.design_cells(registry.SHIPPED)
    assert cells == ("natural-f8c4", "phantom-f8c4", "natural-f4c3", "phantom-f4c3")
    published = registry.design_cells([*registry.PUBLISHED, "natural-f8c4"])
    assert published == ("sd-vae-ft-ema", "medvae-8-4", "kl-f4", "medvae-4-3")
    assert registry.one_channel(published) == ("", "medvae-4-1")
    for shipped, other in zip(cells, published, strict=True):
        one, two = registry.spec(shipped), registry.spec(other)
        assert (one.geometry, one.color) == (two.geometry, two.color)
    assert len(set(registry.colors(cells).values())) == 4


@pytest.mark.parametrize("profile, expected", [("mini", "natural-f4c3"), ("paper", "kl-f4")])
def test_the_natural_counterpart_of_the_second_main_one_is_in_the_profile(profile, expected):
    settings = params.read(Path("profiles") / f"{profile}.yaml")
    second, names = settings["vae_swap"].main_vaes[1], settings["autoencoders"].vaes
    assert registry.natural_counterpart(second, names) == expected
    assert registry.spec(expected).geometry == registry.spec(second).geometry
    assert "photographs" in registry.trained_on(expected)
    assert registry.natural_counterpart("/my/own.ckpt", [expected]) == ""


HUB = f"hf/someone/mine/{'7' * 40}"


@pytest.mark.parametrize("name", [HUB, f"{HUB}/vae"])
def test_a_folder_of_the_hub_is_a_name(name):
    assert registry.is_vae(name) and registry.display_name(name).startswith("mine-")


@pytest.mark.parametrize("name", [f"{HUB}/../x", f"hf/a/../{'7' * 40}", "hf/a/b/main", "hf/a"])
def test_what_is_no_folder_of_the_hub(name):
    assert not registry.is_vae(name)


def test_equal_stems_have_different_names():
    names = {registry.display_name(f"/data/{folder}/mine.ckpt") for folder in ("a", "b", "my c")}
    assert len(names) == 3 and all(name.startswith("mine-") for name in names)
    assert registry.display_name("/data/a/best.ckpt").startswith("a-best-")
    assert len(set(registry.colors(sorted(names)).values())) == 3
