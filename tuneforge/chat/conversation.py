"""The turns so far, and asking for the next one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuneforge_specs.base import ModelBase
from tuneforge_specs.errors import EnvironmentMissing

from tuneforge.chat.speaker import Speaker
from tuneforge.device import detect

if TYPE_CHECKING:
    from tuneforge.worker.talk import Said, Talker


@dataclass(frozen=True)
class Manner:
    """How the model is asked to speak."""

    system: str
    max_new_tokens: int
    temperature: float


class Conversation:
    """Keeps the turns; the model is loaded at the first question, in this process.

    ``write`` gets the answers piece by piece, as they come.
    """

    def __init__(self, speaker: Speaker, manner: Manner, write: Callable[[str], None]) -> None:
        self._speaker, self._manner, self._write = speaker, manner, write
        self._talker: Talker | None = None
        self._turns: list[dict[str, str]] = []
        self.reset()

    def reset(self) -> None:
        """Forget what was said."""
        system = self._manner.system
        self._turns = [{"role": "system", "content": system}] if system else []

    def load(self) -> "Talker":
        """Load the model, if it is not yet; raise EnvironmentMissing where nothing can run it."""
        self._talker = self._talker or load(self._speaker)
        return self._talker

    def ask(self, text: str) -> "Said":
        """Ask, and write the answer as it comes."""
        talker = self.load()
        self._turns.append({"role": "user", "content": text})
        said = talker.say(
            self._turns,
            self._write,
            max_new_tokens=self._manner.max_new_tokens,
            temperature=self._manner.temperature,
        )
        self._turns.append({"role": "assistant", "content": said.text})
        return said


def load(speaker: Speaker) -> "Talker":
    """Load the model; raise EnvironmentMissing without the packages that run it."""
    from tuneforge.steps.train import compute_dtype

    try:
        from tuneforge.worker.talk import Talker
    except ModuleNotFoundError as error:
        raise EnvironmentMissing(
            f"the package {error.name!r} is not installed", "pip install 'tuneforge[train]'"
        ) from error
    device = detect()
    dtype = compute_dtype(ModelBase(model="."), device)
    return Talker(speaker, device=device.kind, dtype=dtype)
