"""Stand-ins for the sampling of A1111, Forge and diffusers: one job, in each host's order of callbacks and entries.

They follow the hosts' sources and behaviour (tests/hosts runs the real ones). The WebUIs load scripts/anyms.py as they
do; diffusers has a Session, like the standalone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

from lib_anyms.hosts.diffusers import Diffusers
from lib_anyms.job.live_sessions import close_session, open_session
from lib_anyms.job.request import Request
from lib_anyms.job.session import Session
from tests.contract.jobs import SECOND_ORDER, STRUCTURE, Call, Interrupted, Job, Painted, sample, schedule, timestep_of
from tests.hosts.replay import Given
from tests.support.streams import hook_count

Texts = dict[str, torch.Tensor]
_JOB_FIELDS = {field.name for field in fields(Job)}


class StandIn:
    """A host with one loaded UNet. A call's conditional entries come from the host's own order, never from AnyMS."""

    name = ""
    twice_in_hires = False

    def __init__(self, unet: nn.Module) -> None:
        self.unet = unet
        self.calls: list[Call] = []
        self._levels: list[float] = []  # of this pass, down to 0
        self._sigma = 0.0  # of this step

    @torch.no_grad()
    def paint(self, request: Any = None, **changes: Any) -> Painted:
        """Run a whole job, with AnyMS's JSON object or without AnyMS."""
        assert changes.keys() <= _JOB_FIELDS
        return self.process(Job(**changes), request)

    def process(self, p: Job, request: Any = None) -> Painted:
        outer, self.calls = self.calls, []
        p.sd_model = p.sd_model or self.model()
        try:
            latents = self._run(p, request)
            return Painted(latents, self.calls, p.extra_generation_params, p.comments)
        finally:
            self.calls = outer

    def model(self) -> Any:
        """The host's `sd_model`."""
        raise NotImplementedError

    def _run(self, p: Job, request: Any) -> list[torch.Tensor]:
        raise NotImplementedError

    def _denoise(self, p: Job, x: torch.Tensor, sigma: float, step: int, total: int) -> torch.Tensor:
        raise NotImplementedError

    def _before_pass(self, p: Job, request: Any) -> None:
        """Call the scripts before a sampling pass."""

    def _after_step(self) -> None:
        """Call the scripts after a denoiser step."""

    def _sample(self, p: Job, iteration: int, request: Any) -> torch.Tensor:
        """One iteration: a sampling pass, and a second one with hires fix."""
        p.is_hr_pass = False
        self._levels = sigmas = schedule(p.steps)
        x = sigmas[0] * p.noise(iteration, p.height, p.width)
        self._before_pass(p, request)
        x = sample(p, self._denoiser(p), x, sigmas)
        if p.hires:
            p.is_hr_pass, p.denoising_strength = True, 1 - 1 / p.steps
            x = torch.nn.functional.interpolate(x, size=p.hires, mode="nearest")
            x = x + sigmas[1] * p.noise(iteration, *p.hires)
            for _ in range(2 if self.twice_in_hires else 1):
                self._before_pass(p, request)
            self._levels = sigmas[1:]
            x = sample(p, self._denoiser(p), x, sigmas[1:])
        return x

    def _denoiser(self, p: Job) -> Any:
        """A denoiser that counts its calls, as the hosts' denoisers do."""
        done = SimpleNamespace(step=0)
        total = p.steps * (2 if p.sampler in SECOND_ORDER else 1)

        def denoise(x: torch.Tensor, sigma: float, step: int | None = None) -> torch.Tensor:
            if p.interrupted:
                raise Interrupted
            if step is not None:
                done.step = step
            p.before_step(done.step)
            self._sigma = sigma
            denoised = self._denoise(p, x, sigma, done.step, total)
            self._after_step()
            done.step += 1
            return denoised

        return denoise

    def _noise_in(
        self, x: torch.Tensor, sigma: float, texts: Texts, is_cond: Sequence[bool], progress: float, **more: Any
    ) -> torch.Tensor:
        """One recorded UNet call -> the predicted noise."""
        inputs = {
            "x": x / (sigma**2 + 1) ** 0.5,
            "timesteps": torch.full((len(x),), timestep_of(sigma)),
            "context": texts["crossattn"],
            "y": texts["vector"],
        }
        recorded = {name: tensor.clone() for name, tensor in inputs.items()}
        output = self._call_unet(inputs, **more)
        self.calls.append(Call(self.unet, recorded, tuple(is_cond), progress, output.clone()))
        return output

    def _call_unet(self, inputs: Texts, **more: Any) -> torch.Tensor:
        return self.unet(inputs["x"], timesteps=inputs["timesteps"], context=inputs["context"], y=inputs["y"], **more)

    @cached_property
    def baseline(self) -> Painted:
        """A job without AnyMS."""
        return self.paint()

    @cached_property
    def at_rest(self) -> Painted:
        """One step without AnyMS, run before any other job."""
        return self.paint(steps=1)

    def hooks(self) -> int:
        return hook_count(self.unet)

    def exchange(self, unet: nn.Module, p: Job | None = None) -> nn.Module:
        """Load another UNet, during the sampling of `p` if there is one -> the previous UNet."""
        before, self.unet = self.unet, unet
        if p is not None:
            p.sd_model = self.model()
        return before


