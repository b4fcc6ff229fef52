"""docs/cockpit.md names every key of every screen, and none that is not there."""

import re
from pathlib import Path

from textual.binding import Binding
from tuneforge_tui.app import Cockpit
from tuneforge_tui.screens.build import BuildScreen
from tuneforge_tui.screens.chat import ChatScreen
from tuneforge_tui.screens.data import DataScreen
from tuneforge_tui.screens.plan import PlanScreen
from tuneforge_tui.screens.runs import RunsScreen
from tuneforge_tui.widgets.sql_console import SqlConsole

PAGE = Path(__file__).parents[2] / "docs" / "cockpit.md"
PLACES = {
    "every screen": [Cockpit],
    "Build": [BuildScreen],
    "Plan": [PlanScreen],
    "Data": [DataScreen, SqlConsole],
    "Runs": [RunsScreen],
    "Chat": [ChatScreen],
}


def keys_of(kind: type) -> set[str]:
    """All keys, those included that the footer leaves out."""
    return {one.key for one in vars(kind)["BINDINGS"]}


def bound(kinds: list[type]) -> set[str]:
    """The keys that are shown in the footer."""
    found = [one for kind in kinds for one in vars(kind)["BINDINGS"] if isinstance(one, Binding)]
    return {one.key.split(",")[0] for one in found if one.show}


def test_the_page_and_the_footer_name_the_same_keys() -> None:
    rows = re.findall(
        r"^\| ([^|`]+) \| (`[^|]+`) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )
    told: dict[str, set[str]] = {}
    for place, keys in rows:
        told.setdefault(place, set()).update(re.findall(r"`([^`]+)`", keys))
    screens = {name: keys for name, keys in told.items() if name != "every screen"}
    reached = {key for keys in screens.values() for key in keys if re.fullmatch(r"f[1-4]", key)}
    title = {key.lower() for key in re.findall(r"F\d", Cockpit.TITLE)}
    assert reached == title == {key for key in keys_of(Cockpit) if key.startswith("f")}
    assert told["every screen"] == bound(PLACES["every screen"])
    for place, kinds in PLACES.items():
        if place != "every screen":
            # Enter belongs to the tree and to the line that questions are written on.
            assert told[place] - reached - {"enter"} == bound(kinds), place
