"""The steps of the build, grouped by kind, each with its state."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from rich.text import Text
from textual.widgets import Tree

from tuneforge_tui.state import StepView, human_seconds

if TYPE_CHECKING:
    from textual.widgets.tree import TreeNode

GLYPHS: Final = {
    "planned": ("○", "dim"),
    "cached": ("✓", "green dim"),
    "running": ("▶", "bold cyan"),
    "done": ("✓", "bold green"),
    "failed": ("✗", "bold red"),
}


def step_label(step: StepView) -> Text:
    """Write one line of the tree."""
    glyph, style = GLYPHS[step.state]
    text = Text.assemble((f"{glyph} ", style), step.id.partition(".")[2] or step.id)
    if step.state == "running" and step.fraction is not None:
        text.append(f" {step.fraction:.0%}", style="cyan")
    elif step.state == "done" and step.seconds:
        text.append(f" {human_seconds(step.seconds)}", style="dim")
    elif step.state == "cached":
        text.append(" cached", style="dim")
    return text


class StepTree(Tree[str]):
    """A node for each kind of step and a leaf, holding the step's id, for each step."""

    DEFAULT_CSS = """
    StepTree { width: 32; border-right: solid $surface-lighten-2; padding: 0 1 0 0; }
    """

    def __init__(self) -> None:
        super().__init__("build", id="steps")
        self.show_root = False
        self.guide_depth = 2
        self._leaves: dict[str, TreeNode[str]] = {}
        self._groups: dict[str, TreeNode[str]] = {}

    def show(self, steps: Iterable[StepView]) -> None:
        """Bring the tree up to date; nodes that exist are relabelled, so the cursor stays."""
        views = list(steps)
        if not self._leaves.keys() <= {step.id for step in views}:
            self.clear()
            self._leaves.clear()
            self._groups.clear()
        for step in views:
            leaf = self._leaves.get(step.id)
            if leaf is None:
                group = self._groups.get(step.kind)
                if group is None:
                    group = self.root.add(Text(step.kind, style="bold"), expand=True)
                    self._groups[step.kind] = group
                self._leaves[step.id] = group.add_leaf(step_label(step), data=step.id)
            else:
                leaf.set_label(step_label(step))
