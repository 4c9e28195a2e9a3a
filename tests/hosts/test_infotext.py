"""Infotexts in the real hosts: pasted in both tabs, changed by the X/Y/Z plot, read through the API."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from lib_anyms.job import infotext
from lib_anyms.job.request import Request
from tests.hosts import server
from tests.hosts.drive import Page, opened
from tests.hosts.kinds import PLOT
from tests.hosts.studio import LAYERS, SCENE, Job, Studio, encoded, pixels_of, reference, started_again, two_subjects

AWKWARD = 'a "straw, hat": one\ntwo <b> \\ 猫 🐈 \u2028ключ'
PICTURES = {1: reference("orange"), 2: reference("navy", mode="RGBA")}


def awkward(**settings: Any) -> dict[str, Any]:
    """Two subjects in an order that is not proposed; every field of the page differs from its default."""
    request = two_subjects(scale=0.55, mode="masked-sum", unconditional="cond-only", fit="crop", **settings)
    request["subjects"][0] |= {"name": AWKWARD, "start": 0.25, "weight": 1.25}
    request["subjects"][1] |= {"end": 0.75, "blocks": "style"}
    return request


def infotext_of(studio: Studio, job: Job) -> str:
    return job.info["infotexts"][0]


def test_the_host_s_quoting_loses_nothing(studio: Studio) -> None:
    job = studio.paint(awkward())
    line = infotext.write(Request.from_json(awkward()))
    assert studio.parameters(job.images[0])["AnyMS"] == line
    assert infotext.read(line).subjects[0].name == AWKWARD


def test_the_api_s_own_infotext_field_loses_no_subject_silently(studio: Studio) -> None:
    plain = studio.ask(infotext=infotext_of(studio, studio.baseline))
    if "parameterized generic" in str(plain.body):
        pytest.skip("host: its API's field `infotext` fails for a picture made without AnyMS, too")
    assert plain.status == 200
    assert pixels_of(plain.body["images"][0]) == studio.baseline.pixels[0]
    text = infotext_of(studio, studio.composed)
    answer = studio.ask(infotext=text)
    assert answer.status == 500
    assert answer.sentence.startswith("AnyMS: subject 'cat' has no reference picture")
    assert studio.paint(two_subjects(), infotext=text).pixels == studio.composed.pixels


class Tab(Page):
    """One of the two tabs, with our accordion."""

    kind = "txt2img"

    def ours(self, name: str) -> Any:
        return self.tab.locator(f"#script_{self.kind}_anyms_{name}")

    def go(self, kind: str) -> Tab:
        self.kind = kind
        self.tab.evaluate(f"switch_to_{kind}()")
        return self

    def paste(self, text: str) -> None:
        """Paste and wait until the prompt replaces the infotext."""
        prompt = self.tab.locator(f"#{self.kind}_prompt textarea")
        prompt.fill(text)
        prompt.press("Tab")
        self.tab.locator(f"#{self.kind}_tools #paste").click()
        self.until(f"document.querySelector('#{self.kind}_prompt textarea').value === {json.dumps(SCENE['prompt'])}")

    def until(self, condition: str) -> None:
        self.tab.wait_for_function(condition)

    def value(self, name: str) -> str:
        return self.ours(name).locator("textarea, input:not([type=range])").first.input_value()

    def shows(self, **values: str) -> None:
        """Wait until each of our components shows its value: fields arrive one after the other."""
        for name, value in values.items():
            field = f"document.querySelector('#script_{self.kind}_anyms_{name}')"
            entry = f"{field}.querySelector('textarea, input:not([type=range])')"
            self.until(f"{entry} && {entry}.value === {json.dumps(value)}")

    def note(self, *words: str) -> str:
        """Wait for the sentence above the accordion -> its text."""
        shown = self.ours("note").last  # inside the block of the same id
        for each in words:
            shown.filter(has_text=each).wait_for()
        return shown.inner_text()

    def drop(self, number: int) -> None:
        buffer = base64.b64decode(encoded(PICTURES[number]))
        chooser = self.ours(f"slot{number}_shown").locator("input[type=file]")
        chooser.set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": buffer})
        self.thumbs(number).first.wait_for()

    def thumbs(self, number: int) -> Any:
        return self.ours(f"slot{number}_shown").locator(".thumb")

    def forget(self) -> None:
        """Remove the cached reference pictures of earlier jobs."""
        for picture in self.studio.host.data.rglob("cache/anyms/pictures/*.png"):
            picture.unlink()


@pytest.fixture
def tab(studio: Studio) -> Iterator[Tab]:
    yield from opened(Tab, studio)


SHOWN = {
    "scale": "0.55",
    "mode": "masked-sum",
    "adapter": "auto",
    "slot1_role": "attribute",
    "slot1_x0": "0.05",
    "slot1_y1": "0.95",
    "slot1_weight": "1.25",
    "slot2_name": "dog",
    "slot2_x1": "1",
    "slot2_weight": "0.8",
}


def test_a_pasted_infotext_makes_the_same_picture(tab: Tab) -> None:
    job = tab.studio.paint(awkward())
    tab.forget()
    tab.paste(infotext_of(tab.studio, job))
    tab.shows(**SHOWN)
    assert tab.value("slot1_name") == AWKWARD
    assert tab.ours("enabled-visible-checkbox").is_checked()
    assert "dog" in tab.note("Add again that of:", "straw, hat")
    for number in PICTURES:
        tab.drop(number)
    again = tab.generate()
    assert tab.studio.parameters(again)["AnyMS"] == tab.studio.parameters(job.images[0])["AnyMS"]
    assert pixels_of(again) == job.pixels[0]

    # the pictures belong to the infotext now: they stay, and nothing is missing
    tab.paste(infotext_of(tab.studio, job))
    tab.ours("note").last.wait_for(state="hidden")
    assert [tab.thumbs(number).count() for number in PICTURES] == [1, 1]

    # "Send to img2img" takes them along
    tab.tab.locator("#txt2img_send_to_img2img").click()
    tab.go("img2img").shows(**SHOWN)
    for number in PICTURES:
        tab.thumbs(number).first.wait_for(state="attached")  # only those of the chosen subject are visible
    tab.tab.locator("#img2img_generate").click()
    assert tab.studio.parameters(tab.shown_picture("img2img"))["AnyMS"] == tab.studio.parameters(job.images[0])["AnyMS"]


def test_kept_pictures_come_back_and_make_the_same_picture(tab: Tab) -> None:
    job = tab.studio.paint(awkward())
    tab.paste(infotext_of(tab.studio, job))
    tab.shows(**SHOWN)
    for number in PICTURES:
        tab.thumbs(number).first.wait_for(state="attached")  # only those of the chosen subject are visible
    assert tab.ours("note").last.is_hidden()
    assert pixels_of(tab.generate()) == job.pixels[0]

    name = tab.studio.recalled(job.images[0])["subjects"][0]["pictures"][0]
    answer = tab.tab.request.get(f"{tab.studio.host.url}/anyms/v1/pictures/{name}")
    assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
    assert tab.tab.request.get(f"{tab.studio.host.url}/anyms/v1/pictures/{'0' * 12}").status == 404


def test_an_infotext_is_pasted_in_img2img_too(tab: Tab) -> None:
    job = tab.studio.paint(awkward())
    tab.forget()
    tab.go("img2img").paste(infotext_of(tab.studio, job))
    tab.shows(**SHOWN)
    assert tab.value("slot1_name") == AWKWARD
    assert "dog" in tab.note("Add again that of:")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [("version 7; ", "has version 7"), ("glow 3; ", "'glow 3' in place"), ('{\\"version\\"', "not JSON")],
)
def test_an_unreadable_infotext_is_reported_and_the_rest_is_pasted(tab: Tab, wrong: str, words: str) -> None:
    text = infotext_of(tab.studio, tab.studio.composed)
    assert text.count('AnyMS: "') == 1
    tab.paste(text.replace('AnyMS: "', f'AnyMS: "{wrong}'))
    tab.note("AnyMS: ", words)
    assert tab.tab.locator("#txt2img_steps input[type=number]").input_value() == str(SCENE["steps"])
    assert not tab.ours("enabled-visible-checkbox").is_checked()
    assert tab.value("slot1_name") == ""


def test_a_line_by_hand_and_the_json_of_earlier_versions_are_pasted(tab: Tab) -> None:
    """The subjects of someone's edit, and of an image that an earlier version made."""
    text, line = (
        infotext_of(tab.studio, tab.studio.composed),
        tab.studio.parameters(tab.studio.composed.images[0])["AnyMS"],
    )
    assert text.count(line) == 1
    tab.paste(text.replace(line, "it's a fox: 5 10 40x80 weight 0.5; settings: scale 0.3"))
    tab.shows(slot1_name="it's a fox", slot1_x0="0.05", slot1_y1="0.9", slot1_weight="0.5", slot2_name="", scale="0.3")
    tab.paste(text.replace(f'"{line}"', json.dumps(json.dumps(tab.studio.recalled(tab.studio.composed.images[0])))))
    tab.shows(slot1_name="cat", slot2_name="dog", slot1_weight="1", scale="0.8")


