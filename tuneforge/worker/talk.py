"""A model held in memory that answers a conversation, its text streamed. Loads torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from tuneforge_specs.errors import UsageError

from tuneforge.chat.speaker import Speaker
from tuneforge.worker.model import load_base

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True)
class Said:
    """An answer, how many tokens it has, and whether the model ended it itself."""

    text: str
    tokens: int
    ended: bool


class Talker:
    """Loads a speaker once and continues conversations; raises UsageError without a template."""

    def __init__(self, speaker: Speaker, *, device: str, dtype: str) -> None:
        from transformers import AutoTokenizer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # the screen belongs to the conversation
        self._tokenizer = AutoTokenizer.from_pretrained(speaker.tokenizer)
        if not self._tokenizer.chat_template:
            raise UsageError(
                f"{speaker.name} has no chat template", "talk to a model that was fine-tuned"
            )
        model = load_base(speaker.model, dtype=dtype, quantize=speaker.quantize, device=device)
        if speaker.adapter:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, speaker.adapter)
        self._model = model.eval()
        self._ends = list(speaker.terminators) or [self._tokenizer.eos_token_id]

    def say(
        self,
        turns: Sequence[dict[str, str]],
        write: Callable[[str], None],
        *,
        max_new_tokens: int,
        temperature: float,
    ) -> Said:
        """Answer the last turn; ``write`` gets the text piece by piece. Return all of it."""
        prompt = self._tokenizer.apply_chat_template(
            list(turns), add_generation_prompt=True, return_tensors="pt", return_dict=True
        ).to(self._model.device)
        stream = _Stream(self._tokenizer, set(self._ends), write)
        sampling: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None}
        if temperature:
            sampling = {"do_sample": True, "temperature": temperature}
        with torch.inference_mode():
            self._model.generate(
                input_ids=prompt["input_ids"],
                attention_mask=prompt["attention_mask"],
                max_new_tokens=max_new_tokens,
                eos_token_id=self._ends,
                pad_token_id=self._ends[0],
                streamer=stream,
                **sampling,
            )
        return Said(stream.text, stream.tokens, stream.ended)


class _Stream:
    """Turns token ids into text as they come; transformers calls ``put`` and ``end``."""

    def __init__(self, tokenizer: Any, ends: set[int], write: Callable[[str], None]) -> None:
        self._tokenizer, self._ends, self._write = tokenizer, ends, write
        self._ids: list[int] = []
        self._prompt_seen = False
        self.text = ""
        self.tokens = 0
        self.ended = False

    def put(self, ids: torch.Tensor) -> None:
        """Take new ids; the first call brings the prompt."""
        if not self._prompt_seen:
            self._prompt_seen = True
            return
        new = ids.flatten().tolist()
        self.tokens += len(new)
        self.ended = self.ended or any(token in self._ends for token in new)
        self._ids += [token for token in new if token not in self._ends]
        text = self._tokenizer.decode(self._ids, skip_special_tokens=True)
        # a character may be spread over several tokens: wait for the rest of it
        if not text.endswith(REPLACEMENT):
            self._extend(text)

    def end(self) -> None:
        """Write what was held back."""
        self._extend(self._tokenizer.decode(self._ids, skip_special_tokens=True))

    def _extend(self, text: str) -> None:
        if piece := text[len(self.text) :]:
            self._write(piece)
        self.text = text
