import pytest

from latentsr import plans
from latentsr.experiment import Spec
from latentsr.params import MAIN_ARMS
from latentsr.protocols import CONTROLLED, VALUES

MAIN = ["natural-f8c4", "phantom-f4c3"]
KINDS = ["lr_latent", "upsampled_latent", "lr_pixels"]


def test_the_default_run_has_eighteen_arms_a_set():
    vaes = [*MAIN, "phantom-f8c4", "natural-f4c3", "natural-f4c1", "phantom-f4c1"]
    given = (KINDS, ["natural-f4c1", "phantom-f4c1"], MAIN, MAIN_ARMS, 10, 42)
    arms = [spec for vae in vaes for spec in plans.chapter_3(vae, *given).values()]
    assert len(arms) == len(set(arms)) == 18
    crossed = {(s.vae, s.condition_vae) for s in arms if s.condition_vae}
    assert crossed == {(MAIN[0], MAIN[1]), (MAIN[1], MAIN[0])}
    released = [s for s in arms if s.switches.protocol == "released"]
    assert [s.vae for s in released] == MAIN
    assert all((s.schedule, s.num_steps) == ("released", 10) for s in released)


def test_targets_and_conditions_are_two_by_four():
    plan = plans.targets_and_conditions(MAIN, 42)
    assert len(plan) == 8 and len(plans.unique_trainings(plan)) == 8
    assert {spec.switches.grid for spec in plan.values()} == {"common"}
    own = plan[f"{MAIN[0]}|latent of {MAIN[0]}"]
    assert own.training == Spec(MAIN[0], switches=own.switches).training


def test_switches_are_taken_apart():
    plan = plans.switches("natural-f8c4", 42, 10)
    released = plan["released"].switches.columns()
    for name in VALUES:
        if name != "walk":
            alone = plan[f"released, but {name}"].switches.columns()
            assert {k for k in alone if alone[k] != released[k]} == {name}
    rungs = [plan[f"to {name}"] for name in VALUES if name != "walk"]
    assert rungs[-1].switches == CONTROLLED and rungs[-1].schedule == "released"
    assert plan["to schedule"] == plan["controlled"]
    walks = {name: spec.switches.walk for name, spec in plan.items()}
    assert {name for name, walk in walks.items() if walk == "first"} == {
        "released at 50, first entries",
        "controlled at 50, first entries",
    }
    assert len(plans.unique_trainings(plan)) == 13  # the noise at the start needs no training


@pytest.mark.parametrize("protocol", ["released", "controlled"])
def test_levers_change_one_thing(protocol):
    plan = plans.levers(*MAIN, protocol, 10, 42)
    base = vars(plan["base"])
    assert plan["base"].switches.protocol == protocol
    for name, spec in plan.items():
        differing = [key for key, value in vars(spec).items() if value != base[key]]
        assert len(differing) == (name != "base"), name


def test_ablations_share_what_only_changes_sampling():
    plan = plans.ablations("natural-f8c4", "lr_latent", 10, 42)
    assert len(plan) == 9 and len(plans.unique_trainings(plan)) == 7


def test_the_whole_is_named_by_analysis_and_arm():
    plan = plans.whole(MAIN, "lr_latent", 10, 10, 42)
    analyses = [analysis for analysis, _ in plan]
    assert set(analyses) == {"switches", "ablations", "levers, released", "levers, controlled"}
    both = {name for analysis, name in plan if analysis in ("switches", "ablations")}
    assert {name.partition("|")[2] for name in both} == set(MAIN)
    # base arms of the levers are arms of the switches
    assert len(plans.unique_trainings(plan)) < len(plan)
