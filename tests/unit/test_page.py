"""The page's form without a browser: its values become a request, and an infotext becomes its values again."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from lib_anyms.errors import Refused
from lib_anyms.job import infotext
from lib_anyms.job.request import Request
from lib_anyms.layout.layout import Layout
from lib_anyms.layout.silhouette import Silhouette
from tests.support.adapter_files import write_adapter, write_encoder
from tests.support.fake_webui import FakeWebUI, fake_webui
from tests.support.tiny_unet import tiny_unet

RED, BLUE, GREEN = (Image.new("RGB", (6, 5), colour) for colour in ("red", "blue", "green"))


def held(*pictures: Image.Image) -> str:
    """The value of a slot with these pictures, as the page's script writes it."""
    return json.dumps([f"data:image/png;base64,{encoded(picture)}" for picture in pictures])


def encoded(picture: Image.Image) -> str:
    data = io.BytesIO()
    picture.save(data, "PNG")
    return base64.b64encode(data.getvalue()).decode()


class Page:
    """The accordion: its components by their infotext names."""

    def __init__(self, webui: FakeWebUI) -> None:
        self.webui = webui
        self.panel = webui("lib_anyms.webui.ui.panel")
        self.built = self.panel.build(lambda name: f"anyms_{name}")
        self.by_name = {target.name: component for component, target in self.built.infotext_fields}

    @property
    def panel_events(self) -> dict[str, Any]:
        """The functions behind changes of hidden fields, by label."""
        events = {}
        for component in self.webui("gradio").COMPONENTS:
            if "change" in getattr(component, "events", {}):
                events[component.label] = component.events["change"]
        return events

    @property
    def values(self) -> list[Any]:
        return [component.value for component in self.built.components]

    def fill(self, **values: Any) -> None:
        for name, value in values.items():
            self.by_name[name].value = value

    def request(self) -> Request:
        return self.panel.page_request(self.values)

    def paste(self, params: dict[str, Any]) -> str:
        """As the hosts do: every field, then the change of the hidden field -> the note."""
        for component, target in self.built.infotext_fields:
            value = target(params)
            if value is not None:
                component.value = type(component.value)(value)
        compare, inputs, outputs = self.by_name["arrived"].events["change"]
        updates = compare(*(component.value for component in inputs))
        for component, change in zip(outputs, updates, strict=True):
            component.value = change.get("value", component.value)
        assert updates[0]["visible"] == bool(outputs[0].value)
        return outputs[0].value


@pytest.fixture
def webui(tmp_path: Path) -> Iterator[FakeWebUI]:
    (tmp_path / "ipadapter").mkdir()
    write_adapter(tmp_path / "ipadapter" / "some.safetensors", tiny_unet())
    with fake_webui(tmp_path) as loaded:
        yield loaded


@pytest.fixture
def page(webui: FakeWebUI) -> Page:
    return Page(webui)


def fill_both(page: Page) -> None:
    page.fill(
        enabled=True, scale=0.35, mode="masked-sum", unconditional="cond-only", fit="crop", adapter="some.safetensors"
    )
    page.fill(
        slot1_pictures=held(RED),
        slot1_name='a, "cat"\n猫',
        slot1_role="attribute",
        slot1_x0=0.25,
        slot1_weight=0.5,
        slot1_end=0.75,
    )
    page.fill(slot2_pictures=held(BLUE), slot2_name="<dog>", slot2_blocks="style")


def test_an_infotext_pastes_back_into_the_same_request(page: Page) -> None:
    fill_both(page)
    request = page.request()
    fresh = Page(page.webui)
    note = fresh.paste({"AnyMS": infotext.write(request)})
    assert [fresh.by_name[f"slot{n}_pictures"].value for n in (1, 2)] == ["", ""]
    assert "Add again that of: &lt;dog&gt;, a, &quot;cat&quot;" in note  # back to front, as in the image
    with pytest.raises(Refused) as refusal:
        fresh.request()  # a missing picture is not skipped
    assert refusal.value.cause == "picture_missing"
    fresh.fill(slot1_pictures=held(BLUE), slot2_pictures=held(RED))
    assert fresh.request() == request


