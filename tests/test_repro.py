import os
import shutil
from pathlib import Path

import pytest

from latentsr.companion.pipeline import params, repro, stage


@pytest.fixture
def clone(tmp_path, monkeypatch):
    for name in ("profiles", "params.yaml", "sets.yaml"):
        (shutil.copytree if Path(name).is_dir() else shutil.copy)(name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_profile_is_put_in_place_and_edits_are_never_overwritten(clone):
    assert repro.use_profile("smoke")
    assert Path("params.yaml").read_text() == Path("profiles/smoke.yaml").read_text()
    assert not repro.use_profile("smoke")
    assert repro.use_profile("mini")
    with pytest.raises(ValueError, match="PROFILE: 'huge'; allowed are mini, paper, smoke"):
        repro.use_profile("huge")
    Path("params.yaml").write_text(edited := Path("params.yaml").read_text() + "# mine\n")
    with pytest.raises(ValueError, match=r"params.yaml: it equals no profile, so PROFILE=smoke"):
        repro.use_profile("smoke")
    assert Path("params.yaml").read_text() == edited


def test_what_the_paper_profile_needs_is_one_line_a_thing_and_found_first(clone):
    lines = repro.missing_for_paper()
    assert all("\n" not in line for line in lines)
    named = {line.split(":")[0] for line in lines}
    arms = params.read(Path("profiles/paper.yaml"))["autoencoders"].arms
    assert {"knee", "brain", "chest", *(f"vae {name}" for name in arms)} <= named
    with pytest.raises(ValueError, match="missing for PROFILE=paper"):
        repro.run("paper")
    assert Path("params.yaml").read_text() == Path("profiles/mini.yaml").read_text()


def test_an_autoencoder_without_weights_is_found_before_anything_runs(clone):
    text = Path("params.yaml").read_text().replace("    - natural-f8c4-s1 ", "    - kl-f4 ")
    Path("params.yaml").write_text(text)
    with pytest.raises(ValueError, match="vae kl-f4: .*kl-f4.ckpt is not there"):
        repro.run(None)


def test_advice_of_dvc_is_not_passed_on():
    advice = ["\n", "To track the changes with git, run:\n", "\tgit add dvc.lock\n",
              "To enable auto staging, run:\n", "Use `dvc push` to send your updates\n"]  # fmt: skip
    assert all(map(repro.ADVICE.match, advice))
    kept = ["Running stage 'data':\n", "> python -m x\n", "Updating lock file 'dvc.lock'\n", "a\n"]
    assert not any(map(repro.ADVICE.match, kept))


def test_the_graph_is_that_of_dvc_yaml_and_the_book_needs_all_of_it():
    graph = repro.stage_graph()
    order = list(repro.needed_for("book", graph))
    assert sorted(order) == sorted(graph) and order[-1] == "book"
    assert all(order.index(other) < order.index(name) for name in order for other in graph[name])
    assert not any("brain" in name for name in graph["ablations"])  # of the first set alone
    assert "vae_swap" in graph["statistics"] and "phantoms" in graph["data.dvc"]


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
    (tmp_path / "changed").write_text('{"a@x": [], "a@y": []}')
    monkeypatch.setattr(repro, "_environment", lambda: {**os.environ, "PATH": f"{tmp_path}:/bin"})
    monkeypatch.chdir(tmp_path)
    return tmp_path


GRAPH = {"a@x": set(), "a@y": set(), "b@x": {"a@x"}, "c": {"b@x"}, "b@y": {"a@y"}}


def log_of(folder):
    return (folder / "log").read_text().splitlines()


def test_what_changed_runs_and_what_reads_it_each_after_what_it_waits_for(fake_dvc):
    (fake_dvc / "changed").write_text('{"a@x": []}')
    minutes = repro.run_stages(GRAPH, 2)
    assert set(minutes) == {"a@x", "b@x", "c"} and all(0.001 < m < 0.1 for m in minutes.values())
    log = log_of(fake_dvc)
    assert log.index("end a@x") < log.index("start b@x") < log.index("end b@x")
    assert log.index("end b@x") < log.index("start c")
    (fake_dvc / "changed").write_text("{}")
    assert repro.run_stages(GRAPH, 2) == {}


def test_jobs_run_at_once_and_single_stages_start_first(fake_dvc):
    repro.run_stages({"a@x": set(), "a@y": set()}, 2)
    assert [line.split()[0] for line in log_of(fake_dvc)] == ["start", "start", "end", "end"]
    (fake_dvc / "log").write_text("")
    (fake_dvc / "changed").write_text('{"a@x": [], "late": []}')
    repro.run_stages({"a@x": set(), "late": set()}, 1)
    assert log_of(fake_dvc)[0] == "start late"


def test_a_failing_stage_stops_what_has_not_started_and_gives_its_line(fake_dvc):
    (fake_dvc / "failing").write_text("a@x")
    with pytest.raises(ValueError, match=r"^see above \(the pipeline stopped; what was computed"):
        repro.run_stages(GRAPH, 1)
    assert "start b@x" not in log_of(fake_dvc)
    with pytest.raises(SystemExit):
        stage.stop(ValueError("set knee: too small"))
    with pytest.raises(ValueError, match=r"^set knee: too small \(the pipeline stopped"):
        repro.run_stages(GRAPH, 1)
