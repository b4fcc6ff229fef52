"""At most so many records of each value."""

import numpy as np
import pyarrow as pa
from tuneforge_specs.selection import CapSelection

from tuneforge_datastore.ledger import drops
from tuneforge_datastore.selection import Desk
from tuneforge_datastore.selection.sample import drawn
from tuneforge_datastore.selection.values import groups, ranks, values_of


def run(spec: CapSelection, desk: Desk) -> None:
    """Drop what is beyond ``max`` of its value; the score is how many there were of it."""
    numbers = desk.ledger.rows.numbers()
    column = values_of(desk.connection, desk.ledger, spec.by, f"{desk.place}.by")
    group, shown = groups(column)
    order = np.arange(len(group)) if spec.keep == "first" else drawn(desk, numbers)
    lost = np.flatnonzero(ranks(group, order) >= spec.max)
    sizes = np.bincount(group, minlength=len(shown))
    reasons = [
        f"{sizes[number]:,} records have {spec.by} = {shown[number]}; {spec.max:,} are kept"
        for number in group[lost].tolist()
    ]
    desk.ledger.record(
        desk.stage,
        "capped",
        drops(numbers[lost], pa.array(reasons, pa.string()), sizes[group[lost]].astype(float)),
    )