def test_an_edited_infotext_fills_the_form_with_the_edit(page: Page) -> None:
    """The pictures stay by their hashes, a new subject is named because it has none."""
    fill_both(page)
    line = infotext.write(page.request())
    edited = line.replace("weight 0.5", "weight 1.5").replace("scale 0.35", "scale 0.3") + "; fox 10 20 30x40"
    note = page.paste({"AnyMS": edited})
    values = {name: page.by_name[name].value for name in ("scale", "slot1_name", "slot2_weight", "slot3_name")}
    assert values == {"scale": 0.3, "slot1_name": "<dog>", "slot2_weight": 1.5, "slot3_name": "fox"}
    assert [page.by_name[f"slot3_{edge}"].value for edge in ("x0", "y0", "x1", "y1")] == [0.1, 0.2, 0.4, 0.6]
    assert note.endswith("Add again that of: fox.")


def test_a_silhouette_is_not_lost_silently(page: Page) -> None:
    fill_both(page)
    request = page.request()
    back, front = request.layout.subjects
    shaped = replace(front, silhouette=Silhouette.of(Image.new("L", (4, 4), 255), "a"))
    note = page.paste({"AnyMS": infotext.write(replace(request, layout=Layout((back, shaped))))})
    assert "Silhouettes that are not kept" in note
    assert "that of: a, &quot;cat&quot;" in note
    assert page.request() == request


def test_a_silhouette_on_the_page_is_the_subject_s(page: Page) -> None:
    mask = Image.new("RGBA", (4, 2), (255, 255, 255, 0))
    mask.paste((255, 255, 255, 255), (1, 0, 3, 2))
    fill_both(page)
    page.fill(slot1_silhouette=f"data:image/png;base64,{encoded(mask)}")
    request = page.webui("lib_anyms.webui.ui.cached_pictures").remember(page.request())
    back, front = request.layout.subjects
    assert (back.silhouette, front.silhouette) == (None, Silhouette.of(mask.getchannel("A"), "a"))
    page.fill(slot1_silhouette="")
    note = page.paste({"AnyMS": infotext.write(request)})
    assert "ilhouette" not in note
    assert page.request().layout == request.layout  # it was kept, and is back


@pytest.mark.parametrize("turned", [False, True])
def test_an_order_that_would_not_be_proposed_is_kept(page: Page, turned: bool) -> None:
    hat = {"name": "hat", "role": "attribute", "box": [0.1, 0.1, 0.3, 0.3], "images": [encoded(RED)]}
    sea = {"name": "sea", "role": "background", "box": [0, 0, 1, 1], "images": [encoded(BLUE)]}
    request = Request.from_json({"subjects": [sea, hat] if turned else [hat, sea]})
    page.paste({"AnyMS": infotext.write(request)})
    page.fill(slot1_pictures=held(*request.pictures[0]), slot2_pictures=held(*request.pictures[1]))
    assert page.request() == request
    assert page.by_name["order"].value == ("by role and size" if turned else "as numbered")


def test_pictures_of_the_same_infotext_stay(page: Page) -> None:
    fill_both(page)
    request = page.request()
    page.fill(slot1_pictures=held(BLUE), slot2_pictures=held(GREEN))
    note = page.paste({"AnyMS": infotext.write(request)})
    assert page.by_name["slot1_pictures"].value == held(BLUE)
    assert page.by_name["slot2_pictures"].value == ""
    assert "Add again that of: a, &quot;cat&quot;\n猫." in note
    page.fill(slot2_pictures=held(RED))
    assert page.paste({"AnyMS": infotext.write(request)}) == ""
    assert page.request() == request


def test_a_slot_without_a_subject_is_emptied(page: Page) -> None:
    fill_both(page)
    one = Request.from_json({"subjects": [{"name": "cat", "box": [0, 0, 1, 1], "images": [encoded(RED)]}]})
    page.paste({"AnyMS": infotext.write(one)})
    page.fill(slot1_pictures=held(RED))
    assert page.request() == one


def test_the_maximum_number_of_subjects_is_pasted(page: Page) -> None:
    subjects = [{"name": f"cat {n}", "box": [0, 0, n / 12, 1], "images": [RED] * (1 + n % 2)} for n in range(1, 13)]
    note = page.paste({"AnyMS": infotext.write(Request.from_json({"subjects": subjects}))})
    assert "that of: cat 1 (2 of 2 pictures), cat 2, cat 3 (2 of 2 pictures)," in note
    page.fill(**{f"slot{n}_pictures": held(RED) for n in range(1, 13)})
    assert [subject.name for subject in page.request().layout.subjects] == [f"cat {n}" for n in range(1, 13)]


