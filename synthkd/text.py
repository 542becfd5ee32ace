"""When two texts count as the same: one rule for hold-outs, duplicates and gold."""

from __future__ import annotations

import unicodedata


def normalised(text: str) -> str:
    """NFKC, case folded, each run of white space one space, none at the ends."""
    # Twice, because folding can undo the normal form: Unicode's toNFKC_Casefold does the same.
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split())


def without_punctuation(text: str) -> str:
    """Punctuation and symbols become spaces; normalise afterwards."""
    return "".join(" " if unicodedata.category(c)[0] in "PS" else c for c in text)
