"""Byte-pair codes of many equally long strings at once: FAST's inner tokenizer, on arrays instead of strings."""

from __future__ import annotations

import json
import unicodedata

import numpy as np
from jaxtyping import Bool, Int
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

CHARACTERS = 2048
"""Characters 0 .. 2047 are those of one or two bytes in UTF-8."""
NEVER = 2**30
LATER = NEVER - 1
"""Instead of a rank: for two ids that can never get into one id, or that can when others have joined them."""

PRINTED = [*range(33, 127), *range(161, 173), *range(174, 256)]
HIDDEN = [byte for byte in range(256) if byte not in PRINTED]
SYMBOLS = {byte: chr(byte) for byte in PRINTED} | {byte: chr(256 + i) for i, byte in enumerate(HIDDEN)}
"""How vocabularies write a byte: every byte-level BPE since GPT-2 writes those that do not print as U+0100 and on."""
BYTE_OF = {symbol: byte for byte, symbol in SYMBOLS.items()}
WRITTEN = {code: "".join(SYMBOLS[byte] for byte in chr(code).encode()) for code in range(CHARACTERS)}
SMALLEST = len(set("".join(WRITTEN.values())))
"""Bytes that occur in them: the smallest vocabulary."""

SPACE, APOSTROPHE = 32, 39
BLANK, LETTER, NUMBER, OTHER = range(4)
BLANKS = {*range(9, 14), SPACE, 0x85, 0xA0}
KINDS = {"L": LETTER, "N": NUMBER}
KIND = np.array([KINDS.get(unicodedata.category(chr(code))[0], OTHER) for code in range(CHARACTERS)])
KIND[list(BLANKS)] = BLANK
ENDINGS = ("s", "t", "m", "d", "re", "ve", "ll")
"""What GPT-2's pattern takes off after an apostrophe."""


