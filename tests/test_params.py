import re
from pathlib import Path

import pytest
import yaml

from latentsr import params
from latentsr.notebook import RUN_KEYS, STEMS, block_name, parameters

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
    own = {key: value for key, value in cell.items() if key not in RUN_KEYS}
    assert own == raw("profiles/smoke.yaml")[block_name(stem)]
    assert {"inputs", "outputs"} <= set(cell)
    assert all(str(cell[key]).startswith(".scratch/") for key in ("inputs", "outputs"))


def test_no_float_is_written_so_that_yaml_reads_text():
    for path in PROFILES:
        assert not re.search(r"(?<![\d.])\d+e-?\d", path.read_text()), "write 1.0e-4, not 1e-4"


BAD = [
    ("screening", {"confidence": 0.9, "confidnce": 1}, "screening.confidnce: unknown parameter"),
    ("screening", {}, "screening: missing parameter confidence"),
    ("screening", {"confidence": "high"}, "screening.confidence: 'high', but float is needed"),
    ("autoencoders", {"vaes": ["sdvae"], "arms": [], "batch": 1}, "vae: unknown name 'sdvae'"),
    (
        "autoencoders",
        {"vaes": "all", "arms": [], "batch": 1},
        "autoencoders.vaes: 'all', but a list",
    ),
    ("autoencoders", {"vaes": [], "arms": [], "batch": 0}, "autoencoders.batch: 0, but at least 1"),
]


@pytest.mark.parametrize(("name", "values", "message"), BAD)
def test_a_bad_block_is_one_line(name, values, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        params.block(name, values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [("hr_px", 100, "multiple of 64"), ("lr_px", 30, "a quarter of hr_px 128")],
)
def test_bad_sizes(key, value, message):
    with pytest.raises(ValueError, match=message):
        params.block("data", {**raw("profiles/mini.yaml")["data"], key: value})


def test_unknown_condition_and_walk():
    mini = raw("profiles/mini.yaml")
    with pytest.raises(ValueError, match="train_arm.lr_conditions: 'none'; allowed are lr_latent"):
        params.block("train_arm", {**mini["train_arm"], "lr_conditions": ["none"]})
    with pytest.raises(ValueError, match="ablations.walks: 'last'; allowed are spaced, first"):
        params.block("ablations", {**mini["ablations"], "walks": ["last"]})


def test_unknown_block(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(Path("profiles/mini.yaml").read_text() + "\nextra: {}\n")
    with pytest.raises(ValueError, match="unknown key 'extra'; allowed are profile, threads"):
        params.read(path)