def test_the_order_is_read_from_text(page: Page) -> None:
    page.fill(
        enabled=True,
        **{f"slot{n}_pictures": held(RED) for n in (1, 2, 3)},
        **{f"slot{n}_name": f"cat {n}" for n in (1, 2, 3)},
    )
    for order, names in (("3 1 2", "312"), ("2,1", "213"), ("as numbered", "123"), ("12 3", "312")):
        page.fill(order=order)
        assert [subject.name for subject in page.request().layout.subjects] == [f"cat {n}" for n in names]
    for wrong in ("1 1", "0 1", "13", "topmost", "2 -1", "²"):
        page.fill(order=wrong)
        with pytest.raises(Refused, match="Correct it") as refusal:
            page.request()
        assert refusal.value.cause == "order_form"


def test_a_slot_that_is_not_used_is_left_out(page: Page) -> None:
    fill_both(page)
    page.fill(slot1_use=False)
    assert [subject.name for subject in page.request().layout.subjects] == ["<dog>"]
    page.paste({"AnyMS": infotext.write(page.request())})
    assert page.by_name["slot1_use"].value is True


def test_the_browser_alone_reports_changes_to_the_editor(page: Page) -> None:
    scripts = {name: getattr(page.by_name[name], "in_browser", []) for name in page.by_name}
    assert scripts["slot12_x0"] == ['() => { window.anyms?.changed("anyms_"); return []; }']
    expected = {"order", "fit"}
    shown = "pictures silhouette name role blocks weight start end prompt avoid x0 y0 x1 y1 use".split()
    for n in range(1, 13):
        expected |= {f"slot{n}_{name}" for name in shown}
    assert {name for name, calls in scripts.items() if calls} == expected


def test_an_opened_layout_fills_the_slots_and_turns_the_others_off(page: Page) -> None:
    fill_both(page)
    opened = page.webui("lib_anyms.webui.ui.paste")
    hat = {"name": "hat", "box": [0.1, 0.1, 0.3, 0.3], "role": "attribute", "weight": 0.5}
    note, *values = opened.opened(json.dumps({"number": 1, "layout": {"version": 1, "subjects": [hat]}}))
    assert not note["visible"]
    updates = dict(zip(opened.RESTORED, values, strict=True))
    filled = {name: value for name, value in updates.items() if not isinstance(value, dict)}
    assert filled.keys() == set(opened.LAYOUT_NAMES)  # pictures and settings stay
    page.fill(**filled)
    subjects = page.request().layout.subjects
    assert [(subject.name, subject.weight, subject.box.x0) for subject in subjects] == [("hat", 0.5, 0.1)]
    for wrong in (
        "",
        "[]",
        '{"layout": {"version": 2, "subjects": []}}',
        '{"layout": {"version": 1, "subjects": [{"box": 5}]}}',
    ):
        note, *values = opened.opened(wrong)
        assert note["value"].startswith("AnyMS: ")
        assert all("value" not in value for value in values)


def test_an_opened_layout_leaves_unnamed_subjects_unnamed_and_roles_automatic(page: Page) -> None:
    opened = page.webui("lib_anyms.webui.ui.paste")
    whole = [0, 0, 1, 1]
    subjects = [{"box": whole}, {"name": "hat", "role": "attribute", "box": whole}, {"name": "hat", "box": whole}]
    layout = {"version": 1, "subjects": [*subjects, {"box": whole}]}
    _, *values = opened.opened(json.dumps({"layout": layout}), held(RED), held(RED), held(RED), "")
    filled = dict(zip(opened.RESTORED, values, strict=True))
    assert [filled[f"slot{n}_name"] for n in range(1, 5)] == ["", "hat", "hat", "subject 4"]
    assert [filled[f"slot{n}_role"] for n in range(1, 5)] == ["auto", "auto", "subject", "auto"]