def train(codes: Int[np.ndarray, "N n"], vocab_size: int) -> str:
    """The vocabulary of strings, as the text of a tokenizer.json: at most `vocab_size` ids, and those that write any
    character of at most two bytes are among them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        show_progress=False,
        special_tokens=[],
        initial_alphabet=sorted(set("".join(WRITTEN.values()))),
        max_token_length=10_000,
    )
    tokenizer.train_from_iterator((text_of(row) for row in codes), trainer)
    return tokenizer.to_str()


class BytePairs:
    """A byte-level BPE vocabulary: inside the words of GPT-2's pattern, the pair of ids that was learned first is
    merged first, the leftmost of equal ones before the others.

    Gives the ids that the `tokenizers` library gives. It is faster on many strings, because it merges in all of them at
    once; and in one string at several places at once, where no id of the vocabulary reaches from one to the other.
    """

    def __init__(self, text: str) -> None:
        """Raises ValueError if the tokenizer.json `text` is not a vocabulary of this kind."""
        vocabulary, merges = read(text)
        self.size = max(vocabulary.values()) + 1
        expansions = [b""] * self.size
        for name, number in vocabulary.items():
            if BYTE_OF.keys() >= set(name):
                expansions[number] = bytes(BYTE_OF[symbol] for symbol in name)
        self.bytes = np.frombuffer(b"".join(expansions), dtype=np.uint8)
        self.count = np.array([len(expansion) for expansion in expansions])
        self.first = self.count.cumsum() - self.count
        self.open, self.starts, self.left_open = map(np.array, zip(*map(shape_of, expansions), strict=True))
        self.writes = np.array([all(symbol in vocabulary for symbol in WRITTEN[c]) for c in range(CHARACTERS)])
        self._symbol = np.array([vocabulary.get(SYMBOLS[byte], 0) for byte in range(256)], dtype=np.int32)
        pairs = [(vocabulary[one], vocabulary[two], vocabulary[one + two]) for one, two in merges]
        self._link = links(pairs, self.size)
        self._merged = np.array([merged for _, _, merged in pairs], dtype=np.int32)
        ranks = self._link.reshape(self.size, self.size)
        # an id that can merge further before it was learned: its pairs are not all merged at once
        soonest = np.minimum(ranks.min(0), ranks.min(1))[self._merged]
        self._one_by_one = np.append(soonest < np.arange(len(pairs)), False)

    def encode(self, codes: Int[np.ndarray, "N n"]) -> tuple[Int[np.ndarray, " M"], Int[np.ndarray, " N"]]:
        """The ids of all strings one after the other, and how many are each string's. `writes` is true of every
        character."""
        if not codes.size:
            return np.zeros(0, dtype=np.int64), np.zeros(len(codes), dtype=np.int64)
        characters = codes.reshape(-1)
        width = 1 + (characters >= 0x80)
        place = width.cumsum() - width
        stream = np.empty(width.sum(), dtype=np.uint8)
        stream[place], stream[place + width - 1] = FIRST_BYTE.take(characters), LAST_BYTE.take(characters)
        wall = np.zeros(len(stream), dtype=bool)
        wall[place[np.flatnonzero(words(codes))] - 1] = True
        ids = self.merge(self._symbol.take(stream), wall)
        kept = np.flatnonzero(ids >= 0)
        behind = np.searchsorted(kept, np.append(place[codes.shape[1] :: codes.shape[1]], len(stream)))
        return ids.take(kept).astype(np.int64), np.diff(behind, prepend=0)

    def merge(self, ids: Int[np.ndarray, " S"], wall: Bool[np.ndarray, " S"]) -> Int[np.ndarray, " S"]:
        """The ids that symbols merge to, each where its first symbol was, and -1 where others joined it. Nothing merges
        across a `wall`, which is true behind the last symbol of a word."""
        out = np.full(len(ids), -1, dtype=np.int32)
        place = np.arange(len(ids), dtype=np.int32)
        while len(ids):
            link = np.where(wall, NEVER, np.append(self._link.take(ids[:-1] * self.size + ids[1:]), NEVER))
            wall = link == NEVER
            ends = np.flatnonzero(wall)
            sizes = np.diff(ends, prepend=-1)
            least = np.minimum.reduceat(link, ends + 1 - sizes)
            merging = least < LATER
            going = np.repeat(merging, sizes)
            done = np.flatnonzero(~going)
            out[place.take(done)] = ids.take(done)
            at = alternate(np.flatnonzero(link == np.repeat(np.where(merging, least, -1), sizes)))
            careful = merging & self._one_by_one.take(least, mode="clip")
            if careful.any():
                segment = np.searchsorted(ends, at)
                at = at[~careful[segment] | np.append(True, segment[1:] != segment[:-1])[: len(at)]]
            ids[at], wall[at] = self._merged.take(link.take(at)), wall.take(at + 1)
            going[at + 1] = False
            kept = np.flatnonzero(going)
            ids, place, wall = ids.take(kept), place.take(kept), wall.take(kept)
        return out

    def decode(
        self, ids: Int[np.ndarray, " M"], lengths: Int[np.ndarray, " N"], n: int
    ) -> tuple[Int[np.ndarray, "N n"], Bool[np.ndarray, " N"]]:
        """The strings of ids that stand one after the other, and which are exactly n characters (others are 0)."""
        counts = self.count.take(ids)
        stream = self.bytes.take(spans(self.first.take(ids), counts)).astype(np.int32)
        row = np.repeat(np.repeat(np.arange(len(lengths)), lengths), counts)
        following = np.append(stream[1:], 0)
        together = np.append(row[1:] == row[:-1], False)
        tail, lead = is_tail(stream), is_lead(stream)
        start = (stream < 0x80) | lead
        broken = ~(start | tail) | (lead != (is_tail(following) & together))
        broken |= tail & np.append(True, ~(lead & together)[:-1])
        exact = np.bincount(row.take(np.flatnonzero(start)), minlength=len(lengths)) == n
        exact[row[broken]] = False
        character = np.where(lead, (stream & 0x1F) << 6 | following & 0x3F, stream)
        codes = np.zeros((len(lengths), n), dtype=np.int64)
        codes[exact] = character.take(np.flatnonzero(start & exact.take(row))).reshape(-1, n)
        return codes, exact


def alternate(places: Int[np.ndarray, " P"]) -> Int[np.ndarray, " Q"]:
    """Of places in a row the first, the third and so on: the pairs between them overlap with these."""
    number = np.arange(len(places))
    begin = np.append(True, np.diff(places) != 1)[: len(places)]
    return places[(number - np.maximum.accumulate(np.where(begin, number, 0))) % 2 == 0]


def words(codes: Int[np.ndarray, "N n"]) -> Bool[np.ndarray, "N n"]:
    """Where the words of GPT-2's pattern start: runs of letters, of numbers, of blanks and of all else, each with the
    one space before it, and an apostrophe with its ending alone."""
    kind = KIND[codes]
    before = np.pad(kind, ((0, 0), (1, 0)), constant_values=-1)[:, :-1]
    space_before = np.pad(codes == SPACE, ((0, 0), (1, 0)))[:, :-1]
    blank = kind == BLANK
    solid_next = np.pad(~blank, ((0, 0), (0, 1)))[:, 1:]
    start = (kind != before) & ~(space_before & ~blank)
    start |= blank & (before == BLANK) & solid_next
    for row, column in np.argwhere(start & (codes == APOSTROPHE)):
        rest = text_of(codes[row, column + 1 : column + 3])
        ending = next((ending for ending in ENDINGS if rest.startswith(ending)), "")
        if ending:
            after = column + 1 + len(ending)
            start[row, column + 1 : after] = False
            start[row, after : after + 1] = True
    return start


def links(pairs: list[tuple[int, int, int]], size: int) -> Int[np.ndarray, " _"]:
    """Of two ids side by side, at first * size + second: the rank of their merge; LATER if they may get into one id
    only after others have joined them; NEVER if nothing can reach across.
    """
    endings: list[set[int]] = [{number} for number in range(size)]  # what an id may end with, before its last merges
    beginnings: list[set[int]] = [{number} for number in range(size)]
    known, grown = -1, 0
    while grown > known:  # usually once; more often where an id has two merges, or merges are not in their order
        known = grown
        for one, two, merged in pairs:
            beginnings[merged] |= beginnings[one]
            endings[merged] |= endings[two]
        grown = sum(map(len, beginnings)) + sum(map(len, endings))
    link = np.full((size, size), NEVER, dtype=np.int32)
    for one, two, _ in pairs:
        link[np.ix_(list(endings[one]), list(beginnings[two]))] = LATER
    for rank, (one, two, _) in reversed(list(enumerate(pairs))):
        link[one, two] = rank
    return link.reshape(-1)


def spans(first: Int[np.ndarray, " P"], counts: Int[np.ndarray, " P"]) -> Int[np.ndarray, " M"]:
    """The places first, first + 1, ... of each of P runs, `counts` of each, one after the other."""
    return np.arange(counts.sum()) + np.repeat(first - (counts.cumsum() - counts), counts)


def shape_of(expansion: bytes) -> tuple[int, int, int]:
    """Of an id: whether it goes on with a character that is open, how many characters it starts, whether it leaves the
    last one open. An id that cannot occur in a string of one- and two-byte characters starts -1."""
    values = np.frombuffer(expansion, dtype=np.uint8)
    tail, lead = is_tail(values), is_lead(values)
    known = bool(len(values)) and bool(((values < 0x80) | lead | tail).all())
    if not known or not np.array_equal(lead[:-1], tail[1:]):
        return 0, -1, 0
    return int(tail[0]), int((~tail).sum()), int(lead[-1])


def is_tail(values: np.ndarray) -> np.ndarray:
    """Second bytes of characters."""
    return (values & 0xC0) == 0x80


def is_lead(values: np.ndarray) -> np.ndarray:
    """First bytes of characters of two."""
    return (values >= 0xC2) & (values <= 0xDF)


def text_of(codes: Int[np.ndarray, ...]) -> str:
    """Whole numbers as the characters of that number."""
    return codes.astype("<u4").tobytes().decode("utf-32-le")


def read(text: str) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The vocabulary and the merges of a tokenizer.json; raises ValueError if it is not byte-level BPE."""
    content = json.loads(text)
    model, before = content.get("model") or {}, content.get("pre_tokenizer") or {}
    bytes_first = (before.get("type"), before.get("add_prefix_space"), before.get("use_regex", True))
    extras = [model.get(name) for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix")]
    if model.get("type") != "BPE" or bytes_first != ("ByteLevel", False, True) or any(extras):
        raise ValueError(
            "tokenizer.json: expected FAST's kind, BPE over bytes (model BPE without affixes, pre_tokenizer ByteLevel "
            f"without a prefix space), got model {model.get('type')!r} and pre_tokenizer {before.get('type')!r}"
        )
    if content.get("normalizer"):
        raise ValueError(f"tokenizer.json: expected no normalizer, got {content['normalizer'].get('type')!r}")
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
    return model["vocab"], [(one, two) for one, two in pairs]


BYTES = [chr(code).encode() for code in range(CHARACTERS)]
FIRST_BYTE = np.array([written[0] for written in BYTES])
LAST_BYTE = np.array([written[-1] for written in BYTES])