def test_the_doctor_s_button_writes_the_report(tab: Tab) -> None:
    assert tab.studio.paint(two_subjects()).pixels == tab.studio.composed.pixels
    tab.switch_on()
    tab.ours("more").get_by_text("Advanced").first.click()
    tab.ours("more").get_by_text("bug report", exact=True).first.click()
    tab.ours("doctor").click()
    tab.until("document.querySelector('#script_txt2img_anyms_doctor_report textarea').value.startsWith('```')")
    assert f"{LAYERS} of {LAYERS} layers in each of 3 UNet calls" in tab.value("doctor_report")


# -- the X/Y/Z plot ----------------------------------------------------------------------------------------------------


def axes_of(studio: Studio, kind: str = "txt2img") -> list[str]:
    scripts = studio.host.get("/sdapi/v1/script-info").body
    plot = next(row for row in scripts if row["name"] == "x/y/z plot" and row["is_img2img"] == (kind == "img2img"))
    return plot["args"][0]["choices"]


def plot(studio: Studio, x: tuple[str, str], y: tuple[str, str] = ("Nothing", ""), request: Any = None) -> Any:
    labels = axes_of(studio)
    axes = [[labels.index(label), values, []] for label, values in (x, y, ("Nothing", ""))]
    arguments = [value for axis in axes for value in axis] + [*studio.kind.arguments.get("x/y/z plot", PLOT)]
    request = two_subjects() if request is None else request
    return studio.ask(request, script_name="x/y/z plot", script_args=arguments)


