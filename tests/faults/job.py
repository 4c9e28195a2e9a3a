"""Planted faults of job."""

from __future__ import annotations

from tests.faults.fault import Fault

WORDS = "tests/unit/test_words.py"

SESSION = "tests/unit/test_session.py"

FAULTS = (
    Fault(
        "an encoder is required for cards",
        "lib_anyms/job/session.py",
        "if all(request.cards):",
        "if False:",
        "tests/unit/test_card_making.py -k no_encoder",
    ),
    Fault(
        "a card beside pictures takes another subject's place",
        "lib_anyms/job/prepare.py",
        "for encoding in encodings: subjects",
        "for encoding in reversed(encodings): subjects",
        "tests/unit/test_card_making.py -k very_picture",
    ),
    Fault(
        "an infotext without the card's hash",
        "lib_anyms/job/request.py",
        "{CARD: card.hash} if card else",
        "{HASHES: []} if card else",
        "tests/unit/test_card_making.py -k infotext",
    ),
    Fault(
        "calls of other jobs taken for ours",
        "lib_anyms/job/session.py",
        "        if not self._sampling:\n            return None\n",
        "",
        SESSION,
    ),
    Fault(
        "an explicit order sorted",
        "lib_anyms/job/request.py",
        "return cls(Layout(layout_subjects), pictures, cards=cards, **values)",
        "return cls(Layout(tuple(sorted(layout_subjects, key=lambda s: -s.box.area))), pictures, cards=cards, **values)",
        "tests/unit/test_request.py",
    ),
    Fault(
        "the second pass keeps the viewport of the first",
        "lib_anyms/job/session.py",
        " and self.viewport == viewport:",
        ":",
        "tests/unit/test_session_viewport.py -k each_pass",
    ),
    Fault(
        "running out of memory ends the job",
        "lib_anyms/job/prepare.py",
        'if task.device.type == "cpu" or not out_of_memory(error):',
        "if task.device.type:",
        "tests/unit/test_encoding.py -k runs_out",
    ),
    Fault(
        "the encoder outlives the encoding",
        "lib_anyms/job/encoding.py",
        "    loaded = Encoder(encoder, task.device, task.encoder_dtype)\n",
        '    loaded = vars(host).setdefault("_kept", Encoder(encoder, task.device, task.encoder_dtype))\n',
        "tests/unit/test_encoding.py -k gone",
    ),
    Fault(
        "a refusal keeps the encoder in memory",
        "lib_anyms/job/session.py",
        "        error.__traceback__ = error.__cause__ = error.__context__ = None",
        "        error.__suppress_context__ = True",
        "tests/unit/test_encoding.py -k keeps_nothing",
    ),
    Fault(
        "a replaced file taken for the previous one",
        "lib_anyms/job/token_cache.py",
        "return str(path), facts.st_size, facts.st_mtime_ns",
        "return str(path), facts.st_size > 0",
        "tests/unit/test_encoding.py -k replaced",
    ),
    Fault(
        "a job cannot be stopped while pictures are read",
        "lib_anyms/job/encoding.py",
        "if host.interrupted():",
        "if host is None:",
        "tests/unit/test_encoding.py -k stopped",
    ),
    Fault(
        "our text stays at the progress bar",
        "lib_anyms/job/prepare.py",
        "        host.show_status(previous_status)\n",
        "        pass\n",
        "tests/unit/test_encoding.py -k shows",
    ),
    Fault(
        "keys and values in eight bits",
        "lib_anyms/job/prepare.py",
        "host.dtype() if host.dtype() in COMPUTED_IN else torch.float16",
        "host.dtype()",
        "tests/unit/test_sdpa.py -k fp8",
    ),
    Fault(
        "the page cannot show the last refusal",
        "lib_anyms/job/session.py",
        "self.outcome, self._refusal = error.cause, str(error)",
        'self.outcome, self._refusal = error.cause, ""',
        "tests/unit/test_web_api.py -k refusal",
    ),
    Fault(
        "words: the text to avoid is encoded as a prompt",
        "lib_anyms/job/words.py",
        "host.encode_prompts(distinct, negative)",
        "host.encode_prompts(distinct, False)",
        WORDS,
    ),
    Fault(
        "words: prompt editing stops at the first step",
        "lib_anyms/job/words.py",
        "step = host.schedule_step()",
        "step = 0",
        WORDS,
    ),
    Fault(
        "words: the second pass keeps the first one's text",
        "lib_anyms/job/session.py",
        "self.stream.region_merge.local_text = self._local_text(request, self.stream.layout)",
        "pass",
        WORDS,
    ),
    Fault(
        "words: a pass that begins twice encodes twice",
        "lib_anyms/job/session.py",
        "if self._encoded != self._moment:",
        "if True:",
        WORDS,
    ),
    Fault(
        "words: an extra network in a subject's prompt is not seen",
        "lib_anyms/job/request.py",
        "if tag:",
        "if False:",
        WORDS,
    ),
    Fault(
        "words: AND in a subject's prompt is read as a word",
        "lib_anyms/job/request.py",
        'if re.search(r"\\bAND\\b", text):',
        "if False:",
        WORDS,
    ),
    Fault(
        "words: share 0 still encodes",
        "lib_anyms/job/request.py",
        "if self.layout is None or not self.words:",
        "if self.layout is None:",
        WORDS,
    ),
    Fault(
        "keys and values are not checked",
        "lib_anyms/job/prepare.py",
        "        _check_finite(keys_values, task, request)",
        "        pass",
        "tests/unit/test_finite.py",
    ),
    Fault(
        "a job in which AnyMS acted nowhere says nothing",
        "lib_anyms/job/session.py",
        "result.calls and not result.acting:",
        "result.calls and result.acting < 0:",
        "tests/contract/test_calls.py -k 'unknown_parts and a1111'",
    ),
)
