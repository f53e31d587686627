"""Every compiled function: splitting text, encoding it, counting pretokens, learning merges.

All of them live in this one file because Numba's on-disk cache notices a change in the file of the function that it
compiled and in no other: a callee elsewhere would go stale unseen. They are module-level functions with a scheme
number, never closures, which Numba cannot cache.

Text and tables are read through raw addresses (`_load*`): a Numba array passed between functions costs reference
counting at every call, which made the scanner nine times slower (16 against 143 MB/s). So the caller keeps the arrays
alive, and every loop here is bounded by the `end` it is given. UTF-8 that is not valid is read as characters of no
class, one byte each, and never past `end`.

Reading order: loads and hashes; the three split rules; whole tokens and pairs; the encoder; the trainer.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from bpe.unicode import LETTER, LOWER, NEWLINE, NUMBER, SPACE, UPPER

NONE = 0xFFFFFFFF  # no token
EMPTY = -1  # an empty slot of the pair table
ID_BITS = 21  # ids in a pair table entry: left, right and merged share 63 bits
GOLDEN = -7046029254386353131  # 2**64 / golden ratio, as a signed number: Fibonacci hashing (Knuth, TAOCP 3, 6.4)
SHORT = 64  # bytes; up to here a scan over all pairs beats a heap
KEY_BYTES = 15  # pretokens up to here are cached
CACHED_IDS = 4
ENTRY_BYTES = 32  # a cache entry: 16 bytes of key (the pretoken, its length on top), 4 ids


# ---- Loads, stores, hashes ----


def _loader(bits: int) -> Any:
    def load(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer = builder.inttoptr(arguments[0], ir.IntType(bits).as_pointer())
            value = builder.load(pointer, align=1)
            return value if bits == 64 else builder.zext(value, ir.IntType(64))

        return types.int64(types.int64), generate

    return load


def _storer(bits: int) -> Any:
    def store(typing_context: Any, address: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer = builder.inttoptr(arguments[0], ir.IntType(bits).as_pointer())
            value = arguments[1] if bits == 64 else builder.trunc(arguments[1], ir.IntType(bits))
            builder.store(value, pointer, align=1)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), generate

    return store


_load8, _load32, _load64 = intrinsic(_loader(8)), intrinsic(_loader(32)), intrinsic(_loader(64))
_store32, _store64 = intrinsic(_storer(32)), intrinsic(_storer(64))


@njit(cache=True, nogil=True)
def _load_short(p: int, n: int, limit: int) -> int:
    """The n < 8 bytes at p as a number; one load unless that would pass `limit`."""
    if p + 8 <= limit:
        return _load64(p) & ((1 << (8 * n)) - 1)
    value = 0
    for i in range(n):
        value |= _load8(p + i) << (8 * i)
    return value


@njit(cache=True, nogil=True)
def _hash(p: int, n: int, limit: int) -> int:
    """32 bits of hash of the n bytes at p."""
    h = n * GOLDEN
    end = p + n
    while p + 8 <= end:
        h = (h ^ _load64(p)) * GOLDEN
        h ^= h >> 29
        p += 8
    h = (h ^ _load_short(p, end - p, limit)) * GOLDEN
    h ^= h >> 29
    return ((h * GOLDEN) >> 32) & 0xFFFFFFFF


@njit(cache=True, nogil=True)
def _same(p: int, q: int, n: int) -> bool:
    """Whether the n bytes at p are those at q."""
    i = 0
    while i + 8 <= n:
        if _load64(p + i) != _load64(q + i):
            return False
        i += 8
    while i < n:
        if _load8(p + i) != _load8(q + i):
            return False
        i += 1
    return True


# ---- The split rules ----


@njit(cache=True, nogil=True)
def _peek(p: int, end: int, classes: int) -> int:
    """The class of the character at p < end, and above it (<< 8) its length in bytes."""
    lead = _load8(p)
    if lead < 0x80:
        return _load8(classes + lead) | 0x100
    if lead >= 0xC2:
        if lead < 0xE0:
            if p + 2 <= end:
                return _load8(classes + ((lead & 0x1F) << 6 | _load8(p + 1) & 0x3F)) | 0x200
        elif lead < 0xF0:
            if p + 3 <= end:
                code = (lead & 0x0F) << 12 | (_load8(p + 1) & 0x3F) << 6 | _load8(p + 2) & 0x3F
                return _load8(classes + code) | 0x300
        elif p + 4 <= end:
            code = (lead & 0x07) << 18 | (_load8(p + 1) & 0x3F) << 12
            code |= (_load8(p + 2) & 0x3F) << 6 | _load8(p + 3) & 0x3F
            if code < 0x110000:
                return _load8(classes + code) | 0x400
    return 0x100  # not UTF-8


@njit(cache=True, nogil=True)
def _skip(p: int, end: int, classes: int, wanted: int) -> int:
    """Past the characters that are in one of the `wanted` classes."""
    while p < end:
        c = _peek(p, end, classes)
        if c & wanted == 0:
            break
        p += c >> 8
    return p


@njit(cache=True, nogil=True)
def _skip_symbols(p: int, end: int, classes: int) -> int:
    r"""Past [^\s\p{L}\p{N}]*."""
    while p < end:
        c = _peek(p, end, classes)
        if c & (LETTER | NUMBER | SPACE):
            break
        p += c >> 8
    return p


@njit(cache=True, nogil=True)
def _skip_three_numbers(p: int, end: int, classes: int) -> int:
    r"""Past \p{N}{1,3}, of which the first is at p."""
    for _ in range(3):
        if p < end:
            c = _peek(p, end, classes)
            if c & NUMBER == 0:
                break
            p += c >> 8
    return p


@njit(cache=True, nogil=True)
def _contraction(p: int, end: int, any_case: bool) -> int:
    """The length of 's 'd 'm 't 'll 've 're at p, or 0. In any case, s is also U+017F (long s), which folds to it."""
    if p + 1 >= end or _load8(p) != 0x27:
        return 0
    fold = 0x20 if any_case else 0
    first = _load8(p + 1) | fold
    if first == 0x73 or first == 0x64 or first == 0x6D or first == 0x74:
        return 2
    if p + 2 >= end:
        return 0
    second = _load8(p + 2) | fold
    if first == 0x6C and second == 0x6C:
        return 3
    if (first == 0x76 or first == 0x72) and second == 0x65:
        return 3
    if any_case and _load8(p + 1) == 0xC5 and _load8(p + 2) == 0xBF:
        return 3
    return 0