@pytest.mark.parametrize("kind", ["txt2img", "img2img"])
def test_the_axes_are_there_once(studio: Studio, kind: str) -> None:
    ours = [label for label in axes_of(studio, kind) if "AnyMS" in label]
    names = ("scale", "fade", "mode", "weight of all", "order", "adapter", "words", "elsewhere", "refine")
    assert ours == [f"[AnyMS] {name}" for name in names]
    assert axes_of(studio, kind)[:2] == ["Nothing", "Seed"]  # the host's axes keep their places


def cells(answer: Any) -> list[str]:
    assert answer.status == 200, answer.body
    return answer.body["images"][1:]  # the first is the grid


def test_cells_are_the_pictures_the_changed_requests_make(studio: Studio) -> None:
    pictures = cells(plot(studio, ("[AnyMS] scale", "0.3,0"), ("[AnyMS] order", "as given,reversed")))
    request = two_subjects(scale=0.3)
    turned = {**request, "subjects": request["subjects"][::-1]}
    expected = [studio.paint(request), studio.baseline, studio.paint(turned), studio.baseline]
    assert [pixels_of(cell) for cell in pictures] == [job.pixels[0] for job in expected]
    parameters = [studio.parameters(cell) for cell in pictures]
    assert [infotext.read(cell["AnyMS"]).settings["scale"] if "AnyMS" in cell else None for cell in parameters] == [
        0.3,
        None,
        0.3,
        None,
    ]

    pictures = cells(plot(studio, ("[AnyMS] mode", "crop-merge,global-sum"), ("[AnyMS] weight of all", "0.5")))
    weighed = [{**subject, "weight": 0.5} for subject in two_subjects()["subjects"]]
    jobs = [studio.paint(two_subjects(mode=mode, subjects=weighed)) for mode in ("crop-merge", "global-sum")]
    assert [pixels_of(cell) for cell in pictures] == [job.pixels[0] for job in jobs]

    worded = two_subjects(elsewhere="a beach")
    pictures = cells(plot(studio, ("[AnyMS] words", "0.5,0"), ("[AnyMS] elsewhere", "auto,a beach"), worded))
    expected = [studio.paint(two_subjects(elsewhere=text, words=0.5)) for text in ("auto", "a beach")]
    assert [pixels_of(cell) for cell in pictures[::2]] == [job.pixels[0] for job in expected]
    assert {pixels_of(cell) for cell in pictures[1::2]} == {studio.composed.pixels[0]}

    pictures = cells(plot(studio, ("[AnyMS] refine", "0,0.7")))
    assert [pixels_of(cell) for cell in pictures] == [
        studio.composed.pixels[0],
        studio.paint(two_subjects(refine=0.7)).pixels[0],
    ]

    names = [path.name for path in studio.files.adapters.values()]
    pictures = cells(plot(studio, ("[AnyMS] adapter", ",".join(names))))
    assert [pixels_of(cell) for cell in pictures] == [
        studio.paint(two_subjects(adapter=name)).pixels[0] for name in names
    ]


