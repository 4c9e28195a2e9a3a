"""Every error and note of AnyMS: one table of causes for each kind.

Refused: the job must stop (bad input, wrong file, no layer fired). The page shows the sentence; the API returns it as
a 500. SteppedAside: the image is made without AnyMS, and the sentence says why. Noted: the image is made, and the
sentence says what is unusual. Each sentence reads: what is wrong (got X, expected Y), then what to do.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

LONGEST_GOT, LONGEST = 200, 2000  # characters of a fact in a sentence; a value from outside may be a whole picture


def _bounded(name: str, fact: object) -> object:
    """Cut long text short; other values stay as they are, so that their format works."""
    high = LONGEST_GOT if name == "got" else LONGEST
    try:
        text = str(fact)
    except ValueError:  # Python does not print whole numbers of thousands of digits
        return "a number of thousands of digits"
    return fact if len(text) <= high else text[: high - 3] + "..."


class AnyMSError(Exception):
    """A cause of the tables below with its facts; `str(error)` is the sentence the user reads."""

    causes: dict[str, str] = {}

    def __init__(self, cause: str, **facts: object) -> None:
        self.cause = cause
        self._facts = facts
        bounded = {name: _bounded(name, fact) for name, fact in facts.items()}
        super().__init__("AnyMS: " + self.causes[cause].format(**bounded))

    @property
    def facts(self) -> dict[str, object]:
        """The values in the sentence, by name."""
        return dict(self._facts)

    def __reduce__(self) -> tuple[Callable[[], AnyMSError], tuple[()]]:
        """Pickle support: one process may pass an error to another."""
        return partial(type(self), self.cause, **self._facts), ()


class Refused(AnyMSError):
    """Stop the job and show the sentence."""

    causes = {
        # boxes and layouts
        "box_form": "a box is four numbers x0, y0, x1, y1 in fractions of the image (got {got}). Write for example 0.1,0.2,0.5,0.9.",
        "box_units": "the box {got} is in percent or pixels (expected fractions of the image, 0 to 1). Divide it by 100, or by the image's width and height.",
        "box_empty": "the box {box} has no area (expected x0 < x1 and y0 < y1). Make it larger.",
        "box_outside": "the box {box} is completely outside the image (expected a part of it within 0..1). Move it inside.",
        "layout_form": "the layout is not an object with a list of subjects (got {got}). Export it again, or see docs/layout.md.",
        "layout_version": "the layout has version {got!r}, this AnyMS reads version {expected}, a number. Update AnyMS, or export the layout again.",
        "order_form": 'the order is {got!r} (expected "by role and size", "as numbered", or different numbers from 1 to {high}, back to front). Correct it.',
        "subject_count": "the request has {got} subjects (expected {low} to {high}). Remove or add subjects.",
        # fields of a request
        "field_unknown": "{where} has no field named {got!r} (expected one of: {expected}). Correct the name or leave it out.",
        "field_missing": "{where} lacks the field {field!r}. Add it.",
        "field_type": "{field} is {got} (expected {expected}). Correct it.",
        "field_range": "{field} is {got} (expected {low} to {high}). Correct it.",
        "field_choice": "{field} is {got!r} (expected one of: {expected}). Pick one of them.",
        "second_look_name": "second_look names {got!r} (expected auto, off, or subjects in order: {expected}, or their numbers, separated by commas). Correct it.",
        "subject_window": "subject {name!r} starts at {start} and ends at {end} of the steps (expected start < end). Move one of them.",
        "request_form": "the request is not a JSON object (got {got}). See docs/api.md.",
        "request_version": "the request has version {got!r}, this AnyMS reads version {expected}, a number. Correct it, or update AnyMS or the caller.",
        # infotexts and other input of the page
        "infotext_damaged": "the image's AnyMS entry cannot be read ({got}), so the subjects were not pasted. Copy the whole infotext again, or set them by hand.",
        "infotext_version": "the image's AnyMS entry has version {got!r}, this AnyMS reads version {expected}, a number, so the subjects were not pasted. Update AnyMS, or set them by hand.",
        "infotext_subject": "the AnyMS entry of the infotext has {got!r} in place of a subject (expected a name, a colon and a box). Write for example cat: 5,25 43x55 %, and ; between subjects.",
        "infotext_box": "the box of subject {name!r} in the infotext is {got} (expected left,top and widthxheight in percent of the image). Write for example 5,25 43x55 %, and keep the double quotes around the whole entry.",
        "infotext_part": "{where} has {got!r}, which this AnyMS does not know (expected {expected}). Correct it, take it out, or update AnyMS; put text with a comma into '...', and ; between subjects.",
        "infotext_twice": "{where} has {field} twice (got {got!r} too). Keep one; put ; between subjects.",
        "infotext_hash": "{field} is {got!r} (expected hashes of 12 digits 0-9 and a-f). Copy them from an image's infotext, or take them out and add the pictures on the page.",
        "infotext_quotes": "text in the AnyMS entry of the infotext is not quoted right (got {got}, expected '...'). Write '' for a quote in the text, and no double quotes inside the entry: they end it early.",
        "infotext_absent": "this image has no AnyMS entry in its infotext (expected one). Choose an image made with AnyMS, or drop this one onto a box to use it as a reference.",
        "axis_off": "an axis of the X/Y/Z plot changes AnyMS, but AnyMS is off (expected it on, with subjects). Turn AnyMS on, or choose another axis.",
        "axis_words": "the axis words of the X/Y/Z plot would change nothing: no subject has a prompt, and elsewhere is empty (expected one of them). Write one, or choose another axis.",
        # pictures
        "picture_missing": "subject {name!r} has no reference picture (expected at least one). Add a picture of it or turn the subject off.",
        "picture_count": "subject {name!r} has {got} reference pictures (expected at most {high}). Remove some.",
        "picture_unreadable": "a reference picture of subject {name!r} cannot be read ({got}). Save it as PNG or JPEG and add it again.",
        "picture_too_large": "a reference picture of subject {name!r} is too large (got {got}, expected at most {high}). Make it smaller.",
        "picture_line": "a reference picture of subject {name!r} is a line (got {got}, expected sides of at most {high} to 1). Crop it.",
        "pictures_too_large": "the pictures of the request are too large together (at subject {name!r}, expected at most {high}). Make them smaller, or use fewer.",
        "mask_empty": "the mask erases the whole picture (got no white or opaque part). Paint the subject white, or its surroundings black.",
        "silhouette_unreadable": "the silhouette of subject {name!r} cannot be read ({got}). Save it as a PNG, with the same aspect ratio as the image, and add that.",
        "silhouette_hash": "the silhouette of subject {name!r} is the hash {got!r} of an infotext, which holds no pixels. Send the mask as base64, or leave the field out.",
        "silhouette_black": "the silhouette of subject {name!r} has no white or opaque part (expected white where the subject is). Paint it, or leave it out.",
        "silhouette_outside": "the silhouette of subject {name!r} has nothing white inside the subject's box (expected a mask of the whole image). Move the box, or leave it out.",
        "picture_form": "{field} is {got} (expected base64 text, or an object with data and optionally crop and mask). Correct it.",
        "rembg_absent": "removing a background needs the Python package rembg, which is not installed. Install it, add a mask, or crop the picture.",
        "rembg_model": "rembg has none of its models {expected} in {folder}. Run rembg once on its own to download one, or add a mask.",
        "rembg_failed": "rembg could not remove the background ({got}). Add a mask, or crop the picture.",
        # subject cards
        "card_kind": "{card} is not a subject card (expected a .safetensors file saved by AnyMS). Pick another file, or make a card from the subject's pictures.",
        "card_version": "the subject card {card} has version {got}, this AnyMS reads version {expected}. Update AnyMS, or save the card again.",
        "card_damaged": "the subject card {card} is damaged ({got}). Download it again, or make one from the subject's pictures.",
        "card_too_large": "the subject card {card} is too large (got {got}, expected at most {high}). Save it again with fewer pictures or for fewer adapters.",
        "card_adapter": "the card of subject {name!r} has no tokens for the adapter {expected} (it has them for {got}). Pick one of its adapters, or encode its kept picture for this one: run `python -m lib_anyms card add`, or press Use its pictures on the page.",
        "card_unknown": "the library has no subject card named {got!r} (found: {expected}). Pick one of these, or add the file.",
        "prompt_network": "{field} contains {got}, which acts on the whole image. Put it into the main prompt.",
        "prompt_and": "{field} contains AND, which composes whole images. Put it into the main prompt, or write and in small letters.",
        "card_and_pictures": "subject {name!r} has a card and pictures (expected only one of them). Remove one.",
        "card_pictures": "the card of subject {name!r} does not keep the requested picture. Add the subject's own pictures.",
        "card_unwritten": "the card cannot be written into the folder {folder} ({got}). Allow writing there, or set another folder.",
        "card_taken": "{path} exists already (expected a new file name). Choose another name, or move that file away.",
        "card_suffix": "{path} does not end in {expected}, which marks a card. Choose another name.",
        "card_already": "subject {name!r} is a card already (expected pictures). Remove the card from the slot and add pictures to save a new card.",
        "card_model": "no checkpoint is loaded, so the adapter of the card is unknown. Load one, or generate once, then save the card.",
        "card_full": "the card {card} has tokens for {high} adapters already. Save a new card for this one.",
        # the model and the adapter
        "adapter_absent": 'no IP-Adapter for SDXL was found (looked in: {places}{found}). Put {file} into {into}, or download it under "model files" in the AnyMS panel.',
        "adapter_face_only": 'the only IP-Adapter that fits, {adapter}, is for faces, which "auto" does not take. Choose it in the list if all subjects are faces, or put {file} into {into}.',
        "file_unknown": "there is no model file named {got!r} (found: {expected}). Pick one of these, or add the file.",
        "encoder_absent": 'no image encoder with {width} outputs, as {adapter} needs, was found (encoders: {found}; looked in: {places}). Put {file} into {into}, or download it under "model files" in the AnyMS panel.',
        "encoder_mismatch": "the image encoder {encoder} does not fit the adapter {adapter} (got width {got}, expected {expected}). Pick the encoder this adapter was trained with.",
        "encoder_form": "{path} is not a CLIP image encoder with a projection ({got}). Pick CLIP-ViT-H-14 or CLIP-ViT-bigG-14.",
        # downloads
        "download_unknown": "AnyMS cannot download {got!r} (expected {expected}). Pick one of these, or download it by hand.",
        "download_running": "{file} is downloading already (expected one download at a time). Wait for it, or stop it.",
        "download_busy": "{file} is not downloaded while an image is generating. Try again afterwards.",
        "download_taken": "{file} exists already in the folder {folder}. Use it, or move it away and try again.",
        "download_mirror": "the download address is {got!r} (expected one that begins with https:// or http://). Correct it in the settings.",
        "download_space": "the disk of the folder {folder} has too little free space for {file} (got {got}). Free some space and try again.",
        "download_unwritable": "the models folder {folder} cannot be written ({got}). Allow writing there, or put the file there by hand.",
        "download_refused": "the server refused {file} ({got}). Download it by hand, or set a mirror in the settings.",
        "download_broken": "the connection broke off while {file} was downloading ({got}; {done} are saved). Press Download again to continue from there.",
        "download_other": "{file} is not the known file (got {got}, expected {expected}) and was discarded. Download it again, or set another mirror in the settings.",
        # files of tensors
        "file_unreadable": "{path} cannot be read ({got}). Check that it exists and that you may read it.",
        "file_kind": "{path} is {got} (expected a .safetensors file, or a .bin or .pth in torch's zip format). Download the file itself again.",
        "file_legacy": "{path} is a pickle from before torch 1.6 (expected torch's zip format). Reading it can run code. Get a .safetensors version, or convert it to .safetensors if you trust its source.",
        "file_code": "{path} holds more than tensors (got {got}). Reading the rest would run its code. Get a .safetensors version from a source you trust.",
        "file_form": "{path} is stored in a form AnyMS does not read (got {got}, expected {expected}). Convert it to .safetensors.",
        "file_damaged": "{path} is damaged ({got}). Download it again.",
        "file_quantised": "{path} holds quantised weights with separate scales (got {got}), which AnyMS does not apply. Get the same file in float16 or float32.",
        "file_numbers": "{path} holds no floating-point weights ({name} is {got}). Get the same file in float16 or float32.",
        "file_not_finite": "the weights of {path} give values that no image can be made of ({what} reaches {got}). Download the file again, or pick another.",
        "tokens_not_finite": "the image tokens of subject {name!r} give values that no image can be made of (got {got}). Make its card again from pictures.",
        "file_part": "{path} is part {number} of a model in {count} files, which AnyMS does not join. Get the model in one file.",
        "file_tensor": "{path} holds no tensor named {got}. Pick another file.",
        # files that look like an IP-Adapter for SDXL
        "adapter_none": "{path} is not an IP-Adapter (got keys like {got}, expected image_proj.* and ip_adapter.*). Pick ip-adapter-plus_sdxl_vit-h.",
        "adapter_truncated": "the IP-Adapter {path} is not complete (it lacks {got}). Download it again.",
        "adapter_shapes": "the parts of the IP-Adapter {path} do not fit together ({what}: got {got}, expected {expected}). Download it again.",
        "adapter_variant": "{path} is an IP-Adapter of a kind AnyMS does not know (got {got}). Pick ip-adapter_sdxl or ip-adapter-plus_sdxl_vit-h.",
        "adapter_transformer": "{path} is an IP-Adapter for a transformer such as Flux or SD 3 (got {got}, expected layers 1, 3, 5, ...). Pick ip-adapter-plus_sdxl_vit-h.",
        "adapter_faceid": "{path} is a FaceID adapter, which needs face recognition and a LoRA (got {got}). Pick ip-adapter-plus-face_sdxl_vit-h.",
        "adapter_portrait": "{path} is a FaceID or portrait adapter, which needs face recognition (got {got}). Pick ip-adapter-plus-face_sdxl_vit-h.",
        "adapter_full_face": "{path} is a full-face adapter of SD 1.5 (got {got}). Pick ip-adapter-plus-face_sdxl_vit-h.",
        "adapter_instantid": "{path} is the adapter of InstantID, which needs face recognition and a ControlNet (got {got}). Pick ip-adapter-plus-face_sdxl_vit-h.",
        "adapter_pulid": "{path} is a PuLID adapter, which needs face recognition (got {got}). Pick ip-adapter-plus-face_sdxl_vit-h.",
        "adapter_anima": "{path} is an adapter for Anima, which is no SDXL model (got {got}). Pick ip-adapter-plus_sdxl_vit-h and an SDXL checkpoint.",
        "adapter_storymaker": "{path} is the adapter of StoryMaker, which needs face recognition (got {got}). Pick ip-adapter-plus_sdxl_vit-h.",
        "adapter_training": "{path} is the checkpoint of an IP-Adapter's training (got {got}, expected ip_adapter.* or adapter_modules.*). Convert it with the trainer's script, or pick ip-adapter-plus_sdxl_vit-h.",
        "adapter_twice": "{path} holds two adapters in one file (got {got}). Keep one of them, or pick ip-adapter-plus_sdxl_vit-h.",
        "adapter_photomaker": "{path} is a PhotoMaker file, not an IP-Adapter (got {got}). Pick ip-adapter-plus-face_sdxl_vit-h.",
        "adapter_kolors": "{path} is an IP-Adapter for Kolors (got {got}). Pick ip-adapter-plus_sdxl_vit-h.",
        "adapter_flux": "{path} is made for Flux (got {got}). Pick ip-adapter-plus_sdxl_vit-h and an SDXL checkpoint.",
        "adapter_controlnet": "{path} is a ControlNet, not an IP-Adapter (got {got}). Pick ip-adapter-plus_sdxl_vit-h.",
        "adapter_lora": "{path} is a LoRA, not an IP-Adapter (got {got}). Pick ip-adapter-plus_sdxl_vit-h, and put the LoRA into the prompt.",
        "adapter_encoder": "{path} is an image encoder, not an IP-Adapter (got {got}). Pick ip-adapter-plus_sdxl_vit-h here and this file as the encoder.",
        "adapter_whole_model": "{path} is a whole checkpoint, not an IP-Adapter (got {got}). Pick ip-adapter-plus_sdxl_vit-h.",
        # single-file checkpoints, standalone
        "checkpoint_unreadable": "the checkpoint {path} cannot be read as .safetensors ({got}). Copy or download it again.",
        "checkpoint_kind": "{path} is not an SDXL checkpoint (got {got}, expected one file with UNet, VAE and two text encoders). Pick another file.",
        "checkpoint_missing": "the checkpoint {path} lacks {got} of SDXL's {expected} weights, for example {name}. Pick a complete SDXL checkpoint.",
        "checkpoint_shape": "{name} of the checkpoint {path} has another shape (got {got}, expected {expected}). Pick a checkpoint of SDXL's size.",
        "structure_fault": "the model's structure is not of SDXL's family ({got}). Write the checkpoint again with this version of AnyMS.",
        # the command line
        "cli_subject": "--subject {got!r} cannot be read (expected {expected}). Correct it.",
        "cli_box_missing": "--subject {name} has no box (expected {expected}). Add @x0,y0,x1,y1, or give --layout FILE.",
        "cli_box_twice": "--subject {name} has a box, and --layout has one too (expected only one of them). Remove one.",
        "cli_layout_count": "{path} places {expected} subjects, but there are {got} --subject options (expected as many). Add or remove some.",
        "cli_file": "{path} cannot be read ({got}). Check the path.",
        "cli_named": "{option} is {got!r} (expected NAME={value}, with one of these names: {expected}). Correct it.",
        "cli_json": "{path} is not a JSON file ({got}). Export the layout again, or correct the file.",
        "cli_size": "--size is {got} (expected N or WxH in pixels, multiples of 8 from 64 to 4096). Correct it.",
        "cli_needs": "{option} was used with {got} (expected {expected}). Add it.",
        "cli_no_gpu": "torch {got} sees no GPU (expected one it supports). Measure the processor with --suite quick, or run this on a machine with a GPU.",
        "cli_out": "{path} cannot be written ({got}). Choose another folder.",
        # the trained small world
        "bundle_damaged": "the trained small model in {folder} is incomplete ({got}). Download that folder of AnyMS again.",
        "bundle_taken": "{path} exists already and is another file. Choose another folder, or move that file away.",
        # training the small world
        "train_exists": "{out} holds a training already (got no --resume). Add --resume to continue it, or choose another --out.",
        "train_needs": "the stage {stage} needs the finished stage {needs}, which {out} does not hold. Train that stage first, or leave out --stage.",
        "train_stage": "there is no stage {got!r} (expected one of: {expected}). Pick one of them.",
        # evaluation
        "bench_unknown": "{path} has no benchmark's file (expected one of: {expected}). See docs/real-weights.md for what to download, or write a scenes.json.",
        "bench_json": "{path} does not have the benchmark's form ({got}). Download it again, or correct the file.",
        "bench_empty": "{path} gives no scene. Check that its folders of pictures are complete.",
        "bench_folder": "the folder {expected} is missing in {path}. Put it there as the benchmark's authors publish it.",
        "bench_pictures": "{path} has no pictures (expected .jpg, .png or .webp). Download the benchmark's pictures.",
        "bench_model": "{path} cannot be loaded as {expected} ({got}). Download the whole folder, with config.json and preprocessor_config.json.",
        "bench_out": "process {number} of {expected} does not see the folder {path} of the first one. Start all machines with the same --out on a shared disk.",
        "bench_modes": "--modes has {got!r} (expected some of: {expected}). Correct it.",
        "bench_without": "{option} does not work with --bench. {remedy}",
        "bench_hosts": "the WebUI at {host} has loaded {got} (expected {expected}, as the first one). Load the same checkpoint in all of them.",
        "bench_option": "{option} needs --bench DIR. Add it, or leave {option} out.",
        "host_unreachable": "{host} does not answer like a WebUI's API ({got}). Start the WebUI with --api and use its address, for example http://127.0.0.1:7860.",
        "host_lacks": "the WebUI at {host} has no script AnyMS (expected it among its txt2img scripts). Install the extension there and restart it.",
        "host_answer": "the WebUI at {host} made no image ({got}). Fix that there, then run the same command again: it continues from there.",
        "host_mode": "a WebUI cannot make images in the mode {got} (expected one of: {expected}). Leave out --host for that mode.",
        # while sampling
        "none_fired": "AnyMS was on, but {got} of {expected} cross-attention layers ran it in this step. Turn off what replaces the UNet, or turn AnyMS off.",
        "rows_unknown": "the UNet was called with {got} batch entries (expected {expected}). Another extension changes the batch: turn it or AnyMS off.",
        "rows_split": "another extension ({by}) passes the batch through a layer in another way (got {got} entries, expected {expected}). Turn it or AnyMS off.",
        "tokens_unknown": "layer {layer} received {got} tokens (expected {expected}). Another extension changes the image's tokens: turn it or AnyMS off.",
        "restart_needed": "AnyMS was updated from {got} to {expected}: restart the WebUI. Reload UI is not enough.",
        "failed": "AnyMS failed before sampling: {got}. Turn AnyMS off, or report this with the console's traceback.",
        # the environment of the command line
        "packages_missing": "this Python lacks {got}. Install it, or leave out --here to set up an environment.",
        "venv_absent": "{python} cannot make a virtual environment (expected the modules venv and ensurepip). On Debian or Ubuntu install python3-venv.",
        "setup_failed": "setting up the environment failed at {stage} (exit code {code}, its output: {log}). Check the network and the free space, then run the same command again: it continues from there.",
        "home_foreign": "{home} holds files that AnyMS did not make, so nothing was changed there. Set ANYMS_HOME to a new or empty folder.",
        "home_inside": "ANYMS_HOME is inside the folder of the extension ({home}). Set it to another folder.",
        "home_unusable": "{home} cannot be used ({got}). Set ANYMS_HOME to a folder you may write to.",
    }


class SteppedAside(AnyMSError):
    """Make the image without AnyMS and say why."""

    @property
    def of_pass(self) -> str:
        """The sentence where other passes of the image had AnyMS, as in a hires fix with another checkpoint."""
        return str(self).replace("the image was made", "that pass was made")

    causes = {
        "no_unet": "the loaded model has no SDXL UNet that AnyMS knows ({got}), so the image was made without AnyMS. Load an SDXL checkpoint.",
        "other_family": "the loaded model is not of the adapter's family ({what}: got {got}, expected {expected}), so the image was made without AnyMS. {remedy}",
        "unet_replaced": "the UNet was replaced at {progress} of the steps (refiner?), so AnyMS did not act after that. Turn the refiner off to keep the subjects.",
        "unet_bypassed": "{got} runs in place of the UNet, so the image was made without AnyMS. Turn it off to use AnyMS.",
        "parts_unknown": "the script {got} makes the image in parts and does not report where they are, so AnyMS did not act in it. Leave the script out to place subjects.",
        "sizes_differ": "the images of one batch have different sizes ({got}), so the masked part has another place in each and AnyMS did not act. Use images of one size.",
        "subjects_elsewhere": "no subject's box overlaps a part of the image that was sampled separately (masked area, tile or crop), so that part was made without AnyMS. Move or enlarge a box.",
        "unet_not_called": "the UNet AnyMS was attached to never ran (TensorRT or a compiled UNet?), so the image was made without AnyMS. Turn that off.",
        "never_placed": "another extension samples parts of the image or texts that AnyMS cannot place, so the image was made without AnyMS. Turn it off to place subjects.",
        "not_stopped": "the UNet never ran (TensorRT or a compiled UNet?), so AnyMS could not stop this job and the image was made without AnyMS. The job should have stopped because of this: {reason} Correct that, or turn AnyMS off.",
        "unet_recorded": "a CUDA graph was recorded from the UNet after {got} calls, and AnyMS would stay in it, so AnyMS did not act after that. Turn the CUDA graph off to keep the subjects.",
        "not_announced": "{got} samples in a way that does not reach AnyMS, so the image was made without AnyMS. Leave it out to place subjects.",
        "interrupted": "the job was stopped while AnyMS read the reference pictures, so AnyMS did not act. Generate again.",
    }


class Noted(AnyMSError):
    """Never raised: the image is made, and the sentence says what is unusual."""

    causes = {
        "no_subject": "no subject has a picture yet, so the image was made without AnyMS. Add a picture of a subject, or turn AnyMS off.",
        "first_frame": "a reference picture of subject {name!r} is animated. AnyMS uses its first frame only.",
        "nothing_erased": "a mask of subject {name!r} erases nothing (it is white or opaque everywhere). Paint the surroundings black if they should go.",
        "silhouette_white": "the silhouette of subject {name!r} is white or opaque everywhere, so the whole box is the subject's. Paint the surroundings black if they are not.",
        "encoded_on_cpu": "the device had too little free memory for the image encoder, so the CPU read the reference pictures. This is slower; the image differs only by rounding. Close other programs on the GPU to speed it up.",
        "steps_skipped": "a cache or a forecast ({by}) answered {skipped} times in place of the UNet, and AnyMS acted in {calls} calls. If a subject is weak or missing, let it skip less.",
        "window_missed": "subject {name!r} acts from {start} to {end} of the steps, and none of the {calls} UNet calls was between them, so it did not act. Use more steps, or move start or end.",
        "no_comparison": "the other images were not made for comparison ({got}). {remedy}",
        "foreign_text": "another extension sets the text of each region, so the subjects' own prompts did not act. Turn one of the two off.",
        "window_unknown": "another extension samples parts of the image whose place AnyMS cannot tell, so AnyMS did not act in those UNet calls. Turn it off if a subject suffers.",
        "text_unknown": "another extension also samples a text that is neither the prompt nor the negative prompt, so AnyMS did not act in those UNet calls. Turn it off if a subject suffers.",
        "second_look_none": "another extension inpainted a part of the image that belongs to no single subject, so AnyMS did not act in that. Set second_look to name a subject, or to off.",
        "second_look_refused": "another extension's inpainting of subject {name!r} was made without AnyMS. {reason}",
        "refine_failed": "subject {name!r} and those in front of it were not refined ({got}). Refine at a smaller size, or set refine to 0.",
        "refine_stopped": "the job was stopped while subject {name!r} was refined, so it and those in front of it stay as they were.",
        "second_look_words": "subject {name!r} was inpainted without its own prompt, which is not encoded for that checkpoint. Choose no other checkpoint there to keep it.",
        "adapter_composition": "{path} carries the composition of a picture, not the identity of its subject. For identity pick ip-adapter-plus_sdxl_vit-h.",
        "adapter_style": "{path} carries the style of a picture, and some such files expect larger pictures than AnyMS's 224 pixels. For identity pick ip-adapter-plus_sdxl_vit-h.",
        "plain_softmax": "this device cannot run torch's fused attention ({got}), so AnyMS uses plain softmax. This is slower; the image differs only by rounding.",
        "attention_replaced": "{module} replaces torch's attention and fails AnyMS's check ({got}), so AnyMS works around it. The image is right; sampling is slightly slower.",
    }
