"""AnyMS's addresses: who has access, what they return, and that no answer holds a folder or a word of a prompt."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from torch import nn

from lib_anyms.errors import Refused, SteppedAside
from lib_anyms.job import infotext
from lib_anyms.job.live_sessions import close_session, last_report, open_session
from lib_anyms.job.request import Request
from lib_anyms.job.session import Session
from lib_anyms.layout.fields import MODES
from lib_anyms.models.downloads import Progress
from lib_anyms.models.known_files import HOME, KNOWN
from lib_anyms.stamp import running
from tests.support.adapter_files import HIDDEN, write_adapter, write_encoder
from tests.support.fake_host import FakeHost, sample
from tests.support.fake_webui import FakeWebUI, fake_webui
from tests.support.host_parser import written
from tests.support.tiny_unet import tiny_unet

SECRET = "grandmother's teapot"


class App:
    """What FastAPI gives a WebUI; `auth` and `tokens` are gradio's."""

    def __init__(self, auth: Any = None) -> None:
        self.auth = auth
        self.tokens = {"a-token": "ann"} if auth else {}
        self.routes: dict[str, tuple[Any, Any]] = {}

    def add_api_route(
        self, path: str, answer: Any, methods: list[str], dependencies: list[Any], response_class: Any = None
    ) -> None:
        self.routes[path if methods == ["GET"] else f"{methods[0]} {path}"] = (dependencies[0], answer)


class API:
    def __init__(self, webui: FakeWebUI, app: App) -> None:
        self.app, self.request = app, webui("fastapi").Request
        self.refusal = webui("fastapi").HTTPException
        webui("lib_anyms.webui.web_api").register(None, app)

    def get(
        self, path: str, header: str = "", cookies: dict[str, str] | None = None, method: str = "", **values: Any
    ) -> Any:
        """The answer, or the status of a refusal."""
        check, answer = self.app.routes[f"{method}/anyms/v1/{path}"]
        assert check.__annotations__["call"] is self.request
        headers = {"authorization": header} if header else {}
        headers |= {"content-type": "application/json"} if method else {}
        try:
            check(self.request(headers, cookies or {}, method.strip() or "GET"))
        except self.refusal as refusal:
            return refusal.status_code if refusal.headers == {"WWW-Authenticate": "Basic"} else "no challenge"
        return answer(**values)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A WebUI's models folder."""
    folder = tmp_path_factory.mktemp("hôst")
    for name in ("ipadapter", "clip_vision"):
        (folder / name).mkdir()
    write_adapter(folder / "ipadapter" / "fits.safetensors", tiny_unet())
    write_adapter(folder / "ipadapter" / "other.safetensors", tiny_unet(depths=(0, 1, 3)), encoder_width=HIDDEN + 1)
    write_encoder(folder / "clip_vision" / "encoder.safetensors")
    (folder / "ipadapter" / "broken.safetensors").write_bytes(b"x")
    return folder


@pytest.fixture
def webui(models: Path) -> Iterator[FakeWebUI]:
    with fake_webui(models) as loaded:
        yield loaded
    close_session()


def basic(words: str) -> str:
    return "Basic " + base64.b64encode(words.encode()).decode()


def accounts(webui: FakeWebUI, **flags: Any) -> None:
    for name, value in flags.items():
        setattr(webui("modules.shared").cmd_opts, name, value)


