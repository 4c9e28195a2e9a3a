"""Every way AnyMS can say no: two kinds of error and one table of causes.

REFUSE: the job must not go on (bad input, wrong file, nothing fired). The sentence reaches the page and, as the 500 of
the API, the caller. STEP ASIDE: the picture is made without AnyMS, and the sentence says why. What is only told is a
note. Each sentence reads: what is wrong (got X, expected Y), then what to do.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

LONGEST_GOT, LONGEST = 200, 2000  # characters of a fact in a sentence: what came from outside may be a whole picture


def _bounded(name: str, fact: object) -> object:
    text, high = str(fact), LONGEST_GOT if name == "got" else LONGEST
    return fact if len(text) <= high else text[: high - 3] + "..."


class AnyMSError(Exception):
    """A cause from the tables below, with its facts filled in; `str(error)` is the sentence the user reads."""

    causes: dict[str, str] = {}

    def __init__(self, cause: str, **facts: object) -> None:
        self.cause = cause
        self._facts = facts
        super().__init__(
            "AnyMS: " + self.causes[cause].format(**{name: _bounded(name, fact) for name, fact in facts.items()})
        )

    @property
    def facts(self) -> dict[str, object]:
        """What is filled into the sentence, by name."""
        return dict(self._facts)

    def __reduce__(self) -> tuple[Callable[[], AnyMSError], tuple[()]]:
        """As pickled by a process that hands it to another."""
        return partial(type(self), self.cause, **self._facts), ()


class Refused(AnyMSError):
    """Stop the job and show the sentence."""

    causes = {
        # boxes and layouts
        "box_form": "a box is four numbers x0, y0, x1, y1 in fractions of the picture (got {got}). Write for example 0.1,0.2,0.5,0.9.",
        "box_empty": "the box {box} has no area (expected x0 < x1 and y0 < y1). Make it larger.",
        "box_outside": "the box {box} lies wholly outside the picture (expected a part of it within 0..1). Move it inside.",
        "layout_form": "the layout is not an object with a list of subjects (got {got}). Export one again, or see docs/layout.md.",
        "layout_version": "the layout has version {got}, this AnyMS reads version {expected}. Update AnyMS, or export the layout again.",
        "order_form": 'the order is {got!r} (expected "by role and size", "as numbered", or different numbers from 1 to {high}, back to front). Correct it.',
        "subject_count": "{got} subjects were given (expected {low} to {high}). Remove or add subjects.",
        # fields of a request
        "field_unknown": "{where} has no field named {got!r} (expected one of: {expected}). Correct the name or leave it out.",
        "field_missing": "{where} lacks the field {field!r}. Add it.",
        "field_type": "{field} is {got} (expected {expected}). Correct it.",
        "field_range": "{field} is {got} (expected {low} to {high}). Correct it.",
        "field_choice": "{field} is {got!r} (expected one of: {expected}). Pick one of them.",
        "subject_window": "subject {name!r} starts at {start} and ends at {end} of the steps (expected start < end). Move one of them.",
        "request_form": "the request is not a JSON object (got {got}). See docs/api.md.",
        "request_version": "the request has version {got}, this AnyMS reads version {expected}. Update AnyMS or the caller.",
        # infotexts, and what else the page reads
        "infotext_damaged": "the picture's AnyMS entry cannot be read ({got}), so the subjects were not pasted. Copy the whole infotext again, or set them by hand.",
        "infotext_version": "the picture's AnyMS entry has version {got}, this AnyMS reads version {expected}, so the subjects were not pasted. Update AnyMS, or set them by hand.",
        "infotext_absent": "this picture tells nothing of AnyMS (expected an infotext with an entry of AnyMS). Take a picture that AnyMS made, or drop this one onto a box to use it as a reference.",
        "axis_off": "an axis of the X/Y/Z plot changes AnyMS, which is off (expected it on, with subjects). Switch AnyMS on or take another axis.",
        # pictures
        "picture_missing": "subject {name!r} has no reference picture (expected at least one). Add a picture of it or turn the subject off.",
        "picture_count": "subject {name!r} has {got} reference pictures (expected at most {high}). Remove some.",
        "picture_unreadable": "a reference picture of subject {name!r} cannot be read ({got}). Save it as PNG or JPEG and add it again.",
        "picture_too_large": "a reference picture of subject {name!r} is too large (got {got}, expected at most {high}). Make it smaller.",
        "picture_form": "{field} is {got} (expected base64 text, or an object with data and, if wanted, crop and mask). Correct it.",
        "rembg_absent": "removing a background needs the Python package rembg, which is not installed here. Install it, give a mask, or crop the picture.",
        "rembg_model": "rembg has none of its models {expected} in {folder}. Use rembg once by itself, which fetches one, or give a mask.",
        "rembg_failed": "rembg could not remove the background ({got}). Give a mask, or crop the picture.",
        # subject cards
        "card_kind": "{card} is no subject card (expected a .safetensors file that AnyMS has saved as one). Pick another file, or make a card from the subject's pictures.",
        "card_version": "the subject card {card} has version {got}, this AnyMS reads version {expected}. Update AnyMS, or save the card again.",
        "card_damaged": "the subject card {card} is damaged ({got}). Get it again, or make one from the subject's pictures.",
        "card_too_large": "the subject card {card} is too large (got {got}, expected at most {high}). Save it again from fewer pictures or for fewer adapters.",
        "card_adapter": "the card of subject {name!r} has no tokens for the adapter {expected} (it has them for {got}). Pick that adapter, or have the card's kept picture encoded anew for this one: `python -m lib_anyms card add`, or Use its pictures on the page.",
        "card_unknown": "there is no subject card named {got!r} in the library (found: {expected}). Pick one of these or add the file.",
        "card_and_pictures": "subject {name!r} has a card and pictures too (expected one of them). Leave one out.",
        "card_pictures": "the card of subject {name!r} keeps no such picture. Give the subject's pictures themselves.",
        "card_unwritten": "the card cannot be written into the folder {folder} ({got}). Check that it may be written to, or set another folder.",
        "card_taken": "{path} is there already (expected a new file's name). Give another name, or move that file away.",
        "card_suffix": "{path} does not end in {expected}, by which a card is told from a picture. Give another name.",
        "card_already": "subject {name!r} is a card already (expected pictures). Take its card out of the slot and add its pictures to save a new one.",
        "card_model": "no checkpoint is loaded, so it is unknown which adapter a card is to be for. Load one, or generate once, then save the card.",
        "card_full": "the card {card} has tokens for {high} adapters already. Save a new card for this one.",
        # the model and the adapter
        "adapter_absent": 'no IP-Adapter for SDXL was found (looked in: {places}{found}). Put {file} into {into}, or fetch it under "model files" in the AnyMS panel.',
        "file_unknown": "there is no model file named {got!r} (found: {expected}). Pick one of these or add the file.",
        "encoder_absent": 'no image encoder that gives {width} numbers, as {adapter} needs, was found (encoders there: {found}; looked in: {places}). Put {file} into {into}, or fetch it under "model files" in the AnyMS panel.',
        "encoder_mismatch": "the image encoder {encoder} does not fit the adapter {adapter} (got width {got}, expected {expected}). Pick the encoder that belongs to it.",
        "encoder_form": "{path} is no CLIP image encoder with a projection ({got}). Pick CLIP-ViT-H-14 or CLIP-ViT-bigG-14.",
        # fetching model files
        "download_unknown": "{got!r} is no file AnyMS can fetch (expected {expected}). Pick one of these, or download it by hand.",
        "download_running": "{file} is being fetched already (expected one download at a time). Wait for it, or stop it.",
        "download_busy": "a picture is being made, and {file} is not fetched meanwhile. Press again when it is done.",
        "download_taken": "{file} is there already, in the folder {folder}. Use it, or move it away and press again.",
        "download_mirror": "the address to fetch from is {got!r} (expected one that begins with https:// or http://). Correct it in the settings.",
        "download_space": "the disk of the folder {folder} has too little free space for {file} (got {got}). Free some and press again.",
        "download_unwritable": "nothing can be written into the models folder {folder} ({got}). Check its rights, or put the file there by hand.",
        "download_refused": "the server does not give {file} ({got}). Download it by hand, or set a mirror in the settings.",
        "download_broken": "the connection broke off while {file} was fetched ({got}; {done} are there). Press again: it goes on from there.",
        "download_other": "what came as {file} is another file (got {got}, expected {expected}), so it was thrown away. Press again, or set another mirror in the settings.",
        # files of tensors
        "file_unreadable": "{path} cannot be read ({got}). Check that it is there and may be read.",
        "file_kind": "{path} is {got} (expected a .safetensors file, or a .bin or .pth in torch's zip format). Download the file itself again.",
        "file_legacy": "{path} is a pickle from before torch 1.6 (expected torch's zip format), and reading one can run code. Get a .safetensors version or, if you trust its source, convert it to .safetensors.",
        "file_code": "{path} holds more than tensors (got {got}), which only running its code could read. Get a .safetensors version from a source you trust.",
        "file_form": "{path} is stored in a form AnyMS does not read (got {got}, expected {expected}). Convert it to .safetensors.",
        "file_damaged": "{path} is damaged ({got}). Download it again.",
        "file_tensor": "{path} holds no tensor named {got}. Pick another file.",
        # what looks like an IP-Adapter for SDXL
        "adapter_none": "{path} is no IP-Adapter (got keys like {got}, expected image_proj.* and ip_adapter.*). Pick ip-adapter-plus_sdxl_vit-h.",
        "adapter_truncated": "the IP-Adapter {path} is not complete (it lacks {got}). Download it again.",
        "adapter_shapes": "the parts of the IP-Adapter {path} do not fit together ({what}: got {got}, expected {expected}). Download it again.",
        "adapter_variant": "{path} is an IP-Adapter of a kind AnyMS does not know (got {got}). Pick ip-adapter_sdxl or ip-adapter-plus_sdxl_vit-h.",
        "adapter_transformer": "{path} is an IP-Adapter for a transformer such as Flux or SD 3 (got {got}, expected layers 1, 3, 5, ...). Pick ip-adapter-plus_sdxl_vit-h.",
        "adapter_faceid": "{path} is a FaceID adapter, which needs face recognition and a LoRA (got {got}). Pick ip-adapter-plus-face_sdxl_vit-h.",
        "adapter_portrait": "{path} is a FaceID or portrait adapter, which needs face recognition (got {got}). Pick ip-adapter-plus-face_sdxl_vit-h.",
        "adapter_full_face": "{path} is a full-face adapter of SD 1.5 (got {got}). Pick ip-adapter-plus-face_sdxl_vit-h.",
        "adapter_instantid": "{path} is the adapter of InstantID, which needs face recognition and a ControlNet (got {got}). Pick ip-adapter-plus-face_sdxl_vit-h.",
        "adapter_pulid": "{path} is a PuLID adapter, which needs face recognition (got {got}). Pick ip-adapter-plus-face_sdxl_vit-h.",
        "adapter_photomaker": "{path} is a PhotoMaker file, not an IP-Adapter (got {got}). Pick ip-adapter-plus-face_sdxl_vit-h.",
        "adapter_kolors": "{path} is an IP-Adapter for Kolors (got {got}). Pick ip-adapter-plus_sdxl_vit-h.",
        "adapter_flux": "{path} is made for Flux (got {got}). Pick ip-adapter-plus_sdxl_vit-h and an SDXL checkpoint.",
        "adapter_controlnet": "{path} is a ControlNet, not an IP-Adapter (got {got}). Pick ip-adapter-plus_sdxl_vit-h.",
        "adapter_lora": "{path} is a LoRA, not an IP-Adapter (got {got}). Pick ip-adapter-plus_sdxl_vit-h; a LoRA goes into the prompt.",
        "adapter_encoder": "{path} is an image encoder, not an IP-Adapter (got {got}). Pick ip-adapter-plus_sdxl_vit-h here and this file as the encoder.",
        "adapter_whole_model": "{path} is a whole checkpoint, not an IP-Adapter (got {got}). Pick ip-adapter-plus_sdxl_vit-h.",
        # single-file checkpoints, standalone
        "checkpoint_unreadable": "the checkpoint {path} cannot be read as .safetensors ({got}). Copy or download it again.",
        "checkpoint_kind": "{path} is not an SDXL checkpoint (got {got}, expected one file with UNet, VAE and two text encoders). Pick another file.",
        "checkpoint_missing": "the checkpoint {path} lacks {got} of SDXL's {expected} weights, among them {name}. Pick a complete SDXL checkpoint.",
        "checkpoint_shape": "{name} of the checkpoint {path} has another shape (got {got}, expected {expected}). Pick a checkpoint of SDXL's own size.",
        "structure_fault": "the model's structure is none of SDXL's family ({got}). Write the checkpoint again with this version of AnyMS.",
        "vocabulary_absent": "CLIP's vocabulary {name} was not found (looked in the Python packages: {places}). Install it with `pip install --no-deps clip-anytorch`.",
        # the command line
        "cli_subject": "--subject {got!r} cannot be read (expected {expected}). Correct it.",
        "cli_box_missing": "--subject {name} has no box (expected {expected}). Add @x0,y0,x1,y1, or give --layout FILE.",
        "cli_box_twice": "--subject {name} has a box and --layout gives one too (expected one of them). Leave one out.",
        "cli_layout_count": "{path} places {expected} subjects and {got} --subject were given (expected as many). Add or remove some.",
        "cli_file": "{path} cannot be read ({got}). Check the path.",
        "cli_size": "--size is {got} (expected N or WxH in pixels, multiples of 8 from 64 to 4096). Correct it.",
        "cli_needs": "{option} was given with {got} (expected {expected}). Add it.",
        "cli_no_gpu": "torch {got} sees no GPU (expected one that it is built for). Measure the processor with --suite quick, or run this where a GPU is.",
        "cli_out": "{path} cannot be written ({got}). Give another folder.",
        # the trained small world
        "bundle_damaged": "the trained small model in {folder} is not whole ({got}). Get that folder of AnyMS again.",
        "bundle_taken": "{path} is there already and is another file. Give another folder, or move that file away.",
        # training the small world
        "train_exists": "{out} holds a training already (got no --resume). Add --resume to go on with it, or give another --out.",
        "train_needs": "the stage {stage} builds on the stage {needs}, which {out} does not hold complete. Train that first, or leave out --stage.",
        "train_stage": "there is no stage {got!r} (expected one of: {expected}). Pick one of them.",
        # evaluating it
        "host_unreachable": "{host} does not answer as a WebUI's API does ({got}). Start the WebUI with --api and give its address, for example http://127.0.0.1:7860.",
        "host_lacks": "the WebUI at {host} has no script AnyMS (expected it among its txt2img scripts). Install the extension there and restart it.",
        "host_answer": "the WebUI at {host} made no picture ({got}). Mend that there, then run the same command again: it goes on from there.",
        "host_mode": "a WebUI cannot make pictures in the mode {got} (expected one of: {expected}). Leave out --host for that mode.",
        # while sampling
        "none_fired": "AnyMS was on, but {got} of {expected} cross-attention layers ran it in this step. Turn off what replaces the UNet, or turn AnyMS off.",
        "rows_unknown": "the UNet was called with {got} rows (expected {expected}). Another extension changes the batch: turn it or AnyMS off.",
        "tokens_unknown": "layer {layer} received {got} tokens (expected {expected}). Another extension changes the picture's tokens: turn it or AnyMS off.",
        "restart_needed": "AnyMS was updated from {got} to {expected}: restart the WebUI. Reload UI is not enough.",
        "failed": "AnyMS failed before sampling: {got}. Turn AnyMS off, or report this with the console's traceback.",
        # the command line's own environment
        "packages_missing": "this Python lacks {got}. Install that, or leave out --here to have an environment set up.",
        "venv_absent": "{python} cannot make a virtual environment (expected the modules venv and ensurepip). On Debian or Ubuntu install python3-venv.",
        "setup_failed": "setting up the environment failed at {stage} (exit code {code}, its output: {log}). Check the network and the free space, then run the same command again: it goes on from there.",
        "home_foreign": "{home} holds files that AnyMS did not make, so nothing was changed there. Set ANYMS_HOME to a new or empty folder.",
        "home_inside": "ANYMS_HOME lies inside the extension's own folder ({home}). Set it to a folder elsewhere.",
        "home_unusable": "{home} cannot be used ({got}). Set ANYMS_HOME to a folder you may write to.",
    }


class SteppedAside(AnyMSError):
    """Make the picture without AnyMS and say why."""

    of_one_pass = frozenset(
        {"subjects_elsewhere", "interrupted"}
    )  # other passes of the same picture may well have had AnyMS

    causes = {
        "no_unet": "the loaded model has no SDXL UNet AnyMS knows ({got}), so the picture was made without it. Load an SDXL checkpoint.",
        "other_family": "the loaded model is not of the adapter's family ({what}: got {got}, expected {expected}), so the picture was made without AnyMS. {remedy}",
        "unet_replaced": "the UNet was exchanged at {progress} of the steps (refiner?), so AnyMS took no part after that. Turn the refiner off to keep the subjects.",
        "unet_bypassed": "{got} runs in place of the UNet, so the picture was made without AnyMS. Turn it off to use AnyMS.",
        "parts_unknown": "the script {got} makes the picture in parts and does not tell where they lie, so AnyMS took no part in it. Leave the script out to place subjects.",
        "sizes_differ": "the pictures of one batch have different sizes ({got}), so the masked part lies elsewhere in each and AnyMS took no part. Give pictures of one size.",
        "subjects_elsewhere": "no subject's box reaches into a part of the picture that was sampled by itself (masked area, tile or crop), so that part was made without AnyMS. Move or enlarge a box.",
        "unet_not_called": "the UNet AnyMS was attached to never ran (TensorRT or a compiled UNet?), so the picture was made without it. Turn that off.",
        "unet_went_silent": "the UNet AnyMS was attached to did not run any more after {got} calls (a CUDA graph, TensorRT or a compiled UNet?), so AnyMS took no part after that. Turn that off to keep the subjects.",
        "tiled": "{got} samples the picture in tiles of its own, in which no box has a place, so the picture was made without AnyMS. Turn it off to place subjects.",
        "not_announced": "{got} samples in a way of its own that does not reach AnyMS, so the picture was made without it. Leave it out to place subjects.",
        "interrupted": "the job was stopped while the reference pictures were read, so AnyMS took no part. Generate again.",
    }


class Noted(AnyMSError):
    """Never raised: the picture is made with AnyMS, and the sentence says what was done otherwise than usual."""

    causes = {
        "first_frame": "a reference picture of subject {name!r} is animated, and only its first frame is used.",
        "encoded_on_cpu": "the device had too little free memory to read the reference pictures, so that was done on the CPU: slower, and the picture is the same but for rounding. Close other programs on the GPU to speed it up.",
        "no_comparison": "the other modes' pictures were not made for comparison ({got}). {remedy}",
        "plain_softmax": "this device does not run torch's fused attention ({got}), so plain softmax takes its place: slower, and the picture is the same but for rounding.",
    }
