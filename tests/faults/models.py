"""Planted faults of models."""

from __future__ import annotations

from tests.faults.fault import Fault

FAULTS = (
    Fault(
        "image-editing checkpoints taken for SDXL",
        "lib_anyms/models/model_family.py",
        "INPUT_CHANNELS = (4, 9)",
        "INPUT_CHANNELS = (4, 8, 9)",
        "tests/unit/test_model_family.py",
    ),
    Fault(
        "files: a stranger is opened at every look",
        "lib_anyms/models/file_index.py",
        "if known is None or known[0] != stamp:",
        "if known is None or known[0] != stamp or isinstance(known[1], Refused):",
        "tests/unit/test_finding.py -k 'three_thousand or changes_is_read'",
    ),
    Fault(
        "files: a replaced file is believed to be the old one",
        "lib_anyms/models/file_index.py",
        "if known is None or known[0] != stamp:",
        "if known is None:",
        "tests/unit/test_finding.py -k changes_is_read",
    ),
    Fault(
        "files: an adapter without its encoder is taken all the same",
        "lib_anyms/models/model_files.py",
        "    for chosen in adapters:\n        for picked in encoders:",
        "    for chosen in adapters[:1]:\n        for picked in encoders:",
        "tests/unit/test_finding.py -k auto_takes",
    ),
    Fault(
        "files: a loop of links is walked",
        "lib_anyms/models/model_files.py",
        "    if identity in entered or len(entered) >= MOST_FOLDERS:",
        "    if len(entered) >= MOST_FOLDERS:",
        "tests/unit/test_finding.py -k links_are_followed",
    ),
    Fault(
        "files: a look-alike in the adapter's place is passed over in silence",
        "lib_anyms/models/model_files.py",
        "isinstance(verdict, Refused) and verdict.cause not in _FAR]",
        "isinstance(verdict, Refused) and verdict.cause in _FAR]",
        "tests/unit/test_finding.py -k look_alike_in_its_place",
    ),
    Fault(
        "files: a name from outside is opened where it leads",
        "lib_anyms/models/model_files.py",
        "    for path, verdict in files:\n        if _is_called",
        "    for path, verdict in [*files, *index.look([Path(name)])]:\n        if _is_called",
        "tests/unit/test_finding.py -k from_outside",
    ),
    Fault(
        "downloads: a file's name may climb",
        "lib_anyms/models/downloads.py",
        "if not file.offered or Path(file.name).name != file.name:",
        "if not file.offered:",
        "tests/unit/test_downloads.py -k whose_hash_nobody",
    ),
    Fault(
        "downloads: a link in the part's place is written through",
        "lib_anyms/models/downloads.py",
        "if part.is_symlink() or (part.exists()",
        "if (part.exists()",
        "tests/unit/test_downloads.py -k too_long_or_a_link",
    ),
    Fault(
        "downloads: a link of the file's name is not seen",
        "lib_anyms/models/downloads.py",
        "    if os.path.lexists(folder / file.name):",
        "    if (folder / file.name).exists():",
        "tests/unit/test_downloads.py -k never_overwritten",
    ),
    Fault(
        "downloads: a file is known in upper case too",
        "lib_anyms/models/known_files.py",
        "if row.name == name",
        "if row.name.lower() == name.lower()",
        "tests/unit/test_downloads.py -k table_is_whole",
    ),
    Fault(
        "downloads: the hash is not looked at",
        "lib_anyms/models/downloads.py",
        "if digest != file.sha256:",
        "if not digest:",
        "tests/unit/test_downloads.py -k 'something_else or wrong_bytes'",
    ),
    Fault(
        "downloads: begun anew after every cut",
        "lib_anyms/models/downloads.py",
        'part.open("ab")',
        'part.open("wb")',
        "tests/unit/test_downloads.py -k goes_on",
    ),
    Fault(
        "downloads: any redirect is followed",
        "lib_anyms/models/web_file.py",
        'not in ("https", urlsplit(req.full_url).scheme):',
        'not in ("https", "http", "file", "ftp"):',
        "tests/unit/test_downloads.py -k something_else",
    ),
    Fault(
        "downloads: go on while a picture is made",
        "lib_anyms/models/downloads.py",
        "while not conditions.ends() and conditions.waits():",
        "while not conditions.ends() and False:",
        "tests/unit/test_downloads.py -k waits_while",
    ),
    Fault(
        "downloads: a full disk keeps what was fetched",
        "lib_anyms/models/downloads.py",
        '            part.unlink(missing_ok=True)\n            raise Refused("download_space"',
        '            raise Refused("download_space"',
        "tests/unit/test_downloads.py -k disk_that_fails",
    ),
)