POST = {"content-type": "application/json"}
OWN = {"host": "127.0.0.1:7860"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (POST, 0),
        ({"content-type": "Application/JSON; charset=utf-8"}, 0),
        ({}, 415),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-type": "multipart/form-data; boundary=application/json"}, 415),
        ({**POST, **OWN, "origin": "http://127.0.0.1:7860", "sec-fetch-site": "same-origin"}, 0),
        ({**POST, **OWN, "origin": "https://my.home", "x-forwarded-host": "my.home"}, 0),
        ({**POST, **OWN, "origin": "http://127.0.0.1:7861"}, 403),
        ({**POST, **OWN, "origin": "https://evil.example"}, 403),
        ({**POST, **OWN, "origin": "http://127.0.0.1:7860.evil.example"}, 403),
        ({**POST, **OWN, "origin": "null"}, 403),
        ({**POST, **OWN, "sec-fetch-site": "cross-site"}, 403),
        ({**POST, **OWN, "sec-fetch-site": "same-site"}, 403),
        ({**POST, **OWN, "sec-fetch-site": "none"}, 0),
        ({**POST, **OWN, "origin": "https://friend.example", "sec-fetch-site": "cross-site"}, 0),
        ({**POST, **OWN, "origin": "https://a.pattern.example"}, 0),
    ],
)
@pytest.mark.parametrize("path", ["downloads", "cards"])
def test_a_page_of_another_site_cannot_post(
    webui: FakeWebUI, monkeypatch: pytest.MonkeyPatch, path: str, headers: dict[str, str], status: int
) -> None:
    accounts(webui, api=True)
    options = webui("modules.shared").cmd_opts
    monkeypatch.setattr(options, "cors_allow_origins", "http://x.example, https://friend.example", raising=False)
    monkeypatch.setattr(options, "cors_allow_origins_regex", r"https://[a-z]\.pattern\.example", raising=False)
    api = API(webui, App())
    check = api.app.routes[f"POST /anyms/v1/{path}"][0]
    if not status:
        check(api.request(headers, {}, "POST"))
        return
    with pytest.raises(api.refusal) as refusal:
        check(api.request(headers, {}, "POST"))
    assert refusal.value.status_code == status


def test_reading_needs_no_content_type(webui: FakeWebUI) -> None:
    accounts(webui, api=True)
    api = API(webui, App())
    api.app.routes["/anyms/v1/version"][0](api.request({"origin": "https://evil.example"}, {}))


PATHS = ("refusal", "version", "schema", "models", "doctor", "downloads", "cards")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("api_auth", "login", "header", "cookies", "allowed"),
    [
        (None, None, "", {}, True),
        ("bob:pw,eve:é", None, "", {}, False),
        ("bob:pw,eve:é", None, basic("bob:pw"), {}, True),
        ("bob:pw,eve:é", None, basic("eve:é"), {}, True),
        ("bob:pw,eve:é", None, basic("eve:pw"), {}, False),
        ("bob:pw,eve:é", None, basic("bob:"), {}, False),
        ("bob:pw,eve:é", None, basic("bob"), {}, False),
        ("bob:pw,eve:é", None, basic("pw"), {}, False),
        ("bob:pw", None, "Basic bob:pw", {}, False),
        ("bob:pw", None, "Bearer " + basic("bob:pw")[6:], {}, False),
        ("bob:pw", None, "", {"access-token": ""}, False),
        (None, {"ann": "pw"}, "", {}, False),
        (None, {"ann": "pw"}, "", {"access-token-x1": "a-token"}, True),
        (None, {"ann": "pw"}, "", {"access-token": "forged"}, False),
        (None, {"ann": "pw"}, basic("ann:pw"), {}, True),
        (None, {"ann": "pw"}, basic("ann:no"), {}, False),
        (None, lambda *_: True, basic("ann:pw"), {}, False),
        ("bob:pw", {"ann": "pw"}, basic("bob:pw"), {}, True),
    ],
)
def test_who_has_access(
    webui: FakeWebUI, path: str, api_auth: Any, login: Any, header: str, cookies: Any, allowed: bool
) -> None:
    accounts(webui, api_auth=api_auth)
    answer = API(webui, App(login)).get(path, header, cookies)
    assert (answer != 401) == allowed


def test_positions_are_written_into_a_prompt(webui: FakeWebUI) -> None:
    api = API(webui, App())
    layout = {"version": 1, "subjects": [{"name": "cat", "box": [0, 0, 0.4, 1]}]}
    answer = api.get("positions", method="POST ", prompt="a cat", layout=layout)
    assert answer == {"prompt": "a cat on the left"}
    with pytest.raises(api.refusal, match="AnyMS: the layout is not an object") as refusal:
        api.get("positions", method="POST ", prompt="a cat", layout={})
    assert refusal.value.status_code == 422


