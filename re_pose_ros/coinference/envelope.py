"""Features as they travel: one safetensors blob in ``sensor_msgs/CompressedImage.data``.

Safetensors is a header of JSON behind its length in 8 bytes, little-endian, and the bytes of the
tensors. The metadata are strings, in this order:

| key | value |
|---|---|
| crc32 | of the whole blob with these eight digits as zeros; lower-case hexadecimal |
| format | ``FORMAT`` |
| graph, model | which graph, and the sha256 of the weights on both sides, hexadecimal |
| exit, cut, bits | as in ``Setting`` |
| picture | width and height of the block's picture before the letterbox, as 1280x720 |
| input_size | the longer side on the network's input |
| canvas | width and height of the network's input |
| shapes | CxHxW of each tensor that crosses the cut, by stage, as 4:32x40x40 6:64x20x20 |

Per stage s there are two tensors: ``s.scales``, F32 (2, n) of scales and zeros with n = C or 1
(``Quantised``), and ``s.codes``, U8, what ``entropy`` made, whose first byte says how. The data
hold all scales, then all codes, in the order of ``shapes`` and without gaps. Beside scales and
codes a blob of one tensor takes 0.4 KB; the tables of a JPEG file take more.

Nothing in a blob is believed: lengths and shapes are compared with what the graph expects before
anything of their size is made.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.coinference.entropy import Shape, decode, encode
from re_pose_ros.coinference.quantise import Quantised
from re_pose_ros.coinference.setting import BITS, Setting
from re_pose_ros.errors import InputError

FORMAT = "features; re_pose/1"
"""Of the blob, and of the ``CompressedImage`` that carries it."""

# bytes, bytearray, memoryview, array.array and uint8 arrays; typing has no name for them
# before Python 3.12.
BytesLike = Any

MAX_SIDE = 65535
"""The greatest width or height of anything, in pixels."""

_BEGINNING = b'{"__metadata__":{"crc32":"'
_CRC = slice(8 + len(_BEGINNING), 8 + len(_BEGINNING) + 8)
_MAX_HEADER = 1 << 16
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_KEYS = {
    *("crc32", "format", "graph", "model", "exit", "cut", "bits"),
    *("picture", "input_size", "canvas", "shapes"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """What crosses a cut for one block.

    Attributes:
        graph: which graph, as ``detector``.
        model: sha256 of the weights on both sides, hexadecimal.
        setting: its exit, cut and bits are those of the features.
        picture: (width, height) of the block's picture before the letterbox.
        input_size: the longer side on the network's input.
        canvas: (width, height) of the network's input.
        tensors: what crosses the cut, by index of the stage that gives it.
    """

    graph: str
    model: str
    setting: Setting
    picture: tuple[int, int]
    input_size: int
    canvas: tuple[int, int]
    tensors: Mapping[int, Quantised]


@dataclass(frozen=True, slots=True, eq=False)
class Expected:
    """What a worker can go on from.

    Attributes:
        graph: as ``Features.graph``.
        model: as ``Features.model``.
        cuts: of each exit, where features may come; none below 1.
        canvas: (width, height) of the network's input, for a picture's (width, height) and an
            input size.
        shapes: (C, H, W) by stage of what crosses a cut, for exit, cut and canvas, of which
            the first two are among ``cuts`` and the last is not over ``max_side``.
        max_side: the greatest width or height of a canvas.
    """

    graph: str
    model: str
    cuts: Mapping[str, Collection[int]]
    canvas: Callable[[tuple[int, int], int], tuple[int, int]]
    shapes: Callable[[str, int, tuple[int, int]], Mapping[int, Shape]]
    max_side: int = 4096


def pack(features: Features, *, small: bool = False) -> bytes:
    """Features as one blob; ``small`` is that of ``entropy.encode``.

    Raises:
        ValueError: the setting sends no features, or something is not as ``Features`` says.
    """
    bits, stages = features.setting.bits, sorted(features.tensors)
    _check(features)
    metadata = {
        "crc32": "0" * 8,
        "format": FORMAT,
        "graph": features.graph,
        "model": features.model,
        "exit": features.setting.exit,
        "cut": str(features.setting.cut),
        "bits": str(bits),
        "picture": _by(features.picture),
        "input_size": str(features.input_size),
        "canvas": _by(features.canvas),
        "shapes": _shapes_text({s: features.tensors[s].codes.shape for s in stages}),
    }
    header: dict[str, Any] = {"__metadata__": metadata}
    parts: list[bytes] = []
    size = 0
    for stage in stages:
        tensor = features.tensors[stage]
        scales = np.stack([tensor.scales, tensor.zeros]).astype("<f4").tobytes()
        header[f"{stage}.scales"] = _scales_entry(size, len(tensor.scales))
        size += len(scales)
        parts.append(scales)
    for stage in stages:
        codes = encode(features.tensors[stage].codes, bits, small=small)
        header[f"{stage}.codes"] = _codes_entry(size, len(codes))
        size += len(codes)
        parts.append(codes)
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text = text.ljust(-(-len(text) // 8) * 8)  # so that the scales are aligned
    blob = bytearray(b"".join([len(text).to_bytes(8, "little"), text, *parts]))
    blob[_CRC] = b"%08x" % zlib.crc32(blob)
    return bytes(blob)


def unpack(data: BytesLike, expected: Expected) -> Features:
    """The features of a blob.

    Takes no more memory than the features that ``expected`` allows, nor longer than to decode
    those.

    Raises:
        InputError: the blob is damaged or of another version, or its features are none that
            ``expected`` can go on from.
    """
    blob = memoryview(data).cast("B") if memoryview(data).nbytes else memoryview(b"")
    header, body = _split(blob)
    metadata = _metadata(header, blob)
    setting = _setting(metadata, expected)
    picture, input_size, canvas = _geometry(metadata, expected)
    shapes = dict(sorted(expected.shapes(setting.exit, setting.cut, canvas).items()))
    text = _shapes_text(shapes)
    if metadata["shapes"] != text:
        raise InputError(
            f"features have the shapes {_shown(metadata['shapes'])}; cut {setting.cut} of exit "
            f"'{setting.exit}' at {_by(canvas)} sends {text}"
        )
    tensors = _tensors(header, body, shapes, setting.bits)
    return Features(expected.graph, expected.model, setting, picture, input_size, canvas, tensors)


def _check(features: Features) -> None:
    setting = features.setting
    if not setting.sends_features or not features.tensors:
        raise ValueError(f"{len(features.tensors)} tensors for {setting}")
    if not _NAME.fullmatch(features.graph) or not _SHA256.fullmatch(features.model):
        raise ValueError(f"graph {features.graph!r} of model {features.model!r}")
    for side in (*features.picture, features.input_size, *features.canvas):
        if not 1 <= side <= MAX_SIDE:
            raise ValueError(f"a side of {side} pixels")
    for stage, tensor in features.tensors.items():
        scales, zeros = tensor.scales, tensor.zeros
        if scales.shape not in ((1,), (len(tensor.codes),)) or zeros.shape != scales.shape:
            raise ValueError(f"stage {stage} has {scales.shape} scales and {zeros.shape} zeros")
        if not _usable(np.stack([scales, zeros])):
            raise ValueError(f"stage {stage} has scales or zeros that are no such numbers")


def _split(blob: memoryview) -> tuple[dict[str, Any], memoryview]:
    """The header, and the bytes behind it."""
    size = int.from_bytes(blob[:8], "little")
    if len(blob) < 8 or len(blob) < 8 + size <= 8 + _MAX_HEADER:
        raise InputError(f"features are cut off after {len(blob)} bytes")
    if size > _MAX_HEADER:
        raise InputError(f"features claim a header of {size} bytes; at most {_MAX_HEADER} are read")
    try:
        text = bytes(blob[8 : 8 + size]).decode("ascii")
        header = json.loads(text, object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError) as error:
        raise InputError("features have a header that is no safetensors header") from error
    if not isinstance(header, dict):
        raise InputError("features have a header that is no safetensors header")
    return header, blob[8 + size :]


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _metadata(header: Mapping[str, Any], blob: memoryview) -> dict[str, str]:
    """The metadata of a blob of this version whose checksum is right."""
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise InputError("features have no metadata; are they of re_pose_ros?")
    if metadata.get("format") != FORMAT:
        raise InputError(
            f"features have the format {_shown(metadata.get('format'))}, this version reads "
            f"'{FORMAT}'; install the same version on robot and worker"
        )
    if set(metadata) != _KEYS:
        odd = sorted(set(metadata) ^ _KEYS)
        raise InputError(f"features have not the metadata of '{FORMAT}': {_shown(odd[0])}")
    found = zlib.crc32(blob[_CRC.stop :], zlib.crc32(b"0" * 8, zlib.crc32(blob[: _CRC.start])))
    if bytes(blob[_CRC]) != b"%08x" % found or metadata["crc32"] != f"{found:08x}":
        raise InputError(f"features are damaged: their checksum is not {found:08x}")
    return metadata


def _setting(metadata: Mapping[str, str], expected: Expected) -> Setting:
    if metadata["graph"] != expected.graph:
        raise InputError(
            f"features are of the graph {_shown(metadata['graph'])}; this worker runs "
            f"'{expected.graph}'"
        )
    if metadata["model"] != expected.model:
        raise InputError(
            f"features are of the model {_shown(metadata['model'][:12])}, this worker has "
            f"'{expected.model[:12]}' (sha256); load the same weights on robot and worker"
        )
    cuts = expected.cuts.get(metadata["exit"])
    if cuts is None:
        raise InputError(
            f"features are for the exit {_shown(metadata['exit'])}; this worker has "
            f"{', '.join(expected.cuts)}"
        )
    cut = _number(metadata, "cut")
    if cut not in cuts:
        raise InputError(
            f"features are of cut {cut}; the way to exit '{metadata['exit']}' takes them at "
            f"{', '.join(map(str, sorted(cuts)))}"
        )
    bits = _number(metadata, "bits")
    if bits not in BITS:
        raise InputError(f"features have {bits} bits; known: {', '.join(map(str, BITS))}")
    return Setting(metadata["exit"], cut, bits, 0)


def _geometry(
    metadata: Mapping[str, str], expected: Expected
) -> tuple[tuple[int, int], int, tuple[int, int]]:
    """Picture, input size and canvas, which fit each other."""
    picture, canvas = _size(metadata, "picture"), _size(metadata, "canvas")
    input_size = _number(metadata, "input_size")
    if not 1 <= input_size <= expected.max_side or max(canvas) > expected.max_side:
        raise InputError(
            f"features of a canvas of {_by(canvas)} (input size {input_size}) are refused; "
            f"at most {expected.max_side} a side"
        )
    fitting = expected.canvas(picture, input_size)
    if canvas != fitting:
        raise InputError(
            f"features have a canvas of {_by(canvas)}; a picture of {_by(picture)} at input size "
            f"{input_size} has {_by(fitting)}"
        )
    return picture, input_size, canvas


def _tensors(
    header: Mapping[str, Any],
    body: memoryview,
    shapes: Mapping[int, Shape],
    bits: int,
) -> dict[int, Quantised]:
    names = [f"{stage}.{part}" for part in ("scales", "codes") for stage in shapes]
    if set(header) != {"__metadata__", *names}:
        odd = sorted(set(header) ^ {"__metadata__", *names})
        raise InputError(f"features have not the tensors that cross the cut: {_shown(odd[0])}")
    scales: dict[int, NDArray[np.float32]] = {}
    at = 0
    for stage, (channels, _, _) in shapes.items():
        entry = header[f"{stage}.scales"]
        count = next((n for n in (1, channels) if entry == _scales_entry(at, n)), 0)
        if not count or at + 8 * count > len(body):
            raise InputError(f"features have no scales of stage {stage} that fit")
        rows = np.frombuffer(body[at : at + 8 * count], "<f4").astype(np.float32)
        scales[stage] = rows.reshape(2, count)
        if not _usable(scales[stage]):
            raise InputError(f"features have scales of stage {stage} that are no such numbers")
        at += 8 * count
    tensors = {}
    for stage, shape in shapes.items():
        entry = header[f"{stage}.codes"]
        size = _length(entry)
        if entry != _codes_entry(at, size) or at + size > len(body):
            raise InputError(f"features have no codes of stage {stage} that fit")
        try:
            codes = decode(body[at : at + size], shape, bits)
        except InputError as error:
            raise InputError(f"stage {stage}: {error}") from error
        tensors[stage] = Quantised(codes, *scales[stage])
        at += size
    if at != len(body):
        raise InputError(f"features go on for {len(body) - at} bytes after their end")
    return tensors


def _scales_entry(at: int, count: int) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [2, count], "data_offsets": [at, at + 8 * count]}


def _codes_entry(at: int, size: int) -> dict[str, Any]:
    return {"dtype": "U8", "shape": [size], "data_offsets": [at, at + size]}


def _length(entry: object) -> int:
    """The length of a tensor of one dimension; 0 where there is none."""
    shape = entry.get("shape") if isinstance(entry, dict) else None
    if not isinstance(shape, list) or len(shape) != 1 or type(shape[0]) is not int:
        return 0
    return max(shape[0], 0)


def _usable(scales_and_zeros: NDArray[np.float32]) -> bool:
    return bool(np.isfinite(scales_and_zeros).all() and (scales_and_zeros[0] >= 0).all())


def _number(metadata: Mapping[str, str], key: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", metadata[key]):
        raise InputError(f"features have a {key} of {_shown(metadata[key])}, which is no number")
    return int(metadata[key])


def _size(metadata: Mapping[str, str], key: str) -> tuple[int, int]:
    match = re.fullmatch("([0-9]{1,5})x([0-9]{1,5})", metadata[key])
    width, height = (int(match[1]), int(match[2])) if match else (0, 0)
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise InputError(f"features have a {key} of {_shown(metadata[key])}, which is no size")
    return width, height


def _by(sides: tuple[int, ...]) -> str:
    return "x".join(map(str, sides))


def _shapes_text(shapes: Mapping[int, tuple[int, ...]]) -> str:
    return " ".join(f"{stage}:{_by(shape)}" for stage, shape in shapes.items())


def _shown(value: object) -> str:
    """What a blob says, short enough for a log."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
