import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from latentsr import params, registry, repro


@pytest.fixture
def clone(tmp_path, monkeypatch):
    for name in ("profiles", "params.yaml", "sets.yaml"):
        (shutil.copytree if Path(name).is_dir() else shutil.copy)(name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_profile_is_put_in_place(clone):
    assert repro.use_profile("smoke")
    assert Path("params.yaml").read_text() == Path("profiles/smoke.yaml").read_text()
    assert not repro.use_profile("smoke")
    assert repro.use_profile("mini")


def test_edits_are_never_overwritten(clone):
    Path("params.yaml").write_text(edited := Path("params.yaml").read_text() + "# mine\n")
    with pytest.raises(ValueError, match=r"params.yaml: it equals no profile, so PROFILE=smoke"):
        repro.use_profile("smoke")
    assert Path("params.yaml").read_text() == edited


def test_unknown_profile(clone):
    with pytest.raises(ValueError, match="PROFILE: 'huge'; allowed are mini, paper, smoke"):
        repro.use_profile("huge")


def test_what_the_paper_profile_needs_is_one_line_a_thing(clone):
    lines = repro.missing_for_paper()
    assert all("\n" not in line for line in lines)
    told = {line.split(":")[0] for line in lines}
    assert {"knee", "brain", "chest", *registry.EXTERNAL} <= told


def test_minutes_are_added_up_a_stage():
    minutes = {"train_arm@knee-a": 1.5, "train_arm@knee-b": 2.0, "data": 0.5}
    assert repro.grouped(minutes) == {"train_arm": 3.5, "data": 0.5}


def test_a_failing_pipeline_is_one_line(capfd):
    with pytest.raises(ValueError, match="repro: the pipeline stopped"):
        list(repro.stages(["false"]))


def test_stages_are_timed_by_their_lines():
    script = "echo \"Running stage 'a':\"; sleep 0.2; echo \"Running stage 'b':\""
    found = dict(repro.stages(["bash", "-c", script]))
    assert list(found) == ["a", "b"]
    assert found["a"] * 60 > 0.15


BAD = [
    ("autoencoders", "vaes", ["natural-f4c1"], "autoencoders.vaes: 'natural-f4c1'; allowed here"),
    ("autoencoders", "arms", ["natural-f8c4-s1"], "autoencoders.arms: 'natural-f8c4-s1'; allowed"),
    ("vae_swap", "main_vaes", ["natural-f8c4"], "vae_swap.main_vaes: .*; two are needed"),
    (
        "ablations",
        "ablation_set",
        "liver",
        "ablations.ablation_set: 'liver'; allowed here are first",
    ),
    (
        "ablations",
        "ablation_condition",
        "x",
        "ablations.ablation_condition: 'x'; allowed here are lr_",
    ),
    ("wavelets", "wavelet", "haarr", "wavelets.wavelet: 'haarr'; allowed here are bior1.1"),
    ("data", "operator", "box", "data.operator: 'box'; allowed here are bicubic"),
    ("data", "test_fraction", 2.0, "data.test_fraction: 2.0, but a share between 0 and 1"),
    ("statistics", "confidence", 95.0, "statistics.confidence: 95.0, but a share"),
    ("train_arm", "grid_factor", 7, "train_arm.grid_factor: 7; allowed here are 8"),
]


@pytest.mark.parametrize(("block", "key", "value", "message"), BAD)
def test_late_mistakes_are_found_before_anything_runs(block, key, value, message):
    settings = params.read(Path("profiles/mini.yaml"))
    repro.check_study(settings, ["knee"])
    settings[block] = replace(settings[block], **{key: value})
    with pytest.raises(ValueError, match=message) as caught:
        repro.check_study(settings, ["knee"])
    assert "\n" not in str(caught.value)


def test_threads_and_broken_yaml_are_one_line(clone):
    settings = params.read(Path("params.yaml")) | {"threads": "zero"}
    with pytest.raises(ValueError, match="threads: 'zero', but a whole number"):
        repro.check_study(settings, ["knee"])
    Path("params.yaml").write_text("profile: mini\n  threads: 1\n")
    with pytest.raises(ValueError, match="params.yaml: line 2 is not YAML"):
        repro.run(None)