@pytest.mark.parametrize("as_line", [True, False])
def test_the_request_of_an_infotext(webui: FakeWebUI, as_line: bool) -> None:
    api = API(webui, App())
    subject = {"name": "cat", "box": [0, 0, 0.4, 1], "images": [Image.new("RGB", (5, 4), "red")]}
    request = Request.from_json({"scale": 0.3, "subjects": [subject]})
    entry = infotext.write(request) if as_line else json.dumps(request.to_json())
    text = written({"Steps": "20", "Sampler": "Euler", "AnyMS": entry})
    answer = api.get("infotext", method="POST ", parameters=text)
    assert answer == {"request": request.to_json()}
    answer["request"]["subjects"][0]["images"] = subject["images"]
    assert Request.from_json(answer["request"]) == request


@pytest.mark.parametrize(
    ("entry", "sentence"), [("Version: 1", "has no AnyMS entry"), ('AnyMS: "cat: 5"', "the box of subject 'cat'")]
)
def test_an_unreadable_infotext_has_status_422(webui: FakeWebUI, entry: str, sentence: str) -> None:
    api = API(webui, App())
    with pytest.raises(api.refusal, match=sentence) as refusal:
        api.get("infotext", method="POST ", parameters=f"a cat\nSteps: 20, {entry}")
    assert refusal.value.status_code == 422


def test_without_the_host_s_api_only_the_page_s_address_exists(webui: FakeWebUI) -> None:
    accounts(webui, api=False)
    assert API(webui, App()).app.routes.keys() == {"/anyms/v1/refusal"}
    accounts(webui, nowebui=True)
    plain = {path for path in API(webui, App()).app.routes if not path.startswith("POST ") and "{" not in path}
    assert plain == {f"/anyms/v1/{path}" for path in PATHS}


def test_version_and_schema(webui: FakeWebUI) -> None:
    api = API(webui, App())
    version = api.get("version")
    assert (version["request"], version["host"], version["host_version"]) == (1, "A1111", "v1.10.1 (82a973c04367)")
    assert version["stamp"] == running()[:8]
    assert json.loads(json.dumps(api.get("schema")))["properties"]["mode"]["enum"] == list(MODES)


def load(webui: FakeWebUI, unet: nn.Module, kind: str = "a1111") -> None:
    whole = SimpleNamespace(model=SimpleNamespace(diffusion_model=unet))
    forge = SimpleNamespace(forge_objects=SimpleNamespace(unet=whole))
    webui("modules.sd_models").model_data.sd_model = forge if kind == "forge" else whole


@pytest.mark.parametrize("kind", ["a1111", "forge"])
def test_models_are_listed_with_why_they_do_not_fit(webui: FakeWebUI, kind: str, models: Path) -> None:
    api = API(webui, App())
    before = api.get("models")
    assert before["checkpoint"] is None
    assert {adapter["fits"] for adapter in before["adapters"]} == {None}
    load(webui, tiny_unet(), kind)
    answer = api.get("models")
    fits, other = answer["adapters"]
    assert (fits["file"], fits["kind"], fits["fits"], fits["why_not"]) == ("fits.safetensors", "base", True, "")
    assert other["fits"] is False
    assert "cross-attention layers: the checkpoint has" in other["why_not"]
    (encoder,) = answer["encoders"]
    assert (encoder["file"], encoder["fits"]) == ("encoder.safetensors", ["fits.safetensors"])
    assert answer["checkpoint"]["attn2"] > 0
    assert json.loads(json.dumps(answer)) == answer  # some hosts' JSON library refuses keys that are numbers
    assert str(models) not in json.dumps(answer, ensure_ascii=False)
    assert "hôst" not in json.dumps(answer, ensure_ascii=False)


def test_a_model_without_a_unet_we_know_fits_nothing(webui: FakeWebUI) -> None:
    load(webui, nn.Linear(1, 1))
    answer = API(webui, App()).get("models")
    assert answer["checkpoint"]["attn2"] == 0
    assert [adapter["fits"] for adapter in answer["adapters"]] == [False, False]


