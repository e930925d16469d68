"""Pictures of blocks and boxes: drawn where they are, and never outside of the image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from re_pose_ros.detections import Detections
from re_pose_ros.draw import draw_frame
from re_pose_ros.geometry import Block
from re_pose_ros.plan import BlockRequest, PlannedBlock, Slot, Variant
from re_pose_ros.plan_outcome import PlanOutcome

GREY = 90


def grey(height: int = 200, width: int = 300) -> NDArray[np.uint8]:
    return np.full((height, width, 3), GREY, np.uint8)


def planned(block: Block, worker: str = "edge_0", index: int = 0) -> PlannedBlock:
    return PlannedBlock(Slot(worker, index), BlockRequest(block, Variant("net", 320)))


def changed(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return (image != GREY).any(axis=2)


def colour_at(image: NDArray[np.uint8], x: int, y: int) -> tuple[int, ...]:
    return tuple(image[y, x].tolist())


def test_nothing_to_draw_is_a_copy() -> None:
    image = grey()
    drawn = draw_frame(image, [], Detections.empty())
    assert np.array_equal(drawn, image) and drawn is not image


def test_the_image_given_stays_as_it_is() -> None:
    image = grey()
    image.setflags(write=False)
    found = Detections.of([(10, 100, 50, 150)], [0.5], [0])
    drawn = draw_frame(image, [planned(Block(0, 0, 100, 100))], found, ["person"], "caption")
    assert (image == GREY).all() and changed(drawn).any()


def test_a_box_is_outlined_where_it_is() -> None:
    found = Detections.of([(150, 100, 250, 180)], [0.5], [0])
    # The count of each class stands in the top-left corner.
    mask = changed(draw_frame(grey(), [], found))[80:, 120:]
    ys, xs = np.nonzero(mask)
    assert abs(xs.min() + 120 - 150) <= 1 and abs(xs.max() + 120 - 250) <= 1
    assert abs(ys.min() + 80 - 100) <= 1 and abs(ys.max() + 80 - 180) <= 1
    assert not mask[30:90, 40:120].any(), "the object itself stays visible"


def test_a_block_is_outlined_inside_of_its_border() -> None:
    drawn = draw_frame(grey(), [planned(Block(100, 50, 150, 120))], Detections.empty())
    mask = changed(drawn)
    assert mask[110, 100] and mask[110, 249] and mask[169, 180]
    assert not mask[110, 130:220].any() and not mask[190:].any() and not mask[:, 260:].any()


def test_workers_have_colours_of_their_own_and_so_have_classes() -> None:
    blocks = [
        planned(Block(0, 0, 100, 200), "b"),
        planned(Block(100, 0, 100, 200), "a"),
        planned(Block(200, 0, 100, 200), "b", 1),
    ]
    drawn = draw_frame(grey(), blocks, Detections.empty())
    first, second, third = (colour_at(drawn, x, 150) for x in (1, 101, 201))
    assert first == third != second
    found = Detections.of(
        [(20, 100, 60, 180), (80, 100, 120, 180), (140, 100, 180, 180)], [0.5] * 3, [0, 1, 0]
    )
    drawn = draw_frame(grey(), [], found)
    first, second, third = (colour_at(drawn, x, 140) for x in (20, 80, 140))
    assert first == third != second


def test_names_and_numbers_of_classes_are_drawn() -> None:
    found = Detections.of([(200, 150, 220, 170)], [0.5], [3])
    named = draw_frame(grey(), [], found, ["a", "b", "c", "lorry"])
    numbered = draw_frame(grey(), [], found, ["a"])
    assert not np.array_equal(named, numbered), "a class without a name shows its number"
    captioned = draw_frame(grey(), [], found, ["a"], "12 ms")
    assert not np.array_equal(captioned, numbered)


def test_clusters_are_dashed_inside_of_their_border() -> None:
    cluster = Block(60, 50, 180, 120)
    drawn = draw_frame(grey(), [], Detections.empty(), clusters=[cluster])
    mask = changed(drawn)
    assert not changed(cluster.crop(drawn))[2:-2, 2:-2].any()
    outside = mask.copy()
    cluster.crop(outside)[:] = False
    assert not outside.any()
    for line in (mask[50, 60:240], mask[169, 60:240], mask[50:170, 60], mask[50:170, 239]):
        assert 0.3 < line.mean() < 0.7
    half = changed(draw_frame(grey(), [], Detections.empty(), clusters=[cluster], scale=0.5))
    assert half[25, 30:120].any() and half[84, 30:120].any() and not half[87:].any()


def outcome(happened_ms: float, predicted_ms: float = 60.0) -> PlanOutcome:
    return PlanOutcome(predicted_ms, happened_ms, 5.0, 4, 80.0, "accuracy")


def bars(used: PlanOutcome) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """Length and colour of what happened and of what was predicted."""
    drawn = draw_frame(grey(200, 600), [], Detections.empty(), outcome=used)
    found = []
    for y in (13, 24):
        colour = colour_at(drawn, 351, y)
        found.append((int((drawn[y] == colour).all(axis=1).sum()), colour))
    return tuple(found)


def test_the_use_of_the_budget_is_a_bar() -> None:
    (happened, good), (predicted, _) = bars(outcome(40.0))
    assert predicted == pytest.approx(1.5 * happened, rel=0.05)
    (longer, bad), (same, _) = bars(outcome(100.0))
    assert longer == pytest.approx(2.5 * happened, rel=0.05) and same == predicted
    assert bad != good, "over the budget is of another colour"
    (longest, _), _ = bars(outcome(1e6))
    assert longest <= 241


@pytest.mark.parametrize("size", [(1, 1), (8, 3), (40, 4000), (30, 100)])
def test_a_bar_fits_any_image(size: tuple[int, int]) -> None:
    drawn = draw_frame(grey(*size), [], Detections.empty(), outcome=outcome(40.0))
    assert drawn.shape == (*size, 3) and changed(drawn).any()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (8, 3), (40, 4000), (2160, 3840)])
def test_any_size_of_image(height: int, width: int) -> None:
    found = Detections.of([(0, 0, width, height)], [0.5], [0])
    blocks = [planned(Block(0, 0, width, height))]
    drawn = draw_frame(grey(height, width), blocks, found, ["person"], "a caption")
    assert drawn.shape == (height, width, 3) and changed(drawn).any()


coordinate = st.floats(-2000, 2000, width=32)


@given(
    boxes=st.lists(st.tuples(*[coordinate] * 4), max_size=6),
    class_id=st.integers(0, 2**16),
    corner=st.tuples(st.integers(0, 400), st.integers(0, 400)),
    size=st.tuples(st.integers(1, 500), st.integers(1, 500)),
)
def test_whatever_is_asked_for_does_not_fail(
    boxes: list[tuple[float, ...]],
    class_id: int,
    corner: tuple[int, int],
    size: tuple[int, int],
) -> None:
    found = Detections.of(boxes, [0.5] * len(boxes), [class_id] * len(boxes))
    block = Block(*corner, *size)
    drawn = draw_frame(
        grey(), [planned(block)], found, ["person"], "caption", clusters=[block], scale=0.7
    )
    assert drawn.shape == (140, 210, 3)
