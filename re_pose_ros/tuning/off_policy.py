"""What records of one policy tell of another one.

The policy that was recorded does not draw lots: in a state it takes one setting, and what any other
would have brought is not known. So there is nothing to weigh by propensities (Li et al., WSDM 2011,
need actions by chance). What is known of another policy is what was measured where both choose
alike; elsewhere a model has to answer, here the table with the latencies' measured factors, less
what it is off by on the average (the direct method; Dudik, Langford and Li, ICML 2011). An estimate
is as good as this model where policies differ, which no bound on chance has in it: settings of a
kind that was hardly ever tried count a little less, and a candidate is watched when it is in use
(``guard``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.tuning.calibration import Calibration
from re_pose_ros.tuning.records import Records
from re_pose_ros.tuning.reward import RewardTerms
from re_pose_ros.tuning.rules import Chooser

Floats = NDArray[np.float64]

Z = 1.64
"""Standard errors to the bound: 95 % on one side, were runs independent and many."""

FEW, DOUBT = 20, 0.02
"""Settings whose kind was tried less often than this in the records count so much less."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """How much better one policy is than another, per decision.

    Attributes:
        gain: in reward.
        standard_error: over runs of neighbouring records.
        lower: bound of the gain.
        as_recorded: share of the records where the first policy does what was done, so that what
            it brings was measured.
        alike: share where both choose alike.
        records: how many.
    """

    gain: float
    standard_error: float
    lower: float
    as_recorded: float
    alike: float
    records: int


def compare(
    new: Chooser, old: Chooser, records: Records, known: Calibration, terms: RewardTerms
) -> Estimate:
    """``new`` against ``old`` on records that neither ``new`` nor ``known`` was made from.

    Args:
        new: the candidate; both choose from the records' settings.
        old: what it would replace.
        records: held out; at least one.
        known: of other records.
        terms: of the reward.
    """
    each = np.arange(len(records))
    got, expected = records.rewards(terms), known.rewards(records, terms)
    off = float((got - expected[each, records.actions]).mean())
    expected = expected + off - DOUBT * (known.tried_alike(records.table) < FEW)

    def value(chooser: Chooser) -> tuple[NDArray[np.intp], Floats]:
        chosen = chooser.choose(records.rows, records.last, records.allowed)
        return chosen, np.where(chosen == records.actions, got, expected[each, chosen])

    (chosen, gained), (before, was) = value(new), value(old)
    gains = gained - was
    _, places = np.unique(records.run, return_inverse=True)
    counts = np.bincount(places)
    sums = np.bincount(places, gains)
    mean = float(gains.mean())
    error = np.sqrt(np.square(sums - mean * counts).sum()) / len(gains)
    if len(counts) > 1:
        error *= np.sqrt(len(counts) / (len(counts) - 1))
    else:
        error = np.inf
    return Estimate(
        mean,
        float(error),
        float(mean - Z * error),
        float((chosen == records.actions).mean()),
        float((chosen == before).mean()),
        len(records),
    )
