"""The compiled loops over Arrow buffers. Imports numba: load only on use.

All in one file, because numba's disk cache notices a change only in the file of the function that
is called from Python, not in those of the functions that it calls.

``texts`` is a ``dedup.columns.Texts``. Hashes are 64 bits wide.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numba as nb
import numpy as np
from llvmlite import ir
from numba.extending import intrinsic
from numpy.typing import NDArray

from tuneforge_datastore.compiling import kernel
from tuneforge_datastore.dedup.room import zeros
from tuneforge_datastore.dedup.shingles import (
    IDEOGRAPHS_END,
    KIND,
    SINGLE,
    TABLE_SIZE,
    UNSTABLE,
    WORD,
)

Array = Any
F = TypeVar("F", bound=Callable[..., object])

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_SHORT = np.uint64(0xD6E8FEB86659FD93)
# A word that is one character of an unspaced script.
_ALONE = np.uint64(0xA0761D6478BD642F)
_TAG = np.uint64(0xFFFFFFFF00000000)
_NEWEST = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_SIXTEEN = np.uint64(48)
_SPREAD = np.uint32(0x9E3779B1)
_ONES = np.uint64(0x1111111111111111)
_LANES = 64
_LOW_BITS = np.uint64(0x7F7F7F7F7F7F7F7F)
_HIGH_BITS = np.uint64(0x8080808080808080)
_GATHER = np.uint64(0x0102040810204080)
# Bytes of a text that are read: memory stays bounded on a text of hundreds of megabytes.
LONGEST = 1 << 22
# Rows, and shingles of each at most, that are kept for comparing: 4 MiB.
RECENT, WIDEST = 1024, 512
# A sketch holds four bits of each of so many permutations, sixteen to a word: one cache line.
SKETCHED = 128
SKETCH_WORDS = SKETCHED // 16
# The rarest shingles of a row that are indexed, and the rows that are listed for each of them.
RAREST, LISTED = 32, 16
# Shingles of a row of the crowd of which sixteen bits are kept: 512 bytes.
SHORT = 256
# Counters of shingles, which share one where their hashes do: 4 MiB.
COUNTERS = 1 << 20


def bare(function: F) -> F:
    """Compile a function that allocates nothing, without counting references to its arrays.

    Counts change by locked instructions, in every turn of a loop that calls a small function: most
    of the time of these kernels would go there.
    """
    return kernel(function, _nrt=False)


def inlined(function: F) -> F:
    """Compile a small function into those that call it."""
    return kernel(function, _nrt=False, inline="always")


@intrinsic  # type: ignore[untyped-decorator]
def _trailing_zeros(_context: Any, bits: Any) -> Any:
    """Count the zero bits below the lowest set bit."""

    def generate(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return nb.uint64(bits), generate


@intrinsic  # type: ignore[untyped-decorator]
def _count_ones(_context: Any, bits: Any) -> Any:
    """Count the bits that are set."""

    def generate(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return nb.uint64(bits), generate


@inlined
def _mix(x: Any) -> Any:
    """Mix 64 bits (the finaliser of SplitMix64, Steele et al. 2014)."""
    x = (x ^ (x >> np.uint64(30))) * _MIX_1
    x = (x ^ (x >> np.uint64(27))) * _MIX_2
    return x ^ (x >> np.uint64(31))


@inlined
def _decode(data: Array, at: int, end: int) -> Any:
    """Decode the character of several bytes at ``at``; give its code and its width."""
    code = np.int64(data[at])
    if code >= 0xF0:
        width, code = 4, code & 0x07
    elif code >= 0xE0:
        width, code = 3, code & 0x0F
    else:
        width, code = 2, code & 0x1F
    width = min(width, end - at)
    for k in range(1, width):
        code = (code << 6) | (np.int64(data[at + k]) & 0x3F)
    return code, width


@inlined
def _class(code: Any, classes: Array) -> Any:
    if code < TABLE_SIZE:
        return np.int64(classes[code])
    return np.int64(SINGLE) if code < IDEOGRAPHS_END else np.int64(0)


@inlined
def _is_ascii(data: Array, start: int, end: int) -> bool:
    # A slice has no index below 0 to look out for, so the loop becomes SIMD.
    text = data[start:end]
    together = np.uint8(0)
    for i in range(text.shape[0]):
        together = np.uint8(together | text[i])
    return bool(together < 128)


@bare
def needs_folding(data: Array, start: int, end: int, classes: Array) -> bool:
    """Say whether a text has characters whose folding is more than ASCII lower case."""
    if _is_ascii(data, start, end):
        return False
    at = start
    while at < end:
        width = 1
        if data[at] >= 128:
            code, width = _decode(data, at, end)
            if (_class(code, classes) & UNSTABLE) or code >= TABLE_SIZE:
                return True
        at += width
    return False


@bare
def find_unfolded(data: Array, offsets: Array, classes: Array, found: Array) -> None:
    """Set ``found[i]`` where row i needs folding."""
    for row in range(found.shape[0]):
        found[row] = needs_folding(data, offsets[row], offsets[row + 1], classes)


class Reader(NamedTuple):
    """What one row is read into: bytes in lower case, where words are, their hashes, their runs.

    ``high`` has the top bit of each byte of the row, set where a character is not ASCII.
    ``narrow`` has the upper halves of the runs, padded to whole vectors.
    """

    lower: NDArray[np.uint8]
    lower_eights: NDArray[np.uint64]
    high: NDArray[np.uint8]
    high_eights: NDArray[np.uint64]
    edges: NDArray[np.uint64]
    words: NDArray[np.uint64]
    runs: NDArray[np.uint64]
    narrow: NDArray[np.uint32]

    @classmethod
    def of(cls, longest: int) -> "Reader":
        """Make room for rows of ``longest`` bytes."""
        longest = min(longest, LONGEST)
        lower = np.zeros((longest // 64 + 2) * 64, np.uint8)
        high = np.zeros_like(lower)
        words = longest // 2 + 2
        return cls(
            lower=lower,
            lower_eights=lower.view(np.uint64),
            high=high,
            high_eights=high.view(np.uint64),
            edges=np.empty(2 * words, np.uint64),
            words=np.empty(words, np.uint64),
            runs=np.empty(words, np.uint64),
            narrow=np.empty(words + _LANES, np.uint32),
        )


@inlined
def _finish(state: Any, rest: Any, size: Any) -> Any:
    """Give the hash of a word of ``size`` bytes: whole eights are in ``state``, others ``rest``."""
    return _mix(state ^ rest ^ (np.uint64(size) << np.uint64(56)))


@inlined
def _eight(state: Any, pack: Any) -> Any:
    state = (state ^ pack) * _MULTIPLIER
    return state ^ (state >> np.uint64(29))


@inlined
def _keep_letters(text: Array, classes: Array, reader: Array) -> bool:
    """Put the letters beyond ASCII into ``lower`` as they are; False if one is a word by itself."""
    lower, high, eights = reader.lower, reader.high, reader.high_eights
    length = text.shape[0]
    for i in range(length):
        high[i] = text[i] & np.uint8(128)
    at = 0
    while at < length:
        if eights[at >> 3] == 0:
            at = ((at >> 3) + 1) << 3
        elif text[at] < 128:
            at += 1
        else:
            code, width = _decode(text, at, length)
            kind = _class(code, classes) & KIND
            if kind == SINGLE:
                return False
            if kind == WORD:
                for k in range(at, at + width):
                    lower[k] = text[k]
            at += width
    return True


@bare
def _spaced_words(data: Array, start: int, end: int, classes: Array, reader: Array) -> int:
    """Hash the words of a text, -1 where some character is a word by itself.

    Letters and digits become bits without a branch for each character; where the bits change,
    words start and end. All indices are unsigned: signed ones may be below 0, which is looked at.
    """
    text = data[start:end]
    length = text.shape[0]
    lower = reader.lower
    together = np.uint8(0)
    for i in range(length):
        byte = text[i]
        together = np.uint8(together | byte)
        letter = np.uint8(byte | np.uint8(32))
        is_letter = np.uint8(letter - np.uint8(97)) < np.uint8(26)
        is_digit = np.uint8(byte - np.uint8(48)) < np.uint8(10)
        lower[i] = letter if is_letter else (byte if is_digit else np.uint8(0))
    blocks = length // 64 + 1
    lower[length : blocks * 64] = 0
    if together >= 128 and not _keep_letters(text, classes, reader):
        return -1
    return _hash_words(reader, _find_edges(reader, blocks))


@inlined
def _find_edges(reader: Array, blocks: int) -> Any:
    """List where words start and end, in turns; return how many words there are."""
    edges, eights = reader.edges, reader.lower_eights
    found = np.uint64(0)
    carry = np.uint64(0)
    for block in range(np.uint64(blocks)):
        bits = np.uint64(0)
        for k in range(8):
            # Bit 7 of each byte of ``marks`` says that the byte is not 0; the product gathers them.
            eight = eights[block * np.uint64(8) + np.uint64(k)]
            marks = (((eight & _LOW_BITS) + _LOW_BITS) | eight) & _HIGH_BITS
            gathered = ((marks >> np.uint64(7)) * _GATHER) >> np.uint64(56)
            bits |= gathered << np.uint64(8 * k)
        changes = bits ^ ((bits << np.uint64(1)) | carry)
        carry = bits >> np.uint64(63)
        while changes:
            edges[found] = block * np.uint64(64) + _trailing_zeros(changes)
            found += np.uint64(1)
            changes &= changes - np.uint64(1)
    return np.int64(found >> np.uint64(1))


@inlined
def _hash_words(reader: Array, count: int) -> int:
    edges, eights, words = reader.edges, reader.lower_eights, reader.words
    for word in range(count):
        at = edges[2 * word]
        size = edges[2 * word + 1] - at
        shift = (at & np.uint64(7)) << np.uint64(3)
        place = at >> np.uint64(3)
        left = size
        state = np.uint64(0)
        while True:
            # Eight bytes from any place, out of two aligned eights.
            following = eights[place + np.uint64(1)]
            high = (following << (np.uint64(63) - shift)) << np.uint64(1)
            pack = (eights[place] >> shift) | high
            if left < np.uint64(8):
                break
            state = _eight(state, pack)
            left -= np.uint64(8)
            place += np.uint64(1)
        rest = pack & ((np.uint64(1) << (np.uint64(8) * left)) - np.uint64(1))
        words[word] = _finish(state, rest, size)
    return count


@bare
def _any_words(data: Array, start: int, end: int, classes: Array, reader: Array) -> int:
    """Hash the words of any text, character by character; equal words hash as in spaced texts."""
    words = reader.words
    count = 0
    state = np.uint64(0)
    pack = np.uint64(0)
    size = 0
    at = start
    while at < end:
        code, width = np.int64(data[at]), 1
        if code >= 128:
            code, width = _decode(data, at, end)
        elif 65 <= code <= 90:
            code += 32
        kind = _class(code, classes) & KIND
        if kind == WORD:
            for k in range(width):
                byte = np.uint64(data[at + k]) if width > 1 else np.uint64(code)
                pack |= byte << np.uint64(8 * (size & 7))
                size += 1
                if size & 7 == 0:
                    state = _eight(state, pack)
                    pack = np.uint64(0)
        elif size > 0:
            words[count] = _finish(state, pack, size)
            count += 1
            state = pack = np.uint64(0)
            size = 0
        if kind == SINGLE:
            words[count] = _mix(np.uint64(code) ^ _ALONE)
            count += 1
        at += width
    if size > 0:
        words[count] = _finish(state, pack, size)
        count += 1
    return count


@bare
def _hash_runs(words: Array, count: int, ngram: int, out: Array) -> int:
    """Write the hash of each run of ``ngram`` words to ``out``; return how many.

    A polynomial rolling hash: the cost does not grow with ``ngram``. Fewer words make one run.
    """
    if count == 0:
        return 0
    rolling = np.uint64(0)
    if count < ngram:
        for i in range(count):
            rolling = rolling * _MULTIPLIER + words[i]
        out[0] = _mix(rolling ^ (_SHORT * np.uint64(count)))
        return 1
    leaving = np.uint64(1)
    for i in range(ngram):
        rolling = rolling * _MULTIPLIER + words[i]
        leaving = leaving * _MULTIPLIER
    out[0] = _mix(rolling)
    for i in range(ngram, count):
        rolling = rolling * _MULTIPLIER + words[i] - words[i - ngram] * leaving
        out[i - ngram + 1] = _mix(rolling)
    return count - ngram + 1


@bare
def row_runs(texts: Array, row: int, ngram: int, reader: Array) -> int:
    """Hash one row's runs of words into ``reader.runs``; return how many, repeats included."""
    at = texts.place[row]
    if at >= 0:
        start, end = texts.folded_offsets[at], texts.folded_offsets[at + 1]
        data = texts.folded
    else:
        start, end = texts.offsets[row], texts.offsets[row + 1]
        data = texts.data
    end = min(end, start + LONGEST)
    count = _spaced_words(data, start, end, texts.classes, reader)
    if count < 0:
        count = _any_words(data, start, end, texts.classes, reader)
    return _hash_runs(reader.words, count, ngram, reader.runs)


