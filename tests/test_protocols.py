from dataclasses import fields

import pytest

from latentsr.experiments import protocol as protocols
from latentsr.experiments.protocol import CONTROLLED, RELEASED, Switches


def test_there_are_six_switches_with_two_ends():
    names = [field.name for field in fields(Switches)]
    assert names == list(protocols.VALUES) and len(names) == 6
    for name, (released, controlled, *_) in protocols.VALUES.items():
        assert getattr(RELEASED, name) == released and getattr(CONTROLLED, name) == controlled


def test_one_switch_at_a_time_and_the_ladder():
    alone = protocols.one_changed(RELEASED, CONTROLLED)
    back = protocols.one_changed(CONTROLLED, RELEASED)
    for name in protocols.VALUES:
        for changed, start in ((alone, RELEASED), (back, CONTROLLED)):
            differing = {k for k, v in changed[name].columns().items() if v != start.columns()[k]}
            assert differing == {name}
    rungs = list(protocols.ladder(RELEASED, CONTROLLED).values())
    assert len(rungs) == 6 and rungs[-1] == CONTROLLED
    assert rungs[0].columns() == RELEASED.columns() | {"lr_condition": "lr_pixels"}


def test_protocols_have_names():
    assert alone_protocols(RELEASED) == {"mixed", "released"}  # the walk alone does not count
    assert alone_protocols(CONTROLLED) == {"mixed"}
    assert protocols.one_changed(RELEASED, CONTROLLED)["walk"].protocol == "released"


def alone_protocols(start):
    end = CONTROLLED if start == RELEASED else RELEASED
    return {switches.protocol for switches in protocols.one_changed(start, end).values()}


def test_arms_that_differ_in_sampling_share_a_training():
    alone = protocols.one_changed(RELEASED, CONTROLLED)
    for name, switches in alone.items():
        same = switches.trained == RELEASED.trained
        assert same == (name in protocols.SAMPLING_ONLY)


@pytest.mark.parametrize("name", list(protocols.VALUES))
def test_other_values_are_refused(name):
    with pytest.raises(ValueError, match=f"{name}: 'other'; allowed are"):
        Switches(**{name: "other"})
