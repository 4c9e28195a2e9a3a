"""The life of one job on a host: prepared once, attached only while our job samples, always removed afterwards."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from lib_anyms.errors import AnyMSError, Refused, SteppedAside
from lib_anyms.job.live_sessions import close_session, live, open_session
from lib_anyms.job.request import Request
from lib_anyms.job.session import Session
from tests.support.adapter_files import HIDDEN, write_adapter
from tests.support.fake_host import FakeHost, sample
from tests.support.streams import hook_count, layer_changes
from tests.support.tiny_unet import tiny_unet


def request(*colours: str, **settings: object) -> Request:
    boxes = [[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0], [0.2, 0.2, 0.8, 0.8]]
    subjects = [
        {"name": colour, "box": box, "images": [Image.new("RGB", (9, 9), colour)]}
        for colour, box in zip(colours or ("red",), boxes)
    ]
    return Request.from_json({"subjects": subjects, **settings})


def step(progress: float = 0.0) -> SimpleNamespace:
    return SimpleNamespace(progress=progress)


def start(folder: Path, job_request: Request | None = None, unet=None) -> tuple[Session, FakeHost, torch.nn.Module]:
    unet = unet or tiny_unet()
    host = FakeHost(unet, folder)
    session = open_session(Session(host, job=object()))
    session.begin_pass(job_request or request())
    return session, host, unet


def test_a_whole_generation(folder: Path) -> None:
    unet = tiny_unet()
    before = sample(unet)
    session, _, _ = start(folder, unet=unet)
    for progress in (0.0, 0.5):
        session.begin_step(step(progress))
        assert not torch.equal(sample(unet), before)
    session.finish_pass()
    assert torch.equal(sample(unet), before)
    assert hook_count(unet) == 0
    close_session()
    assert live() is None


def test_nothing_happens_before_the_first_step_or_in_steps_of_another_job(folder: Path) -> None:
    unet = tiny_unet()
    before = sample(unet)
    session, _, _ = start(folder, unet=unet)
    assert torch.equal(sample(unet), before)
    session.begin_step(step())
    assert not torch.equal(sample(unet), before)
    session.pause()
    assert torch.equal(sample(unet), before)


def test_the_encoding_is_done_once_a_job_and_begin_pass_is_idempotent(folder: Path, encodings: list[int]) -> None:
    job_request = request()
    session, _, unet = start(folder, job_request)
    hooks = hook_count(unet)
    session.begin_pass(job_request)  # Forge's hires fix calls twice
    assert hook_count(unet) == hooks
    session.end_pass()
    session.begin_pass(job_request)
    assert hook_count(unet) == hooks
    assert len(encodings) == 1


@pytest.mark.parametrize("settings", [{"mode": "off"}, {"scale": 0}, {"enabled": False}])
def test_off_attaches_nothing_and_reads_no_file(tmp_path: Path, settings: dict) -> None:
    _, _, unet = start(tmp_path / "absent", request(**settings))
    assert hook_count(unet) == 0


def test_opening_a_session_clears_the_hooks_of_the_last_one(folder: Path) -> None:
    _, _, unet = start(folder)
    assert hook_count(unet) > 0
    open_session(Session(FakeHost(unet, folder), job=object()))
    assert hook_count(unet) == 0


def test_pictures_and_settings_reach_the_unet(folder: Path) -> None:
    def result(job_request: Request) -> torch.Tensor:
        session, _, unet = start(folder, job_request)
        session.begin_step(step())
        output = sample(unet)
        session.finish_pass()
        return output

    base = result(request("red", "blue"))
    assert torch.equal(base, result(request("red", "blue")))
    for other in (
        request("red", "green"),
        request("blue", "red"),
        request("red", "blue", scale=0.3),
        request("red", "blue", mode="global-sum"),
        request("red", "blue", unconditional="cond-only"),
    ):
        assert (result(other) - base).abs().max() > 1e-5


@pytest.mark.parametrize("mode", ["crop-merge", "masked-sum", "global-mean", "one-softmax"])
@pytest.mark.parametrize("fused", [False, True], ids=["by subject", "fused"])
def test_fidelity_goes_from_trained_to_cond_only(folder: Path, mode: str, fused: bool) -> None:
    """Both ends bit for bit; between them the unconditional image stream of a layer is a share of the trained one."""

    def of_first_layer(**settings: object) -> tuple[torch.Tensor, torch.Tensor]:
        session, _, unet = start(folder, request("red", "blue", mode=mode, **settings))
        assert session.stream is not None
        session.stream.region_merge.use_fused = fused
        session.begin_step(step())
        (inputs_of_layers,) = layer_changes(unet, lambda: outputs.append(sample(unet)), None)
        session.finish_pass()
        return next(iter(inputs_of_layers.values())), outputs.pop()

    outputs: list[torch.Tensor] = []
    trained, cond_only = of_first_layer(), of_first_layer(unconditional="cond-only")
    for same, settings in (
        (trained, {"fidelity": 0.0}),
        (cond_only, {"fidelity": 1.0}),
        (cond_only, {"fidelity": 0.25, "unconditional": "cond-only"}),
    ):
        assert torch.equal(of_first_layer(**settings)[1], same[1]), settings
    between = of_first_layer(fidelity=0.25)[0]
    assert torch.equal(between[1], trained[0][1])  # the conditional entry
    expected = 0.75 * trained[0][0] + 0.25 * cond_only[0][0]
    assert (trained[0][0] - cond_only[0][0]).abs().max() > 1e-3
    assert (between[0] - expected).abs().max() < 1e-5


def test_the_later_strength_begins_at_its_step(folder: Path) -> None:
    """Also where every subject acts all the time, so that nothing else asks the host for its progress."""

    def at(progress: float, **settings: object) -> torch.Tensor:
        session, _, unet = start(folder, request(**settings))
        session.begin_step(step(progress))
        output = sample(unet)
        session.finish_pass()
        return output

    fading = {"scale": 0.8, "fade": 0.5, "fade_from": 0.3}
    assert torch.equal(at(0.2, **fading), at(0.2, scale=0.8))
    later = at(0.3, scale=0.4)
    assert (at(0.3, **fading) - later).abs().max() < 1e-5
    assert (at(0.3, scale=0.8) - later).abs().max() > 1e-4


def test_a_unet_replaced_during_sampling_ends_the_pass(folder: Path) -> None:
    session, host, unet = start(folder)
    session.begin_step(step())
    sample(unet)
    host.current = tiny_unet(seed=1)
    with pytest.raises(SteppedAside) as aside:
        session.begin_step(step(0.5))
    assert aside.value.cause == "unet_replaced"
    assert "at 50% of the steps" in str(aside.value)
    assert hook_count(unet) == hook_count(host.current) == 0
    session.begin_step(step(0.75))  # reported once; the host samples the rest
    session.finish_pass()


@pytest.mark.parametrize("at", ["next step", "end"])
def test_a_unet_that_never_ran_is_reported(folder: Path, at: str) -> None:
    session, _, unet = start(folder)
    session.begin_step(step())
    with pytest.raises(SteppedAside) as aside:
        session.begin_step(step(0.5)) if at == "next step" else session.finish_pass()
    assert aside.value.cause == "unet_not_called"
    assert hook_count(unet) == 0


def test_a_refusal_is_raised_by_the_unet_and_cleared_by_the_next_job(folder: Path) -> None:
    session, _, unet = start(folder)
    session.refuse(Refused("failed", got="a test"))
    with pytest.raises(Refused, match="a test"):
        sample(unet)
    assert hook_count(unet) == 0
    for _ in range(2):  # a job of two iterations
        session.refuse(Refused("failed", got="a test"))
    close_session()
    assert hook_count(unet) == 0


# -- files -------------------------------------------------------------------------------------------------------------


def cause_of(folder: Path, unet=None, **settings: object) -> str:
    unet = unet or tiny_unet()
    with pytest.raises(AnyMSError) as error:
        start(folder, request(**settings), unet)
    assert hook_count(unet) == 0
    return error.value.cause


def test_missing_files_are_named(tmp_path: Path) -> None:
    assert cause_of(tmp_path) == "adapter_absent"
    write_adapter(tmp_path / "adapter.safetensors", tiny_unet())
    assert cause_of(tmp_path) == "encoder_absent"
    assert cause_of(tmp_path, adapter="other") == "file_unknown"
    assert cause_of(tmp_path, adapter="../adapter") == "file_unknown"


def test_an_encoder_that_does_not_fit_is_refused_by_name_and_skipped_by_auto(folder: Path) -> None:
    write_adapter(folder / "adapter.safetensors", tiny_unet(), encoder_width=HIDDEN + 1)
    assert cause_of(folder) == "encoder_absent"
    assert cause_of(folder, encoder="encoder") == "encoder_mismatch"


def test_a_named_file_of_another_kind_is_refused(folder: Path) -> None:
    assert cause_of(folder, adapter="encoder.safetensors") == "adapter_encoder"
    assert cause_of(folder, encoder="adapter.safetensors") == "encoder_form"


@pytest.mark.parametrize(
    ("structure", "what"),
    [
        ({"depths": (0, 1, 3)}, "cross-attention layers"),
        ({"widths": (16, 32, 48)}, "widths of the layers"),
        ({"channels": 8}, "input channels"),
    ],
)
def test_another_model_family_makes_the_job_step_aside(folder: Path, structure: dict, what: str) -> None:
    unet = tiny_unet(**structure)
    with pytest.raises(SteppedAside) as aside:
        start(folder, unet=unet)
    assert aside.value.cause == "other_family"
    assert what in str(aside.value)
    assert hook_count(unet) == 0


def test_text_tokens_of_another_width_are_another_family(folder: Path) -> None:
    write_adapter(folder / "adapter.safetensors", tiny_unet(), context=20)
    assert cause_of(folder) == "other_family"


def test_the_nine_channels_of_inpainting_are_the_same_family(folder: Path) -> None:
    start(folder, unet=tiny_unet(channels=9))


def test_auto_takes_the_adapter_that_fits(folder: Path) -> None:
    write_adapter(folder / "a-first-but-other.safetensors", tiny_unet(depths=(0, 1, 3)))
    session, _, _ = start(folder)
    assert session.pair is not None
    assert session.pair.adapter.path.name == "adapter.safetensors"


def test_a_bypassed_unet_makes_the_job_step_aside(folder: Path) -> None:
    unet = tiny_unet()
    host = FakeHost(unet, folder)
    host.bypass = "TensorRT engine"
    with pytest.raises(SteppedAside, match="TensorRT engine"):
        Session(host, object()).begin_pass(request())
    host.bypass = None
    unet._compiled_call_impl = lambda *args: None
    with pytest.raises(SteppedAside, match=r"torch\.compile"):
        Session(host, object()).begin_pass(request())
    assert hook_count(unet) == 0


def test_a_second_pass_on_another_family_takes_that_family_s_adapter(folder: Path) -> None:
    """Hires fix with a checkpoint of another family: keys and values of the first adapter would act in silence."""
    small = tiny_unet(depths=(0, 1, 1), seed=3)
    write_adapter(folder / "small.safetensors", small, seed=3)
    alone, _, _ = start(folder, unet=small)
    alone.begin_step(step())
    expected = sample(small)
    session, host, _ = start(folder)
    session.begin_step(step())
    sample(host.current)
    first = session.pair
    host.current = small
    session.begin_pass(request())
    session.begin_step(step())
    assert torch.equal(sample(small), expected)
    assert session.pair != first
