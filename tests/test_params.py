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


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  confidence: 0.95\n\nclaims", "  confidnce: 1\n\nclaims", "confidnce: unknown key"),
        ("  confidence: 0.95\n\nclaims", "\nclaims", "screening: None; a valid dictionary"),
        ("test_fraction: 0.27", "test_fraction: 2", "data.test_fraction: 2; less than 1 is needed"),
        ("    - natural-f8c4\n", "    - sdvae\n", "autoencoders.vaes.0: 'sdvae'; one of natural-f8c4"),
        ("batch: 16", "batch: 0", "autoencoders.batch: 0; greater than or equal to 1 is needed"),
        ("hr_px: 128", "hr_px: 100", "data.hr_px: 100; a multiple of 64 is needed"),
        ("operator: bicubic", "operator: box", "data.operator: 'box'; allowed are bicubic, lanczos"),
        ("wavelet: haar", "wavelet: haarr", "wavelets.wavelet: 'haarr'; a discrete wavelet"),
        ("unet_channels: [32, 32, 32]", "unet_channels: [20]", "unet_channels.0: 20; a multiple of 8"),
        ("unet_channels: [32, 32, 32]", "unet_channels: []", "[]; 1 to 4 multiples of 8 are needed"),
        ("walks: [spaced, first]", "walks: [first, first]", "each once is needed"),
        ("walks: [spaced, first]", "walks: []", "ablations.walks: []; one or more are needed"),
        ("walks: [spaced, first]", "walks: [first]", "ablations.walks: ['first']; spaced is needed"),
        ("max_learning_rate: 3.0e-3", "max_learning_rate: 3e-3", "'3e-3'; a valid number is needed"),
        ("lr_px: 32", "lr_px: 30", "data.lr_px: 30; a quarter of hr_px 128 is needed"),
        ("    [natural-f8c4,", "    [kl-f4,", "autoencoders.arms: 'kl-f4'; allowed here are"),
        ("main_vaes: [natural-f8c4,", "main_vaes: [kl-f4,", "vae_swap.main_vaes: 'kl-f4'; allowed"),
        ("main_vaes: [natural-f8c4,", "main_vaes: [", "; two are needed"),
        ("lr_conditions: [lr_latent,", "lr_conditions: [", "ablation_condition: 'lr_latent'; allow"),
        ("steps_grid: [1, 2, 5, 10,", "steps_grid: [5,", "; two or more values from"),
        ("spread_level: 16.0", "spread_level: 3.0", "spread_level: 3; one of lesions.levels"),
        ("profile: mini", "profile: ../x", "profile: '../x'; a name of a-z, 0-9, _ and - is needed"),
        ("threads: 1", "threads: zero", "threads: 'zero'; a valid integer is needed"),
        ("threads: 1", "threads: [1", "is not YAML; correct that line"),
        ("claims:", "extra: {}\nclaims:", "extra: unknown key; allowed are profile, threads"),
        ("profile: mini", "", "profile: missing key"),
    ],
)  # fmt: skip
def test_a_fault_is_one_line(tmp_path, old, new, message):
    text = Path("profiles/mini.yaml").read_text()
    assert text.count(old) == 1
    path = tmp_path / "params.yaml"
    path.write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        params.read(path)
    assert all(line.startswith(f"{path}: ") for line in str(caught.value).splitlines())


def test_all_faults_are_said_at_once(tmp_path):
    path = tmp_path / "params.yaml"
    text = Path("profiles/mini.yaml").read_text()
    path.write_text(text.replace("threads: 1", "threads: 0").replace("levels: 3", "levels: 9"))
    with pytest.raises(ValueError, match=r"threads: 0;.*\n.*wavelets.levels: 9;"):
        params.read(path)


def test_a_block_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        params.read(Path("params.yaml"))["data"].hr_px = 64


def test_every_operator_there_is_may_be_asked_for():
    assert tuple(degrade.OPERATORS) == params.OPERATORS