def test_the_host_s_sizes_are_watched(page: Page) -> None:
    editor, gradio = page.webui("lib_anyms.webui.ui.editor"), page.webui("gradio")
    for elem_id, tab in (
        ("txt2img_width", "txt2img"),
        ("img2img_height", "img2img"),
        ("txt2img_steps", None),
        (None, None),
    ):
        component = gradio.Slider(64, 2048)
        editor.watch_size(component, elem_id)
        scripts = getattr(component, "in_browser", [])
        assert scripts == ([f'() => {{ window.anyms?.resized("{tab}"); return []; }}'] if tab else [])


@pytest.mark.parametrize(
    "change", [{"version": 2}, {"scale": 9}, {"subjects": "x"}, "version 2; {}", "{}, glow 3", "x"]
)
def test_an_unreadable_infotext_is_one_sentence_and_changes_nothing(page: Page, change: dict | str) -> None:
    fill_both(page)
    before, request = page.values, page.request()
    if isinstance(change, str):
        text = change.format(infotext.write(request))
    else:
        text = json.dumps({**request.to_json(), **change})
    note = page.paste({"AnyMS": text, "Steps": "3"})
    assert note.startswith("AnyMS: ")
    assert note.endswith(".")
    assert page.values == before


def test_an_image_without_anyms_turns_it_off(page: Page) -> None:
    fill_both(page)
    assert page.paste({"Steps": "3", "AnyMS skipped": "AnyMS: ..."}) == ""
    assert page.by_name["enabled"].value is False
    assert page.by_name["slot1_pictures"].value == held(RED)


def test_no_field_would_change_the_api_s_infotext(page: Page) -> None:
    """A dict (gradio's update) as a value makes the API of gradio 4's hosts fail, and so does a field with `api`."""
    fill_both(page)
    params = {"AnyMS": infotext.write(page.request())}
    for component, target in page.built.infotext_fields:
        assert not isinstance(target(params), dict)
        assert component is page.by_name["arrived"] or component in page.built.components


def test_send_to_copies_everything_but_the_notes_to_the_other_tab(page: Page) -> None:
    """The host copies the components whose targets are the same in both tabs."""
    other = Page(page.webui)
    names = page.built.paste_field_names
    inputs, outputs = ([field for field, name in tab.built.infotext_fields if name in names] for tab in (page, other))
    fill_both(page)
    for source, target in zip(inputs, outputs, strict=True):
        target.value = source.value
    assert other.request() == page.request()
    assert other.by_name["arrived"].value == ""


def test_a_named_slot_without_a_picture_is_refused_and_an_empty_one_is_not(page: Page) -> None:
    page.fill(enabled=True, slot1_pictures=held(RED), slot1_name="cat")
    assert page.request().layout is not None
    page.fill(slot2_name="dog")
    with pytest.raises(Refused, match="'dog' has no reference picture"):
        page.request()


def test_the_settings_are_registered_and_read(webui: FakeWebUI) -> None:
    settings, shared = webui("lib_anyms.webui.ui.settings"), webui("modules.shared")
    assert settings.writes_infotext()  # a host without a page has not registered the settings
    settings.register(lambda: None)
    assert (settings.writes_infotext(), settings.first_adapter()) == (True, "auto")
    shared.opts.anyms_infotext, shared.opts.anyms_adapter = False, "some.safetensors"
    assert (settings.writes_infotext(), settings.first_adapter()) == (False, "some.safetensors")
    assert Page(webui).by_name["adapter"].value == "some.safetensors"
    shared.opts.anyms_adapter = "gone.safetensors"
    assert settings.first_adapter() == "auto"


def test_a_switched_on_page_without_subjects_makes_the_host_s_image(page: Page) -> None:
    """Opening the accordion switches AnyMS on."""
    values = page.values
    assert not page.panel.lacks_subjects(values)
    page.fill(enabled=True, scale=0.3)
    assert page.panel.lacks_subjects(page.values)
    assert not page.request().active
    for name, value in (("slot2_name", "dog"), ("slot2_pictures", held(RED))):
        page.fill(**{name: value})
        assert not page.panel.lacks_subjects(page.values)
        page.fill(slot2_use=False)
        assert page.panel.lacks_subjects(page.values)  # all are switched off
        page.fill(slot2_use=True, **{name: ""})


def test_a_button_without_subjects_makes_the_host_s_image(page: Page) -> None:
    page.fill(enabled=False)
    values = [*page.values[:-1], "comparison"]
    assert page.panel.lacks_subjects(values)
    assert not page.panel.page_request(values).enabled


