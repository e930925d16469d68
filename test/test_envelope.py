"""Features in a message: what comes back, and that nothing else than InputError comes out."""

from __future__ import annotations

import array
import random
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damage import blob_of, header_of, mutated, signed

from re_pose_ros.coinference.entropy import encode
from re_pose_ros.coinference.envelope import FORMAT, Expected, Features, pack, unpack
from re_pose_ros.coinference.quantise import Quantised, dequantise, quantise
from re_pose_ros.coinference.setting import BITS, DEVICE, Setting
from re_pose_ros.errors import InputError

MODEL = "3f" * 32


def canvas(picture: tuple[int, int], input_size: int) -> tuple[int, int]:
    """As a letterbox with a stride of 32."""
    longer = max(picture)
    width, height = (max(round(side * input_size / longer), 1) for side in picture)
    return -(-width // 32) * 32, -(-height // 32) * 32


def shapes(exit: str, cut: int, canvas: tuple[int, int]) -> dict[int, tuple[int, int, int]]:
    width, height = canvas
    known = {4: {3: (6, height // 8, width // 8)}}
    known[6] = {5: (4, height // 16, width // 16), 4: (8, height // 8, width // 8)}
    return known[cut]


EXPECTED = Expected("detector", MODEL, {"p3": (4,), "full": (4, 6)}, canvas, shapes)


def features(
    cut: int = 4, bits: int = 4, per_channel: bool = True, input_size: int = 96, seed: int = 0
) -> Features:
    """Smooth tensors with some noise, of a picture of 1280 to 720."""
    picture = (1280, 720)
    size = canvas(picture, input_size)
    dice = np.random.default_rng(seed)
    tensors = {}
    for stage, shape in shapes("full", cut, size).items():
        c, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
        waves = np.sin(0.3 * y + c) * np.cos(0.2 * x - c) + dice.normal(0, 0.1, shape)
        tensors[stage] = quantise(waves.astype(np.float32), bits, per_channel=per_channel)
    return Features(
        "detector", MODEL, Setting("full", cut, bits, 0), picture, input_size, size, tensors
    )


def same(a: Features, b: Features) -> bool:
    fields = ("graph", "model", "setting", "picture", "input_size", "canvas")
    return (
        all(getattr(a, field) == getattr(b, field) for field in fields)
        and set(a.tensors) == set(b.tensors)
        and all(
            np.array_equal(getattr(a.tensors[s], part), getattr(b.tensors[s], part))
            for s in a.tensors
            for part in ("codes", "scales", "zeros")
        )
    )


def ways(blob: bytes) -> set[int]:
    """How the codes of a blob are coded."""
    header, body = header_of(blob)
    return {body[v["data_offsets"][0]] for k, v in header.items() if k.endswith(".codes")}


# What is sent comes back.


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("cut", [4, 6])
@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("per_channel", [False, True])
def test_features_come_back(bits: int, cut: int, small: bool, per_channel: bool) -> None:
    sent = features(cut, bits, per_channel)
    assert same(unpack(pack(sent, small=small), EXPECTED), sent)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda b: array.array("B", b)])
def test_any_buffer_is_read(kind: Callable[[bytes], Any]) -> None:
    sent = features()
    received = unpack(kind(pack(sent)), EXPECTED)
    assert same(received, sent)
    received.tensors[3].codes[0, 0, 0] = 1  # in memory of its own


def test_the_same_features_are_the_same_bytes() -> None:
    assert pack(features()) == pack(features()) != pack(features(seed=1))


def test_it_is_a_safetensors_file(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors")
    sent = features(cut=6)
    path = tmp_path / "features.safetensors"
    path.write_bytes(pack(sent))
    with safetensors.safe_open(path, "numpy") as file:
        metadata = file.metadata()
        assert metadata["format"] == FORMAT and metadata["cut"] == "6"
        assert metadata["shapes"] == "4:8x8x12 5:4x4x6"
        assert metadata["picture"] == "1280x720" and metadata["canvas"] == "96x64"
        for stage, tensor in sent.tensors.items():
            scales, zeros = file.get_tensor(f"{stage}.scales")
            assert (scales == tensor.scales).all() and (zeros == tensor.zeros).all()
            assert file.get_tensor(f"{stage}.codes").tobytes() == encode(tensor.codes, 4)


def test_what_it_takes_beside_the_codes() -> None:
    sent = features()
    codes = len(encode(sent.tensors[3].codes, 4))
    assert len(pack(sent)) - codes - sent.tensors[3].scales.nbytes * 2 < 450


# What a worker cannot go on from.


@pytest.mark.parametrize(
    ("sent", "expected", "says"),
    [
        ({"graph": "alexnet"}, {}, "graph 'alexnet'; this worker runs 'detector'"),
        ({"model": "00" * 32}, {}, "model '000000000000', this worker has '3f3f3f3f3f3f'"),
        ({"setting": Setting("p9", 4, 4, 0)}, {}, "exit 'p9'; this worker has p3, full"),
        ({"setting": Setting("p3", 6, 4, 0)}, {}, "cut 6; the way to exit 'p3' takes them at 4"),
        ({"setting": Setting("full", 5, 4, 0)}, {}, "cut 5; the way to exit 'full'"),
        ({"setting": Setting("full", 6, 4, 0)}, {}, "3:6x8x12'; cut 6 of exit 'full' at 96x64"),
        ({"canvas": (96, 96)}, {}, "canvas of 96x96; a picture of 1280x720 at input size 96 has"),
        ({"picture": (720, 1280)}, {}, "a picture of 720x1280 at input size 96 has 64x96"),
        ({"input_size": 320}, {}, "input size 320 has 320x192"),
        ({}, {"max_side": 64}, "canvas of 96x64 (input size 96) are refused; at most 64"),
        ({"canvas": (65535, 65535), "input_size": 65535}, {}, "at most 4096 a side"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    sent: dict[str, Any], expected: dict[str, Any], says: str
) -> None:
    blob = pack(replace(features(), **sent))
    with pytest.raises(InputError) as raised:
        unpack(blob, replace(EXPECTED, **expected))
    assert says in str(raised.value) and "\n" not in str(raised.value)


def metadata(**changed: str | None) -> Callable[[bytes], bytes]:
    """A change of the metadata; None removes."""

    def change(blob: bytes) -> bytes:
        header, body = header_of(blob)
        fields = {**header["__metadata__"], **changed}
        header["__metadata__"] = {k: v for k, v in fields.items() if v is not None}
        return signed(blob_of(header, body))

    return change


def tensor(name: str, **changed: Any) -> Callable[[bytes], bytes]:
    """A change of what the header says of a tensor."""

    def change(blob: bytes) -> bytes:
        header, body = header_of(blob)
        return signed(blob_of({**header, name: {**header[name], **changed}}, body))

    return change


def headed(header: Any) -> Callable[[bytes], bytes]:
    return lambda blob: signed(blob_of(header, header_of(blob)[1]))


def scales(value: float) -> Callable[[bytes], bytes]:
    def change(blob: bytes) -> bytes:
        header, body = header_of(blob)
        return signed(blob_of(header, np.float32(value).tobytes() + body[4:]))

    return change


HEAD = header_of(pack(features()))[0]
WITHOUT = {k: v for k, v in HEAD.items() if k != "3.scales"}
ZEROS = np.zeros((6, 8, 12), np.uint8)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda b: b"", "cut off after 0 bytes"),
        (lambda b: b[:7], "cut off after 7 bytes"),
        (lambda b: b[:100], "cut off after 100 bytes"),
        (lambda b: bytes(8), "no safetensors header"),
        (lambda b: b"\xff" * 8 + b[8:], "claim a header of 18446744073709551615 bytes"),
        (lambda b: (1 << 40).to_bytes(8, "little") + b[8:], "claim a header of"),
        (lambda b: b[:-1] + bytes([b[-1] ^ 1]), "checksum"),
        (lambda b: signed(b[:-1]), "codes of stage 3"),
        (lambda b: signed(b + b"\0"), "go on for 1 bytes"),
        (headed(b"[" * 60_000), "no safetensors header"),
        (headed(b'{"a":' * 10_000), "no safetensors header"),
        (headed(b'{"__metadata__":' + b"9" * 10_000 + b"}"), "no safetensors header"),
        (headed(b'{"a":1,"a":2}'), "no safetensors header"),
        (headed(b"\xff\xfe{}"), "no safetensors header"),
        (headed([]), "no safetensors header"),
        (headed({}), "no metadata"),
        (headed({**HEAD, "__metadata__": "x"}), "no metadata"),
        (headed({**HEAD, "__metadata__": {"format": 1}}), "no metadata"),
        (
            metadata(format="features; re_pose/2"),
            "format 'features; re_pose/2', this version reads",
        ),
        (metadata(format="x" * 1000), "'xxxxx"),
        (metadata(crc32=None), "crc32"),
        (metadata(model=None), "not the metadata of 'features; re_pose/1': 'model'"),
        (metadata(more="1"), "'more'"),
        (metadata(model="\n\x1b[31m"), "\\x1b[31m"),
        (metadata(exit=""), "exit ''"),
        (metadata(cut="four"), "a cut of 'four', which is no number"),
        (metadata(cut="-1"), "a cut of '-1'"),
        (metadata(cut="\u0664"), "which is no number"),
        (metadata(cut="9" * 5000), "which is no number"),
        (metadata(bits="5"), "5 bits; known: 2, 4, 6, 8"),
        (metadata(bits=""), "a bits of ''"),
        (metadata(picture="1280"), "a picture of '1280', which is no size"),
        (metadata(picture="0x720"), "a picture of '0x720'"),
        (metadata(picture="99999x720"), "a picture of '99999x720'"),
        (metadata(input_size="0"), "input size 0"),
        (metadata(canvas="96x64x3"), "a canvas of '96x64x3'"),
        (metadata(shapes="3:6x80000x120000"), "sends 3:6x8x12"),
        (metadata(shapes=""), "the shapes ''"),
        (headed(WITHOUT), "not the tensors that cross the cut: '3.scales'"),
        (headed({**HEAD, "7.codes": HEAD["3.codes"]}), "'7.codes'"),
        (headed({**WITHOUT, "3.scales": None}), "scales of stage 3"),
        (headed({**HEAD, "3.codes": []}), "codes of stage 3"),
        (tensor("3.scales", dtype="F64"), "scales of stage 3"),
        (tensor("3.scales", shape=[2, 5]), "scales of stage 3"),
        (tensor("3.scales", shape=[2, 1 << 60]), "scales of stage 3"),
        (tensor("3.scales", shape=[2, 1]), "scales of stage 3"),
        (tensor("3.scales", data_offsets=[8, 56]), "scales of stage 3"),
        (tensor("3.scales", more=1), "scales of stage 3"),
        (tensor("3.codes", shape=[1 << 60], data_offsets=[48, 48 + (1 << 60)]), "codes of stage 3"),
        (tensor("3.codes", shape=[-1]), "codes of stage 3"),
        (tensor("3.codes", shape=[1.5]), "codes of stage 3"),
        (tensor("3.codes", shape=[True]), "codes of stage 3"),
        (tensor("3.codes", shape=[[]]), "codes of stage 3"),
        (tensor("3.codes", shape=[10, 10]), "codes of stage 3"),
        (tensor("3.codes", shape=[0], data_offsets=[48, 48]), "stage 3: coded features cannot"),
        (tensor("3.codes", shape=[3], data_offsets=[48, 51]), "stage 3: coded features"),
        (tensor("3.codes", dtype="I8"), "codes of stage 3"),
        (scales(float("nan")), "scales of stage 3"),
        (scales(float("inf")), "scales of stage 3"),
        (scales(-1), "scales of stage 3"),
    ],
)
def test_what_is_malformed_is_refused_by_name(change: Callable[[bytes], bytes], says: str) -> None:
    with pytest.raises(InputError) as raised:
        unpack(change(pack(features())), EXPECTED)
    assert says in str(raised.value) and len(str(raised.value)) < 300
    assert str(raised.value).isprintable()


def test_what_is_claimed_takes_no_memory() -> None:
    good = pack(features())
    claims = [
        metadata(shapes="3:60000x60000x60000"),
        metadata(canvas="65535x65535", input_size="65535"),
        metadata(picture="65535x1", canvas="4096x32", input_size="4096"),
        tensor("3.scales", shape=[2, 1 << 50], data_offsets=[0, 1 << 54]),
        tensor("3.codes", shape=[1 << 50], data_offsets=[48, 48 + (1 << 50)]),
    ]
    tracemalloc.start()
    try:
        for claim in claims:
            with pytest.raises(InputError):
                unpack(claim(good), EXPECTED)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


# What is an error of the caller.


@pytest.mark.parametrize(
    "changed",
    [
        {"setting": Setting("full", DEVICE, 0, 0)},
        {"setting": Setting("full", 0, 0, 80)},
        {"setting": Setting("full", 4, 2, 0)},
        {"tensors": {}},
        {"graph": "a b"},
        {"model": "3f"},
        {"picture": (0, 5)},
        {"canvas": (70_000, 32)},
        {"input_size": 0},
        {"tensors": {3: Quantised(ZEROS, np.ones(2, np.float32), np.ones(2, np.float32))}},
        {"tensors": {3: Quantised(ZEROS, np.ones(6, np.float32), np.ones(1, np.float32))}},
        {"tensors": {3: Quantised(ZEROS, np.full(1, np.nan, "f4"), np.ones(1, np.float32))}},
        {"tensors": {3: Quantised(ZEROS, -np.ones(1, np.float32), np.ones(1, np.float32))}},
    ],
)
def test_what_are_no_features_is_not_packed(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        pack(replace(features(), **changed))


# Damage of every kind.


def check_damaged(blob: bytes, expected: Expected) -> bool:
    """Whether the message was refused; one that was not has to hold usable features."""
    try:
        found = unpack(blob, expected)
    except InputError as error:
        assert str(error) and str(error).isprintable()
        return True
    wanted = shapes(found.setting.exit, found.setting.cut, found.canvas)
    assert {s: t.codes.shape for s, t in found.tensors.items()} == wanted
    for found_tensor in found.tensors.values():
        assert found_tensor.codes.max() < 1 << found.setting.bits
        assert np.isfinite(dequantise(found_tensor)).all()
    return False


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("count", [4000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_no_damage_does_harm(count: int) -> None:
    """Every second message has a checksum that fits its damage, as an enemy would send it."""
    dice = random.Random(count)
    good = [
        pack(features(cut, bits, seed=cut + bits), small=small)
        for cut in (4, 6)
        for bits in (2, 4, 8)
        for small in (False, True)
    ]
    assert set().union(*map(ways, good)) == {0, 1, 2}, "all ways of coding are there"
    accepted = {False: 0, True: 0}
    for index in range(count):
        blob, other = dice.sample(good, 2)
        damaged = mutated(blob, other, dice)
        resigned = bool(index % 2)
        if resigned:
            damaged = signed(damaged)
        if damaged in (blob, other):
            continue
        accepted[resigned] += not check_damaged(damaged, EXPECTED)
    print(f"{count} damaged messages; {accepted[True]} with a fitting checksum were features")
    assert accepted[False] == 0, "a checksum finds what is not meant"
    assert accepted[True] > count // 100, "else nothing came as far as the codes"