def catenated(*texts: Texts) -> Texts:
    return {name: torch.cat([text[name] for text in texts]) for name in texts[0]}


def entries_of(texts: Texts, entries: slice) -> Texts:
    return {name: tensor[entries] for name, tensor in texts.items()}


class Sampler:
    """A host's sampler of the job `p`: it computes the noise levels when the host calls it."""

    def __init__(self, p: Job) -> None:
        self.p = p

    def func(self, model: Any, x: torch.Tensor, sigmas: list[float]) -> None:
        """Only its parameters count."""

    def get_sigmas(self, p: Job, steps: int) -> torch.Tensor:
        p.extra_generation_params["Schedule type"] = "Automatic"
        return torch.tensor(schedule(steps))


class WebUIStandIn(StandIn):
    """A host that runs `script` and its registered callbacks."""

    def __init__(self, unet: nn.Module, webui: Any, script: Any) -> None:
        super().__init__(unet)
        self.webui = webui
        self.script = script
        self.defaults = [component.value for component in script.ui(False)]

    def _run(self, p: Job, request: Any) -> list[torch.Tensor]:
        arguments = self._arguments(request)
        if p.scripted:
            self.script.before_process(p, *arguments)
        latents = []
        for iteration in range(p.n_iter):
            p.iteration = iteration
            latents.append(self._sample(p, iteration, request))
            if p.scripted:
                self.script.post_sample(p, None, *arguments)
                if p.picture is not None:
                    finished = SimpleNamespace(image=p.picture)
                    self.script.postprocess_image(p, finished, *arguments)
                    p.pictures.append(finished.image)
            p.after_image()
        if p.scripted:
            self.script.postprocess(p, None, *arguments)
        return latents

    def _arguments(self, request: Any) -> list[Any]:
        return self.defaults if request is None else [request, *self.defaults[1:]]

    def _before_pass(self, p: Job, request: Any) -> None:
        if p.scripted:
            self.script.process_before_every_sampling(p, *self._arguments(request), x=None)

    def _announce(self, p: Job, x: torch.Tensor, cond: Any, uncond: Texts, step: int, total: int) -> None:
        steps = len(self._levels) - 1
        denoiser = SimpleNamespace(p=p, step=step, steps=steps, total_steps=total, sampler=Sampler(p))
        params = SimpleNamespace(
            x=x,
            sigma=torch.full((len(x),), self._sigma),
            text_cond=cond,
            text_uncond=uncond,
            denoiser=denoiser,
            sampling_step=0,
            total_sampling_steps=p.steps,
        )
        for callback in self.webui("modules.script_callbacks").ON_CFG_DENOISER:
            callback(params)

    def _after_step(self) -> None:
        for callback in self.webui("modules.script_callbacks").ON_CFG_AFTER_CFG:
            callback(SimpleNamespace())

    def _progress(self) -> float:
        """The share of the steps that begin with more noise than this one."""
        noise = -np.log(self._levels[:-1])
        return float(np.interp(-np.log(self._sigma), noise, range(len(noise)))) / len(noise)

    @staticmethod
    def _skips(p: Job, sigma: float, step: int, total: int) -> bool:
        """Skip early CFG, and NGMS in every second step."""
        return bool(p.skip_early and step / total <= p.skip_early) or bool(step % 2 and sigma < p.s_min_uncond)


