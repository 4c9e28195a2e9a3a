"""The noise the UNet is trained on is the hosts'; the sampler undoes what it adds."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler

from lib_anyms.standalone.pipeline import SCHEDULER
from lib_anyms.standalone.sprites.diffusion import STEPS, added, alpha_sigma, draw_timesteps, noised, sample, v_loss

KEPT = ("beta_start", "beta_end", "beta_schedule", "num_train_timesteps")


def test_noise_and_v_are_those_of_diffusers() -> None:
    scheduler = DDIMScheduler(**{name: SCHEDULER[name] for name in KEPT}, prediction_type="v_prediction")
    torch.manual_seed(0)
    latents, noise = torch.randn(2, 5, 4, 8, 8)
    timesteps = torch.tensor([0, 1, 300, 700, STEPS - 1])
    inputs, wanted = noised(latents, noise, timesteps)
    assert torch.allclose(inputs, scheduler.add_noise(latents, noise, timesteps), atol=2e-5)
    assert torch.allclose(wanted, scheduler.get_velocity(latents, noise, timesteps), atol=2e-5)


def test_v_leads_to_the_picture_whatever_the_noise_was_laid_on() -> None:
    torch.manual_seed(0)
    latents, shown, noise = torch.randn(3, 4, 4, 8, 8, dtype=torch.float64)
    timesteps = torch.tensor([350, 500, 700, STEPS - 1])
    alpha, sigma = alpha_sigma(timesteps, latents)
    inputs, wanted = noised(latents, noise, timesteps, shown)
    assert torch.allclose(inputs, alpha * shown + sigma * noise)
    assert torch.allclose(alpha * inputs - sigma * wanted, latents)
    assert v_loss(lambda x, t: wanted.float(), latents, timesteps, noise, shown=shown).max() < 1e-10


def test_the_loss_of_the_right_answer_is_nothing_and_weights_fall_with_little_noise() -> None:
    torch.manual_seed(0)
    latents, noise = torch.randn(2, 3, 4, 8, 8)
    timesteps = torch.tensor([10, 500, 990])
    _, wanted = noised(latents, noise, timesteps)
    assert v_loss(lambda x, t: wanted, latents, timesteps, noise).max() == 0

    def silent(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x)

    plain, weighted = (v_loss(silent, latents, timesteps, noise, gamma) for gamma in (0.0, 5.0))
    share = weighted / plain
    alpha, sigma = (part.flatten() ** 2 for part in alpha_sigma(timesteps, latents))
    expected = torch.minimum(alpha / sigma, torch.tensor(5.0)) / (alpha / sigma + 1)
    assert torch.allclose(share, expected, rtol=1e-4)


@pytest.mark.parametrize("steps", [4, 20])
def test_the_sampler_finds_the_picture_a_perfect_model_knows(steps: int) -> None:
    torch.manual_seed(0)
    picture = torch.randn(2, 4, 8, 8)

    def perfect(inputs: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        alpha, sigma = alpha_sigma(timesteps, inputs)
        noise = (inputs - alpha * picture) / sigma
        return alpha * noise - sigma * picture

    assert torch.allclose(sample(perfect, perfect, torch.randn(2, 4, 8, 8), steps), picture, atol=1e-4)


def test_guidance_goes_from_the_empty_text_beyond_the_told_one() -> None:
    ones = torch.ones(1, 4, 2, 2)

    def answering(value: float):
        return lambda inputs, timesteps: value * torch.ones_like(inputs)

    noise = torch.zeros_like(ones)
    weak, strong = (sample(answering(1.0), answering(0.5), noise, 1, guidance) for guidance in (1.0, 3.0))
    _, sigma = alpha_sigma(torch.tensor([STEPS - 1]), ones)
    assert torch.allclose(weak, -sigma * ones)
    assert torch.allclose(strong, -sigma * 2.0 * ones)


def test_sizes_are_told_as_hosts_tell_them() -> None:
    told = added(torch.zeros(2, 8), 32)
    assert told["time_ids"].tolist() == [[256, 256, 0, 0, 256, 256]] * 2


def test_noisy_timesteps_are_drawn_more_often() -> None:
    torch.manual_seed(0)
    drawn = draw_timesteps(20_000)
    assert drawn.min() < 20
    assert drawn.max() == 999
    assert (drawn < 200).float().mean().item() == pytest.approx(0.2 ** (1 / 0.65), abs=0.01)
    assert (drawn >= 866).float().mean().item() == pytest.approx(0.2, abs=0.01)