def test_a_refusal_is_shown_until_another_job_begins(webui: FakeWebUI, models: Path) -> None:
    api, unet = API(webui, App()), tiny_unet()
    assert api.get("refusal") == {"sentence": ""}
    session = job(models, unet)
    assert api.get("refusal") == {"sentence": ""}
    session.refuse(Refused("none_fired", got=1, expected=2))
    assert api.get("refusal") == {"sentence": str(Refused("none_fired", got=1, expected=2))}
    close_session()
    assert api.get("refusal") == {"sentence": ""}


def test_so_is_one_from_within_a_call_of_the_unet(webui: FakeWebUI, models: Path) -> None:
    session = job(models, tiny_unet())
    refusal = Refused("rows_unknown", got=3, expected=2)
    with pytest.raises(Refused):
        session.stream._guarded(raising, refusal)
    assert API(webui, App()).get("refusal") == {"sentence": str(refusal)}
    with pytest.raises(MemoryError):
        session.stream._guarded(raising, MemoryError("not ours"))
    assert API(webui, App()).get("refusal") == {"sentence": ""}


def raising(error: Exception) -> None:
    raise error


# -- downloads ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def fetched(webui: FakeWebUI, models: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[API, list[Any]]]:
    """The API, and the arguments of the downloads it started (none runs)."""
    begun: list[Any] = []

    def start(*arguments: Any) -> Progress:
        begun.append(arguments)
        return Progress(arguments[0].name, 0, arguments[0].size)

    fetching = webui("lib_anyms.hosts.fetching")
    monkeypatch.setattr(fetching.downloads, "start", start)
    yield API(webui, App()), begun
    vars(webui("modules.shared").state).pop("job", None)


def test_a_known_name_starts_a_download_into_the_host_s_folder(fetched: tuple[API, list[Any]], models: Path) -> None:
    api, begun = fetched
    listed = api.get("downloads")
    assert [entry["name"] for entry in listed["files"]] == [file.name for file in KNOWN]
    assert {entry["there"] for entry in listed["files"]} == {False}
    for entry in listed["files"]:
        answer = api.get("downloads", method="POST ", name=entry["name"])
        assert answer["progress"]["state"] == "running"
        file, folder, home, _ = begun[-1]
        assert (file.name, folder, home) == (entry["name"], models / file.folder, HOME)
    assert json.loads(json.dumps(listed)) == listed
    assert str(models) not in json.dumps(listed, ensure_ascii=False)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x",
        "../" + KNOWN[0].name,
        KNOWN[0].address(),
        KNOWN[0].name.upper(),
        "C:\\x",
        "/etc/passwd",
        "a\0b",
        "x" * 10**5,
    ],
)
def test_anything_but_a_known_name_starts_nothing(fetched: tuple[API, list[Any]], name: str) -> None:
    api, begun = fetched
    with pytest.raises(api.refusal) as refusal:
        api.get("downloads", method="POST ", name=name)
    assert (refusal.value.status_code, begun) == (404, [])
    assert len(str(refusal.value)) < 600


def test_a_download_needs_the_host_s_login(webui: FakeWebUI, fetched: tuple[API, list[Any]]) -> None:
    api, begun = fetched
    accounts(webui, api_auth="bob:pw")
    try:
        assert api.get("downloads", method="POST ", name=KNOWN[0].name) == 401
        assert begun == []
        api.get("downloads", basic("bob:pw"), method="POST ", name=KNOWN[0].name)
        assert len(begun) == 1
    finally:
        accounts(webui, api_auth=None)


def test_none_starts_while_an_image_is_generating(webui: FakeWebUI) -> None:
    api = API(webui, App())
    state = webui("modules.shared").state
    state.job = "task(x)"
    try:
        with pytest.raises(api.refusal) as refusal:
            api.get("downloads", method="POST ", name=KNOWN[0].name)
    finally:
        del state.job
    assert refusal.value.status_code == 409
    assert "is not downloaded while an image is generating" in str(refusal.value)


# -- the doctor --------------------------------------------------------------------------------------------------------


def request() -> Request:
    cat = {"name": SECRET, "box": [0, 0, 0.75, 1], "images": [Image.new("RGB", (9, 9), "red")]}
    dog = {"name": "dog", "box": [0.5, 0, 1, 1], "weight": 0.5, "images": [Image.new("RGB", (9, 9), "blue")]}
    return Request.from_json({"subjects": [cat, dog]})


