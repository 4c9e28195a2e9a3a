"""Test only: records the UNet's calls inside the host, and makes the UNet fail on demand.

The API's one argument is an object, for this job only:
  record    folder; for every UNet call a call-NNN.safetensors with x, timesteps, context, y, output, is_cond (batch),
            added (batch, tokens, channels: what AnyMS added to the input of the first layer's to_out), touched (batch,
            tokens: where that is not 0) and, as metadata: fired (layers AnyMS counted), changed (layers whose input of
            to_out differs after AnyMS's hook), progress; and a file hooks with the number of hooks on the UNet when
            other extensions may use it again, without the probe's
  within    true: also record the jobs that other extensions run within this one
  raise_at  number of the UNet call, from 1, that raises a RuntimeError inside the network
GET /anyms-probe/hooks returns the number of hooks on the UNet, without the probe's.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import gradio as gr
import torch
from modules import script_callbacks, scripts, shared
from safetensors.torch import save_file

ATTN2 = re.compile(r"transformer_blocks\.\d+\.attn2$")
ARGUMENTS = ("x", "timesteps", "context", "y")


def find_unet():
    model = shared.sd_model
    if hasattr(model, "forge_objects"):
        model = model.forge_objects.unet
        return model.model.diffusion_model if model is not None else None
    return getattr(getattr(model, "model", None), "diffusion_model", None)


def live_stream():
    sessions = sys.modules.get("lib_anyms.job.live_sessions")
    live = sessions.live() if sessions else None
    return live, (live.stream if live is not None and live.stream is not None and live.stream.injected else None)


class Watch:
    """One job's probe: attached before its first UNet call, after AnyMS."""

    def __init__(self, job, wishes: dict, calls: int = 0) -> None:
        self.job = job
        self.folder = Path(wishes["record"]) if "record" in wishes else None
        self.raise_at = wishes.get("raise_at", 0)
        self.within = wishes.get("within", False)
        self.handles = []
        self.stream = None
        self.calls = calls
        self.changed = 0
        self.recorded = {}
        self.before = {}
        self.uncond = None

    def step(self, params) -> None:
        uncond = params.text_uncond
        self.uncond = uncond["crossattn"] if isinstance(uncond, dict) else uncond
        stream = live_stream()[1]
        if self.handles and stream is self.stream and not self.within:
            return
        self.detach()  # a pass with another viewport has a new stream: attach after that one too
        self.stream = stream
        unet = find_unet()
        keep = self.handles.append
        keep(unet.register_forward_pre_hook(self.see_call, with_kwargs=True))
        keep(unet.register_forward_hook(self.see_output))
        layers = [module for name, module in unet.named_modules() if ATTN2.search(name)]
        for number, layer in enumerate(layers):
            keep(layer.to_out[0].register_forward_pre_hook(self.remember(number), prepend=True))
            keep(layer.to_out[0].register_forward_pre_hook(self.compare(number)))
        keep(layers[len(layers) // 2].to_q.register_forward_pre_hook(self.fail))

    def detach(self) -> None:
        for handle in self.handles:
            handle.remove()
        self.handles.clear()

    def see_call(self, _unet, args, kwargs) -> None:
        self.calls += 1
        self.changed = 0
        named = {**dict(zip(ARGUMENTS, args)), **kwargs}
        self.recorded = {name: stored(named[name]) for name in ARGUMENTS}
        self.recorded["is_cond"] = self.conditional_rows(named)

    def conditional_rows(self, named) -> torch.Tensor:
        """Forge reports it, but not for SAG's call. There and on A1111 the probe compares text tokens, unlike AnyMS."""
        count = named["x"].shape[0]
        flags = (named.get("transformer_options") or {}).get("cond_or_uncond")
        if flags and (any(flags) or self.uncond is None):
            return torch.tensor([int(flag == 0) for flag in flags for _ in range(count // len(flags))])
        # padded entries start with the original tokens
        unconditional = [
            any(torch.equal(row[: len(other)], other) for other in self.uncond) for row in named["context"]
        ]
        return torch.tensor([int(not flag) for flag in unconditional])

    def remember(self, number: int):
        def hook(_to_out, args) -> None:
            self.before[number] = args[0]

        return hook

    def compare(self, number: int):
        def hook(_to_out, args) -> None:
            before = self.before.pop(number)
            self.changed += not torch.equal(before, args[0])
            if number == 0:
                self.recorded["touched"] = stored((before != args[0]).any(-1))
                self.recorded["added"] = stored(args[0] - before)

        return hook

    def fail(self, _to_q, _args) -> None:
        if self.calls == self.raise_at:
            raise RuntimeError("the probe's failure")

    def see_output(self, _unet, _args, output) -> None:
        if self.folder is None:
            return
        live, stream = live_stream()
        metadata = {
            "fired": str(stream._fired if stream else 0),
            "changed": str(self.changed),
            "progress": str(live.host.progress() if stream else 0.0),
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        save_file(
            {**self.recorded, "output": stored(output)}, self.folder / f"call-{self.calls:03}.safetensors", metadata
        )


def stored(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().float().cpu().clone().contiguous()


class Current:
    watch: Watch | None = None

    @classmethod
    def stop(cls) -> None:
        if cls.watch is not None:
            cls.watch.detach()
        cls.watch = None


class ProbeScript(scripts.Script):
    def title(self) -> str:
        return "AnyMS test probe"

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def ui(self, is_img2img):
        return [gr.Textbox("", visible=False, label="probe")]

    def before_process(self, p, wishes="", *_) -> None:
        running = Current.watch
        if running is not None and running.within and running.folder == Path(wishes["record"]):
            return  # a copy of the job, which an extension shows to all scripts
        again = running is not None and running.job is p  # a script uses one job for all tiles
        calls = Current.watch.calls if again else 0
        Current.stop()
        if isinstance(wishes, dict):
            Current.watch = Watch(p, wishes, calls)

    def postprocess_batch(self, p, *_values, **_batch) -> None:
        """After post_sample, where other extensions start their jobs."""
        watch = Current.watch
        if watch is not None and not watch.within and watch.folder is not None and watch.job is p:
            watch.detach()
            (watch.folder / "hooks").write_text(str(hooks_on(find_unet())), encoding="utf-8")


def on_step(params) -> None:
    if Current.watch is not None and not Current.watch.within and params.denoiser.p is Current.watch.job:
        Current.watch.step(params)


def on_any_step(params) -> None:
    """After AnyMS's own callback, whose hooks are on the UNet during the steps of inner jobs only."""
    if Current.watch is not None and Current.watch.within:
        Current.watch.step(params)


def hooks_on(unet) -> int:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    return sum(len(getattr(module, kind)) for module in unet.modules() for kind in kinds)


def count_hooks() -> dict:
    Current.stop()
    unet = find_unet()
    return {"hooks": -1 if unet is None else hooks_on(unet)}


def on_app(_demo, app) -> None:
    app.add_api_route("/anyms-probe/hooks", count_hooks, methods=["GET"])
    script_callbacks.on_cfg_denoiser(on_any_step)  # after those of all extensions


script_callbacks.on_cfg_denoiser(on_step)
script_callbacks.on_app_started(on_app)
