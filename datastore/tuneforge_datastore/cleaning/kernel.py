"""The compiled scan for texts that may need cleaning. Imports numba: load only on use."""

from typing import Any

import numpy as np

from tuneforge_datastore.cleaning.suspects import (
    BLANK,
    CONTROL,
    LATIN,
    LOOK,
    MOJIBAKE,
    NFC,
    SIGN,
    SPACE,
)
from tuneforge_datastore.compiling import kernel

Array = Any


@kernel
def of_ascii(kind: int, now: int, before: int, two: int, three: int) -> int:
    """Give the flags that an ASCII byte raises after the three before it, the nearest first."""
    found = kind & CONTROL
    if now == 13:
        found |= SPACE
    elif now == 10:
        # Blanks before a line's end, and the fourth line end in a row.
        if before in (9, 32) or before == two == three == 10:
            found |= SPACE
    elif now == 32 and two == 0xC3 and before in (0x82, 0x83):
        found |= MOJIBAKE  # Â or Ã, and a blank that was a no-break space
    return found


@kernel
def inside_character(now: int, before: int, two: int) -> int:
    """Give the flags that a byte within a character beyond ASCII raises."""
    found = 0
    if before == 0xC2 and now < 0xA0:
        found |= CONTROL | MOJIBAKE  # C1 controls, U+0080 to U+009F
    if now == 0xBF and before == 0xBB and two == 0xEF:
        found |= CONTROL  # the byte order mark
    # Of the characters at E2 xx, all but U+2002 to U+203F may not be composed.
    if (before == 0xE2 and now != 0x80) or (two == 0xE2 and before == 0x80 and now < 0x82):
        found |= NFC
    return found


@kernel
def scan(data: Array, bounds: Array, kinds: Array, raised: Array) -> None:
    """Raise the flags of each text ``data[bounds[n]:bounds[n + 1]]`` in ``raised``."""
    for row in range(len(raised)):
        begin, end = bounds[row], bounds[row + 1]
        if begin == end:
            continue
        found = 0
        if kinds[data[begin]] & BLANK or kinds[data[end - 1]] & BLANK:
            found = SPACE
        for at in range(begin, end):
            kind = kinds[data[at]]
            if not kind & LOOK:
                continue
            now = data[at]
            # What is before the text's begin counts as nothing.
            before = data[at - 1] if at > begin else 0
            two = data[at - 2] if at > begin + 1 else 0
            three = data[at - 3] if at > begin + 2 else 0
            if now < 0x80:
                found |= of_ascii(kind, now, before, two, three)
            elif now < 0xC0:
                found |= inside_character(now, before, two)
            else:
                # Wrongly decoded UTF-8 shows as two characters beyond ASCII in a row.
                follows = 0x80 <= before < 0xC0 and kind & (LATIN | SIGN)
                if follows and (kinds[two] & LATIN or kinds[three] & (LATIN | SIGN)):
                    found |= MOJIBAKE
                if now >= 0xCC and now != 0xE2:
                    found |= NFC  # nothing composes below U+0300
        raised[row] = np.uint8(found)
