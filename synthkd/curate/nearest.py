"""For each of many vectors the nearest of a few, exactly; the many stay on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Index = NDArray[np.int64]

PRODUCTS_AT_ONCE = 2**24
"""Cosines that are in memory at once: 64 MB."""


def nearest(many: Floats, few: Floats) -> tuple[Index, Floats]:
    """The nearest of the few, and how near it is.

    Args:
        many: (n, d) float32 of unit length or zero; may lie on disk.
        few: (m, d) float32 of unit length or zero.

    Returns:
        (n,) places in `few`, the first of equals, and (n,) cosines; where there is none, of -1.
    """
    import numpy as np

    place = np.zeros(len(many), dtype=np.int64)
    cosine = np.full(len(many), -1, dtype=np.float32)
    if not len(few):
        return place, cosine
    size = max(1, PRODUCTS_AT_ONCE // len(few))
    for start in range(0, len(many), size):
        here = slice(start, start + size)
        products = np.asarray(many[here]) @ few.T
        place[here] = products.argmax(axis=1)
        cosine[here] = products[np.arange(len(products)), place[here]]
    return place, cosine
