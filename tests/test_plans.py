from dataclasses import fields, replace

import pytest
import torch

from latentsr.companion.pipeline.params import FURTHER_SEEDS, MAIN_ARMS
from latentsr.diffusion import process
from latentsr.experiments import plans, protocol
from latentsr.experiments.protocol import CONTROLLED, RELEASED, VALUES, Protocol
from latentsr.experiments.run import ArmConfig

MAIN = ["natural-f8c4", "phantom-f4c3"]
CELLS = ["natural-f8c4", "phantom-f8c4", "natural-f4c3", "phantom-f4c3"]
PARAMS = {
    "lr_conditions": ["lr_latent", "upsampled_latent", "lr_pixels"],
    "pixels_only": ["natural-f4c1", "phantom-f4c1"],
    "main_vaes": MAIN,
    "main_arms": MAIN_ARMS,
    "released_steps": 10,
    "longer_factor": 4,
    "seed": 42,
}


def test_there_are_six_switches_with_two_ends():
    names = [field.name for field in fields(Protocol)]
    assert names == list(VALUES) and len(names) == 6
    for name, (released, controlled, *_) in VALUES.items():
        assert getattr(RELEASED, name) == released and getattr(CONTROLLED, name) == controlled


@pytest.mark.parametrize("start, end", [(RELEASED, CONTROLLED), (CONTROLLED, RELEASED)])
def test_one_switch_at_a_time_and_one_after_another(start, end):
    for name, changed in protocol.one_at_a_time(start, end).items():
        assert {key for key in VALUES if getattr(changed, key) != getattr(start, key)} == {name}
        shares = changed.for_training == start.for_training
        assert shares == (name in protocol.SAMPLING_ONLY)
    steps = list(protocol.cumulative(start, end).values())
    assert len(steps) == 6 and steps[-1] == end
    assert steps[0] == replace(start, lr_condition=end.lr_condition)


def test_protocols_have_names_whatever_the_timesteps_of_the_released_one():
    alone = protocol.one_at_a_time(RELEASED, CONTROLLED)
    assert {p.name for p in alone.values()} == {"mixed", "released"}
    assert alone["timestep_spacing"].name == "released"
    assert {p.name for p in protocol.one_at_a_time(CONTROLLED, RELEASED).values()} == {"mixed"}


@pytest.mark.parametrize("name", list(VALUES))
def test_other_values_are_refused(name):
    with pytest.raises(ValueError, match=f"{name}: 'other'; allowed are"):
        Protocol(**{name: "other"})


def test_the_default_run_has_twenty_arms_a_set():
    once = [arm for arm in MAIN_ARMS if arm not in FURTHER_SEEDS]  # as params.yaml has it
    params = PARAMS | {"main_arms": once}
    vaes = [*CELLS, "natural-f4c1", "phantom-f4c1"]
    arms = [config for vae in vaes for config in plans.study_arms(vae, params).values()]
    assert len(arms) == len(set(arms)) == 20
    crossed = {(c.vae, c.condition_vae) for c in arms if c.condition_vae}
    assert crossed == {(MAIN[0], MAIN[1]), (MAIN[1], MAIN[0])}
    released = [c for c in arms if c.protocol.name == "released"]
    assert [c.vae for c in released] == MAIN
    assert all((c.schedule, c.num_inference_steps) == ("released", 10) for c in released)


def test_further_seeds_differ_from_the_controlled_arm_in_nothing_else():
    arms = plans.study_arms(MAIN[0], PARAMS)
    seeds = [arms[name] for name in FURTHER_SEEDS]
    assert [config.seed for config in seeds] == [43, 44]
    assert {replace(config, seed=42) for config in seeds} == {arms["lr_pixels"]}


def test_switches_are_turned_alone_and_one_after_another():
    rows = {row.arm: row for row in plans.switches("natural-f8c4", 42, 10)}
    for row in rows.values():
        if row.factor in VALUES:
            start, changed = rows[row.start].config.protocol, row.config.protocol
            assert {k for k in VALUES if getattr(changed, k) != getattr(start, k)} == {row.factor}
            assert str(getattr(changed, row.factor)) == row.value
    steps = [row for row in rows.values() if row.factor == "cumulative"]
    assert [row.value for row in steps] == [*list(VALUES)[:-1], "schedule"]
    assert steps[-2].config.protocol == CONTROLLED and steps[-2].config.schedule == "released"
    assert rows["to schedule"].config == rows["controlled"].config
    first = {name for name, r in rows.items() if r.config.protocol.timestep_spacing == "first"}
    assert first == {"released at 50, first entries", "controlled at 50, first entries"}
    needed = plans.unique_trainings(row.config for row in rows.values())
    assert len(needed) == 13  # the noise at the start needs no training