@bare
def band_keys(
    texts: Array,
    first: int,
    ngram: int,
    multipliers: Array,
    increments: Array,
    rows: int,
    reader: Array,
    keys: Array,
    filled: Array,
    sketches: Array,
) -> None:
    """Fill ``keys[r]`` with the band keys of row ``first + r``, ``filled[r]`` with 1 if it has any.

    The row's sketch becomes four bits of each of the first ``SKETCHED`` least values.

    MinHash as datasketch defines it (the least value of each of many hash functions over the
    shingles), with multiply-add functions modulo 2^32 that the compiler turns into SIMD.
    """
    runs, narrow = reader.runs, reader.narrow
    for r in range(keys.shape[0]):
        count = row_runs(texts, first + r, ngram, reader)
        filled[r] = count > 0
        for s in range(count):
            narrow[s] = np.uint32(runs[s] >> np.uint64(32))
        # Whole vectors only: a repeated shingle does not change the least value.
        while filled[r] and count % _LANES:
            narrow[count] = narrow[0]
            count += 1
        sketches[first + r] = 0
        for band in range(keys.shape[1]):
            key = np.uint64(band)
            for p in range(band * rows, band * rows + rows):
                a = multipliers[p]
                b = increments[p]
                least = np.uint32(0xFFFFFFFF)
                for s in range(count):
                    value = np.uint32(a * narrow[s] + b)
                    least = min(least, value)
                key = (key ^ np.uint64(least)) * _MULTIPLIER
                key ^= key >> np.uint64(29)
                if p < SKETCHED:
                    four = np.uint64(np.uint32(least * _SPREAD) >> np.uint32(28))
                    sketches[first + r, p >> 4] |= four << np.uint64((p & 15) * 4)
            keys[r, band] = _mix(key)


