"""The noise a UNet is trained on is the hosts'; the sampler finds the picture that a perfect model predicts."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from diffusers import DDIMScheduler

from lib_anyms.lab.train.diffusion import STEPS, alpha_sigma, draw_timesteps, predictor, sample, v_errors
from lib_anyms.standalone.pipeline import SCHEDULER

KEPT = ("beta_start", "beta_end", "beta_schedule", "num_train_timesteps")


def test_noise_and_v_are_those_of_diffusers() -> None:
    scheduler = DDIMScheduler(**{name: SCHEDULER[name] for name in KEPT}, prediction_type="v_prediction")
    torch.manual_seed(0)
    latents, noise = torch.randn(2, 5, 4, 8, 8)
    timesteps = torch.tensor([0, 1, 300, 700, STEPS - 1])
    seen = []

    def predict(inputs: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        assert torch.equal(times, timesteps)
        seen.append(inputs)
        return scheduler.get_velocity(latents, noise, timesteps)

    assert v_errors(predict, latents, timesteps, noise).max() < 1e-8
    assert torch.allclose(seen[0], scheduler.add_noise(latents, noise, timesteps), atol=2e-5)


def test_signal_and_noise_keep_the_strength() -> None:
    alpha, sigma = alpha_sigma(torch.arange(STEPS), torch.zeros(1, dtype=torch.float64))
    assert alpha.shape == (STEPS, 1, 1, 1)
    assert (alpha**2 + sigma**2 - 1).abs().max() < 1e-12
    assert (alpha.diff(dim=0) < 0).all()
    assert alpha[0].item() == pytest.approx((1 - 0.00085) ** 0.5)
    assert alpha[-1].item() == pytest.approx(0.0682, abs=1e-3)  # SDXL's last step is not pure noise


def test_an_error_is_its_mean_square_weighed_by_cell() -> None:
    latents, noise = torch.zeros(2, 4, 2, 2), torch.ones(2, 4, 2, 2)
    timesteps = torch.tensor([500, 500])
    alpha, _ = alpha_sigma(timesteps, latents)

    def off_by_two(inputs: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        wrong = (alpha * noise).clone()  # v of no signal
        wrong[1, :, 0, 0] += 2
        return wrong

    weights = torch.ones(2, 1, 2, 2)
    weights[:, :, 0, 0] = 3
    assert v_errors(off_by_two, latents, timesteps, noise).tolist() == [0, 1]
    assert v_errors(off_by_two, latents, timesteps, noise, weights).tolist() == [0, 3]


@pytest.mark.parametrize("steps", [4, 20])
def test_the_sampler_finds_the_picture_that_a_perfect_model_predicts(steps: int) -> None:
    torch.manual_seed(0)
    picture = torch.randn(2, 4, 8, 8)

    def perfect(inputs: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        alpha, sigma = alpha_sigma(timesteps, inputs)
        noise = (inputs - alpha * picture) / sigma
        return alpha * noise - sigma * picture

    assert torch.allclose(sample(perfect, perfect, torch.randn(2, 4, 8, 8), steps), picture, atol=1e-3)


def test_guidance_goes_from_the_unconditional_beyond_the_conditional() -> None:
    ones = torch.ones(1, 4, 2, 2)

    def constant(value: float) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        return lambda inputs, timesteps: value * torch.ones_like(inputs)

    noise = torch.zeros_like(ones)
    weak, strong = (sample(constant(1.0), constant(0.5), noise, 1, guidance) for guidance in (1.0, 3.0))
    _, sigma = alpha_sigma(torch.tensor([STEPS - 1]), ones)
    assert torch.allclose(weak, -sigma * ones)
    assert torch.allclose(strong, -sigma * 2.0 * ones)


def test_sizes_are_given_as_hosts_give_them() -> None:
    received: list[dict[str, torch.Tensor]] = []

    def unet(*_: object, added_cond_kwargs: dict[str, torch.Tensor], **_named: object) -> tuple[None]:
        received.append(added_cond_kwargs)
        return (None,)

    text = torch.zeros(2, 77, 8), torch.ones(2, 8)
    predictor(unet, text, 256)(torch.zeros(2, 4, 8, 8), torch.zeros(2))
    (conditions,) = received
    assert conditions["time_ids"].tolist() == [[256, 256, 0, 0, 256, 256]] * 2
    assert torch.equal(conditions["text_embeds"], torch.ones(2, 8))


def test_more_than_a_third_of_the_timesteps_are_decisive_and_a_batch_has_one_of_each_part() -> None:
    torch.manual_seed(0)
    drawn = draw_timesteps(20_000)
    assert drawn.min() < 20
    assert drawn.max() == STEPS - 1
    noisy = 1 / 0.65  # the others: their share below t is t ** noisy
    assert (drawn < 200).float().mean().item() == pytest.approx(0.65 * 0.2**noisy, abs=0.005)
    assert (drawn >= 850).float().mean().item() == pytest.approx(0.35 + 0.65 * (1 - 0.85**noisy), abs=0.005)
    assert (drawn >= 925).float().mean().item() == pytest.approx(0.175 + 0.65 * (1 - 0.925**noisy), abs=0.005)
    parts = [part / 13 for part in range(14)]  # of 20 pictures 13 are among the others, 7 decisive
    edges = [1000 * part**0.65 for part in parts] + [850 + 150 * part / 7 for part in range(8)]
    for _ in range(10):
        twenty = draw_timesteps(20)
        for low, high in (*pairwise(edges[:14]), *pairwise(edges[14:])):
            assert ((twenty >= int(low)) & (twenty <= high)).any()
    orders = [draw_timesteps(8).argsort() for _ in range(3)]  # in any order: not always the same picture's
    assert not torch.equal(orders[0], orders[1]) or not torch.equal(orders[1], orders[2])
