import re
from pathlib import Path

import pytest
import yaml

from latentsr import degrade
from latentsr.companion.pipeline import params
from latentsr.companion.pipeline.notebook import (
    LESSONS,
    STEMS,
    arguments_of,
    block_name,
    parameters,
)

PROFILES = sorted(Path("profiles").glob("*.yaml"))


def raw(path):
    return yaml.safe_load(Path(path).read_text())


def test_the_committed_params_are_the_mini_profile():
    assert Path("params.yaml").read_text() == Path("profiles/mini.yaml").read_text()


def test_profiles_have_the_same_keys_and_are_valid():
    assert {path.stem for path in PROFILES} == {"smoke", "mini", "paper"}
    shapes = [{k: sorted(v) for k, v in raw(p).items() if isinstance(v, dict)} for p in PROFILES]
    assert shapes[0] == shapes[1] == shapes[2]
    for path in PROFILES:
        assert params.read(path)["profile"] == path.stem


@pytest.mark.parametrize("stem", STEMS)
def test_a_notebooks_cell_is_its_block_with_the_values_of_smoke(stem):
    cell = parameters(Path("notebooks") / f"{stem}.ipynb")
    of_the_run = ("inputs", "outputs", "dataset", "vae")
    own = {key: value for key, value in cell.items() if key not in of_the_run}
    assert own == raw("profiles/smoke.yaml")[block_name(stem)]
    assert {"inputs", "outputs"} <= set(cell)
    assert all(str(cell[key]).startswith(".scratch/") for key in ("inputs", "outputs"))


@pytest.mark.parametrize("stem", LESSONS)
def test_a_lesson_keeps_its_parameters_in_every_profile(stem):
    cell = parameters(Path("notebooks") / f"{stem}.ipynb")
    assert str(cell["outputs"]).startswith(".scratch/")
    given = arguments_of(stem, Path("params.yaml"), {"inputs": "x", "outputs": "y"})
    assert given == {**cell, "outputs": "y"}


def test_no_float_is_written_so_that_yaml_reads_text():
    for path in PROFILES:
        assert not re.search(r"(?<![\d.])\d+e-?\d", path.read_text()), "write 1.0e-4, not 1e-4"


def changed(name, **values):
    return {**raw("profiles/mini.yaml")[name], **values}


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("screening", {"confidence": 0.9, "confidnce": 1}, "screening.confidnce: unknown parameter"),
        ("screening", {}, "screening.confidence: missing parameter"),
        ("screening", None, "screening: None, but a block of parameters is needed"),
        ("screening", {"confidence": "high"}, "screening.confidence: 'high', but float is needed"),
        ("screening", {"confidence": 95}, "screening.confidence: 95.0, but a share between 0 and 1"),
        ("autoencoders", {"vaes": ["sdvae"]}, "autoencoders.vaes: 'sdvae', but one of natural-f8c4"),
        ("autoencoders", {"vaes": "all"}, "autoencoders.vaes: 'all', but a list of one or more"),
        ("autoencoders", {"arms": []}, "autoencoders.arms: [], but a list of one or more"),
        ("autoencoders", {"batch": 0}, "autoencoders.batch: 0, but at least 1 is needed"),
        ("data", {"hr_px": 100}, "data.hr_px: 100, but a multiple of 64 is needed"),
        ("data", {"operator": "box"}, "data.operator: 'box', but one of bicubic, lanczos"),
        ("data", {"test_fraction": 2}, "data.test_fraction: 2.0, but a share between 0 and 1"),
        ("wavelets", {"wavelet": "haarr"}, "wavelets.wavelet: 'haarr', but a discrete wavelet"),
        ("wavelets", {"levels": 0}, "wavelets.levels: 0, but 1 to 5 is needed"),
        ("train_arm", {"lr_conditions": ["none"]}, "lr_conditions: 'none', but one of lr_latent"),
        ("train_arm", {"unet_channels": [32, 20]}, "[32, 20], but 1 to 4 multiples of 8 is needed"),
        ("train_arm", {"sampling_steps": 2000}, "sampling_steps: 2000, but 1 to 1000 is needed"),
        ("vae_swap", {"main_vaes": ["kl-f4", "kl-f4"]}, "but each is needed once"),
        ("train_arm", {"grid_factor": 7}, "train_arm.grid_factor: 7, but 8 is needed"),
        ("ablations", {"walks": ["last"]}, "ablations.walks: 'last', but one of spaced, first"),
    ],
)  # fmt: skip
def test_a_bad_block_is_one_line(name, values, message):
    given = values if name == "screening" else changed(name, **values)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        params.block(name, given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("lr_px: 32", "lr_px: 30", "data.lr_px: 30; a quarter of hr_px 128 is needed"),
        ("    [natural-f8c4,", "    [kl-f4,", "autoencoders.arms: 'kl-f4'; allowed here are"),
        ("main_vaes: [natural-f8c4,", "main_vaes: [kl-f4,", "vae_swap.main_vaes: 'kl-f4'; allowed"),
        ("main_vaes: [natural-f8c4,", "main_vaes: [", "vae_swap.main_vaes: .*; two are needed"),
        (
            "lr_conditions: [lr_latent,",
            "lr_conditions: [",
            "ablation_condition: 'lr_latent'; allow",
        ),
        ("walks: [spaced, first]", "walks: [first]", "ablations.walks: .*; spaced is needed"),
        ("steps_grid: [1, 2, 5, 10,", "steps_grid: [5,", "steps_grid: .*; two or more values from"),
        (
            "spread_level: 16.0",
            "spread_level: 3.0",
            "lesions.spread_level: 3; one of lesions.levels",
        ),
        ("profile: mini", "profile: ../x", "profile: '../x', but a name of a-z"),
        ("threads: 1", "threads: zero", "threads: 'zero', but int is needed"),
        ("threads: 1", "threads: 0", "threads: 0, but at least 1 is needed"),
        ("threads: 1", "threads: [1", "params.yaml: line \\d+ is not YAML; mend that line"),
        ("claims:", "extra: {}\nclaims:", "extra: unknown parameter; allowed are profile, threads"),
        ("profile: mini", "", "profile: missing parameter"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path, old, new, message):
    text = Path("profiles/mini.yaml").read_text()
    assert text.count(old) == 1
    path = tmp_path / "params.yaml"
    path.write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=message) as caught:
        params.read(path)
    assert "\n" not in str(caught.value)


def test_every_operator_there_is_may_be_asked_for():
    assert tuple(degrade.OPERATORS) == params.OPERATORS
