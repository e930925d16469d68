"""The computed makespan, against cases worked out by hand and bounds that always hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from re_pose_ros.errors import InputError
from re_pose_ros.planning.makespan import BlockCost, Network, makespan_ms

SLOW = Network(8.0)  # a byte per microsecond
FAST = Network(8.0, "own")

blocks_of = st.lists(
    st.builds(
        BlockCost,
        st.sampled_from(["a", "b", "c"]),
        st.floats(0, 10),
        st.integers(0, 100_000),
        st.floats(0, 200),
    ),
    max_size=12,
)


def test_transfer_takes_its_bits_over_the_bandwidth() -> None:
    assert Network(100.0).transfer_ms(125_000) == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        # Encoded at 12 and 14; on the shared link until 22 and 42; a works to 122, b to 92.
        (SLOW, 122.0 + 3.0),
        # On links of their own until 22 and 34; b works to 84.
        (FAST, 122.0 + 3.0),
    ],
)
def test_two_workers(network: Network, expected: float) -> None:
    blocks = [BlockCost("a", 2, 10_000, 100), BlockCost("b", 2, 20_000, 50)]
    assert makespan_ms(blocks, 10, 3, network, {}) == pytest.approx(expected)
    slower = makespan_ms(blocks, 10, 3, network, {"b": 0.25})
    assert slower == pytest.approx((42 if network is SLOW else 34) + 200 + 3)


def test_a_worker_takes_its_blocks_one_after_the_other() -> None:
    # Sent by 11 and 21; the second waits for the first, which is done at 61.
    blocks = [BlockCost("a", 1, 10_000, 50), BlockCost("a", 0, 10_000, 50)]
    assert makespan_ms(blocks, 0, 0, SLOW, {}) == pytest.approx(111.0)
    assert makespan_ms(blocks, 0, 0, SLOW, {"a": 10.0}) == pytest.approx(21.0 + 5.0)


def test_no_block_is_planning_and_fusion() -> None:
    assert makespan_ms([], 4, 2, SLOW, {}) == pytest.approx(6.0)


@given(blocks_of, st.floats(1, 1000), st.sampled_from(["shared", "own"]))
def test_bounds(blocks: list[BlockCost], bandwidth: float, links: str) -> None:
    network = Network(bandwidth, links)  # type: ignore[arg-type]
    speeds = {"b": 0.5, "c": 2.0}
    span = makespan_ms(blocks, 1, 1, network, speeds)
    work = {w: sum(b.work_ms / speeds.get(w, 1) for b in blocks if b.worker == w) for w in "abc"}
    encode = sum(b.encode_ms for b in blocks)
    sent = network.transfer_ms(sum(b.size for b in blocks))
    assert span >= 2 + max(max(work.values()), encode) - 1e-6
    assert span <= 2 + sum(work.values()) + encode + sent + 1e-6
    if links == "shared":
        assert span >= 2 + sent - 1e-6
    quicker = makespan_ms(blocks, 1, 1, Network(2 * bandwidth, links), speeds)  # type: ignore[arg-type]
    assert quicker <= span + 1e-6


@pytest.mark.parametrize("bandwidth", [0.0, -1.0, float("nan"), float("inf")])
def test_a_bandwidth_has_to_carry_something(bandwidth: float) -> None:
    with pytest.raises(InputError, match="carries nothing"):
        Network(bandwidth)


def test_links_are_shared_or_own() -> None:
    with pytest.raises(InputError, match="links 'some' are none of shared, own"):
        Network(1.0, "some")  # type: ignore[arg-type]