@pytest.mark.parametrize("start", ["released", "controlled"])
def test_one_factor_changes_one_thing(start):
    base, *rows = plans.one_factor(MAIN[0], MAIN[1], start, 10, 42)
    assert (base.arm, base.config.protocol.name) == ("base", start) and len(rows) == 11
    for row in rows:
        assert row.start == start and row.arm == f"{row.factor}: {row.value}"
        differing = [k for k, v in vars(row.config).items() if v != vars(base.config)[k]]
        assert len(differing) == 1, row.arm
    (ddpm,) = [row.config for row in rows if row.factor == "sampler"]
    assert ddpm.for_training == base.config.for_training


def test_ablations_are_retrained_from_three_seeds_where_they_need_a_training():
    once = plans.ablations("natural-f8c4", "lr_latent", 10, 42)
    assert len(once) == 9 and len(plans.unique_trainings(once.values())) == 7
    rows = list(plans.retrained("natural-f8c4", "lr_latent", 10, 42))
    assert len(rows) == len(plans.unique_trainings(row.config for row in rows)) == 7 * 3
    assert {row.arm for row in rows} == set(once) - {"ancestral sampling", "DPM-Solver++"}
    assert all(replace(row.config, seed=42) == once[row.arm] for row in rows)


def test_a_change_of_one_arm_is_paired_with_the_others_reference():
    others = ["natural-f8c4-s1", "phantom-f4c3-s1", "phantom-f4c3-without-knee"]
    rows = list(plans.sensitivity(MAIN, [*MAIN, *others], "knee", "lr_pixels", 42))
    reference = {row.role: row.config for row in rows if row.factor == "reference"}
    changed = {}
    for row in rows:
        changed.setdefault(row.factor, []).append(row.config != reference[row.role])
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
    fewer = list(plans.sensitivity(MAIN, MAIN, "knee", "lr_pixels", 42))
    assert len(rows) - len(fewer) == 4
    (spec,) = [r.config for r in fewer if r.factor == "f4, schedule shifted" and r.role == MAIN[1]]
    plain = process.alphas_cumprod("cosine").double()
    shifted = process.alphas_cumprod("cosine", spec.log_snr_shift).double()
    inner = (plain > 1e-3) & (plain < 1 - 1e-4)  # pooling 2 x 2 places divides the noise by four
    ratios = [(1 - share) / share for share in (plain, shifted)]
    assert torch.allclose(ratios[1][inner] / 4, ratios[0][inner], rtol=1e-3)


def test_schedules_need_no_training_of_their_own():
    rows = list(plans.schedules(MAIN, "lr_latent", 20, 42))
    assert len(rows) == 80 and len(plans.unique_trainings(row.config for row in rows)) == 2
    for row in rows:
        assert row.arm.startswith("first ") == (row.config.protocol.timestep_spacing == "first")
        assert ("half of the noise" in row.arm) == (row.config.protocol.initial_noise_sd == 0.5)
        assert str(row.config.num_inference_steps) in row.arm
    reference = plans.ablations(MAIN[0], "lr_latent", 20, 42)["reference"]
    assert [row.config for row in rows if row.arm == "20 calls" and row.role == MAIN[0]] == [
        reference
    ]
    assert len(list(plans.schedules(MAIN, "lr_latent", 10, 42))) == 72


def test_convergence_asks_for_every_arm_at_every_length():
    rows = list(plans.convergence(MAIN, 42))
    assert len(plans.unique_trainings(row.config for row in rows)) == len(rows) == 24
    last = [row.config for row in rows if row.arm == "x16, lr_pixels" and row.role == MAIN[1]]
    assert last == [ArmConfig("phantom-f4c3", steps=16)]
    arms = plans.targets_and_conditions(MAIN, 42)
    assert len(arms) == 8 and {config.protocol.grid for config in arms.values()} == {"common"}
    own = ArmConfig(MAIN[0], protocol=Protocol("lr_latent"))
    assert arms[MAIN[0], f"latent of {MAIN[0]}"].for_training == own.for_training


def test_the_full_plan_holds_four_cells_where_they_are_available():
    params = PARAMS | {"vaes": [*CELLS, "natural-f4c1"], "sampling_steps": 10}
    rows = plans.full_plan(params, "knee", "lr_latent", 42)
    by = {}
    for row in rows:
        by.setdefault(row.analysis, []).append(row)
    assert len(by["seeds"]) == 4 * 3 * 2 and {row.config.vae for row in by["seeds"]} == {*CELLS}
    assert [row.config.vae for row in by["corners"]] == CELLS
    assert by["corners"][0].config == by["switches"][0].config  # trained once
    assert len(
        {(row.analysis, row.start, row.arm, row.role, row.config.seed) for row in rows}
    ) == len(rows)
    paired = {row.role for row in rows if row.analysis not in ("levers", "seeds", "corners")}
    assert paired == set(MAIN)
    fewer = plans.full_plan(params | {"vaes": MAIN}, "knee", "lr_latent", 42)
    needed = [len(plans.unique_trainings(row.config for row in some)) for some in (rows, fewer)]
    assert needed[0] - needed[1] == 2 * 3 * 2 + 2
    assert "corners" not in {row.analysis for row in fewer}