@pytest.mark.parametrize(
    ("strength", "button", "used"), [(0.0, "refine", 0.35), (0.6, "refine", 0.6), (0.0, "maps", 0)]
)
def test_a_button_refines_once_with_the_page_s_strength_or_the_usual_one(
    page: Page, strength: float, button: str, used: float
) -> None:
    fill_both(page)
    page.fill(enabled=False, refine=strength)
    request = page.panel.page_request([*page.values[:-1], button])
    assert (request.active, request.refine) == (True, used)
    assert page.request().refine == 0  # the next Generate: the page is off


@pytest.mark.parametrize("sent", [{}, {"subjects": []}, {"enabled": True}, "{}", '{"subjects": []}', " ", [], 0, False])
def test_the_api_s_request_without_subjects_is_refused(page: Page, sent: Any) -> None:
    values = [sent, *page.values[1:]]
    assert page.panel.uses_anyms(values)
    assert not page.panel.lacks_subjects(values)
    with pytest.raises(Refused) as refusal:
        page.panel.page_request(values)
    kind = "subject_count" if isinstance(sent, dict) or "{" in str(sent) else "request_form"
    assert refusal.value.cause == kind


@pytest.mark.parametrize("sent", ["", None])
def test_an_absent_request_leaves_the_page_s_values(page: Page, sent: Any) -> None:
    values = [sent, *page.values[1:]]
    assert not page.panel.uses_anyms(values)
    fill_both(page)
    assert page.panel.page_request([sent, *page.values[1:]]) == page.request()


def test_lists_of_files_are_those_of_now(page: Page, tmp_path: Path) -> None:
    """The page was built before the user copied files in."""
    assert page.webui("gradio").COMPONENTS  # built
    write_adapter(tmp_path / "ipadapter" / "later.safetensors", tiny_unet())
    files = page.webui("lib_anyms.webui.ui.files")
    problem, _, lacking, adapters, encoders, message, offered = files.files_now("auto", "auto", "")
    assert lacking == ""  # no known encoder fits this tiny adapter
    assert adapters["choices"] == ["auto", "later.safetensors", "some.safetensors"]
    assert encoders["choices"] == ["auto"]
    assert "No image encoder" in problem
    assert problem[:20] in message
    write_encoder(tmp_path / "ipadapter" / "encoder.safetensors")
    problem, _, lacking, _, encoders, message, offered = files.files_now("auto", "auto", "")
    assert (problem, lacking, encoders["choices"]) == ("", "", ["auto", "encoder.safetensors"])
    assert "are installed" in message
    assert len(offered["choices"]) > 2


@pytest.mark.parametrize("shown", ["the page is opened", "the button", "a download has ended"])
def test_what_is_missing_is_looked_up_when_it_is_shown(page: Page, shown: str) -> None:
    gradio, files = page.webui("gradio"), page.webui("lib_anyms.webui.ui.files")
    loads = gradio.context.Context.root_block.loads
    clicks = [part.events["click"] for part in gradio.COMPONENTS if part.value == "Check again"]
    downloads = [
        part.ends.afterwards[0]
        for part in gradio.COMPONENTS
        if part.value in ("Download", "Download all that is missing")
    ]
    assert len(downloads) == 2
    act = {"the page is opened": loads, "the button": clicks, "a download has ended": downloads}[shown][-1]
    outputs = ["found", "ready", "lacking", "Adapter", "Image encoder"]
    assert act[0] is (files.names_now if shown == "a download has ended" else files.files_now)
    assert [part.label for part in act[2][:5]] == outputs
    assert [part.label for part in act[1]] == ["Adapter", "Image encoder", "check"]


# -- the X/Y/Z plot ----------------------------------------------------------------------------------------------------


class AxisOption:
    """As in the hosts' plots."""

    def __init__(self, label: str, kind: type, apply: Any, confirm: Any = None, choices: Any = None) -> None:
        self.label, self.type, self.apply, self.confirm, self.choices = label, kind, apply, confirm, choices


