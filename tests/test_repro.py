import os
import shutil
from pathlib import Path

import pytest

from latentsr.companion.book import provenance
from latentsr.companion.pipeline import notebook, params, repro, stage
from latentsr.companion.pipeline import stages as pipeline


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
    arms = params.read(Path("profiles/paper.yaml"))["autoencoders"].arms
    assert {"knee", "brain", "chest", *(f"vae {name}" for name in arms)} <= told


def test_minutes_are_added_up_a_stage():
    minutes = {"train_arm@knee-a": 1.5, "train_arm@knee-b": 2.0, "data": 0.5}
    assert pipeline.grouped(minutes) == {"train_arm": 3.5, "data": 0.5}


def test_a_failing_pipeline_ends_with_the_line_of_its_stage(clone):
    with pytest.raises(ValueError, match=r"see above \(the pipeline stopped; what was computed is"):
        list(pipeline.stages(["false"]))
    with pytest.raises(SystemExit):
        stage.stop(ValueError("set knee: too small"))
    with pytest.raises(ValueError, match=r"^set knee: too small \(the pipeline stopped"):
        list(pipeline.stages(["false"]))


def test_a_profile_that_cannot_run_is_not_put_in_place(clone):
    with pytest.raises(ValueError, match="missing for PROFILE=paper"):
        repro.run("paper")
    assert Path("params.yaml").read_text() == Path("profiles/mini.yaml").read_text()


def test_advice_of_dvc_is_not_passed_on():
    advice = ["\n", "To track the changes with git, run:\n", "\tgit add dvc.lock\n",
              "To enable auto staging, run:\n", "Use `dvc push` to send your updates\n"]  # fmt: skip
    assert all(map(pipeline.ADVICE.match, advice))
    told = [
        "Running stage 'data':\n",
        "> python -m x\n",
        "Updating lock file 'dvc.lock'\n",
        "a b\n",
    ]
    assert not any(map(pipeline.ADVICE.match, told))


def test_stages_are_timed_by_their_lines():
    script = "echo \"Running stage 'a':\"; sleep 0.2; echo \"Running stage 'b':\""
    found = dict(pipeline.stages(["bash", "-c", script]))
    assert list(found) == ["a", "b"]
    assert found["a"] * 60 > 0.15


def test_an_autoencoder_without_weights_is_found_before_anything_runs(clone):
    text = Path("params.yaml").read_text().replace("    - natural-f8c4-s1 ", "    - kl-f4 ")
    Path("params.yaml").write_text(text)
    with pytest.raises(ValueError, match="vae kl-f4: assets/vaes/kl-f4.ckpt is not there"):
        repro.run(None)


def test_the_grid_waits_for_what_it_reads():
    settings = params.read(Path("profiles/mini.yaml"))
    runs = pipeline.grid(settings, ["knee", "chest"])
    arms = settings["autoencoders"].arms
    assert len(runs) == 2 + 2 * len(arms) + 1 + len(notebook.LESSONS) + 6
    assert runs["ablations"] == [f"train_arm@knee-{vae}" for vae in arms]
    assert set(runs["vae_swap"]) > {
        f"train_arm@{n}-{vae}" for n in ("knee", "chest") for vae in arms
    }
    order = list(runs)
    for name, waits in runs.items():  # first in, first out must never wait for what comes later
        assert all(order.index(other) < order.index(name) for other in waits)


def test_a_run_of_the_grid_waits_for_every_stage_whose_files_it_reads():
    """`dvc repro --single-item` does not look for itself; ablations reads arms of one set alone."""
    runs = pipeline.grid(params.read(Path("profiles/mini.yaml")), ["knee", "chest"])
    listed = provenance.stages("mini")
    made = {out.split("${")[0].rstrip("/"): node.name for node in listed for out in node.outs}

    def before(name):
        return {name}.union(*(before(other) for other in runs[name]))

    for stage_ in listed:
        for name in [run for run in runs if run.split("@")[0] == stage_.name]:
            reads = {
                maker
                for path in stage_.inputs
                for out, maker in made.items()
                if f"{out}/".startswith(f"{path}/") or f"{path}/".startswith(f"{out}/")
            }
            waits = {other.split("@")[0] for other in before(name)}
            assert reads - {"phantoms", "data"} <= waits, name


@pytest.fixture
def fake_dvc(tmp_path, monkeypatch):
    """A `dvc` that notes what it is asked to run, and fails where a file says so."""
    tool = tmp_path / "dvc"
    tool.write_text(
        "#!/bin/bash\n"
        f"cd {tmp_path}\n"
        'if [ "$1" = status ]; then cat changed; exit; fi\n'
        'name="${@: -1}"; echo "start $name" >> log; sleep 0.2; echo "end $name" >> log\n'
        '[ "$name" != "$(cat failing 2>/dev/null)" ]\n'
    )
    tool.chmod(0o755)
    (tmp_path / "log").touch()
    monkeypatch.setattr(
        pipeline, "_environment", lambda: {**os.environ, "PATH": f"{tmp_path}:/bin"}
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


RUNS = {"a@x": [], "a@y": [], "b@x": ["a@x"], "c": ["b@x"], "b@y": ["a@y"]}


def test_side_by_side_runs_what_changed_and_what_reads_it(fake_dvc):
    (fake_dvc / "changed").write_text('{"a@x": []}')
    minutes = pipeline.side_by_side(RUNS, 2)
    assert set(minutes) == {"a@x", "b@x", "c"}
    log = (fake_dvc / "log").read_text().split("\n")
    assert log.index("end a@x") < log.index("start b@x") < log.index("end b@x")
    assert log.index("end b@x") < log.index("start c")
    (fake_dvc / "changed").write_text("{}")
    assert pipeline.side_by_side(RUNS, 2) == {}


def test_side_by_side_uses_its_jobs(fake_dvc):
    (fake_dvc / "changed").write_text('{"a@x": [], "a@y": []}')
    pipeline.side_by_side({"a@x": [], "a@y": []}, 2)
    assert (fake_dvc / "log").read_text().count("\nstart") == 1  # both start before one ends
    assert (fake_dvc / "log").read_text().split()[2] == "start"


def test_a_failing_run_stops_what_has_not_started(fake_dvc):
    (fake_dvc / "changed").write_text('{"a@x": [], "a@y": []}')
    (fake_dvc / "failing").write_text("a@x")
    with pytest.raises(ValueError, match="the pipeline stopped; what was computed is kept"):
        pipeline.side_by_side(RUNS, 1)
    assert "start b@x" not in (fake_dvc / "log").read_text()


def test_an_interrupt_starts_nothing_more(fake_dvc, monkeypatch):
    (fake_dvc / "changed").write_text('{"a@x": [], "a@y": []}')
    pause = pipeline.wait

    def interrupted(futures, return_when=None):
        if return_when:
            raise KeyboardInterrupt
        pause(futures)

    monkeypatch.setattr(pipeline, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pipeline.side_by_side(RUNS, 1)
    assert (fake_dvc / "log").read_text().count("start") <= 1