@njit(cache=True, nogil=True)
def _white_space(p: int, end: int, classes: int, scheme: int) -> int:
    r"""The end of the pretoken that starts with white space at p which no word or symbol takes along.

    gpt2    \s++$  |              \s+(?!\S)  |  \s
    cl100k  \s++$  |  \s*[\r\n]  |  \s+(?!\S)  |  \s
    o200k             \s*[\r\n]+ |  \s+(?!\S)  |  \s+
    """
    q, last, after_newline = p, p, 0
    while q < end:
        c = _peek(q, end, classes)
        if c & SPACE == 0:
            break
        last = q
        q += c >> 8
        if c & NEWLINE:
            after_newline = q
    if q == end and (scheme != 2 or after_newline == 0):
        return q
    if scheme != 0 and after_newline:
        return after_newline
    return last if last > p and q < end else q


@njit(cache=True, nogil=True)
def _next_gpt2(p: int, end: int, classes: int) -> int:
    n = _contraction(p, end, False)
    if n:
        return p + n
    q = p + 1 if _load8(p) == 0x20 and p + 1 < end else p
    c = _peek(q, end, classes)
    if c & LETTER:
        return _skip(q, end, classes, LETTER)
    if c & NUMBER:
        return _skip(q, end, classes, NUMBER)
    if c & SPACE == 0:
        return _skip_symbols(q, end, classes)
    return _white_space(p, end, classes, 0)


@njit(cache=True, nogil=True)
def _next_cl100k(p: int, end: int, classes: int) -> int:
    c = _peek(p, end, classes)
    q = p + (c >> 8)
    if c & LETTER:
        return _skip(q, end, classes, LETTER)
    if c & NUMBER:
        return _skip_three_numbers(p, end, classes)
    if c & NEWLINE:
        return _white_space(p, end, classes, 1)
    n = _contraction(p, end, True)
    if n:
        return p + n
    following = _peek(q, end, classes) if q < end else SPACE
    if following & LETTER:
        return _skip(q, end, classes, LETTER)
    if c & SPACE == 0 or (_load8(p) == 0x20 and following & (LETTER | NUMBER | SPACE) == 0):
        q = _skip_symbols(q, end, classes)
        while q < end and (_load8(q) == 0x0A or _load8(q) == 0x0D):
            q += 1
        return q
    return _white_space(p, end, classes, 1)


@njit(cache=True, nogil=True)
def _word_o200k(p: int, end: int, classes: int) -> int:
    """The end of UPPER* LOWER+ at p, with what backtracking would find; 0 if there is none.

    Modifier and other letters and marks are in both classes. After the longest UPPER* either a lower-case letter
    follows, or UPPER* gives characters back until the last one that LOWER takes too.
    """
    after_both = 0
    while p < end:
        c = _peek(p, end, classes)
        if c & UPPER == 0:
            if c & LOWER:
                return _skip(p, end, classes, LOWER)
            break
        p += c >> 8
        if c & LOWER:
            after_both = p
    return after_both


