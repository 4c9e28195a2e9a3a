"""Planted faults of models."""

from __future__ import annotations

from tests.faults.fault import Fault

FAULTS = (
    Fault(
        "an image-editing checkpoint is taken for SDXL",
        "lib_anyms/models/model_family.py",
        "INPUT_CHANNELS = (4, 9)",
        "INPUT_CHANNELS = (4, 8, 9)",
        "tests/unit/test_model_family.py",
    ),
    Fault(
        "files: the header of an unusable file is read at every search",
        "lib_anyms/models/file_index.py",
        "if known is None or known[0] != stamp:",
        "if known is None or known[0] != stamp or isinstance(known[1], Refused):",
        "tests/unit/test_finding.py -k 'three_thousand or changes_is_read'",
    ),
    Fault(
        "files: a replaced file keeps its old verdict",
        "lib_anyms/models/file_index.py",
        "if known is None or known[0] != stamp:",
        "if known is None:",
        "tests/unit/test_finding.py -k changes_is_read",
    ),
    Fault(
        "files: an adapter without its encoder is chosen",
        "lib_anyms/models/model_files.py",
        "    for adapter_file in adapters:\n        for encoder_file in encoders:",
        "    for adapter_file in adapters[:1]:\n        for encoder_file in encoders:",
        "tests/unit/test_finding.py -k auto_takes",
    ),
    Fault(
        "files: a loop of links is followed",
        "lib_anyms/models/model_files.py",
        "    if identity in entered or len(entered) >= MOST_FOLDERS:",
        "    if len(entered) >= MOST_FOLDERS:",
        "tests/unit/test_finding.py -k links_are_followed",
    ),
    Fault(
        "files: a look-alike of the adapter is not named",
        "lib_anyms/models/model_files.py",
        "isinstance(verdict, Refused) and verdict.cause not in _FAR]",
        "isinstance(verdict, Refused) and verdict.cause in _FAR]",
        "tests/unit/test_finding.py -k look_alike_in_its_place",
    ),
    Fault(
        "files: a name from outside opens any path",
        "lib_anyms/models/model_files.py",
        "    for path, verdict in files:\n        if _is_called",
        "    for path, verdict in [*files, *index.look([Path(name)])]:\n        if _is_called",
        "tests/unit/test_finding.py -k from_outside",
    ),
    Fault(
        "downloads: a file name may leave the folder",
        "lib_anyms/models/downloads.py",
        "if not file.offered or Path(file.name).name != file.name:",
        "if not file.offered:",
        "tests/unit/test_downloads.py -k without_a_known_hash",
    ),
    Fault(
        "downloads: a link in place of the part is followed",
        "lib_anyms/models/downloads.py",
        "if part.is_symlink() or _size(part) > file.size:",
        "if _size(part) > file.size:",
        "tests/unit/test_downloads.py -k too_long_or_a_link",
    ),
    Fault(
        "downloads: a link with the file's name is overwritten",
        "lib_anyms/models/downloads.py",
        "    if os.path.lexists(folder / file.name):",
        "    if (folder / file.name).exists():",
        "tests/unit/test_downloads.py -k never_overwritten",
    ),
    Fault(
        "downloads: a file is known in upper case, too",
        "lib_anyms/models/known_files.py",
        "if file.name == name",
        "if file.name.lower() == name.lower()",
        "tests/unit/test_downloads.py -k table_is_complete",
    ),
    Fault(
        "downloads: the hash is not checked",
        "lib_anyms/models/downloads.py",
        "if digest != file.sha256:",
        "if not digest:",
        "tests/unit/test_downloads.py -k 'something_else or wrong_bytes'",
    ),
    Fault(
        "downloads: each cut starts from the first byte",
        "lib_anyms/models/downloads.py",
        'part.open("ab")',
        'part.open("wb")',
        "tests/unit/test_downloads.py -k continues_where",
    ),
    Fault(
        "downloads: any redirect is followed",
        "lib_anyms/models/web_file.py",
        'not in ("https", urlsplit(req.full_url).scheme):',
        'not in ("https", "http", "file", "ftp"):',
        "tests/unit/test_downloads.py -k something_else",
    ),
    Fault(
        "downloads: continue while an image is generating",
        "lib_anyms/models/downloads.py",
        "while not conditions.ends() and conditions.waits():",
        "while not conditions.ends() and False:",
        "tests/unit/test_downloads.py -k waits_while",
    ),
    Fault(
        "downloads: a full disk keeps the part",
        "lib_anyms/models/downloads.py",
        '            part.unlink(missing_ok=True)\n            raise Refused("download_space"',
        '            raise Refused("download_space"',
        "tests/unit/test_downloads.py -k disk_that_fails",
    ),
    Fault(
        "files: verdicts of other sources are used",
        "lib_anyms/models/file_index.py",
        'content.get("version") != _version():',
        'not content.get("version"):',
        "tests/unit/test_finding.py -k other_sources",
    ),
)
