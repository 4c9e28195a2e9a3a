"""Planted faults of hosts."""

from __future__ import annotations

from tests.faults.fault import Fault

FAULTS = (
    Fault(
        "Regional Prompter's text is overwritten",
        "lib_anyms/hosts/webui.py",
        '{"scripts.attention": "Regional Prompter"}',
        "{}",
        "tests/unit/test_hosts.py -k leads",
    ),
    Fault(
        "BREAK is read as a word by diffusers",
        "lib_anyms/hosts/prompts.py",
        "_BREAK.split(prompt)",
        "[prompt]",
        "tests/unit/test_words.py -k chunk",
    ),
    Fault(
        "a masked part taken for the whole image",
        "lib_anyms/hosts/viewport.py",
        "return _masked_viewport(p) if _only_masked(p) else WHOLE",
        "return WHOLE",
        "tests/unit/test_viewport.py",
    ),
    Fault(
        "hires crops the odd cell at the start",
        "lib_anyms/hosts/viewport.py",
        "return cells // 2 / side, (side - (cells + 1) // 2) / side",
        "return (cells + 1) // 2 / side, (side - cells // 2) / side",
        "tests/unit/test_viewport.py -k hires",
    ),
    Fault(
        "a host recognised by the class of its patcher alone",
        "lib_anyms/hosts/ldm_patched.py",
        "in type(patcher).__mro__)",
        "in type(patcher).__mro__[:1])",
        "tests/unit/test_hosts.py",
    ),
    Fault(
        "keys and values in the dtype fp8 weights are stored in",
        "lib_anyms/hosts/ldm_patched.py",
        "return model.manual_cast_dtype or model.get_dtype()",
        "return model.get_dtype()",
        "tests/unit/test_hosts.py -k samples",
    ),
    Fault(
        "conditional and unconditional chunks mixed up",
        "lib_anyms/hosts/forge.py",
        "flag == 0 for flag",
        "flag != 0 for flag",
        "tests/unit/test_hosts.py -k cond_map",
    ),
    Fault(
        "weights replaced within the same UNet go unnoticed",
        "lib_anyms/hosts/forge.py",
        '"ORIGINAL_CHECKPOINT", None) is not None',
        '"ORIGINAL_CHECKPOINT", None) is False',
        "tests/unit/test_hosts.py -k replaced",
    ),
    Fault(
        "Forge Neo taken for Forge",
        "lib_anyms/hosts/facts.py",
        '("backend", "neo", ',
        '("backend", "neo?", ',
        "tests/unit/test_hosts.py",
    ),
    Fault(
        "tiles by the UNet's patcher go unnoticed",
        "lib_anyms/hosts/webui.py",
        '.get("model_function_wrapper")',
        '.get("a wrapper")',
        "tests/unit/test_aside.py -k tiled",
    ),
    Fault(
        "A1111's unconditional entries expected first",
        "lib_anyms/hosts/a1111.py",
        "CondMap((True,) * cond + (False,) * uncond)",
        "CondMap((False,) * uncond + (True,) * cond)",
        "tests/contract/test_contract.py -k 'entries_in_the_host and a1111-in'",
    ),
    Fault(
        "progress taken from the callback's number",
        "lib_anyms/hosts/webui.py",
        "min(denoiser.step / total, 1 - 1e-6)",
        "min(step.sampling_step / total, 1 - 1e-6)",
        "tests/unit/test_progress.py",
    ),
    Fault(
        "guidance with the negative text uses the conditional image tokens",
        "lib_anyms/hosts/forge.py",
        "elif self._predicted_both and _is_negative(",
        "elif False and _is_negative(",
        "tests/contract/test_neighbours.py -k calls_beside",
    ),
    Fault(
        "entries of the prompt taken for the negative text where both are equal",
        "lib_anyms/hosts/forge.py",
        "torch.equal(context, negative) and not also_positive",
        "torch.equal(context, negative)",
        "tests/contract/test_neighbours.py -k same_words",
    ),
    Fault(
        "a checkpoint that is not loaded yet is ignored",
        "lib_anyms/hosts/checkpoint.py",
        "if chosen is None or chosen.filename == loaded:",
        "if True:",
        "tests/unit/test_chosen_checkpoint.py -k chosen",
    ),
    Fault(
        "packed weights taken for a UNet",
        "lib_anyms/hosts/checkpoint.py",
        "if len(shape) != 2 or projections.get(",
        "if len(shape) != 2 and projections.get(",
        "tests/unit/test_chosen_checkpoint.py -k no_outline",
    ),
)