class A1111StandIn(WebUIStandIn):
    """Batch: the conditional entries of every image, then all unconditional ones; in one call or in several."""

    name = "a1111"

    def model(self) -> Any:
        model = SimpleNamespace(model=SimpleNamespace(diffusion_model=self.unet))
        self.webui("modules.shared").sd_model = model
        return model

    def _denoise(self, p: Job, x: torch.Tensor, sigma: float, step: int, total: int) -> torch.Tensor:
        parts, pictures = len(p.prompt), len(x)
        joined = catenated(*(p.text(words, p.chunks) for words in p.prompt))
        order = [part * pictures + picture for picture in range(pictures) for part in range(parts)]
        cond = {name: tensor[order] for name, tensor in joined.items()}
        uncond = p.text(p.negative, p.negative_chunks)
        batch = torch.cat((x.repeat_interleave(parts, 0), x))
        is_cond = [True] * (parts * pictures) + [False] * pictures
        self._announce(p, batch, cond, uncond, step, total)
        skipped = self._skips(p, sigma, step, total)
        if skipped:
            batch, is_cond = batch[:-pictures], is_cond[:-pictures]
        noise = torch.empty_like(batch)
        for entries in self._splits(p, parts * pictures, pictures, skipped):
            inside = entries.stop <= parts * pictures
            texts = entries_of(cond, entries) if inside else uncond
            if entries.start < parts * pictures < entries.stop:
                texts = catenated(cond, uncond)
            noise[entries] = self._noise_in(batch[entries], sigma, texts, is_cond[entries], self._progress())
        denoised = batch - sigma * noise
        positive = denoised[: parts * pictures].unflatten(0, (pictures, parts))
        if skipped:
            base, scale = positive[:, 0], 1.0
        else:
            base, scale = denoised[parts * pictures :], p.cfg_scale
        return base + scale * (positive - base[:, None]).sum(1)

    @staticmethod
    def _splits(p: Job, conds: int, pictures: int, skipped: bool) -> list[slice]:
        """The batch entries of each UNet call of a step."""
        total = conds if skipped else conds + pictures
        if p.chunks == p.negative_chunks or skipped:
            size = total if p.batch_cond_uncond else pictures
            return [slice(start, start + size) for start in range(0, total, size)]
        size = 2 * pictures if p.batch_cond_uncond else pictures
        return [*(slice(start, min(start + size, conds)) for start in range(0, conds, size)), slice(conds, total)]


class UnetPatcher:
    """Forge's handle of a UNet: patches of other extensions reach the UNet with every call."""

    def __init__(self, unet: nn.Module) -> None:
        self.model = SimpleNamespace(diffusion_model=unet, computation_dtype=torch.float32)
        self.model_options: dict[str, Any] = {"transformer_options": {}}


UnetPatcher.__module__ = "backend.patcher.unet"


