from dataclasses import replace

import pytest
import torch

from latentsr.companion.pipeline.params import FURTHER_SEEDS, MAIN_ARMS
from latentsr.diffusion import process as diffusion
from latentsr.experiments import apart_plans, plans
from latentsr.experiments.protocol import CONTROLLED, VALUES
from latentsr.experiments.run import Spec
from latentsr.stats import apart

MAIN = ["natural-f8c4", "phantom-f4c3"]
KINDS = ["lr_latent", "upsampled_latent", "lr_pixels"]


def test_the_default_run_has_twenty_arms_a_set():
    vaes = [*MAIN, "phantom-f8c4", "natural-f4c3", "natural-f4c1", "phantom-f4c1"]
    once = [arm for arm in MAIN_ARMS if arm not in FURTHER_SEEDS]  # as params.yaml has it
    given = (KINDS, ["natural-f4c1", "phantom-f4c1"], MAIN, once, 10, 4, 42)
    arms = [spec for vae in vaes for spec in plans.chapter_3(vae, *given).values()]
    assert len(arms) == len(set(arms)) == 20
    crossed = {(s.vae, s.condition_vae) for s in arms if s.condition_vae}
    assert crossed == {(MAIN[0], MAIN[1]), (MAIN[1], MAIN[0])}
    released = [s for s in arms if s.switches.protocol == "released"]
    assert [s.vae for s in released] == MAIN
    assert all((s.schedule, s.num_steps) == ("released", 10) for s in released)


def test_further_seeds_differ_from_the_controlled_arm_in_nothing_else():
    plan = plans.chapter_3(MAIN[0], KINDS, [], MAIN, MAIN_ARMS, 10, 4, 42)
    again = [plan[name] for name in FURTHER_SEEDS]
    assert [spec.seed for spec in again] == [43, 44]
    assert {replace(spec, seed=42) for spec in again} == {plan["lr_pixels"]}


def test_targets_and_conditions_are_two_by_four():
    plan = apart_plans.targets_and_conditions(MAIN, 42)
    assert len(plan) == 8 and len(plans.unique_trainings(plan)) == 8
    assert {spec.switches.grid for spec in plan.values()} == {"common"}
    own = plan[f"{MAIN[0]}|latent of {MAIN[0]}"]
    assert own.training == Spec(MAIN[0], switches=own.switches).training


def test_switches_are_taken_apart():
    plan = apart_plans.switches("natural-f8c4", 42, 10)
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
    plan = apart_plans.levers(*MAIN, protocol, 10, 42)
    base = vars(plan["base"])
    assert plan["base"].switches.protocol == protocol
    assert len(plan) == 12 and plan["sampler: ddpm"].training == plan["base"].training
    for name, spec in plan.items():
        differing = [key for key, value in vars(spec).items() if value != base[key]]
        assert len(differing) == (name != "base"), name


def test_ablations_share_what_only_changes_sampling():
    plan = apart_plans.ablations("natural-f8c4", "lr_latent", 10, 42)
    assert len(plan) == 9 and len(plans.unique_trainings(plan)) == 7


def test_what_is_trained_anew_is_trained_from_three_seeds_with_its_reference():
    plan = apart_plans.retrained("natural-f8c4", "lr_latent", 10, 42)
    assert len(plan) == len(plans.unique_trainings(plan)) == 7 * 3
    once = apart_plans.ablations("natural-f8c4", "lr_latent", 10, 42)
    names = {name.partition(", seed ")[0] for name in plan}
    assert names == set(once) - {"ancestral sampling", "DPM-Solver++"}
    for name, spec in plan.items():
        arm, _, seed = name.partition(", seed ")
        assert spec == replace(once[arm], seed=int(seed))


