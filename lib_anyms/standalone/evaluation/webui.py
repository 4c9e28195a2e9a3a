"""Pictures of asked scenes by a running A1111 or Forge with AnyMS, through its API."""

from __future__ import annotations

import base64
import http.client
import io
import json
import urllib.error
import urllib.request
from typing import Any

from PIL import Image

from lib_anyms.errors import Refused
from lib_anyms.layout import subject_json
from lib_anyms.standalone.evaluation.cells import MODES
from lib_anyms.standalone.evaluation.files import Files
from lib_anyms.standalone.evaluation.painting import Settings
from lib_anyms.standalone.evaluation.scenes import Asked

SCRIPT = "AnyMS"
_SECONDS = 600  # for one picture
_SKIPPED = f"{SCRIPT} skipped"
_SCHEDULER = "DDIM"  # the hosts' name for the steps the pipeline takes
_FIRST_NOISE = {"sgm_noise_multiplier": True, "randn_source": "CPU"}  # hosts' settings with which it is diffusers'


class WebUIPainter:
    """Asks the WebUI at an address. The checkpoint is the one loaded there; adapters and encoder are named by their files."""

    def __init__(self, files: Files, settings: Settings) -> None:
        self._address, self._files, self._settings = settings.host.rstrip("/"), files, settings
        self._side = files.side
        scripts = self._call("/sdapi/v1/scripts").get("txt2img", [])
        if SCRIPT.lower() not in [str(name).lower() for name in scripts]:
            raise Refused("host_lacks", host=self._address)

        self._options = self._call("/sdapi/v1/options")

    @property
    def checkpoint(self) -> str:
        """What the host says it has loaded."""
        return str(self._options.get("sd_model_checkpoint"))

    @property
    def advice(self) -> str:
        """How to get diffusers' very noise there; "" where nothing is to be changed."""
        other = {name: value for name, value in _FIRST_NOISE.items() if self._options.get(name, value) != value}
        told = " and ".join(f"{name} from {self._options[name]} to {value}" for name, value in other.items())
        return f"for the first noise that diffusers takes, change the host's setting {told}" if other else ""

    def paint(self, asked: Asked, mode: str, adapter: str | None) -> Image.Image:
        kind = MODES[mode]
        if not kind.on_hosts:
            raise Refused("host_mode", got=mode, expected=", ".join(name for name, other in MODES.items() if other.on_hosts))
        scripts = {SCRIPT: {"args": [self._request(asked, kind.stream, adapter)]}} if adapter else {}
        answer = self._call("/sdapi/v1/txt2img", {**self._job(asked), "alwayson_scripts": scripts})
        told = str(answer.get("info", ""))
        if _SKIPPED in told:
            raise Refused("host_answer", host=self._address, got=told[told.index(_SKIPPED) :][:300])
        return _picture(answer, self._address)

    def _job(self, asked: Asked) -> dict[str, Any]:
        settings = self._settings
        sampling = {"steps": settings.steps, "cfg_scale": settings.guidance, "sampler_name": "Euler", "scheduler": _SCHEDULER}
        size = {"width": self._side, "height": self._side}
        return {"prompt": asked.prompt, "negative_prompt": "", "seed": asked.noise, **sampling, **size}

    def _request(self, asked: Asked, stream: str, adapter: str) -> dict[str, Any]:
        request = asked.request(stream, self._settings.scale)
        assert request.layout is not None
        subjects = [
            {**subject_json(subject), "images": [_base64(picture) for picture in pictures]}
            for subject, pictures in zip(request.layout.subjects, request.pictures)
        ]
        names = {"adapter": self._files.adapters[adapter].name, "encoder": self._files.encoder.name}
        return {"version": 1, "scale": request.scale, "mode": request.mode, **names, "subjects": subjects}

    def _call(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """GET, or POST of JSON. Raises Refused with what the host says."""
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(self._address + path, data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(asked, timeout=_SECONDS) as answer:
                told = json.load(answer)
        except urllib.error.HTTPError as error:
            raise Refused("host_answer", host=self._address, got=_sentence(error)) from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise Refused("host_unreachable", host=self._address, got=str(error) or type(error).__name__) from error
        return told if isinstance(told, dict) else {}


def _sentence(error: urllib.error.HTTPError) -> str:
    """The message of a failure, wherever this host puts it."""
    text = error.read().decode("utf-8", "replace")
    try:
        body = json.loads(text)
        return str(body.get("errors") or body.get("message") or body.get("detail") or text)[:500]
    except (ValueError, AttributeError):
        return f"{error.code} {error.reason}"


def _picture(answer: dict[str, Any], host: str) -> Image.Image:
    try:
        text = answer["images"][0]
        return Image.open(io.BytesIO(base64.b64decode(text.partition(",")[2] or text))).convert("RGB")
    except (KeyError, IndexError, ValueError, OSError, AttributeError) as error:
        raise Refused("host_answer", host=host, got="no picture") from error


def _base64(picture: Image.Image) -> str:
    data = io.BytesIO()
    picture.save(data, "PNG")
    return base64.b64encode(data.getvalue()).decode()