class ForgeStandIn(WebUIStandIn):
    """Chunks in the order of the host's batching, listed in `cond_or_uncond`; 0 is conditional."""

    name = "forge"
    twice_in_hires = True

    def __init__(self, unet: nn.Module, webui: Any, script: Any) -> None:
        super().__init__(unet, webui, script)
        self.patches: dict[str, Any] = {}  # transformer_options of every call
        self.post_cfg: list[Any] = []  # (predict, x, cond, uncond) -> what to add
        self._negative: Texts = {}  # of this step

    def model(self) -> Any:
        return SimpleNamespace(forge_objects=SimpleNamespace(unet=UnetPatcher(self.unet)))

    def _denoise(self, p: Job, x: torch.Tensor, sigma: float, step: int, total: int) -> torch.Tensor:
        cond = [p.text(words, p.chunks) for words in p.prompt]
        self._negative = uncond = p.text(p.negative, p.negative_chunks)
        self._announce(p, x, catenated(*cond), uncond, step, total)
        scale = 1.0 if self._skips(p, sigma, step, total) else p.cfg_scale
        progress = self._progress()

        def predict(positive: list[Texts], negative: Texts | None, latents: torch.Tensor) -> tuple[Any, Any]:
            return self._predict(p, latents, sigma, positive, negative, progress)

        positive, negative = predict(cond, None if scale == 1 else uncond, x)
        strength = len(cond)  # every AND part has weight 1
        denoised = positive if negative is None else negative + (positive - negative) * scale * strength
        for function in self.post_cfg:
            denoised = denoised + function(predict, x, cond, uncond)
        return denoised

    def _predict(
        self, p: Job, x: torch.Tensor, sigma: float, cond: list[Texts], uncond: Texts | None, progress: float
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The denoised latents: the mean of the conditional parts, and the unconditional one."""
        waiting = [(text, 0) for text in cond] + ([(uncond, 1)] if uncond is not None else [])
        denoised_by_flag: dict[int, list[torch.Tensor]] = {0: [], 1: []}
        while waiting:
            length = waiting[0][0]["crossattn"].shape
            chosen = [number for number, (text, _) in enumerate(waiting) if text["crossattn"].shape == length][::-1]
            if p.low_memory:
                chosen = chosen[:1]
            batch = [waiting.pop(number) for number in chosen]
            flags = [flag for _, flag in batch]
            is_cond = [text is not self._negative for text, _ in batch for _ in range(len(x))]
            options = {**self.patches, "cond_or_uncond": flags, "sigmas": torch.tensor([sigma])}
            entries = torch.cat([x] * len(batch))
            noise = self._noise_in(
                entries, sigma, catenated(*(text for text, _ in batch)), is_cond, progress, transformer_options=options
            )
            for flag, denoised in zip(flags, (entries - sigma * noise).chunk(len(batch))):
                denoised_by_flag[flag].append(denoised)
        return torch.stack(denoised_by_flag[0]).mean(0), denoised_by_flag[1][0] if denoised_by_flag[1] else None


class DiffusersStandIn(StandIn):
    """Batch: unconditional, conditional; without guidance the conditional entries alone."""

    name = "diffusers"

    def __init__(self, unet: nn.Module, files: list[Path]) -> None:
        super().__init__(unet)
        self.files = files
        self.session: Session | None = None

    def model(self) -> Any:
        return SimpleNamespace()

    def _run(self, p: Job, request: Any) -> list[torch.Tensor]:
        pipeline = SimpleNamespace(unet=self.unet, device="cpu", do_classifier_free_guidance=p.cfg_scale > 1)
        self.session = open_session(Session(Diffusers(pipeline, self.files), pipeline)) if request is not None else None
        try:
            latents = [self._sample(p, iteration, request) for iteration in range(p.n_iter)]
            if self.session is not None:
                self.session.finish_pass()
            return latents
        finally:
            close_session()

    def _before_pass(self, p: Job, request: Any) -> None:
        if self.session is not None:
            self.session.begin_pass(Request.from_json(request))

    def _denoise(self, p: Job, x: torch.Tensor, sigma: float, step: int, total: int) -> torch.Tensor:
        progress = min(step / total, 1 - 1e-6)
        if self.session is not None:
            self.session.begin_step(progress)
        cond = p.text(p.prompt[0], p.chunks)
        if p.cfg_scale == 1:
            return x - sigma * self._noise_in(x, sigma, cond, [True] * len(x), progress)
        texts, is_cond = catenated(p.text(p.negative, p.chunks), cond), [False] * len(x) + [True] * len(x)
        entries = torch.cat((x, x))
        negative, positive = (entries - sigma * self._noise_in(entries, sigma, texts, is_cond, progress)).chunk(2)
        return negative + p.cfg_scale * (positive - negative)

    def _call_unet(self, inputs: Texts, **more: Any) -> torch.Tensor:
        pooled = STRUCTURE.text_2.projection
        self.unet.add_time_proj = Given(inputs["y"][:, pooled:])  # here sizes and crop are embedded already
        added = {"text_embeds": inputs["y"][:, :pooled], "time_ids": torch.zeros(len(inputs["y"]), 6)}
        return self.unet(inputs["x"], inputs["timesteps"], inputs["context"], added_cond_kwargs=added).sample