@pytest.mark.parametrize(
    ("axis", "values", "sentence"),
    [
        ("scale", "0.5,3", "AnyMS: scale of the X/Y/Z plot is 3.0 (expected 0.0 to 2.0). Correct it."),
        ("adapter", "auto,nothing", "AnyMS: there is no model file named 'nothing'"),
    ],
)
def test_a_value_out_of_bounds_is_refused(studio: Studio, axis: str, values: str, sentence: str) -> None:
    answer = plot(studio, (f"[AnyMS] {axis}", values))
    assert answer.status == 500
    assert sentence in answer.sentence


def test_an_axis_of_anyms_without_anyms_is_refused(studio: Studio) -> None:
    answer = plot(studio, ("[AnyMS] scale", "0.5"), request={"enabled": False})
    assert "an axis of the X/Y/Z plot changes AnyMS, but AnyMS is off" in answer.sentence


# -- AnyMS's own addresses ---------------------------------------------------------------------------------------------


def test_what_the_api_reports(studio: Studio) -> None:
    ask = studio.host.get
    version = ask("/anyms/v1/version").body
    assert version["request"] == 1
    assert version["host"] == studio.kind.name
    assert set(ask("/anyms/v1/schema").body["properties"]) >= {"subjects", "scale", "mode"}
    models = ask("/anyms/v1/models").body
    assert models["checkpoint"]["attn2"] == LAYERS
    assert {row["file"]: (row["kind"], row["fits"]) for row in models["adapters"]} == {
        path.name: (kind, True) for kind, path in studio.files.adapters.items()
    }
    assert [row["file"] for row in models["encoders"]] == [studio.files.encoder.name]
    assert str(studio.host.data) not in json.dumps(models, ensure_ascii=False)


def test_the_doctor_after_a_job_and_after_a_refusal(studio: Studio, measured: list[str]) -> None:
    studio.paint(two_subjects())
    text = fetch(studio.host, "/anyms/v1/doctor")[1]
    measured.append(f"{studio.host.place.name}, its doctor:\n{text}")
    assert f"{LAYERS} of {LAYERS} layers in each of 3 UNet calls, largest grid 12 x 8 tokens" in text
    assert "last job: ran through" in text
    assert f"checkpoint: {LAYERS} attn2" in text
    for secret in (str(studio.host.data), str(studio.host.place.folder), "beach", "cat", "dog"):
        assert secret not in text
    studio.ask(two_subjects(adapter="nothing"))
    assert "last job: file_unknown" in fetch(studio.host, "/anyms/v1/doctor")[1]


def fetch(
    host: server.HostServer, path: str, form: dict[str, str] | None = None, **headers: str
) -> tuple[int, str, Any]:
    """Send a request with our headers or a form -> status, text and headers of any kind of answer."""
    data = urllib.parse.urlencode(form).encode() if form else None
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(host.url + path, data, headers), timeout=60) as answer:
            return answer.status, answer.read().decode(), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), error.headers


@pytest.fixture
def locked(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.HostServer]:
    """The same host again, with both kinds of login."""
    flags = ("--api-auth", "bob:pw", "--gradio-auth", "ann:secret")
    with started_again(studio, tmp_path_factory.mktemp("locked"), *flags) as locked:
        yield locked.host


def test_behind_the_host_s_logins(locked: server.HostServer) -> None:
    def basic(words: str) -> dict[str, str]:
        return {"Authorization": "Basic " + base64.b64encode(words.encode()).decode()}

    for path in ("version", "schema", "models", "doctor"):
        assert fetch(locked, f"/anyms/v1/{path}")[0] == 401
        assert fetch(locked, f"/anyms/v1/{path}", **basic("bob:secret"))[0] == 401
        assert fetch(locked, f"/anyms/v1/{path}", **basic("bob:pw"))[0] == 200
    _, _, head = fetch(locked, "/login", {"username": "ann", "password": "secret"})
    cookies = "; ".join(each.partition(";")[0] for each in head.get_all("set-cookie"))
    assert fetch(locked, "/anyms/v1/version", Cookie=cookies)[0] == 200
    assert fetch(locked, "/anyms/v1/version", Cookie="access-token=forged")[0] == 401
    assert fetch(locked, "/sdapi/v1/options", **basic("bob:pw"))[0] == 200  # as the host's own addresses
    assert fetch(locked, "/sdapi/v1/options")[0] == 401
