"""Values brought towards the frequency of the rarest, by leaving records out."""

import math

import numpy as np
import pyarrow as pa
from tuneforge_specs.selection import BalanceSelection

from tuneforge_datastore.ledger import drops
from tuneforge_datastore.selection import Desk
from tuneforge_datastore.selection.sample import drawn
from tuneforge_datastore.selection.values import groups, ranks, values_of


def run(spec: BalanceSelection, desk: Desk) -> None:
    """Keep a seeded sample of each value above the bound; the score is the share of it kept."""
    numbers = desk.ledger.rows.numbers()
    column = values_of(desk.connection, desk.ledger, spec.by, f"{desk.place}.by")
    group, shown = groups(column)
    sizes = np.bincount(group, minlength=len(shown))
    counted = sizes[sizes >= spec.least]
    # Where every value is rarer than `least` there is nothing to hold the others to.
    rarest = int(counted.min()) if len(counted) else int(sizes.max(initial=0))
    bound = math.floor(rarest * spec.ratio)
    lost = np.flatnonzero(ranks(group, drawn(desk, numbers)) >= bound)
    reasons = [
        f"{sizes[number]:,} records have {spec.by} = {shown[number]}; {bound:,} are kept, "
        f"as the rarest value has {rarest:,}"
        for number in group[lost].tolist()
    ]
    kept = bound / sizes[group[lost]]
    desk.ledger.record(
        desk.stage, "balanced", drops(numbers[lost], pa.array(reasons, pa.string()), kept)
    )