@njit(cache=True, nogil=True)
def _next_o200k(p: int, end: int, classes: int) -> int:
    c = _peek(p, end, classes)
    q = p + (c >> 8)
    if c & NUMBER:
        return _skip_three_numbers(p, end, classes)
    if c & NEWLINE:
        return _white_space(p, end, classes, 2)
    start = p if c & LETTER else q
    word = _word_o200k(start, end, classes)
    if word == 0 and c & UPPER and c & LETTER == 0:
        word = q  # a mark that nothing follows is its own LOWER+
    if word == 0:
        word = _skip(start, end, classes, UPPER)
    if word > start or (word == q and c & UPPER):
        return word + _contraction(word, end, True)
    following = _peek(q, end, classes) if q < end else SPACE
    if c & SPACE == 0 or (_load8(p) == 0x20 and following & (LETTER | NUMBER | SPACE) == 0):
        q = _skip_symbols(q, end, classes)
        while q < end and (_load8(q) == 0x0A or _load8(q) == 0x0D or _load8(q) == 0x2F):
            q += 1
        return q
    return _white_space(p, end, classes, 2)


@njit(cache=True, nogil=True)
def next_boundary(scheme: int, p: int, end: int, classes: int) -> int:
    """The end of the pretoken that starts at address p < end; always beyond p."""
    if scheme == 0:
        return _next_gpt2(p, end, classes)
    if scheme == 1:
        return _next_cl100k(p, end, classes)
    return _next_o200k(p, end, classes)


@njit(cache=True, nogil=True)
def split(scheme: int, text: int, size: int, classes: int, ends: NDArray[np.int64]) -> int:
    """Write the end of each pretoken of `size` bytes at `text` to `ends` (size elements); how many there are."""
    p, n = text, 0
    while p < text + size:
        p = next_boundary(scheme, p, text + size, classes)
        ends[n] = p - text
        n += 1
    return n


# ---- Whole tokens and pairs ----


class Tables(NamedTuple):
    """What encoding reads, as addresses (and masks of power-of-two tables); `cache` and `ranks` are written to.

    Token i is the `lengths[i]` (int32) bytes at `blob + starts[i]` (int64). `slots` is a hash table of token + 1.
    """

    scheme: int
    classes: int
    blob: int
    blob_end: int
    starts: int
    lengths: int
    slots: int  # uint32
    slots_mask: int
    byte_ids: int  # uint32[256]
    byte_pairs: int  # uint32[65536]: the merge of two single bytes
    pairs: int  # int64: left, right, merged in ID_BITS each
    pairs_mask: int
    cache: int
    cache_mask: int
    ranks: int  # uint32[SHORT]: scratch of one call


@njit(cache=True, nogil=True)
def _find_token(
    p: int, n: int, limit: int, blob: int, starts: int, lengths: int, slots: int, mask: int
) -> tuple[int, int]:
    """(the token whose bytes are the n at p, or NONE; the slot where it is or would go)."""
    slot = _hash(p, n, limit) & mask
    while True:
        token = _load32(slots + 4 * slot) - 1
        if token < 0:
            return NONE, slot
        if _load32(lengths + 4 * token) == n and _same(p, blob + _load64(starts + 8 * token), n):
            return token, slot
        slot = (slot + 1) & mask


@njit(cache=True, nogil=True)
def _find_pair(left: int, right: int, pairs: int, mask: int) -> int:
    """The token that the bytes of `left` and `right` make together, or NONE."""
    key = left << ID_BITS | right
    slot = ((key * GOLDEN) >> 32) & mask
    while True:
        entry = _load64(pairs + 8 * slot)
        if entry == EMPTY:
            return NONE
        if entry >> ID_BITS == key:
            return entry & ((1 << ID_BITS) - 1)
        slot = (slot + 1) & mask


@njit(cache=True, nogil=True)
def index_tokens(t: Tables, size: int) -> int:
    """Fill `slots` with the tokens that have bytes; the first token whose bytes another has already, or -1."""
    for token in range(size):
        n = _load32(t.lengths + 4 * token)
        if n:
            p = t.blob + _load64(t.starts + 8 * token)
            same, slot = _find_token(p, n, t.blob_end, t.blob, t.starts, t.lengths, t.slots, t.slots_mask)
            if same != NONE:
                return token
            _store32(t.slots + 4 * slot, token + 1)
    return -1


