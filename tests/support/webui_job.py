"""Act as a WebUI in a separate process: load scripts/anyms.py as the hosts do, build its page, run one API job.

    webui_job.py KIND EXTENSION DATA        KIND: a1111, forge or reforge; DATA: folder with models/ and request.json
Prints one JSON object.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import inspect
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

HERE = Path(__file__).parent
STEPS = 2
PATCHERS = {"forge": "backend.patcher.base", "reforge": "ldm_patched.modules.model_patcher"}


class Blocked(importlib.abc.MetaPathFinder):
    """Refuses to import modules that AnyMS may not need inside a WebUI."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] == "diffusers" or name.startswith("lib_anyms.standalone"):
            raise ImportError(f"{name} is blocked")


def load_script(extension: Path) -> ModuleType:
    """Load the script; as in the hosts, the extension's folder is on the path only until then."""
    path = extension / "scripts" / "anyms.py"
    sys.path.insert(0, str(extension))
    try:
        spec = importlib.util.spec_from_file_location(path.name, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(extension))
    return module


def script_classes(module: ModuleType) -> list[type]:
    """The classes that a host registers: every Script among the file's names."""
    from modules.scripts import Script

    return [value for value in vars(module).values() if inspect.isclass(value) and issubclass(value, Script)]


class Job:
    """A host's `p` with a TinyUNet, and its sampling."""

    def __init__(self, kind: str, script: Any) -> None:
        from tiny_unet import inputs, tiny_unet

        self.kind = kind
        self.script = script
        self.unet = tiny_unet()
        self.inputs = inputs(2, 8, 8)
        dtype = next(self.unet.parameters()).dtype
        model = SimpleNamespace(diffusion_model=self.unet, manual_cast_dtype=None, get_dtype=lambda: dtype)
        whole = SimpleNamespace(model=model)
        if kind in PATCHERS:
            patcher = type("UnetPatcher", (), {"__module__": PATCHERS[kind], "model": model})()
            whole = SimpleNamespace(forge_objects=SimpleNamespace(unet=patcher))
        importlib.import_module("modules.shared").sd_model = whole
        self.comments: list[str] = []
        self.p = SimpleNamespace(sd_model=whole, extra_generation_params={}, comment=self.comments.append)

    def call(self) -> Any:
        import torch

        flags = {"transformer_options": {"cond_or_uncond": [0, 1]}} if self.kind in PATCHERS else {}
        with torch.no_grad():
            return self.unet(*self.inputs, **flags)

    def run(self, values: list[Any]) -> list[Any]:
        """Run the callbacks in a host's order; return the UNet's outputs."""
        from modules import script_callbacks

        self.script.before_process(self.p, *values)
        self.script.process_before_every_sampling(self.p, *values, x=None)
        outputs = []
        for number in range(STEPS):
            denoiser = SimpleNamespace(p=self.p, step=number, total_steps=STEPS)
            text = self.inputs[2]
            step = SimpleNamespace(
                denoiser=denoiser, x=self.inputs[0], text_uncond=text[1:], total_sampling_steps=STEPS
            )
            for callback in script_callbacks.ON_CFG_DENOISER:
                callback(step)
            outputs.append(self.call())
        self.script.post_sample(self.p, None, *values)
        self.script.postprocess(self.p, None, *values)
        return outputs

    def hooks(self) -> int:
        kinds = ("_forward_hooks", "_forward_pre_hooks")
        return sum(len(getattr(module, kind)) for module in self.unet.modules() for kind in kinds)


def sentence_of(job: Job, values: list[Any]) -> str:
    """The error that reaches the user, or an empty text."""
    try:
        job.run(values)
    except Exception as error:
        return str(error)
    return ""


def main(kind: str, extension: Path, data: Path) -> dict[str, Any]:
    sys.meta_path.insert(0, Blocked())
    sys.path[0:0] = [str(HERE / "webui"), str(HERE)]
    import gradio
    from modules import paths

    paths.data_path, paths.models_path = str(data), str(data / "models")
    module = load_script(extension)
    classes = script_classes(module)
    script = classes[0]()
    components = script.ui(False)
    values = [component.value for component in components]
    job = Job(kind, script)
    plain = job.call()
    request = json.loads((data / "request.json").read_text(encoding="utf-8"))
    sentence = sentence_of(job, [request, *values[1:]])
    composed = Job(kind, script).run([request, *values[1:]]) if not sentence else []
    texts = [text for component in gradio.COMPONENTS for text in (component.label, component.value)]
    return {
        "classes": len(classes),
        "title": script.title(),
        "labels": [component.label for component in components],
        "shown": [text for text in texts if isinstance(text, str)],
        "sentence": sentence,
        "changed": [not output.equal(plain) for output in composed],
        "disabled": [not output.equal(plain) for output in Job(kind, script).run(values)],
        "infotext": job.p.extra_generation_params,
        "comments": job.comments,
        "hooks": job.hooks(),
        "after": job.call().equal(plain),
        "loaded": [name for name in sys.modules if name.startswith(("lib_anyms.standalone", "diffusers"))],
        "from": str(Path(sys.modules["lib_anyms"].__file__).parents[1]),
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))))
