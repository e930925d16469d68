"""Coding without loss: what comes back, how small it is, and damaged bytes."""

from __future__ import annotations

import math
import random
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from re_pose_ros.coinference import entropy, rans
from re_pose_ros.coinference.contexts import CHANNEL_CLASSES, Contexts, Diagonals
from re_pose_ros.coinference.entropy import decode, encode
from re_pose_ros.coinference.setting import BITS
from re_pose_ros.errors import InputError

Codes = np.ndarray[Any, Any]
SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 9))
PLAIN, DIFFERENCES, RANS = range(3)


@st.composite
def code_tensors(draw: st.DrawFn) -> tuple[Codes, int]:
    bits = draw(st.sampled_from(BITS))
    return draw(
        arrays.arrays(np.uint8, draw(SHAPES), elements=st.integers(0, (1 << bits) - 1))
    ), bits


def smooth(shape: tuple[int, int, int], bits: int, seed: int = 0) -> Codes:
    """Channels like a feature map's: waves of their own, some noise, most of it low."""
    random_ = np.random.default_rng(seed)
    c, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    slope = random_.uniform(0.05, 0.3, (2, shape[0], 1, 1))
    waves = np.sin(slope[0] * y + c) * np.cos(slope[1] * x - c) + random_.normal(0, 0.05, shape)
    top = (1 << bits) - 1
    return (waves.clip(0, 1) * top).round().astype(np.uint8)


# Both ways of coding.


@given(code_tensors(), st.booleans())
def test_any_codes_come_back(tensor: tuple[Codes, int], small: bool) -> None:
    codes, bits = tensor
    data = encode(codes, bits, small=small)
    assert (decode(memoryview(data), codes.shape, bits) == codes).all()


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("shape", [(8, 40, 40), (3, 1, 70), (5, 64, 1), (300, 3, 2), (1, 33, 21)])
def test_feature_maps_come_back_and_are_smaller_than_deflated(
    shape: tuple[int, int, int], bits: int
) -> None:
    codes = smooth(shape, bits)
    data, deflated = encode(codes, bits, small=True), encode(codes, bits)
    assert len(data) <= len(deflated) < codes.size * bits / 8 + 50
    for some in (data, deflated):
        back = decode(memoryview(some), shape, bits)
        assert back.dtype == np.uint8 and (back == codes).all()
    if shape == (8, 40, 40):
        assert data[0] == RANS and deflated[0] != RANS
        assert len(data) < (0.99 if bits == 8 else 0.9) * len(deflated)


def test_what_has_no_pattern_grows_by_next_to_nothing() -> None:
    codes = np.random.default_rng(0).integers(0, 256, (16, 64, 64), np.uint8)
    for bits in BITS:
        some = codes & np.uint8((1 << bits) - 1)
        stored = codes.size * (8 if bits == 6 else bits) / 8
        assert len(encode(some, bits, small=True)) <= stored * 1.001 + 10
    assert len(encode(np.zeros_like(codes), 8)) < 300


def test_either_row_layout_is_taken_where_it_is_smaller() -> None:
    steps = np.arange(60, dtype=np.uint8)[None, :, None] + np.zeros((4, 60, 60), np.uint8)
    noise = np.random.default_rng(0).choice([0, 63], (4, 60, 60), p=[0.9, 0.1]).astype(np.uint8)
    for codes, how in ((steps, DIFFERENCES), (noise, PLAIN)):
        data = encode(codes, 6)
        assert data[0] == how and (decode(memoryview(data), codes.shape, 6) == codes).all()