@njit(cache=True, nogil=True)
def list_pairs(t: Tables, size: int, entries: NDArray[np.int64]) -> int:
    """Write every (left, right, merged) with the bytes of left + right = merged; how many there are.

    tiktoken merges whatever two neighbours make a token, so each way to cut a token in two tokens is a pair.
    `entries` has room for the bytes of all tokens.
    """
    found = 0
    for token in range(size):
        p, n = t.blob + _load64(t.starts + 8 * token), _load32(t.lengths + 4 * token)
        for cut in range(1, n):
            left, _ = _find_token(p, cut, t.blob_end, t.blob, t.starts, t.lengths, t.slots, t.slots_mask)
            if left != NONE:
                right, _ = _find_token(p + cut, n - cut, t.blob_end, t.blob, t.starts, t.lengths, t.slots, t.slots_mask)
                if right != NONE:
                    entries[found] = (left << ID_BITS | right) << ID_BITS | token
                    found += 1
    return found


@njit(cache=True, nogil=True)
def index_pairs(t: Tables, entries: NDArray[np.int64]) -> None:
    """Fill `pairs` (all EMPTY) and `byte_pairs` from the entries of `list_pairs`."""
    for entry in entries:
        slot = (((entry >> ID_BITS) * GOLDEN) >> 32) & t.pairs_mask
        while _load64(t.pairs + 8 * slot) != EMPTY:
            slot = (slot + 1) & t.pairs_mask
        _store64(t.pairs + 8 * slot, entry)
    for first in range(256):
        for second in range(256):
            left, right = _load32(t.byte_ids + 4 * first), _load32(t.byte_ids + 4 * second)
            merged = _find_pair(left, right, t.pairs, t.pairs_mask)
            _store32(t.byte_pairs + 4 * (first << 8 | second), merged)


# ---- The encoder ----


@njit(cache=True, nogil=True)
def _merge_short(p: int, n: int, t: Tables, out: int) -> int:
    """BPE of the n <= SHORT bytes at p, ids (uint32) to `out`: merge the leftmost pair of lowest rank, again and again.

    n * n steps in the worst case, which for so few bytes is faster than any list or heap.
    """
    for i in range(n):
        _store32(out + 4 * i, _load32(t.byte_ids + 4 * _load8(p + i)))
    for i in range(n - 1):
        _store32(t.ranks + 4 * i, _load32(t.byte_pairs + 4 * (_load8(p + i) << 8 | _load8(p + i + 1))))
    while n > 1:
        best, at = NONE, 0
        for i in range(n - 1):
            rank = _load32(t.ranks + 4 * i)
            if rank < best:
                best, at = rank, i
        if best == NONE:
            break
        n -= 1
        _store32(out + 4 * at, best)
        for i in range(at + 1, n):
            _store32(out + 4 * i, _load32(out + 4 * i + 4))
            _store32(t.ranks + 4 * i - 4, _load32(t.ranks + 4 * i))
        if at > 0:
            left = _load32(out + 4 * at - 4)
            _store32(t.ranks + 4 * at - 4, _find_pair(left, best, t.pairs, t.pairs_mask))
        if at < n - 1:
            right = _load32(out + 4 * at + 4)
            _store32(t.ranks + 4 * at, _find_pair(best, right, t.pairs, t.pairs_mask))
    return n


@njit(cache=True, nogil=True)
def _push(heap: NDArray[np.int64], size: int, item: int) -> int:
    """Add to the min-heap of `size` items; the new size."""
    at = size
    while at > 0 and heap[(at - 1) >> 1] > item:
        heap[at] = heap[(at - 1) >> 1]
        at = (at - 1) >> 1
    heap[at] = item
    return size + 1


@njit(cache=True, nogil=True)
def _pop(heap: NDArray[np.int64], size: int) -> int:
    """Take the least item, heap[0], out of the min-heap of `size` items; the new size."""
    size -= 1
    item, at = heap[size], 0
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= item:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = item
    return size


