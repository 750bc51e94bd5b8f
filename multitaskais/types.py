"""Names of the structured arrays that pass between the steps; what each row holds is in ``records``.

NumPy's types do not tell the fields of a structured array: to the type checker each of these is ``NDArray[np.void]``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Reports = NDArray[np.void]  # (n,) position reports, ``records.REPORT_DTYPE``
Samples = NDArray[np.void]  # (m,) samples of tracks on the 10 min grid, ``records.SAMPLE_DTYPE``
Rows = NDArray[np.void]  # (n,) states, one a track: the ``state_dtype`` of a detector, the ``dtype`` of a panel
LabelRows = NDArray[np.void]  # (n,) in which track a report is, ``tracks.segmentation.LABEL_DTYPE``
ShipRows = NDArray[np.void]  # (s,) ships at one time, ``encounters.fleet.SLOT_DTYPE``
RuleEvents = NDArray[np.void]  # (k,) jumps and conflicts of identity, ``tracks.segmentation.RULE_EVENT_DTYPE``
Spans = NDArray[np.void]  # (s,) runs of reports between two long gaps, ``engine.line_arrays.SPAN_DTYPE``
StaticRows = NDArray[np.void]  # (s,) what simulated ships are, ``simulate.fleet.STATIC_DTYPE``
ExpectedRows = NDArray[np.void]  # (n,) where the next sample is expected, ``networks.motion.EXPECTED_DTYPE``
LabelledRows = NDArray[np.void]  # (n,) reports of labelled tracks, ``evaluation.altered.LABELLED_DTYPE``
LabelledTracks = NDArray[np.void]  # (m,) one a labelled track, ``evaluation.labelled.TRACK_DTYPE``
Trace = NDArray[np.void]  # (k,) what was said of each sample, ``engine.batch.trace_dtype``
