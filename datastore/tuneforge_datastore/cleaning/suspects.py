"""Find, over Arrow buffers, the few texts that may need cleaning; the rest is not looked at again.

A flag may be raised without need, never missed: what is flagged is then read by the rules.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

MOJIBAKE, CONTROL, NFC, SPACE = 1, 2, 4, 8
# Kinds of bytes, beside CONTROL.
BLANK, LATIN, SIGN, LOOK = 16, 32, 64, 128


def _kinds() -> NDArray[np.uint8]:
    kinds = np.zeros(256, np.uint8)

    def mark(kind: int, *bounds: tuple[int, int]) -> None:
        for low, high in bounds:
            kinds[low : high + 1] |= np.uint8(kind)

    mark(BLANK, (9, 13), (32, 32))
    mark(CONTROL, (0, 8), (11, 12), (14, 31), (127, 127))
    # First bytes of the characters that wrong decodings give: Latin, Greek and Cyrillic; and the
    # punctuation, box drawings and mathematical signs of old code pages. No CJK among them.
    mark(LATIN, (0xC2, 0xD1))
    mark(SIGN, (0xE2, 0xE2), (0xEF, 0xEF))
    mark(LOOK, (0, 8), (10, 32), (127, 255))
    return kinds


KINDS = _kinds()


def flags(texts: pa.Array) -> NDArray[np.uint8]:
    """Give each text's flags, the sum of those raised; null raises none."""
    from tuneforge_datastore.cleaning.kernel import scan

    texts = texts.cast(pa.large_string())
    raised = np.zeros(len(texts), np.uint8)
    _, offset_buffer, data_buffer = texts.buffers()
    if data_buffer is not None and len(texts):
        offsets = np.frombuffer(offset_buffer, np.int64)
        bounds = offsets[texts.offset : texts.offset + len(texts) + 1]
        scan(np.frombuffer(data_buffer, np.uint8), bounds, KINDS, raised)
    return raised