@njit(cache=True, nogil=True)
def _merge_long(p: int, n: int, t: Tables, out: int) -> int:
    """As `_merge_short` for any n, in n log n: a linked list of parts and a heap of rank << 40 | position.

    A heap item is stale when its position no longer has that rank; it is skipped when it comes up. Each merge
    pushes two items at most, so 3n are room enough.
    """
    ids, ranks = np.empty(n, np.uint32), np.full(n, NONE, np.uint32)
    after, before = np.arange(1, n + 1), np.arange(-1, n - 1)
    heap, size = np.empty(3 * n, np.int64), 0
    for i in range(n):
        ids[i] = _load32(t.byte_ids + 4 * _load8(p + i))
    for i in range(n - 1):
        ranks[i] = _load32(t.byte_pairs + 4 * (_load8(p + i) << 8 | _load8(p + i + 1)))
        if ranks[i] != NONE:
            size = _push(heap, size, np.int64(ranks[i]) << 40 | i)
    while size:
        rank, at = heap[0] >> 40, heap[0] & 0xFFFFFFFFFF
        size = _pop(heap, size)
        if ranks[at] != rank:
            continue
        gone = after[at]
        ids[at], ranks[at], ranks[gone] = rank, NONE, NONE
        after[at] = after[gone]
        if after[at] < n:
            before[after[at]] = at
            ranks[at] = _find_pair(rank, np.int64(ids[after[at]]), t.pairs, t.pairs_mask)
            if ranks[at] != NONE:
                size = _push(heap, size, np.int64(ranks[at]) << 40 | at)
        left = before[at]
        if left >= 0:
            ranks[left] = _find_pair(np.int64(ids[left]), rank, t.pairs, t.pairs_mask)
            if ranks[left] != NONE:
                size = _push(heap, size, np.int64(ranks[left]) << 40 | left)
    count, at = 0, 0
    while at < n:
        _store32(out + 4 * count, np.int64(ids[at]))
        count += 1
        at = after[at]
    return count


@njit(cache=True, nogil=True)
def _encode_pretoken(p: int, n: int, limit: int, t: Tables, out: int) -> int:
    """Ids (uint32) of the n bytes at p to `out`, which has room for n; how many there are."""
    token, _ = _find_token(p, n, limit, t.blob, t.starts, t.lengths, t.slots, t.slots_mask)
    if token != NONE:
        _store32(out, token)
        return 1
    if n <= SHORT:
        return _merge_short(p, n, t, out)
    return _merge_long(p, n, t, out)


@njit(cache=True, nogil=True)
def encode_texts(
    text: int, limit: int, offsets: NDArray[np.int64], t: Tables, out: int, out_offsets: NDArray[np.int64]
) -> int:
    """Encode texts `text + offsets[i] .. text + offsets[i + 1]`; ids (uint32) to `out`, bounds to `out_offsets`.

    `out` has room for one id a byte and CACHED_IDS more; `limit` is where the readable bytes at `text` end. Returns
    the number of ids. The cache is direct-mapped and lossy: it holds what `_encode_pretoken` says for the pretoken,
    so that its contents change the speed and never the ids.
    """
    count = 0
    out_offsets[0] = 0
    for i in range(len(offsets) - 1):
        p, end = text + offsets[i], text + offsets[i + 1]
        while p < end:
            q = next_boundary(t.scheme, p, end, t.classes)
            n = q - p
            at = out + 4 * count
            if n > KEY_BYTES:
                count += _encode_pretoken(p, n, limit, t, at)
                p = q
                continue
            if n < 8:
                low, high = _load_short(p, n, limit), n << 56
            else:
                low, high = _load64(p), _load_short(p + 8, n - 8, limit) | n << 56
            h = (low * GOLDEN) ^ high
            h = (h ^ h >> 29) * GOLDEN
            entry = t.cache + ENTRY_BYTES * ((h >> 32) & t.cache_mask)
            if _load64(entry) == low and _load64(entry + 8) == high:
                ids = _load64(entry + 16)
                _store64(at, ids & ~(0xF << 28))  # the count sits on top of the first id
                _store64(at + 8, _load64(entry + 24))
                count += ids >> 28 & 0xF
            else:
                found = _encode_pretoken(p, n, limit, t, at)
                if found <= CACHED_IDS:
                    _store64(entry, low)
                    _store64(entry + 8, high)
                    _store64(entry + 16, (_load64(at) & ~(0xF << 28)) | found << 28)
                    _store64(entry + 24, _load64(at + 8))
                count += found
            p = q
        out_offsets[i + 1] = count
    return count


# ---- The trainer: counting pretokens ----


