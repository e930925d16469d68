"""Channels and loads: their statistics, their seeds, and recorded traces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expi, j0

from re_pose_ros.errors import InputError
from re_pose_ros.tuning import channels, loads
from re_pose_ros.tuning.processes import chance, correlated, held, log_uniform, switched
from re_pose_ros.tuning.recorded import Recorded, read_link, read_load

Draw = Callable[[np.random.Generator], np.ndarray]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def lagged(values: np.ndarray) -> np.ndarray:
    """Correlation of neighbouring steps, per process."""
    centred = values - values.mean(axis=0)
    return (centred[1:] * centred[:-1]).mean(axis=0) / (centred**2).mean(axis=0)


DRAWS: dict[str, Draw] = {
    "correlated": lambda r: correlated(r, 50, 0.9, 3),
    "switched": lambda r: switched(r, 50, 0.2, 0.3, 3),
    "held": lambda r: held(r, 50, 0.2, 3),
    "rayleigh": lambda r: channels.rayleigh(
        r, 50, 3, period_s=0.1, doppler_hz=0.5, mean_snr_db=15, bandwidth_mhz=4
    ),
    "steps": lambda r: channels.steps_of(r, 50, 3, period_s=0.1, hold_s=1, low=1, high=9),
    "round trips": lambda r: channels.round_trips(r, 50, 3, period_s=0.1, median_ms=5),
    "outages": lambda r: channels.outages(r, 50, 3, period_s=0.1, every_s=1, length_s=1),
    "wandering": lambda r: loads.wandering(
        r, 50, 3, period_s=0.1, mean=0.3, spread=0.1, relax_s=1, burst=0.2, burst_every_s=2
    ),
    "stepped": lambda r: loads.stepped(r, 50, 3, period_s=0.1, hold_s=1, high=0.8),
}


@pytest.mark.parametrize("name", DRAWS)
def test_the_same_seed_gives_the_same_process(name: str) -> None:
    draw = DRAWS[name]
    first = draw(rng(1))
    assert first.shape == (50, 3)
    assert (first == draw(rng(1))).all()
    assert (first != draw(rng(2))).any()


# Processes.


def test_correlated_values_have_the_moments_that_they_should() -> None:
    wanted = np.array([0.0, 0.5, 0.9, 0.99])
    values = correlated(rng(), 4000, np.repeat(wanted, 50), 200)
    assert values.mean() == pytest.approx(0, abs=0.05)
    assert values.reshape(4000, 4, 50).var(axis=(0, 2)) == pytest.approx(1, abs=0.1)
    assert lagged(values).reshape(4, 50).mean(axis=1) == pytest.approx(wanted, abs=0.02)
    assert np.corrcoef(values[:, :50].T)[0, 1:] == pytest.approx(0, abs=0.1)


def test_processes_begin_where_they_settle() -> None:
    count = 20_000
    assert correlated(rng(), 2, 0.999, count)[0].var() == pytest.approx(1, abs=0.05)
    assert switched(rng(), 2, 0.01, 0.03, count)[0].mean() == pytest.approx(0.25, abs=0.02)


def test_a_switch_is_on_and_off_for_as_long_as_it_should() -> None:
    on = switched(rng(), 2000, 0.02, 0.1, 200)
    assert on.mean() == pytest.approx(0.02 / 0.12, abs=0.01)
    assert (on[1:] & ~on[:-1]).sum() / (~on[:-1]).sum() == pytest.approx(0.02, rel=0.05)
    assert (~on[1:] & on[:-1]).sum() / on[:-1].sum() == pytest.approx(0.1, rel=0.05)
    assert not switched(rng(), 1000, 0.0, 0.0, 5).any()
    assert not switched(rng(), 1000, 0.0, 0.3, 5).any()


def test_what_is_held_changes_as_often_as_it_should() -> None:
    rows = held(rng(), 200_000, np.array([0.0, 0.1, 1.0]), 3)
    assert (rows[:, 0] == 0).all()
    assert (np.diff(rows[:, 1]) > 0).mean() == pytest.approx(0.1, abs=0.005)
    assert (rows[:, 2] == np.arange(200_000)).all()
    assert (rows <= np.arange(200_000)[:, None]).all()
    kept = np.diff(rows[:, 1])
    assert (rows[1:, 1][kept > 0] == np.flatnonzero(kept) + 1).all()


def test_chances_are_those_of_a_memoryless_process() -> None:
    assert chance(0.1, np.array([0.1, 1.0, np.inf])) == pytest.approx(
        [1 - np.exp(-1), 1 - np.exp(-0.1), 0]
    )
    values = np.log2(log_uniform(rng(), 1.0, 16.0, 20_000))
    assert np.histogram(values, 4, (0, 4))[0] == pytest.approx(5000, rel=0.06)


# Channels.


def test_coherence_is_that_of_clarke_and_never_negative() -> None:
    assert channels.coherence(0.0, 0.1) == 1
    assert channels.coherence(0.5, 0.1) == pytest.approx(j0(0.1 * np.pi))
    assert channels.coherence(5.0, 0.1) == 0  # J0(pi) is below 0


def test_a_fading_channel_has_the_mean_rate_of_rayleigh_fading() -> None:
    """E log2(1 + s x) for exponential x is e^(1/s) E1(1/s) / ln 2 (Alouini and Goldsmith 1999)."""
    snr_db, width = np.array([0.0, 10.0, 25.0]), np.array([1.0, 5.0, 2.0])
    rate = channels.rayleigh(
        rng(), 1000, 300, period_s=0.1, doppler_hz=3.0, mean_snr_db=np.repeat(snr_db, 100),
        bandwidth_mhz=np.repeat(width, 100),
    )  # fmt: skip
    inverse = 10 ** (-snr_db / 10)
    expected = width * np.exp(inverse) * -expi(-inverse) / np.log(2)
    assert rate.reshape(1000, 3, 100).mean(axis=(0, 2)) == pytest.approx(expected, rel=0.02)
    assert (rate >= 0).all()


def test_the_power_of_a_fading_gain_is_exponential_and_coherent() -> None:
    doppler = np.array([0.6, 1.0])
    rate = channels.rayleigh(
        rng(), 4000, 100, period_s=0.1, doppler_hz=np.repeat(doppler, 50), mean_snr_db=0.0,
        bandwidth_mhz=1.0,
    )  # fmt: skip
    power = np.exp2(rate) - 1
    for level in (0.1, 1.0, 2.0):
        assert (power > level).mean() == pytest.approx(np.exp(-level), abs=0.03)
    # The correlation of powers is the square of that of the gain's parts.
    found = lagged(power).reshape(2, 50).mean(axis=1)
    assert found == pytest.approx(channels.coherence(doppler, 0.1) ** 2, abs=0.02)


def test_a_channel_without_doppler_stays_as_it_is() -> None:
    rate = channels.rayleigh(
        rng(), 10, 50, period_s=0.1, doppler_hz=0.0, mean_snr_db=10, bandwidth_mhz=1
    )
    assert (rate == rate[0]).all() and np.unique(rate[0]).size == 50


def test_bandwidth_jumps_as_far_and_as_often_as_it_should() -> None:
    values = channels.steps_of(rng(), 50_000, 1, period_s=0.1, hold_s=2.0, low=2.0, high=32.0)
    assert 2 <= values.min() < 2.1 and 31 < values.max() <= 32
    changes = (np.diff(values[:, 0]) != 0).mean()
    assert changes == pytest.approx(chance(0.1, 2.0), rel=0.05)
    assert np.log2(values).mean() == pytest.approx(3, abs=0.15)


def test_round_trips_scatter_around_their_median() -> None:
    values = channels.round_trips(
        rng(), 1000, 100, period_s=0.1, median_ms=np.repeat([2.0, 50.0], 50), spread=0.3
    ).reshape(1000, 2, 50)
    assert np.median(values, axis=(0, 2)) == pytest.approx([2, 50], rel=0.05)
    assert np.log(values).std(axis=(0, 2)) == pytest.approx(0.3, rel=0.1)


def test_outages_are_as_frequent_and_long_as_they_should() -> None:
    cut = channels.outages(
        rng(), 4000, 200, period_s=0.1, every_s=np.repeat([30.0, np.inf], 100), length_s=3.0
    )
    assert cut[:, :100].mean() == pytest.approx(1 / 11, abs=0.01)
    assert not cut[:, 100:].any()


# Loads.


def test_slowness_is_that_of_a_shared_processor() -> None:
    found = loads.slowness(np.array([-0.5, 0.0, 0.5, 0.75, 2.0]))
    assert found == pytest.approx([1, 1, 2, 4, 10])


def test_a_wandering_load_has_mean_spread_and_bursts() -> None:
    calm = loads.wandering(rng(), 2000, 100, period_s=0.1, mean=0.4, spread=0.05, relax_s=1.0)
    assert calm.mean() == pytest.approx(0.4, abs=0.01)
    assert calm.std() == pytest.approx(0.05, rel=0.05)
    assert lagged(calm).mean() == pytest.approx(np.exp(-0.1), abs=0.02)
    bursts = loads.wandering(
        rng(), 2000, 100, period_s=0.1, mean=0.2, spread=0.0, relax_s=1.0,
        burst=0.3, burst_every_s=9.0, burst_length_s=1.0,
    )  # fmt: skip
    assert np.unique(bursts) == pytest.approx([0.2, 0.5])
    assert (bursts > 0.4).mean() == pytest.approx(0.1, abs=0.02)
    high = loads.wandering(rng(), 1000, 1, period_s=0.1, mean=0.8, spread=0.4, relax_s=1.0)
    assert high.min() >= 0 and high.max() == loads.MOST


def test_a_stepped_load_stays_in_its_range() -> None:
    used = loads.stepped(rng(), 20_000, 1, period_s=0.1, hold_s=1.0, high=0.6)
    assert 0 <= used.min() < 0.02 and 0.58 < used.max() <= 0.6
    assert used.mean() == pytest.approx(0.3, abs=0.03)


# Recorded traces.


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_recorded_link_is_replayed_and_begins_anew(tmp_path: Path) -> None:
    text = "time_s,mbit_s,rtt_ms\n10,100,2\n11,5,4\n\n12.5,0,4\n13,20,3\n"
    trace = read_link(write(tmp_path / "link.csv", text))
    rate, rtt, up = channels.replayed(trace, 10, period_s=0.5)
    # Four rows in 3 s, so that the last one holds for 1 s.
    assert rate.tolist() == [100, 100, 5, 5, 5, 0, 20, 20, 100, 100]
    assert rtt.tolist() == [2, 2, 4, 4, 4, 4, 3, 3, 2, 2]
    assert up.tolist() == [value > 0 for value in rate]
    later, _, _ = channels.replayed(trace, 4, period_s=0.5, start_s=1.0)
    assert later.tolist() == rate[2:6].tolist()


def test_a_recorded_load_is_replayed(tmp_path: Path) -> None:
    trace = read_load(write(tmp_path / "load.csv", "time_s, utilisation\n0,0.25\n1,0.5\n"))
    assert loads.replayed(trace, 5, period_s=0.5).tolist() == [0.25, 0.25, 0.5, 0.5, 0.25]


def test_times_of_a_trace_are_found_one_by_one() -> None:
    trace = Recorded(np.array([0.0, 2.0, 3.0]), np.array([[1.0], [2.0], [3.0]]))
    times = rng().uniform(0, 20, 200)
    for time, value in zip(times, trace.at(times)[:, 0], strict=True):
        within = time % 4.5
        assert value == 1 + (within >= 2) + (within >= 3)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "begin with the line time_s,mbit_s,rtt_ms"),
        ("time,mbit_s,rtt_ms\n0,1,1\n1,1,1\n", "begin with the line"),
        ("mbit_s,time_s,rtt_ms\n0,1,1\n1,1,1\n", "begin with the line"),
        ("time_s,mbit_s,rtt_ms\n", "0 rows; at least 2"),
        ("time_s,mbit_s,rtt_ms\n0,1,1\n", "1 rows; at least 2"),
        ("time_s,mbit_s,rtt_ms\n0,1,1\n1,1\n", "line 3: 2 values instead of 3"),
        ("time_s,mbit_s,rtt_ms\n0,1,1\n1,fast,1\n", "line 3: mbit_s is 'fast', expected a number"),
        ("time_s,mbit_s,rtt_ms\n0,1,1\n\n1,1,-2\n", "line 4: rtt_ms is '-2', .* from 0 on"),
        ("time_s,mbit_s,rtt_ms\n0,1,1\n1,nan,2\n", "line 3: mbit_s is 'nan'"),
        ("time_s,mbit_s,rtt_ms\n0,1,1\ninf,1,2\n", "line 3: time_s is 'inf'"),
        ("time_s,mbit_s,rtt_ms\n0,1,1\n1,1,1\n1,1,1\n", "line 4: time_s does not rise"),
    ],
)
def test_what_is_wrong_in_a_trace_is_named(tmp_path: Path, text: str, part: str) -> None:
    path = write(tmp_path / "link.csv", text)
    with pytest.raises(InputError, match=part) as caught:
        read_link(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_traces_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_link(tmp_path / "none.csv")
    with pytest.raises(InputError, match="cannot be read"):
        read_link(tmp_path)
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)))
    with pytest.raises(InputError, match=r"binary\.csv cannot be read"):
        read_link(tmp_path / "binary.csv")
    path = write(tmp_path / "load.csv", "time_s,utilisation\n0,0.5\n1,1.0\n")
    with pytest.raises(InputError, match="row 2: utilisation is not below 1"):
        read_load(path)