def job(folder: Path, unet: nn.Module, calls: int = 3) -> Session:
    session = open_session(Session(FakeHost(unet, folder), object()))
    session.begin_pass(request())
    for number in range(calls):
        session.begin_step(SimpleNamespace(progress=number / calls))
        sample(unet)
    return session


def test_the_doctor_reports_the_job_and_no_secret(webui: FakeWebUI, models: Path) -> None:
    accounts(webui, medvram=True, always_cpu=False, precision="full", use_cpu=["all"], ckpt=str(models))
    unet = tiny_unet()
    load(webui, unet)
    handle = unet.register_forward_pre_hook(a_neighbour)
    session = job(models, unet)
    layers = len(session.stream._layers)
    session.finish_pass()
    close_session()
    text = API(webui, App()).get("doctor")
    handle.remove()
    for line in (
        f"AnyMS 0.1.0 ({running()[:8]}) in A1111 v1.10.1 (82a973c04367)",
        f"torch {metadata.version('torch')}",
        "flags: --medvram --use-cpu all --precision full",
        f"checkpoint: {layers} attn2 (",
        "last job: ran through (fake), 3 steps",
        "subject 1: subject, box 0 0 0.75 1, weight 1, 0 to 1 of the steps, blocks all",
        "adapter fits.safetensors: base (has image_proj.proj), 4 tokens",
        "encoder encoder.safetensors: hidden width 24",
        f"pass 1: {layers} of {layers} layers in each of 3 UNet calls, largest grid 8 x 6 tokens",
        "pass 1 owned: 67% of its box (50% of the image); 100% of its box (50% of the image)",
        f"pass 1 neighbours: {__name__}: 1 hooks",
    ):
        assert line in text, text
    for secret in (SECRET, "dog", str(models), "hôst"):
        assert secret not in text


def a_neighbour(_unet: nn.Module, _args: Any) -> None:
    """A hook of another extension."""


def test_before_any_job_the_doctor_reports_the_versions(webui: FakeWebUI) -> None:
    text = API(webui, App()).get("doctor")
    assert "checkpoint: none loaded" in text
    assert "last job: none" in text


def test_the_doctor_counts_and_names_what_was_skipped(webui: FakeWebUI, models: Path) -> None:
    unet = tiny_unet()
    load(webui, unet)
    session = job(models, unet)
    session.host.wrapper = "lib_spectrum.forecaster"  # type: ignore[attr-defined]
    session.begin_step(SimpleNamespace(progress=0.9))
    session.finish_pass()
    text = API(webui, App()).get("doctor")
    assert "skipped: 1 steps, 0 whole and 0 partial UNet calls, by lib_spectrum.forecaster\n" in text
    session = job(models, unet)
    session.finish_pass()
    assert "skipped" not in API(webui, App()).get("doctor")


def test_the_doctor_names_the_cause_that_stopped_a_job(webui: FakeWebUI, models: Path) -> None:
    unet = tiny_unet()
    session = job(models, unet, calls=0)
    session.begin_step(SimpleNamespace(progress=0.9))
    with pytest.raises(SteppedAside) as aside:
        session.finish_pass()
    session.step_aside(aside.value)
    assert last_report().outcome == "unet_not_called"  # while the session is still live
    close_session()
    assert last_report().outcome == "unet_not_called"


def test_the_doctor_names_what_the_stream_raised(webui: FakeWebUI, models: Path) -> None:
    unet = tiny_unet()
    session = job(models, unet)
    session.host.cond = (True,)  # the host says one batch entry, the UNet is called with two
    session.begin_step(SimpleNamespace(progress=0.9))
    with pytest.raises(Exception, match="batch entries"):
        sample(unet)
    close_session()
    report = last_report()
    assert (report.outcome, report.passes[0].failure, report.passes[0].calls) == ("rows_unknown", "rows_unknown", 3)


def test_a_job_without_anyms_leaves_the_last_report(webui: FakeWebUI, models: Path) -> None:
    job(models, tiny_unet())
    close_session()
    kept = last_report()
    open_session(Session(FakeHost(tiny_unet(), models), object()))
    close_session()
    assert last_report() is kept