@pytest.mark.parametrize(
    ("bits", "crc"), [(2, "7b005596"), (4, "24ecfef7"), (6, "c49a9ada"), (8, "e4d7de42")]
)
def test_the_bytes_are_the_same_on_every_machine(bits: int, crc: str) -> None:
    """Robot and worker may have other processors and other versions of numpy."""
    c, y, x = np.ogrid[:9, :40, :36]
    rings = 12 * abs(((x - 18) ** 2 + (y - 3 * c) ** 2) // (6 + c) % 24 - 12)
    noise = ((x * 7919 + y * 104729 + c * 1299709) ** 2 >> 11) % 20
    codes = ((rings + noise).clip(0, 255) >> (8 - bits)).astype(np.uint8)
    data = encode(codes, bits, small=True)
    assert data[0] == RANS and f"{zlib.crc32(data):08x}" == crc


@pytest.mark.parametrize(
    ("codes", "bits"),
    [
        (np.full((1, 2, 2), 4, np.uint8), 2),
        (np.zeros((1, 2, 2), np.uint8), 3),
        (np.zeros((1, 2, 2), np.int16), 4),
        (np.zeros((2, 2), np.uint8), 4),
        (np.zeros((0, 2, 2), np.uint8), 4),
    ],
)
def test_what_are_no_codes_is_an_error(codes: Codes, bits: int) -> None:
    with pytest.raises(ValueError):
        encode(codes, bits)


# Damaged bytes.


def decode_or_refuse(data: bytes, shape: tuple[int, int, int], bits: int) -> Codes | None:
    try:
        codes = decode(memoryview(data), shape, bits)
    except InputError:
        return None
    assert codes.shape == shape and codes.dtype == np.uint8 and codes.max() < 1 << bits
    return codes


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("bits", BITS)
def test_damaged_bytes_are_refused_or_give_codes(bits: int, small: bool) -> None:
    shape = (4, 12, 13)
    codes = smooth(shape, bits)
    data = encode(codes, bits, small=small)
    dice = random.Random(bits)
    for _ in range(100):
        damaged = bytearray(data)
        for _ in range(dice.randint(1, 3)):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        decode_or_refuse(bytes(damaged), shape, bits)
    for size in range(0, len(data), 1 + len(data) // 40):
        assert decode_or_refuse(data[:size], shape, bits) is None
    assert decode_or_refuse(data + b"\0\0", shape, bits) is None
    for other in ((4, 12, 14), (5, 12, 13), (1, 1, 1), (4, 13, 12)):
        found = decode_or_refuse(data, other, bits)
        assert found is None or other == (4, 13, 12), "the same number of codes may do"


def test_a_few_bytes_do_not_become_much_memory() -> None:
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = squeezer.compress(bytes(50_000_000)) + squeezer.flush()
    long = [
        bytes([how]) + some for how in (PLAIN, DIFFERENCES, RANS) for some in (bomb, bytes(2**21))
    ]
    tracemalloc.start()
    try:
        for data in long:
            with pytest.raises(InputError):
                decode(memoryview(data), (2, 10, 10), 8)
        assert tracemalloc.get_traced_memory()[1] < 300_000
    finally:
        tracemalloc.stop()


# Numeral systems.


@st.composite
def coded(draw: st.DrawFn) -> tuple[list[int], list[list[int]], list[int]]:
    """Sizes of groups, alphabets, and for each symbol of the groups the alphabet it is from."""
    groups = draw(st.lists(st.integers(1, 40), min_size=1, max_size=30))
    weights = st.lists(st.integers(0, 1000), min_size=2, max_size=6)
    alphabets = [frequencies(w) for w in draw(st.lists(weights, min_size=1, max_size=4))]
    return groups, alphabets, [draw(st.integers(0, len(alphabets) - 1)) for _ in range(sum(groups))]


def frequencies(weights: list[int]) -> list[int]:
    """In proportion to the weights, at least 1, adding up to all there is."""
    whole = 1 << rans.PRECISION
    found = [1 + w * (whole - len(weights)) // max(sum(weights), 1) for w in weights]
    found[0] += whole - sum(found)
    return found


def code_and_back(
    groups: list[int], alphabets: list[list[int]], of: list[int], symbols: list[int]
) -> bytes:
    table = np.concatenate([np.array(a) for a in alphabets])
    below = table.cumsum() - table
    first = np.cumsum([0] + [len(a) for a in alphabets])
    entries = np.array([first[a] + s for a, s in zip(of, symbols, strict=True)])
    mask = (1 << rans.PRECISION) - 1
    data = rans.encode(
        table[entries].astype(np.uint32), (below[entries] & mask).astype(np.uint32), groups
    )
    decoder = rans.Decoder(memoryview(data), len(symbols))
    bases = np.array(of, np.int64) << rans.PRECISION
    begin = 0
    for size in groups:
        found = decoder.group(bases[begin : begin + size], table, below)
        assert (found == entries[begin : begin + size]).all()
        begin += size
    decoder.finish()
    return data


@settings(max_examples=40)
@given(coded(), st.randoms(use_true_random=False))
def test_symbols_of_any_probability_come_back(
    case: tuple[list[int], list[list[int]], list[int]], dice: random.Random
) -> None:
    groups, alphabets, of = case
    code_and_back(groups, alphabets, of, [dice.randrange(len(alphabets[a])) for a in of])


def test_the_size_is_what_the_probabilities_say() -> None:
    alphabets = [frequencies([60, 30, 9, 1]), frequencies([1] * 64), frequencies([9999, 1])]
    dice = random.Random(0)
    of = [dice.randrange(3) for _ in range(60_000)]
    symbols = [dice.choices(range(len(alphabets[a])), weights=alphabets[a])[0] for a in of]
    bits = sum(
        rans.PRECISION - math.log2(alphabets[a][s]) for a, s in zip(of, symbols, strict=True)
    )
    size = len(code_and_back([500] * 120, alphabets, of, symbols))
    lanes = rans.lane_count(60_000)
    assert bits / 8 < size < 1.001 * bits / 8 + 4 * lanes


# Order and contexts.


@given(SHAPES)
def test_diagonals_are_every_feature_once_after_its_neighbours(shape: tuple[int, int, int]) -> None:
    channels, height, width = shape
    codes = np.random.default_rng(0).integers(1, 256, shape, np.uint8)
    whole = Diagonals(shape)
    whole.fill(codes)
    assert (whole.codes() == codes).all()
    inner = {(y, x): codes[:, y, x].astype(int) for y in range(height) for x in range(width)}
    nothing = np.zeros(channels, int)
    growing = Diagonals(shape)
    expected = []
    for diagonal in range(height + width - 1):
        cells = [(y, diagonal - y) for y in range(height) if 0 <= diagonal - y < width]
        assert growing.sizes[diagonal] == len(cells) * channels
        rows = []
        for y, x in cells:
            above, left = inner.get((y - 1, x)), inner.get((y, x - 1))
            corner = inner.get((y - 1, x - 1))
            if left is None:
                left = nothing if above is None else above
                corner = inner.get((y - 2, x), nothing)
            if above is None:
                above = left
                corner = inner.get((y, x - 2), nothing)
            rows.append((left, above, corner))
        for found, row in zip(growing.neighbours(diagonal), zip(*rows, strict=True), strict=True):
            assert (found == np.array(row)).all()
        current = np.array([inner[cell] for cell in cells])
        expected += [(c, *row) for c, row in zip(current, rows, strict=True)]
        growing.set(diagonal, current.astype(np.int16))
    assert (growing.codes() == codes).all()
    for found, column in zip(whole.in_order(), zip(*expected, strict=True), strict=True):
        assert (found == np.array(column)).all()


@given(SHAPES)
def test_lessons_are_rising_and_within(shape: tuple[int, int, int]) -> None:
    lessons = Diagonals(shape).lessons()
    assert lessons == sorted(set(lessons))
    assert all(1 <= lesson < shape[1] + shape[2] - 1 for lesson in lessons)


def test_lessons_become_rare() -> None:
    assert len(Diagonals((8, 40, 40)).lessons()) < 40 < len(Diagonals((8, 400, 400)).lessons()) < 60


@pytest.mark.parametrize("bits", BITS)
def test_predictions_are_the_median_and_contexts_in_range(bits: int) -> None:
    contexts = Contexts(bits)
    around = np.random.default_rng(0).integers(0, 1 << bits, (3, 500, 4)).astype(np.int16)
    classes = np.arange(4, dtype=np.int16) % contexts.channel_classes
    prediction, context = contexts.of(around[0], around[1], around[2], classes)
    left, above, corner = around.astype(int)
    assert (prediction == np.median([left, above, left + above - corner], axis=0)).all()
    below = contexts.tables()[1]
    count = len(below) // contexts.codes
    assert context.min() >= 0 and context.max() < count
    assert (around[0] == left).all(), "the neighbours are left as they are"


@pytest.mark.parametrize("bits", BITS)
def test_tables_add_up_and_follow_what_was_seen(bits: int) -> None:
    contexts = Contexts(bits)
    for _ in range(3):
        found, below = contexts.tables()
        rows = found.reshape(-1, contexts.codes)
        assert (rows >= 1).all() and (rows.sum(axis=1) == 1 << rans.PRECISION).all()
        assert (below == np.concatenate([[0], found.cumsum()[:-1]])).all()
        contexts.learn(np.full(100_000, 3, np.int64))
    assert rows[0].argmax() == 3 and rows[0, 3] > 0.9 * (1 << rans.PRECISION)
    assert rows[1].argmax() != 3 or bits == 2


def test_channels_are_classified_by_their_mean() -> None:
    codes = np.zeros((8, 5, 5), np.uint8)
    codes += np.array([7, 0, 5, 2, 1, 6, 3, 4], np.uint8)[:, None, None]
    assert Contexts(4).classify(codes).tolist() == [3, 0, 2, 1, 0, 3, 1, 2]
    assert Contexts(4).classify(codes).max() == CHANNEL_CLASSES - 1
    assert not Contexts(8).classify(codes).any()


def test_contexts_are_worth_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without contexts the same codes are larger."""
    codes = smooth((8, 40, 40), 4)
    size = len(encode(codes, 4, small=True))

    def alone(of: Callable[..., Any]) -> Callable[..., Any]:
        def same(self: Contexts, *around: Any) -> Any:
            prediction, context = of(self, *around)
            return prediction * 0, context * 0

        return same

    monkeypatch.setattr(Contexts, "of", alone(Contexts.of))
    assert len(entropy._encode_rans(codes, 4)) > 1.3 * size
