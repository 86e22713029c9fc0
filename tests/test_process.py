import pytest
import torch
from diffusers import DDIMScheduler

from latentsr.diffusion import process

TIMES = torch.tensor([0, 3, 500, 900, 985])


def pair(dtype=torch.float64):
    generator = torch.Generator().manual_seed(2)
    shape = (len(TIMES), 3, 5, 7)
    return [torch.randn(shape, generator=generator).to(dtype) for _ in range(2)]


@pytest.mark.parametrize(
    "schedule, theirs", [("cosine", "squaredcos_cap_v2"), ("linear", "linear")]
)
def test_noising_equals_diffusers(schedule, theirs):
    scheduler = DDIMScheduler(1000, beta_schedule=theirs)
    x0, noise = pair(torch.float32)
    alphas = process.alphas_cumprod(schedule)
    expected = scheduler.add_noise(x0, noise, TIMES)
    torch.testing.assert_close(process.add_noise(x0, noise, TIMES, alphas), expected)
    expected = scheduler.get_velocity(x0, noise, TIMES)
    torch.testing.assert_close(process.training_target("v", x0, noise, TIMES, alphas), expected)
    torch.testing.assert_close(process.betas(alphas), scheduler.betas, rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize("prediction", process.PREDICTIONS)
@pytest.mark.parametrize("schedule", process.SCHEDULES)
def test_a_perfect_prediction_gives_the_image_back(prediction, schedule):
    x0, noise = pair()
    alphas = process.alphas_cumprod(schedule).double()
    z = process.add_noise(x0, noise, TIMES, alphas, prediction)
    output = process.training_target(prediction, x0, noise, TIMES, alphas)
    found = process.to_x0(prediction, output, z, TIMES, alphas)
    torch.testing.assert_close(found, x0, rtol=0, atol=1e-9)


def test_flow_is_a_straight_line_and_one_step_sees_nothing():
    x0, noise = pair()
    alphas = process.alphas_cumprod()
    half = process.add_noise(x0[:1], noise[:1], torch.tensor([499]), alphas, "flow")
    torch.testing.assert_close(half, (x0[:1] + noise[:1]) / 2)
    assert not process.add_noise(x0, noise, TIMES, alphas, "one_step").any()


def test_epsilon_starts_where_50_to_1_holds():
    for schedule, start in (("cosine", 986), ("linear", 878)):
        alphas = process.alphas_cumprod(schedule)
        assert process.start_timestep("epsilon", alphas) == start
        ratio = ((1 - alphas) / alphas).sqrt()
        assert ratio[start] <= 50 < ratio[start + 1]
    assert {process.start_timestep(p, alphas) for p in ("x0", "v", "flow", "one_step")} == {999}


def test_what_is_not_known_is_refused():
    x0, noise = pair()
    alphas = process.alphas_cumprod()
    with pytest.raises(ValueError, match="^schedule: 'sine'; allowed are cosine, linear, released"):
        process.alphas_cumprod("sine")
    unknown = "^prediction: 'score'; allowed are x0, v, epsilon, flow, one_step$"
    for call in (
        lambda: process.training_target("score", x0, noise, TIMES, alphas),
        lambda: process.add_noise(x0, noise, TIMES, alphas, "score"),
        lambda: process.to_x0("score", noise, noise, TIMES, alphas),
        lambda: process.start_timestep("score", alphas),
    ):
        with pytest.raises(ValueError, match=unknown):
            call()
