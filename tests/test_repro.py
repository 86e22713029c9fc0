import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from latentsr import notebook, params, registry, repro


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


def test_a_failing_pipeline_ends_with_the_line_of_its_stage(clone):
    with pytest.raises(ValueError, match=r"see above \(the pipeline stopped; what was computed is"):
        list(repro.stages(["false"]))
    with pytest.raises(SystemExit):
        notebook.stop(ValueError("set knee: too small"))
    with pytest.raises(ValueError, match=r"^set knee: too small \(the pipeline stopped"):
        list(repro.stages(["false"]))


def test_a_profile_that_cannot_run_is_not_put_in_place(clone):
    with pytest.raises(ValueError, match="missing for PROFILE=paper"):
        repro.run("paper")
    assert Path("params.yaml").read_text() == Path("profiles/mini.yaml").read_text()


def test_stages_are_timed_by_their_lines():
    script = "echo \"Running stage 'a':\"; sleep 0.2; echo \"Running stage 'b':\""
    found = dict(repro.stages(["bash", "-c", script]))
    assert list(found) == ["a", "b"]
    assert found["a"] * 60 > 0.15


@pytest.mark.parametrize(
    ("block", "key", "value", "message"),
    [
        ("autoencoders", "vaes", ["kl-f4"], "autoencoders.vaes: 'kl-f4'; allowed here are natural"),
        (
            "ablations",
            "ablation_set",
            "liver",
            "ablation_set: 'liver'; allowed here are first, knee",
        ),
    ],
)
def test_what_the_study_does_not_have_is_found_before_anything_runs(block, key, value, message):
    settings = params.read(Path("profiles/mini.yaml"))
    repro.check_study(settings, ["knee"])
    settings[block] = replace(settings[block], **{key: value})
    with pytest.raises(ValueError, match=message) as caught:
        repro.check_study(settings, ["knee"])
    assert "\n" not in str(caught.value)