def test_a_change_of_one_arm_is_paired_with_the_others_reference():
    others = ["natural-f8c4-s1", "phantom-f4c3-s1", "phantom-f4c3-without-knee"]
    plan = apart_plans.sensitivity(MAIN, [*MAIN, *others], "knee", "lr_pixels", 42)
    f8, f4 = (plan[f"lr_pixels, reference|{vae}"] for vae in MAIN)
    changed = {}
    for name, spec in plan.items():
        arm, _, role = name.partition("|")
        changed.setdefault(arm.partition(", ")[2], []).append(spec != (f8, f4)[MAIN.index(role)])
    assert changed == {
        "reference": [False, False],
        "own grids": [True, True],
        "own grids, f4 half as wide": [True, True],
        "f8 twice as wide": [True, False],
        "f8, batch x4": [True, False],
        "f4, schedule shifted": [False, True],
        "LR twice as large": [True, True],
        "second training seeds": [True, True],
        "f4 that never saw this anatomy": [False, True],
    }
    fewer = apart_plans.sensitivity(MAIN, MAIN, "knee", "lr_pixels", 42)
    assert len(plan) - len(fewer) == 4


def test_a_shifted_schedule_gives_pooled_f4_places_the_noise_of_f8():
    """Mean-pooling 2 x 2 places divides the noise variance by four, the shift undoes it."""
    spec = apart_plans.sensitivity(MAIN, MAIN, "knee", "lr_pixels", 42)[
        "lr_pixels, f4, schedule shifted|phantom-f4c3"
    ]
    plain = diffusion.signal_shares("cosine").double()
    shifted = diffusion.signal_shares("cosine", spec.log_snr_shift).double()
    inner = (plain > 1e-3) & (plain < 1 - 1e-4)
    noise_to_signal = [(1 - share) / share for share in (plain, shifted)]
    assert torch.allclose(noise_to_signal[1][inner] / 4, noise_to_signal[0][inner], rtol=1e-3)


def test_walks_need_no_training_of_their_own():
    plan = apart_plans.walks(MAIN, "lr_latent", 10, 42)
    assert len(plan) == 72 and len(plans.unique_trainings(plan)) == 2
    for name, spec in plan.items():
        assert name.startswith("first ") == (spec.switches.walk == "first")
        assert ("half of the noise" in name) == (spec.switches.initial_noise_sd == 0.5)
        assert str(spec.num_steps) in name
    reference = apart_plans.ablations(MAIN[0], "lr_latent", 20, 42)["reference"]
    more = apart_plans.walks(MAIN, "lr_latent", 20, 42)
    assert more[f"20 calls|{MAIN[0]}"] == reference and len(more) == 80


def test_convergence_asks_for_every_arm_at_every_length():
    plan = apart_plans.convergence(MAIN, 42)
    assert len(plans.unique_trainings(plan)) == len(plan) == 24
    assert plan["x16, lr_pixels|phantom-f4c3"] == Spec("phantom-f4c3", steps=16)


def test_seeds_and_corners_hold_four_autoencoders_where_they_are_at_hand():
    four = ["natural-f8c4", "phantom-f8c4", "natural-f4c3", "phantom-f4c3"]
    plan = apart_plans.whole(MAIN, [*four, "natural-f4c1"], "knee", "lr_latent", 10, 10, 42)
    by = {
        kind: [s for (name, _), s in plan.items() if name == kind] for kind in ("seeds", "corners")
    }
    assert len(by["seeds"]) == 4 * 3 * 2 and {spec.vae for spec in by["seeds"]} == {*four}
    assert [spec.vae for spec in by["corners"]] == four
    assert {spec.switches.protocol for spec in by["corners"]} == {"released"}
    assert by["corners"][0] == plan["switches", f"released|{MAIN[0]}"]  # trained once
    fewer = apart_plans.whole(MAIN, MAIN, "knee", "lr_latent", 10, 10, 42)
    more = len(plans.unique_trainings(plan)) - len(plans.unique_trainings(fewer))
    assert more == 2 * 3 * 2 + 2 and "corners" not in {name for name, _ in fewer}


def test_the_whole_is_named_by_analysis_and_arm():
    four = [*MAIN, "phantom-f8c4", "natural-f4c3"]
    plan = apart_plans.whole(MAIN, four, "knee", "lr_latent", 10, 10, 42)
    levers = {"levers, released", "levers, controlled"}
    assert {analysis for analysis, _ in plan} == {*apart.ANALYSES, *levers, "retrained"} - {
        "levers"
    }
    both = {name for analysis, name in plan if analysis not in {*levers, "seeds", "corners"}}
    assert {name.partition("|")[2] for name in both} == set(MAIN)
    # base arms of the levers are arms of the switches
    assert len(plans.unique_trainings(plan)) < len(plan)