@njit(cache=True, nogil=True)
def count_pretokens(
    scheme: int,
    text: int,
    limit: int,
    offsets: NDArray[np.int64],
    classes: int,
    progress: NDArray[np.int64],
    slots: NDArray[np.uint64],
    starts: NDArray[np.int64],
    counts: NDArray[np.int64],
    arena: NDArray[np.uint8],
) -> bool:
    """Count each different pretoken of the texts; False when a table is full: enlarge it and call again.

    `progress` is [texts done, bytes done of the next, different pretokens so far]. Pretoken i is the bytes
    `arena[starts[i] : starts[i + 1]]`, seen `counts[i]` times. A slot holds 32 bits of hash over the pretoken's
    number plus one; the table stays at most half full.
    """
    arena_address, mask = arena.ctypes.data, len(slots) - 1
    words = progress[2]
    for i in range(progress[0], len(offsets) - 1):
        p, end = text + offsets[i] + progress[1], text + offsets[i + 1]
        while p < end:
            q = next_boundary(scheme, p, end, classes)
            n = q - p
            tag = _hash(p, n, limit)
            slot = tag & mask
            while True:
                entry = np.int64(slots[slot])
                word = (entry & 0xFFFFFFFF) - 1
                if entry == 0:
                    start = starts[words]
                    if 2 * words >= mask or words + 1 >= len(starts) or start + n > len(arena):
                        progress[0], progress[1], progress[2] = i, p - text - offsets[i], words
                        return False
                    for k in range(n):
                        arena[start + k] = _load8(p + k)
                    slots[slot] = tag << 32 | (words + 1)
                    counts[words] = 1
                    words += 1
                    starts[words] = start + n
                    break
                same_length = starts[word + 1] - starts[word] == n
                if same_length and entry >> 32 & 0xFFFFFFFF == tag and _same(p, arena_address + starts[word], n):
                    counts[word] += 1
                    break
                slot = (slot + 1) & mask
            p = q
        progress[1] = 0
    progress[0], progress[2] = len(offsets) - 1, words
    return True


@njit(cache=True, nogil=True)
def rehash_pretokens(old: NDArray[np.uint64], new: NDArray[np.uint64]) -> None:
    """Move the slots of `count_pretokens` to a larger table (all zero)."""
    mask = len(new) - 1
    for entry in old:
        if entry:
            slot = (np.int64(entry) >> 32) & mask
            while new[slot]:
                slot = (slot + 1) & mask
            new[slot] = entry


# ---- The trainer: merging pairs ----


class Corpus(NamedTuple):
    """The different pretokens end to end, a -1 before, between and after them, as they stand after each merge.

    A token's id is at its first and its last position; positions inside it hold -2. So a neighbour is one read away
    on either side, and whether a token still starts where it once did is seen by its id alone: tokens only grow, so
    another token that covers the place has another length and another id.
    """

    content: NDArray[np.uint8]
    ids: NDArray[np.int32]
    word: NDArray[np.uint32]  # the pretoken that each position belongs to
    times: NDArray[np.int64]  # how often each pretoken was seen


class Pairs(NamedTuple):
    """Every pair of neighbours so far: how often (now), where (once), and a max-heap of the frequent ones."""

    key: NDArray[np.int64]  # left << 32 | right
    times: NDArray[np.int64]
    start: NDArray[np.int64]  # its places are positions[start : start + places]
    places: NDArray[np.int64]
    pending: NDArray[np.int64]  # zero outside of one merge
    slots: NDArray[np.int32]  # hash table of pair + 1, at most half full
    positions: NDArray[np.uint32]
    heap_count: NDArray[np.int64]
    heap_pair: NDArray[np.int32]


class Learnt(NamedTuple):
    """The tokens so far: where in the corpus one has its bytes, and a hash table to find it by them."""

    starts: NDArray[np.int64]
    lengths: NDArray[np.uint32]
    slots: NDArray[np.uint32]


# What `merge` counts in `state`, and why it returned.
PAIRS, POSITIONS, HEAP, THRESHOLD, TOKENS = 0, 1, 2, 3, 4
DONE, PAUSED, FULL = 0, 1, 2


@njit(cache=True, nogil=True)
def _pair(key: int, pairs: Pairs, state: NDArray[np.int64]) -> int:
    """The number of the pair with this key, a new one if need be."""
    mask = len(pairs.slots) - 1
    slot = ((key * GOLDEN) >> 32) & mask
    while True:
        pair = int(pairs.slots[slot]) - 1
        if pair < 0:
            pair = int(state[PAIRS])
            state[PAIRS] += 1
            pairs.key[pair] = key
            pairs.slots[slot] = pair + 1
            return pair
        if pairs.key[pair] == key:
            return pair
        slot = (slot + 1) & mask


@njit(cache=True, nogil=True)
def rehash_pairs(pairs: Pairs, size: int) -> None:
    """Fill the empty `slots` with the first `size` pairs."""
    mask = len(pairs.slots) - 1
    for pair in range(size):
        slot = ((pairs.key[pair] * GOLDEN) >> 32) & mask
        while pairs.slots[slot]:
            slot = (slot + 1) & mask
        pairs.slots[slot] = pair + 1


