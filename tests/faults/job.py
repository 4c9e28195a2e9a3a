"""Planted faults of job."""

from __future__ import annotations

from tests.faults.fault import Fault

SESSION = "tests/unit/test_session.py"

FAULTS = (
    Fault(
        "an encoder is wanted for cards",
        "lib_anyms/job/session.py",
        "if all(request.cards):",
        "if False:",
        "tests/unit/test_card_making.py -k no_encoder",
    ),
    Fault(
        "a card beside pictures comes in another subject's place",
        "lib_anyms/job/encoding.py",
        "next(rest) if card is None else card.tokens.to(device) for card in carded",
        "next(rest) if card is None else card.tokens.to(device) for card in reversed(carded)",
        "tests/unit/test_card_making.py -k very_picture",
    ),
    Fault(
        "an infotext forgets the card",
        "lib_anyms/job/request.py",
        "{CARD: card.hash} if card else",
        "{HASHES: []} if card else",
        "tests/unit/test_card_making.py -k infotext",
    ),
    Fault(
        "other jobs' calls taken for ours",
        "lib_anyms/job/session.py",
        "        if not self._sampling:\n            return None\n",
        "",
        SESSION,
    ),
    Fault(
        "an explicit order sorted",
        "lib_anyms/job/request.py",
        "return cls(Layout(placed), pictures, cards=cards, **values)",
        "return cls(Layout(tuple(sorted(placed, key=lambda s: -s.box.area))), pictures, cards=cards, **values)",
        "tests/unit/test_request.py",
    ),
    Fault(
        "the second pass keeps the first one's viewport",
        "lib_anyms/job/session.py",
        " and self.viewport == viewport:",
        ":",
        "tests/unit/test_session_viewport.py -k each_pass",
    ),
    Fault(
        "memory that runs out ends the job",
        "lib_anyms/job/encoding.py",
        'if device.type == "cpu" or not out_of_memory(error):',
        "if device.type:",
        "tests/unit/test_encoding.py -k runs_out",
    ),
    Fault(
        "the encoder outlives the encoding",
        "lib_anyms/job/encoding.py",
        "        loaded = Encoder(encoder, device, encoder_dtype)\n",
        '        loaded = vars(host).setdefault("_kept", Encoder(encoder, device, encoder_dtype))\n',
        "tests/unit/test_encoding.py -k gone",
    ),
    Fault(
        "a refusal keeps the encoder",
        "lib_anyms/job/session.py",
        "        error.__traceback__ = error.__cause__ = error.__context__ = None",
        "        error.__suppress_context__ = True",
        "tests/unit/test_encoding.py -k keeps_nothing",
    ),
    Fault(
        "a replaced file taken for the one before",
        "lib_anyms/job/encoding.py",
        "return str(path), facts.st_size, facts.st_mtime_ns",
        "return str(path), facts.st_size > 0",
        "tests/unit/test_encoding.py -k replaced",
    ),
    Fault(
        "a user who stops the job is not heard while pictures are read",
        "lib_anyms/job/encoding.py",
        "if host.interrupted():",
        "if host is None:",
        "tests/unit/test_encoding.py -k stopped",
    ),
    Fault(
        "words of ours stay at the progress bar",
        "lib_anyms/job/encoding.py",
        "        host.tell(shown)\n",
        "        pass\n",
        "tests/unit/test_encoding.py -k shows",
    ),
    Fault(
        "keys and values in eight bits",
        "lib_anyms/job/encoding.py",
        "host.dtype() if host.dtype() in COMPUTED_IN else torch.float16",
        "host.dtype()",
        "tests/unit/test_sdpa.py -k fp8",
    ),
    Fault(
        "the last refusal is not kept for the page",
        "lib_anyms/job/session.py",
        "self.outcome, self._refusal = error.cause, str(error)",
        'self.outcome, self._refusal = error.cause, ""',
        "tests/unit/test_web_api.py -k refusal",
    ),
)