class Sets(NamedTuple):
    """The shingle sets of the row that is looked at, and of those it was compared with last.

    A stamp tells the entries of the current hash set from older ones, so that none is cleared.
    ``state`` is [row in ``mine``, its size, last stamp of ``theirs``]. ``recent`` holds the
    distinct shingles of row ``recent_rows[i]``: rows that share boilerplate are compared with the
    same rows again and again. ``listed`` holds those of ``mine`` in order, and ``bits`` marks the
    first sixteen bits of each.
    """

    reader: Reader
    listed: NDArray[np.uint64]
    bits: NDArray[np.uint8]
    mine: NDArray[np.uint64]
    my_stamps: NDArray[np.int64]
    theirs: NDArray[np.uint64]
    their_stamps: NDArray[np.int64]
    state: NDArray[np.int64]
    recent: NDArray[np.uint64]
    recent_rows: NDArray[np.int64]
    recent_sizes: NDArray[np.int64]

    @classmethod
    def holding(cls, longest: int) -> "Sets":
        """Make sets for rows of at most ``longest`` bytes, at most half full."""
        capacity = 1 << min(longest, LONGEST).bit_length()
        reader = Reader.of(longest)
        return cls(
            reader=reader,
            listed=np.empty_like(reader.runs),
            bits=np.zeros(1 << 16, np.uint8),
            mine=np.empty(capacity, np.uint64),
            my_stamps=np.full(capacity, -1, np.int64),
            theirs=np.empty(capacity, np.uint64),
            their_stamps=np.full(capacity, -1, np.int64),
            state=np.array([-1, 0, 0]),
            recent=np.empty((RECENT, WIDEST), np.uint64),
            recent_rows=np.full(RECENT, -1, np.int64),
            recent_sizes=np.empty(RECENT, np.int64),
        )