@njit(cache=True, nogil=True)
def first_pairs(corpus: Corpus, pairs: Pairs, state: NDArray[np.int64]) -> None:
    """Count the pairs of single bytes and list their places. Needs room for 65,536 pairs and a place a byte."""
    ids = corpus.ids
    for p in range(1, len(ids) - 1):
        if ids[p] >= 0 and ids[p + 1] >= 0:
            pair = _pair(int(ids[p]) << 32 | ids[p + 1], pairs, state)
            pairs.times[pair] += corpus.times[corpus.word[p]]
            pairs.places[pair] += 1
    for pair in range(state[PAIRS]):
        pairs.start[pair] = state[POSITIONS]
        state[POSITIONS] += pairs.places[pair]
        pairs.places[pair] = 0
    for p in range(1, len(ids) - 1):
        if ids[p] >= 0 and ids[p + 1] >= 0:
            pair = _pair(int(ids[p]) << 32 | ids[p + 1], pairs, state)
            pairs.positions[pairs.start[pair] + pairs.places[pair]] = p
            pairs.places[pair] += 1


@njit(cache=True, nogil=True)
def _above(pairs: Pairs, count: int, pair: int, other: int) -> bool:
    """Whether (count, pair) is merged before heap item `other`: more frequent, or as frequent with smaller ids."""
    if count != pairs.heap_count[other]:
        return bool(count > pairs.heap_count[other])
    return bool(pairs.key[pair] < pairs.key[pairs.heap_pair[other]])


@njit(cache=True, nogil=True)
def _heap_add(pairs: Pairs, pair: int, state: NDArray[np.int64]) -> None:
    count, at = pairs.times[pair], state[HEAP]
    state[HEAP] += 1
    while at > 0 and _above(pairs, count, pair, (at - 1) >> 1):
        pairs.heap_count[at] = pairs.heap_count[(at - 1) >> 1]
        pairs.heap_pair[at] = pairs.heap_pair[(at - 1) >> 1]
        at = (at - 1) >> 1
    pairs.heap_count[at], pairs.heap_pair[at] = count, pair


@njit(cache=True, nogil=True)
def _heap_drop(pairs: Pairs, state: NDArray[np.int64]) -> None:
    """Take the first item out."""
    state[HEAP] -= 1
    size, at = state[HEAP], 0
    count, pair = pairs.heap_count[size], pairs.heap_pair[size]
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and _above(pairs, pairs.heap_count[child + 1], int(pairs.heap_pair[child + 1]), child):
            child += 1
        if _above(pairs, count, int(pair), child):
            break
        pairs.heap_count[at], pairs.heap_pair[at] = pairs.heap_count[child], pairs.heap_pair[child]
        at = child
    pairs.heap_count[at], pairs.heap_pair[at] = count, pair


@njit(cache=True, nogil=True)
def _best_pair(pairs: Pairs, state: NDArray[np.int64]) -> int:
    """The pair to merge next, or -1 when none is left; it stays in the heap.

    The heap holds every pair whose count is at least the threshold, under a count that is its own or, since counts
    only fall once a pair's tokens are made, too high: those are put right when they come up. When it runs empty,
    the threshold is halved and the pairs are gone through again; rare pairs, the most of them, are never heaped.
    """
    while True:
        while state[HEAP]:
            pair = int(pairs.heap_pair[0])
            if pairs.heap_count[0] == pairs.times[pair]:
                return pair
            _heap_drop(pairs, state)
            if pairs.times[pair] >= state[THRESHOLD]:
                _heap_add(pairs, pair, state)
        if state[THRESHOLD] == 1:
            return -1
        state[THRESHOLD] >>= 1
        for pair in range(state[PAIRS]):
            if pairs.times[pair] >= state[THRESHOLD]:
                _heap_add(pairs, pair, state)


@njit(cache=True, nogil=True)
def _replace_pair(
    best: int, merged: int, corpus: Corpus, pairs: Pairs, lengths: NDArray[np.uint32], state: NDArray[np.int64]
) -> None:
    """Write token `merged` wherever pair `best` stands, left to right, and keep counts and places of all pairs."""
    ids, key = corpus.ids, pairs.key[best]
    left, right = key >> 32, key & 0xFFFFFFFF
    left_length, length = int(lengths[left]), int(lengths[merged])
    first = pairs.start[best]
    made_pair = np.empty(2 * pairs.places[best], np.int64)
    made_at = np.empty(2 * pairs.places[best], np.int64)
    made = touched = 0
    touched_pair = np.empty(2 * pairs.places[best], np.int64)
    for place in range(first, first + pairs.places[best]):
        p = int(pairs.positions[place])
        q = p + left_length
        if ids[p] != left or ids[q] != right:
            continue
        count, end = corpus.times[corpus.word[p]], p + length
        before, after = int(ids[p - 1]), int(ids[end])
        pairs.times[best] -= count
        for side in range(2):
            if side == 0 and before >= 0:
                pairs.times[_pair(before << 32 | left, pairs, state)] -= count
                pair, at = _pair(before << 32 | merged, pairs, state), p - int(lengths[before])
            elif side == 1 and after >= 0:
                pairs.times[_pair(right << 32 | after, pairs, state)] -= count
                pair, at = _pair(merged << 32 | after, pairs, state), p
            else:
                continue
            pairs.times[pair] += count
            if pairs.pending[pair] == 0:
                touched_pair[touched] = pair
                touched += 1
            pairs.pending[pair] += 1
            made_pair[made], made_at[made] = pair, at
            made += 1
        ids[q - 1] = ids[q] = -2
        ids[p] = ids[end - 1] = merged
    _list_places(pairs, made_pair[:made], made_at[:made], touched_pair[:touched], state)


