"""Find, over Arrow buffers, the few texts that may need cleaning; the rest is not looked at again.

A flag may be raised without need, never missed: what is flagged is then read by the rules.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

MOJIBAKE, CONTROL, NFC, SPACE = 1, 2, 4, 8
Bytes = NDArray[np.uint8]
Flags = NDArray[np.uint8]


def _class(*bounds: tuple[int, int]) -> NDArray[np.bool_]:
    table = np.zeros(256, np.bool_)
    for low, high in bounds:
        table[low : high + 1] = True
    return table


_BLANK = _class((9, 13), (32, 32))
_CONTROL = _class((0, 8), (11, 12), (14, 31), (127, 127))
# First bytes of the characters that wrong decodings give: Latin, Greek, Cyrillic, and the
# punctuation, box drawings and mathematical signs of old code pages. No CJK among them.
_LATIN = _class((0xC2, 0xD1))
_LATIN_OR_SIGN = _class((0xC2, 0xD1), (0xE2, 0xE2), (0xEF, 0xEF))


def flags(texts: pa.Array) -> Flags:
    """Give each text's flags, the sum of those raised; null raises none."""
    texts = texts.cast(pa.large_string())
    count = len(texts)
    raised = np.zeros(count, np.uint8)
    _, offset_buffer, data_buffer = texts.buffers()
    if data_buffer is None or count == 0:
        return raised
    offsets = np.frombuffer(offset_buffer, np.int64)[texts.offset : texts.offset + count + 1]
    data = np.frombuffer(data_buffer, np.uint8)[offsets[0] : offsets[-1]]
    bounds = offsets - offsets[0]
    filled = np.flatnonzero(bounds[1:] > bounds[:-1])
    if not len(filled):
        return raised
    first, last = data[bounds[:-1][filled]], data[bounds[1:][filled] - 1]
    raised[filled] |= (_BLANK[first] | _BLANK[last]) * np.uint8(SPACE)
    found: list[tuple[int, NDArray[np.bool_]]] = [(SPACE, _untidy(data)), (CONTROL, _CONTROL[data])]
    if data.max() >= 0x80:
        found += _of_bytes_beyond_ascii(data)
    for flag, where in found:
        places = np.flatnonzero(where)
        if len(places):
            raised[np.searchsorted(bounds, places, side="right") - 1] |= np.uint8(flag)
    return raised


def _untidy(data: Bytes) -> NDArray[np.bool_]:
    """Mark carriage returns, blanks before a line's end, and the fourth line end in a row."""
    ends = data == 10
    where: NDArray[np.bool_] = data == 13
    where[1:] |= ends[1:] & ((data[:-1] == 32) | (data[:-1] == 9))
    where[3:] |= ends[3:] & ends[2:-1] & ends[1:-2] & ends[:-3]
    return where


def _of_bytes_beyond_ascii(data: Bytes) -> list[tuple[int, NDArray[np.bool_]]]:
    # Three bytes before the beginning, so that every position has what is looked at before it.
    padded = np.concatenate((np.zeros(3, np.uint8), data))
    now, before, two, three = (padded[3 - back : len(padded) - back] for back in range(4))
    # C1 controls: C2 80 to C2 9F, the line break U+0085 among them.
    c1 = (before == 0xC2) & (now >= 0x80) & (now <= 0x9F)
    mark = (now == 0xBF) & (before == 0xBB) & (two == 0xEF)
    # Wrongly decoded UTF-8 shows as two characters beyond ASCII in a row, or Â or Ã and a blank.
    follows = (before >= 0x80) & (before < 0xC0) & _LATIN_OR_SIGN[now]
    pair = follows & (_LATIN[two] | _LATIN_OR_SIGN[three])
    lossy = (now == 32) & (two == 0xC3) & ((before == 0x82) | (before == 0x83))
    # Below U+0300 nothing composes; of what is above, the common quotes and dashes (E2 80 ..).
    composing = (now >= 0xCC) & (now != 0xE2)
    composing |= (before == 0xE2) & (now != 0x80)
    composing |= (two == 0xE2) & (before == 0x80) & (now < 0x82)
    return [(CONTROL, c1 | mark), (MOJIBAKE, pair | lossy | c1), (NFC, composing)]
