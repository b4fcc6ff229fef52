"""A small Llama and its byte-level BPE tokenizer, pretrained on the corpus. Loads torch.

One plain loop, top to bottom: text -> tokenizer -> one long row of tokens -> random windows of it.
The windows of step n depend on the seed and n alone, so a run that goes on from a checkpoint sees
what an uninterrupted one would have seen.
"""

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
import pyarrow.parquet as pq
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn import functional as F  # noqa: N812 - as everybody writes it
from tuneforge_specs.errors import DataError

from tuneforge.worker.run import WorkerRun

END, TURN, TURN_END, PAD = "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"
CHATML: Final = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content']"
    " + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
CHECKPOINT_SECONDS: Final = 15.0


def scratch(job: dict[str, Any], run: WorkerRun) -> None:
    """Make the model folder that ``job["scratch"]`` (a spec table) describes in ``run.output``.

    ``job["corpus"]`` lists records.parquet files.
    """
    table = job["scratch"]
    torch.set_num_threads(job["threads"])
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    torch.manual_seed(job["seed"])
    run.phase("training the tokenizer")
    texts = [text for path in job["corpus"] for text in documents(Path(path))]
    tokenizer = train_tokenizer(texts, table["vocab"])
    row = tokens_of(texts, tokenizer)
    if len(row) <= table["sequence"] + 1:
        raise DataError(
            f"base.scratch.corpus: {len(row)} tokens are fewer than one sequence "
            f"({table['sequence']})",
            "name sources with more text in base.scratch.corpus, or lower base.scratch.sequence",
        )
    model = new_model(table, tokenizer).to("cuda" if torch.cuda.is_available() else "cpu")
    size = sum(parameter.numel() for parameter in model.parameters())
    run.log(f"{len(texts)} documents, {len(row)} tokens, {size} parameters")
    run.phase("pretraining")
    loss = pretrain(model, torch.from_numpy(row), job, run)
    save(model, tokenizer, run.output, table["context"])
    run.summary.update(loss=loss, parameters=size, tokens=len(row), documents=len(texts))


def documents(path: Path) -> Iterator[str]:
    """Yield the text of each record; conversations get their chat markers.

    A frozen, tied output embedding can only emit tokens that the corpus taught it, so chat markers
    and the answers' format must be met here.
    """
    columns = ["kind", "text", "messages", "chosen"]
    for batch in pq.ParquetFile(path).iter_batches(columns=columns):
        for record in batch.to_pylist():
            if record["kind"] == "text":
                yield record["text"]
            else:
                turns = [*(record["messages"] or []), *(record["chosen"] or [])]
                yield "".join(
                    f"{TURN}{turn['role']}\n{turn['content']}{TURN_END}\n" for turn in turns
                )


def train_tokenizer(texts: list[str], vocab: int) -> Tokenizer:
    """Return a byte-level BPE tokenizer of at most ``vocab`` tokens, special ones first."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=[END, TURN, TURN_END, PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def tokens_of(texts: list[str], tokenizer: Tokenizer) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return all documents as one row of tokens, each ended by ``<|endoftext|>``."""
    (end,) = tokenizer.encode(END, add_special_tokens=False).ids
    row: list[int] = []
    for encoding in tokenizer.encode_batch_fast(texts):
        row.extend(encoding.ids)
        row.append(end)
    return np.array(row, dtype=np.int64)