@njit(cache=True, nogil=True)
def _list_places(
    pairs: Pairs,
    made_pair: NDArray[np.int64],
    made_at: NDArray[np.int64],
    touched_pair: NDArray[np.int64],
    state: NDArray[np.int64],
) -> None:
    """Give each touched pair one ascending run of places, old and new, and heap it if it is frequent."""
    for pair in touched_pair:
        old, places = pairs.start[pair], pairs.places[pair]
        new = state[POSITIONS]
        pairs.start[pair] = new
        pairs.positions[new : new + places] = pairs.positions[old : old + places]
        state[POSITIONS] += places + pairs.pending[pair]
    for i in range(len(made_pair)):
        pair = made_pair[i]
        pairs.positions[pairs.start[pair] + pairs.places[pair]] = made_at[i]
        pairs.places[pair] += 1
    for pair in touched_pair:
        start, places = pairs.start[pair], pairs.places[pair]
        if places > pairs.pending[pair]:
            pairs.positions[start : start + places] = np.sort(pairs.positions[start : start + places])
        pairs.pending[pair] = 0
        if pairs.times[pair] >= state[THRESHOLD]:
            _heap_add(pairs, pair, state)


@njit(cache=True, nogil=True)
def merge(corpus: Corpus, pairs: Pairs, learnt: Learnt, state: NDArray[np.int64], wanted: int, steps: int) -> int:
    """Merge the best pair until there are `wanted` tokens (DONE), no pair is left (DONE), `steps` merges are made
    (PAUSED: call again) or a table might overflow at the next merge (FULL: enlarge it and call again).

    A pair whose bytes are a token already becomes that token and uses up no new id, as in Hugging Face's trainer.
    """
    content, limit = corpus.content.ctypes.data, corpus.content.ctypes.data + len(corpus.content)
    starts, lengths, slots = learnt.starts.ctypes.data, learnt.lengths.ctypes.data, learnt.slots.ctypes.data
    for _ in range(steps):
        tokens = state[TOKENS]
        if tokens == wanted:
            return DONE
        best = _best_pair(pairs, state)
        if best < 0:
            return DONE
        key = pairs.key[best]
        left, right = key >> 32, key & 0xFFFFFFFF
        n = int(learnt.lengths[left]) + int(learnt.lengths[right])
        p = _place_of(left, right, best, corpus, pairs, learnt.lengths)
        merged, slot = _find_token(content + p, n, limit, content, starts, lengths, slots, len(learnt.slots) - 1)
        # All new pairs hold `merged`, so there are at most two for each token there is.
        room = min(2 * pairs.places[best], 2 * tokens + 2)
        places = 2 * pairs.places[best] + (0 if merged == NONE else state[POSITIONS])
        if state[PAIRS] + room > len(pairs.key) or state[POSITIONS] + places > len(pairs.positions):
            return FULL
        if max(state[HEAP] + room, state[PAIRS] + room) > len(pairs.heap_pair):
            return FULL
        if merged == NONE:
            merged = tokens
            learnt.starts[merged], learnt.lengths[merged], learnt.slots[slot] = p, n, merged + 1
            state[TOKENS] += 1
        _replace_pair(best, merged, corpus, pairs, learnt.lengths, state)
    return PAUSED


@njit(cache=True, nogil=True)
def _place_of(left: int, right: int, pair: int, corpus: Corpus, pairs: Pairs, lengths: NDArray[np.uint32]) -> int:
    """A position where the pair stands now."""
    for place in range(pairs.start[pair], pairs.start[pair] + pairs.places[pair]):
        p = int(pairs.positions[place])
        if corpus.ids[p] == left and corpus.ids[p + int(lengths[left])] == right:
            return p
    return 0  # not reached: a pair with a count stands somewhere