class Plot:
    """The host's plot with our axes, and a job of the page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.module = SimpleNamespace(axis_options=[AxisOption("Seed", int, None)], AxisOption=AxisOption)
        data = SimpleNamespace(path="scripts/xyz_grid.py", module=self.module)
        page.webui("modules.scripts").scripts_data[:] = [
            data,
            SimpleNamespace(path="other.py", module=SimpleNamespace()),
        ]
        self.axes = page.webui("lib_anyms.webui.ui.axes")
        self.axes.register()
        ours = SimpleNamespace(title=lambda: "AnyMS", args_from=2, args_to=2 + len(page.values))
        runner = SimpleNamespace(alwayson_scripts=[SimpleNamespace(title=lambda: "Other"), ours])
        self.job = SimpleNamespace(scripts=runner, script_args=(0, "x", *page.values, "y"))

    def option(self, label: str) -> AxisOption:
        return next(option for option in self.module.axis_options if option.label == label)

    def cell(self, **values: Any) -> Request:
        cell = SimpleNamespace(**vars(self.job))
        for label, value in values.items():
            option = self.option(f"[AnyMS] {label.replace('_', ' ')}")
            option.confirm(cell, [option.type(value)])
            option.apply(cell, option.type(value), [value])
        assert [*cell.script_args[:2], cell.script_args[-1]] == [0, "x", "y"]
        return self.page.panel.page_request(cell.script_args[2:-1])


@pytest.fixture
def plot(page: Page) -> Plot:
    fill_both(page)
    return Plot(page)


def test_axes_change_one_cell_s_request(plot: Plot) -> None:
    whole = plot.page.request()
    assert plot.cell(scale="0.1").scale == 0.1
    assert plot.cell(mode="global-sum").mode == "global-sum"
    assert plot.cell(adapter="auto").adapter == "auto"
    assert [subject.weight for subject in plot.cell(weight_of_all="0.25").layout.subjects] == [0.25, 0.25]
    turned = plot.cell(order="reversed", scale="0.2")
    assert turned.layout.subjects == whole.layout.subjects[::-1]
    assert turned.pictures == whole.pictures[::-1]
    assert turned.scale == 0.2
    worded = plot.cell(elsewhere="grass, a fence", words="0.5")
    assert (worded.elsewhere, worded.words) == ("grass, a fence", 0.5)
    assert plot.cell(elsewhere="auto").elsewhere == "auto"
    assert plot.cell(order="as given") == plot.page.request() == whole  # the cells share the job, which does not change


def test_axes_are_appended_once(plot: Plot) -> None:
    labels = [option.label for option in plot.module.axis_options]
    assert labels == ["Seed", *(axis.label for axis in plot.axes.AXES)]
    plot.axes.register()  # Reload UI
    assert [option.label for option in plot.module.axis_options] == labels
    assert plot.option("[AnyMS] adapter").choices() == ["auto", "some.safetensors"]


def test_a_host_without_the_plot_is_left_alone(plot: Plot) -> None:
    plot.page.webui("modules.scripts").scripts_data[:] = []
    plot.axes.register()


@pytest.mark.parametrize(
    ("axis", "value", "sentence"),
    [
        ("scale", 9.0, r"scale of the X/Y/Z plot is 9.0 \(expected 0.0 to 2.0\)"),
        ("weight of all", -1.0, "weight of the X/Y/Z plot is -1.0"),
        ("mode", "sum", "expected one of: crop-merge"),
        ("order", "up", "expected one of: as given, reversed"),
        ("adapter", "other", r"no model file named 'other' \(found: some.safetensors\)"),
        ("words", 1.5, r"words of the X/Y/Z plot is 1.5 \(expected 0.0 to 1.0\)"),
        ("words", 0.5, "no subject has a prompt"),
        ("elsewhere", "grass <lora:moss:1>", "elsewhere contains <lora:moss:1>"),
    ],
)
def test_a_value_out_of_bounds_is_refused_before_the_first_cell(
    plot: Plot, axis: str, value: Any, sentence: str
) -> None:
    with pytest.raises(Refused, match=sentence):
        plot.option(f"[AnyMS] {axis}").confirm(plot.job, [value])


def test_an_axis_of_anyms_needs_anyms_on(page: Page) -> None:
    fill_both(page)
    page.fill(enabled=False)
    plot = Plot(page)
    with pytest.raises(Refused) as refusal:
        plot.option("[AnyMS] scale").confirm(plot.job, [0.5])
    assert refusal.value.cause == "axis_off"