def new_model(table: dict[str, Any], tokenizer: Tokenizer) -> Any:
    """Return a randomly initialised Llama with a tied output embedding."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=table["hidden"],
        intermediate_size=table["intermediate"],
        num_hidden_layers=table["layers"],
        num_attention_heads=table["heads"],
        num_key_value_heads=table["kv_heads"],
        max_position_embeddings=table["context"],
        tie_word_embeddings=True,
        # The customary 0.02 suits a width near 700; at 128 it delays by hundreds of steps the
        # moment when attention starts to look things up (measured: step 250 against beyond 400).
        initializer_range=round(0.5 * table["hidden"] ** -0.5, 4),
        bos_token_id=None,
        eos_token_id=tokenizer.token_to_id(END),
        pad_token_id=tokenizer.token_to_id(PAD),
        use_cache=True,
    )
    model = LlamaForCausalLM(config)
    # Words that occur in the same places start from a larger vector each. From small ones they
    # drift together until the tied output embedding can hardly tell them apart (measured: six
    # quoted words at a mean cosine of 0.82 after 700 steps, none of them learned; so, all were).
    torch.nn.init.normal_(
        model.get_input_embeddings().weight, std=round(1.25 * table["hidden"] ** -0.5, 4)
    )
    return model


def pretrain(model: Any, row: torch.Tensor, job: dict[str, Any], run: WorkerRun) -> float:
    """Train with AdamW, a short warm-up and a cosine to a tenth of the rate; return the loss."""
    table = job["scratch"]
    steps, batch, length = table["steps"], table["batch"], table["sequence"]
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.95), fused=True)
    done = resume(model, optimizer, run.checkpoints / "state.pt")
    model.train()
    loss, saved, begun = math.nan, time.monotonic(), time.monotonic()
    for step in range(done + 1, steps + 1):
        rate = table["learning_rate"] * schedule(step, steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        windows = window_starts(job["seed"], step, batch, len(row) - length)
        tokens = row[windows[:, None] + torch.arange(length + 1)]  # (batch, length + 1)
        tokens = tokens.to(model.device)
        logits = model(input_ids=tokens[:, :-1], use_cache=False).logits  # (batch, length, vocab)
        objective = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        objective.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        loss = objective.item()
        per_second = (step - done) / (time.monotonic() - begun)
        run.emit(
            "step",
            step=step,
            steps=steps,
            loss=loss,
            learning_rate=rate,
            grad_norm=norm.item(),
            tokens=step * batch * length,
            tokens_per_second=per_second * batch * length,
            memory_bytes=psutil.Process().memory_info().rss,
            eta_seconds=(steps - step) / per_second,
        )
        run.wait_while_paused()
        stop = run.stop_requested() and step < steps
        if stop or run.checkpoint_requested() or time.monotonic() - saved > CHECKPOINT_SECONDS:
            checkpoint(model, optimizer, step, run)
            saved = time.monotonic()
        if stop:
            run.stop(step, run.checkpoints / "state.pt")
    return loss


def schedule(step: int, steps: int) -> float:
    """Return the share of the learning rate at a step (1-based)."""
    warmup = max(1, steps // 20)
    if step <= warmup:
        return step / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * progress))


def window_starts(seed: int, step: int, batch: int, room: int) -> torch.Tensor:
    """Return where the windows of a step start, from the seed and the step alone."""
    generator = np.random.default_rng([seed, step])
    return torch.from_numpy(generator.integers(0, room, size=batch))


def checkpoint(model: Any, optimizer: torch.optim.Optimizer, step: int, run: WorkerRun) -> None:
    """Write the state beside, then move it into place: a kill leaves the old one whole."""
    path, beside = run.checkpoints / "state.pt", run.checkpoints / "state.tmp"
    states = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save({**states, "step": step}, beside)
    beside.replace(path)
    run.emit("checkpoint", step=step, path=str(path))


def resume(model: Any, optimizer: torch.optim.Optimizer, path: Path) -> int:
    """Load the newest state, if there is one, and return its step."""
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def save(model: Any, tokenizer: Tokenizer, folder: Path, context: int) -> None:
    """Write the model folder: weights, config, generation config, tokenizer, chat template."""
    from transformers import GenerationConfig, PreTrainedTokenizerFast

    model.generation_config = GenerationConfig(
        do_sample=False,
        eos_token_id=[tokenizer.token_to_id(TURN_END), tokenizer.token_to_id(END)],
        pad_token_id=tokenizer.token_to_id(PAD),
    )
    model.save_pretrained(folder)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[TURN, TURN_END],
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )
    wrapped.chat_template = CHATML
    wrapped.save_pretrained(folder)
