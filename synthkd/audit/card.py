"""What an audit has shown, in the card of the dataset, which the manifest holds the hash of."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import orjson

from synthkd.errors import UserError
from synthkd.evaluate.card import with_section
from synthkd.folder import MANIFEST, read_manifest
from synthkd.io.atomic import atomic_file
from synthkd.io.lock import locked
from synthkd.manifest import Manifest

CARD = Path("dataset", "README.md")
HEADING = "## Audit"


def write_audit(folder: Path, manifest: Manifest, lines: Sequence[str]) -> None:
    """Put the audit into the card, in place of an older one.

    Raises:
        UserError: another process works in the folder, the rows are others by now, or the card is
            not there or no text.
        DiskFailed: it cannot be written.
    """
    try:
        with locked(folder):
            now = read_manifest(folder)
            if now.run_id != manifest.run_id or now.dataset != manifest.dataset:
                raise UserError(f"{folder}: was run again meanwhile: audit the new rows")
            card = with_audit((folder / CARD).read_text(encoding="utf-8"), lines).encode()
            with atomic_file(folder / CARD) as file:
                file.write(card)
            files = {**now.files, CARD.as_posix(): hashlib.sha256(card).hexdigest()}
            changed = now.model_copy(update={"files": files}).model_dump(mode="json")
            with atomic_file(folder / MANIFEST) as file:
                file.write(
                    orjson.dumps(changed, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
                )
    except BlockingIOError:
        raise UserError(
            f"{folder}: another synthkd works in this folder; the labels are kept: write the card"
            " later with --report"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{folder / CARD}: cannot be read ({error}); the labels are kept: run the pipeline"
            " again, which writes the card anew, then the audit with --report"
        ) from error


def with_audit(card: str, lines: Sequence[str]) -> str:
    """The card with this section at its end, and no other of its kind."""
    return with_section(card, HEADING, [f"- {line}" for line in lines])