@inlined
def _place(table: Array, stamps: Array, stamp: int, value: Any) -> Any:
    """Find the entry of ``value``, or the free one where it belongs."""
    mask = table.shape[0] - 1
    at = np.int64(value & np.uint64(mask))
    while stamps[at] == stamp and table[at] != value:
        at = (at + 1) & mask
    return at


@bare
def _distinct(
    texts: Array, row: int, ngram: int, sets: Array, table: Array, stamps: Array, stamp: int
) -> int:
    """Put the shingles of a row into a hash set; leave each once in the reader, and count them."""
    size = 0
    runs = sets.reader.runs
    for s in range(row_runs(texts, row, ngram, sets.reader)):
        value = runs[s]
        at = _place(table, stamps, stamp, value)
        if stamps[at] != stamp:
            table[at] = value
            stamps[at] = stamp
            runs[size] = value
            size += 1
    return size


@bare
def _jaccard(mine: Array, stamps: Array, row: int, size: int, theirs: Array, least: float) -> float:
    """Compare the hash set ``mine`` with distinct shingles; 0 as soon as ``least`` is out of reach.

    Both ends are read in turns, since boilerplate is mostly at one of them.
    """
    other = theirs.shape[0]
    # J >= least needs shared >= least / (1 + least) * (size + other); one is left for rounding.
    missing = other - int(least / (1.0 + least) * (size + other)) + 1
    shared = 0
    for s in range(other):
        value = theirs[s // 2] if s % 2 == 0 else theirs[other - 1 - s // 2]
        if stamps[_place(mine, stamps, row, value)] == row:
            shared += 1
        else:
            missing -= 1
            if missing < 0:
                return 0.0
    return float(shared / (size + other - shared))


@bare
def _read_mine(texts: Array, row: int, ngram: int, sets: Array) -> int:
    """Make ``row`` the one that others are compared with, and count its shingles."""
    if sets.state[0] != row:
        listed, bits = sets.listed, sets.bits
        for s in range(sets.state[1]):
            bits[listed[s] >> _SIXTEEN] = 0
        size = _distinct(texts, row, ngram, sets, sets.mine, sets.my_stamps, row)
        for s in range(size):
            listed[s] = sets.reader.runs[s]
            bits[listed[s] >> _SIXTEEN] = 1
        sets.state[1] = size
        sets.state[0] = row
    return int(sets.state[1])


@bare
def similarity(texts: Array, row: int, other: int, ngram: int, least: float, sets: Array) -> float:
    """Divide the shingles that both rows have by those that either has; 0 if below ``least``.

    The set of ``row`` is kept for the next call with the same row.
    """
    _read_mine(texts, row, ngram, sets)
    slot = other % sets.recent_rows.shape[0]
    if sets.recent_rows[slot] != other:
        sets.state[2] += 1
        size = _distinct(texts, other, ngram, sets, sets.theirs, sets.their_stamps, sets.state[2])
        if size > sets.recent.shape[1]:
            theirs = sets.reader.runs[:size]
            alike = _jaccard(sets.mine, sets.my_stamps, row, sets.state[1], theirs, least)
            return alike if alike >= least else 0.0
        for s in range(size):
            sets.recent[slot, s] = sets.reader.runs[s]
        sets.recent_rows[slot] = other
        sets.recent_sizes[slot] = size
    theirs = sets.recent[slot, : sets.recent_sizes[slot]]
    alike = _jaccard(sets.mine, sets.my_stamps, row, sets.state[1], theirs, least)
    return alike if alike >= least else 0.0


class Rule(NamedTuple):
    """What makes two rows alike, and how many rows a bucket holds.

    ``unlike`` is the most places at which the sketches of two rows that are alike differ.
    """

    ngram: int
    threshold: float
    depth: int
    unlike: int


class Buckets(NamedTuple):
    """``entries`` hold 32 bits of the band key and the newest row + 1; ``seen`` marks by row.

    A bucket takes the first ``Rule.depth`` rows that are kept; ``full`` says which of the bands'
    buckets had no room for the row that is looked at, and ``found`` lists the rows in them.
    ``member`` is a row's place in the crowd, or -1.
    """

    entries: NDArray[np.uint64]
    older: NDArray[np.int32]
    seen: NDArray[np.int32]
    places: NDArray[np.int64]
    first: NDArray[np.uint64]
    full: NDArray[np.bool_]
    found: NDArray[np.int64]
    member: NDArray[np.int32]

    @classmethod
    def holding(cls, rows: int, bands: int, depth: int, folder: Path | None) -> "Buckets":
        """Make buckets for ``rows`` records; at most two thirds of the entries fill."""
        return cls(
            zeros((bands, rows * 3 // 2 + 8), np.uint64, folder),
            zeros((rows, bands), np.int32, folder),
            np.full(rows, -1, np.int32),
            np.empty(bands, np.int64),
            np.empty(bands, np.uint64),
            np.empty(bands, np.bool_),
            np.empty(bands * depth + RAREST * LISTED, np.int64),
            np.full(rows, -1, np.int32),
        )


@inlined
def _approach(buckets: Array, keys: Array) -> None:
    """Read the entry where each band's bucket should be: all at once, as each is a cache miss."""
    entries, places, first = buckets.entries, buckets.places, buckets.first
    size = np.uint64(entries.shape[1])
    for band in range(keys.shape[0]):
        at = np.int64(((keys[band] >> _HALF) * size) >> _HALF)
        places[band] = at
        first[band] = entries[band, at]


@inlined
def _newest(entries: Array, places: Array, first: Array, band: int, key: Any) -> Any:
    """Find the newest row in the bucket of ``key``, -1 if it is empty; remember its place."""
    tag = (key << _HALF) & _TAG
    entry = first[band]
    if entry != 0 and (entry & _TAG) != tag:
        at = places[band]
        while entry != 0 and (entry & _TAG) != tag:
            at = np.int64(at + 1 if at + 1 < entries.shape[1] else 0)
            entry = entries[band, at]
        places[band] = at
        first[band] = entry
    return np.int64(entry & _NEWEST) - 1


@inlined
def _differing(one: Array, other: Array) -> Any:
    """Count the places at which two sketches differ."""
    total = np.uint64(0)
    for word in range(SKETCH_WORDS):
        bits = one[word] ^ other[word]
        bits |= bits >> np.uint64(1)
        bits |= bits >> np.uint64(2)
        total += _count_ones(bits & _ONES)
    return np.int64(total)


@bare
def _look_up(
    buckets: Array, sketches: Array, row: int, keys: Array, rule: Array
) -> tuple[int, int, bool]:
    """List the rows that share a bucket with ``row`` and may be similar, once each.

    Returns how many they are, how many were looked at, and whether a bucket was full.
    """
    _approach(buckets, keys)
    entries, older, seen = buckets.entries, buckets.older, buckets.seen
    places, first, full = buckets.places, buckets.first, buckets.full
    found = buckets.found
    count = looked = 0
    crowded = False
    for band in range(keys.shape[0]):
        other = _newest(entries, places, first, band, keys[band])
        held = 0
        while other >= 0:
            if seen[other] != row:
                seen[other] = row
                looked += 1
                if _differing(sketches[row], sketches[other]) <= rule.unlike:
                    found[count] = other
                    count += 1
            other = np.int64(older[other, band])
            held += 1
        full[band] = held >= rule.depth
        crowded |= held >= rule.depth
    return count, looked, crowded


@bare
def _insert(buckets: Array, row: int, keys: Array) -> None:
    """Put a row into its buckets that have room; ``_look_up`` has been called for it."""
    entries, older = buckets.entries, buckets.older
    places, first, full = buckets.places, buckets.first, buckets.full
    for band in range(keys.shape[0]):
        if not full[band]:
            older[row, band] = np.int64(first[band] & _NEWEST) - 1
            entries[band, places[band]] = ((keys[band] << _HALF) & _TAG) | np.uint64(row + 1)


class Crowd(NamedTuple):
    """The kept rows that found a bucket full, by their rarest shingles.

    Two sets at least t similar share one of the (1 - t) of either that come first in any order of
    all shingles (prefix filtering: Chaudhuri et al. 2006, Bayardo et al. 2007). The rarest first:
    then what all rows share, such as boilerplate, comes last and proposes nobody. ``counters`` go
    on counting; ``order`` is what they were when the table was made. ``heads`` hold the upper half
    of the shingle and its newest place in ``older`` + 1; ``lengths`` count the rows listed from
    there.
    ``sizes`` count a row's shingles, of which ``short`` holds sixteen bits; -1 are too many.
    ``state`` is [rows, places used, pairs looked at, pairs compared, rows kept that found a list
    of a shingle full].
    """

    counters: NDArray[np.uint32]
    order: NDArray[np.uint32]
    heads: NDArray[np.uint64]
    older: NDArray[np.int32]
    lengths: NDArray[np.uint8]
    members: NDArray[np.int32]
    rows: NDArray[np.int32]
    sizes: NDArray[np.int32]
    short: NDArray[np.uint16]
    ranks: NDArray[np.uint64]
    rarest: NDArray[np.uint64]
    state: NDArray[np.int64]

    @classmethod
    def holding(cls, rows: int, folder: Path | None, before: "Crowd | None" = None) -> "Crowd":
        """Make room for ``rows``; the order is that of the rows counted ``before``."""
        counters = np.zeros(COUNTERS, np.uint32) if before is None else before.counters
        return cls(
            counters=counters,
            order=counters.copy(),
            heads=zeros(rows * RAREST * 3 // 2, np.uint64, folder),
            older=zeros(rows * RAREST, np.int32, folder),
            lengths=zeros(rows * RAREST, np.uint8, folder),
            members=zeros(rows * RAREST, np.int32, folder),
            rows=np.empty(rows, np.int32),
            sizes=np.empty(rows, np.int32),
            short=np.empty((rows, SHORT), np.uint16),
            ranks=np.empty(RAREST, np.uint64),
            rarest=np.empty(RAREST, np.uint64),
            state=np.array([0, 0, *([0, 0, 0] if before is None else before.state[2:])]),
        )


@bare
def _choose_rarest(crowd: Array, shingles: Array, threshold: float) -> int:
    """Put the rarest shingles of a set into ``crowd.rarest``, in order; return how many."""
    order, ranks, rarest = crowd.order, crowd.ranks, crowd.rarest
    size = shingles.shape[0]
    # The least overlap with a set that is similar enough; one is added for rounding.
    wanted = min(size, size - np.int64(np.ceil(threshold * size - 1e-9)) + 1, RAREST)
    held = 0
    for s in range(size):
        shingle = shingles[s]
        count = np.uint64(order[np.int64(shingle & np.uint64(COUNTERS - 1))])
        rank = (count << _HALF) | (shingle >> _HALF)
        if held == wanted and rank >= ranks[held - 1]:
            continue
        at = held if held < wanted else held - 1
        while at > 0 and ranks[at - 1] > rank:
            ranks[at] = ranks[at - 1]
            rarest[at] = rarest[at - 1]
            at -= 1
        ranks[at] = rank
        rarest[at] = shingle
        held = min(held + 1, wanted)
    return held


@inlined
def _head(heads: Array, shingle: Any) -> Any:
    """Find the entry of a shingle, or the free one where it belongs.

    Its place comes from the lower half: of equally rare shingles those with the least upper half
    are chosen, and would crowd together.
    """
    tag = shingle & _TAG
    at = np.int64(((shingle & _NEWEST) * np.uint64(heads.shape[0])) >> _HALF)
    while heads[at] != 0 and (heads[at] & _TAG) != tag:
        at = np.int64(at + 1 if at + 1 < heads.shape[0] else 0)
    return at


@bare
def _meet(
    crowd: Array, sketches: Array, row: int, chosen: int, rule: Array, buckets: Array
) -> tuple[int, bool]:
    """List in ``buckets.found`` the rows of the crowd that may be similar and were in no bucket.

    The first ``chosen`` of ``crowd.rarest`` are the row's. Also says whether a shingle's list was
    full, so that rows may be missing from it.
    """
    heads, older, lengths, members = crowd.heads, crowd.older, crowd.lengths, crowd.members
    seen, found = buckets.seen, buckets.found
    count = 0
    crowded = False
    for k in range(chosen):
        place = np.int64(heads[_head(heads, crowd.rarest[k])] & _NEWEST) - 1
        crowded |= bool(place >= 0 and lengths[place] >= LISTED)
        while place >= 0:
            other = np.int64(members[place])
            if seen[other] != row:
                seen[other] = row
                crowd.state[2] += 1
                if _differing(sketches[row], sketches[other]) <= rule.unlike:
                    found[count] = other
                    count += 1
            place = np.int64(older[place])
    return count, crowded


@bare
def _join_crowd(crowd: Array, row: int, shingles: Array, chosen: int) -> None:
    """Put a row into the crowd by its rarest shingles; a list that is full takes no more."""
    heads, older, lengths, members = crowd.heads, crowd.older, crowd.lengths, crowd.members
    member = crowd.state[0]
    crowd.state[0] = member + 1
    crowd.rows[member] = row
    size = shingles.shape[0]
    crowd.sizes[member] = size if size <= SHORT else -1
    for s in range(min(size, SHORT)):
        crowd.short[member, s] = np.uint16(shingles[s] >> _SIXTEEN)
    for k in range(chosen):
        shingle = crowd.rarest[k]
        at = _head(heads, shingle)
        before = np.int64(heads[at] & _NEWEST) - 1
        length = np.int64(lengths[before]) if before >= 0 else 0
        if length < LISTED:
            place = crowd.state[1]
            older[place] = before
            lengths[place] = length + 1
            members[place] = row
            heads[at] = (shingle & _TAG) | np.uint64(place + 1)
            crowd.state[1] = place + 1


@inlined
def _count_shingles(crowd: Array, shingles: Array) -> None:
    for s in range(shingles.shape[0]):
        crowd.counters[np.int64(shingles[s] & np.uint64(COUNTERS - 1))] += np.uint32(1)


@bare
def move_crowd(texts: Array, rule: Array, before: Array, after: Array, sets: Array) -> None:
    """Put the rows of ``before`` into ``after``, a larger and empty one with a newer order."""
    for member in range(before.state[0]):
        row = before.rows[member]
        size = _read_mine(texts, row, rule.ngram, sets)
        shingles = sets.listed[:size]
        _join_crowd(after, row, shingles, _choose_rarest(after, shingles, rule.threshold))


@bare
def _in_reach(
    texts: Array, row: int, other: int, rule: Array, buckets: Array, crowd: Array, sets: Array
) -> bool:
    """Say whether two rows may share enough, as far as is known without reading the other's text.

    Shingles whose first sixteen bits ``row`` has too are no fewer than those that both have.
    """
    member = buckets.member[other]
    if member < 0 or crowd.sizes[member] < 0:
        return True
    size = _read_mine(texts, row, rule.ngram, sets)
    theirs = crowd.sizes[member]
    bits, short = sets.bits, crowd.short
    shared = 0
    for s in range(theirs):
        if bits[short[member, s]]:
            shared += 1
    # One is added for rounding.
    return bool(shared + 1 >= rule.threshold / (1.0 + rule.threshold) * (size + theirs))


@bare
def _first_alike(
    texts: Array, row: int, count: int, rule: Array, buckets: Array, crowd: Array, sets: Array
) -> tuple[int, float]:
    """Give the first of ``count`` rows found that is similar enough, and how similar; or -1."""
    found = buckets.found
    for i in range(count):
        if not _in_reach(texts, row, found[i], rule, buckets, crowd, sets):
            continue
        crowd.state[3] += 1
        alike = similarity(texts, row, found[i], rule.ngram, rule.threshold, sets)
        if alike >= rule.threshold:
            return int(found[i]), alike
    return -1, 0.0


@bare
def keep_first(
    texts: Array,
    first: int,
    start: int,
    keys: Array,
    filled: Array,
    sketches: Array,
    rule: Array,
    buckets: Array,
    crowd: Array,
    sets: Array,
    witness: Array,
    jaccard: Array,
) -> int:
    """Drop each row that is at least ``threshold`` similar to a kept one; keep the others.

    ``witness[i]`` becomes the kept row, or -1. Returns the place in ``keys`` where the crowd has no
    more room: the rows from there on wait until it has moved.
    """
    for r in range(start, keys.shape[0]):
        if crowd.state[0] == crowd.rows.shape[0]:
            return int(r)
        row = first + r
        witness[row] = -1
        if not filled[r]:
            continue
        count, looked, full = _look_up(buckets, sketches, row, keys[r], rule)
        crowd.state[2] += looked
        other, alike = _first_alike(texts, row, count, rule, buckets, crowd, sets)
        if other < 0 and full:
            size = _read_mine(texts, row, rule.ngram, sets)
            mine = sets.listed[:size]
            chosen = _choose_rarest(crowd, mine, rule.threshold)
            count, partly = _meet(crowd, sketches, row, chosen, rule, buckets)
            other, alike = _first_alike(texts, row, count, rule, buckets, crowd, sets)
            if other < 0:
                crowd.state[4] += partly
                buckets.member[row] = crowd.state[0]
                _join_crowd(crowd, row, mine, chosen)
                _count_shingles(crowd, mine)
        witness[row] = other
        jaccard[row] = alike
        if other < 0:
            _insert(buckets, row, keys[r])
    return len(keys)


@inlined
def _root(parents: Array, row: Any) -> Any:
    while parents[row] != row:
        parents[row] = parents[parents[row]]
        row = parents[row]
    return row


@bare
def _unite(
    texts: Array,
    row: int,
    count: int,
    rule: Array,
    buckets: Array,
    crowd: Array,
    sets: Array,
    parents: Array,
) -> bool:
    """Join ``row`` with the similar of ``count`` rows found; True if one has the same shingles."""
    found = buckets.found
    for i in range(count):
        mine, theirs = _root(parents, np.int64(row)), _root(parents, found[i])
        if mine != theirs and _in_reach(texts, row, found[i], rule, buckets, crowd, sets):
            crowd.state[3] += 1
            alike = similarity(texts, row, found[i], rule.ngram, rule.threshold, sets)
            if alike >= rule.threshold:
                parents[max(mine, theirs)] = min(mine, theirs)
            if alike == 1.0:
                return True
    return False


@bare
def connect(
    texts: Array,
    first: int,
    start: int,
    keys: Array,
    filled: Array,
    sketches: Array,
    rule: Array,
    buckets: Array,
    crowd: Array,
    sets: Array,
    parents: Array,
) -> int:
    """Join each row with the rows that are at least ``threshold`` similar to it.

    Rows of one component are not compared again, and a row equal to one in the buckets is not put
    there: what is similar to it is similar to the other. A parent is never a later row. Returns
    where the crowd has no more room, as ``keep_first`` does.
    """
    for r in range(start, keys.shape[0]):
        if crowd.state[0] == crowd.rows.shape[0]:
            return int(r)
        row = first + r
        parents[row] = row
        if not filled[r]:
            continue
        count, looked, full = _look_up(buckets, sketches, row, keys[r], rule)
        crowd.state[2] += looked
        equal = _unite(texts, row, count, rule, buckets, crowd, sets, parents)
        if full and not equal:
            size = _read_mine(texts, row, rule.ngram, sets)
            mine = sets.listed[:size]
            chosen = _choose_rarest(crowd, mine, rule.threshold)
            count, _ = _meet(crowd, sketches, row, chosen, rule, buckets)
            equal = _unite(texts, row, count, rule, buckets, crowd, sets, parents)
            if not equal:
                buckets.member[row] = crowd.state[0]
                _join_crowd(crowd, row, mine, chosen)
                _count_shingles(crowd, mine)
        if not equal:
            _insert(buckets, row, keys[r])
    return len(keys)


@inlined
def _find(table: Array, gram: Any) -> Any:
    """Find the entry of ``gram``, or the empty one (-1 in the second column) where it belongs."""
    mask = table.shape[0] - 1
    at = np.int64(gram & np.uint64(mask))
    while table[at, 1] >= 0 and np.uint64(table[at, 0]) != gram:
        at = (at + 1) & mask
    return at


@bare
def count_grams(texts: Array, rows: int, ngram: int, reader: Array) -> int:
    """Count the n-grams of all rows."""
    total = 0
    for row in range(rows):
        total += row_runs(texts, row, ngram, reader)
    return total


@bare
def index_grams(texts: Array, rows: int, ngram: int, reader: Array, table: Array) -> None:
    """Enter each n-gram once into ``table``: its hash, row and first word there."""
    runs = reader.runs
    for row in range(rows):
        for s in range(row_runs(texts, row, ngram, reader)):
            at = _find(table, runs[s])
            if table[at, 1] < 0:
                table[at, 0] = np.int64(runs[s])
                table[at, 1] = row
                table[at, 2] = s


@bare
def match(
    texts: Array, row: int, start: int, ngram: int, reader: Array, table: Array
) -> tuple[int, int]:
    """Find the first n-gram of the row from word ``start`` on that is in the table.

    Returns its first word and the entry, or (-1, -1).
    """
    runs = reader.runs
    for s in range(start, row_runs(texts, row, ngram, reader)):
        at = _find(table, runs[s])
        if table[at, 1] >= 0:
            return s, at
    return -1, -1


@bare
def match_all(texts: Array, ngram: int, reader: Array, table: Array, hits: Array) -> None:
    """Fill ``hits[row]`` with what ``match`` finds from the first word on."""
    for row in range(hits.shape[0]):
        start, at = match(texts, row, 0, ngram, reader, table)
        hits[row, 0] = start
        hits[row, 1] = at
