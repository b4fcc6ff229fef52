"""The turns so far, and asking for the next one."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from tuneforge_specs.base import ModelBase
from tuneforge_specs.errors import EnvironmentMissing

from tuneforge.chat.speaker import Speaker
from tuneforge.device import detect

if TYPE_CHECKING:
    from tuneforge.worker.talk import Talker


@dataclass(frozen=True)
class Manner:
    """How the model is asked to speak."""

    system: str
    max_new_tokens: int
    temperature: float


class Conversation:
    """Keeps the turns; the model is loaded at the first question, in this process."""

    def __init__(self, speaker: Speaker, manner: Manner, out: TextIO) -> None:
        self._speaker, self._manner, self._out = speaker, manner, out
        self._talker: Talker | None = None
        self._turns: list[dict[str, str]] = []
        self.reset()

    def reset(self) -> None:
        """Forget what was said."""
        system = self._manner.system
        self._turns = [{"role": "system", "content": system}] if system else []

    def ask(self, text: str) -> None:
        """Ask, and write the answer as it comes, ended by a line break."""
        self._talker = self._talker or load(self._speaker)
        self._turns.append({"role": "user", "content": text})
        answer = self._talker.say(
            self._turns,
            self._write,
            max_new_tokens=self._manner.max_new_tokens,
            temperature=self._manner.temperature,
        )
        self._turns.append({"role": "assistant", "content": answer})
        self._write("\n")

    def _write(self, piece: str) -> None:
        self._out.write(piece)
        self._out.flush()


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
