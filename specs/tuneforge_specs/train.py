"""Train steps: method x adapter x dataset."""

from typing import Annotated, Literal

from pydantic import Field

from tuneforge_specs.model import Count, Fraction, Many, Model, Name, Positive, Rate


class LoraAdapter(Model):
    """Low-rank adaptation (Hu et al. 2021), with rank-stabilised scaling and DoRA as options."""

    kind: Literal["lora"]
    r: Positive = Field(16, description="Rank of the update.")
    alpha: Rate = Field(32.0, description="The update is scaled by alpha / r.")
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        0.0, description="Share of the adapter's inputs dropped in training."
    )
    target_modules: (
        Annotated[str, Field(min_length=1)] | Annotated[Many[str], Field(min_length=1)]
    ) = Field(
        "all-linear",
        description="`all-linear`, or names of the layers that are adapted, such as `q_proj`.",
    )
    rslora: bool = Field(False, description="Scale by alpha / sqrt(r) (Kalajdzievski 2023).")
    dora: bool = Field(False, description="Train magnitude and direction apart (Liu et al. 2024).")


class FullAdapter(Model):
    """No adapter: every weight trains."""

    kind: Literal["full"]


Adapter = Annotated[LoraAdapter | FullAdapter, Field(discriminator="kind")]


class Args(Model):
    """How a train step runs. One optimizer step sees ``micro_batch * accumulate`` rows."""

    epochs: Rate = Field(1.0, description="Passes over the data.")
    max_steps: Count = Field(0, description="Stop after this many steps; 0: `epochs` decides.")
    learning_rate: Rate = Field(2e-4, description="Peak learning rate.")
    scheduler: Literal["constant", "linear", "cosine"] = Field(
        "cosine", description="How the learning rate goes on after the warm-up."
    )
    warmup: Fraction = Field(0.03, description="Share of the steps that warm up.")
    weight_decay: Annotated[float, Field(ge=0.0)] = Field(
        0.0, description="Decoupled weight decay of AdamW."
    )
    max_grad_norm: Rate = Field(1.0, description="Gradients are clipped to this norm.")
    micro_batch: Positive = Field(4, description="Rows in memory at a time.")
    accumulate: Positive = Field(1, description="Micro batches of one optimizer step.")
    packing: bool = Field(
        False, description="Fill sequences with several rows that do not see each other (sft)."
    )
    optimizer: Literal["adamw", "adamw_8bit", "paged_adamw_8bit"] = Field(
        "adamw", description="AdamW with its state in 32 bits, in 8 bits, or 8 bits and paged."
    )
    gradient_checkpointing: bool = Field(
        True, description="Compute activations again in the backward pass, to hold fewer."
    )
    eval_every: Count = Field(0, description="Steps between evaluations; 0: at the end only.")
    checkpoint_every: Count | Literal["auto"] = Field(
        "auto",
        description="Steps between checkpoints; 0: only where a run is stopped; auto: every ten "
        "minutes, or less often where saving takes more than a twentieth of the time.",
    )
    keep_checkpoints: Positive = Field(2, description="How many of the newest are kept.")


class TrainBase(Model):
    """What every method declares."""

    dataset: Name = Field(description="Name of a dataset.")
    start: str = Field("", description="Train step to continue from; empty: the base.")
    adapter: Adapter = Field(
        LoraAdapter(kind="lora"),
        description="What trains; left out after `start`, that step's adapter goes on.",
    )
    args: Args = Field(Args(), description="Batch sizes, schedule, optimizer, checkpoints.")
    backend: Literal["auto", "unsloth", "trl"] = Field(
        "auto", description="auto: Unsloth on CUDA where it is installed, else TRL."
    )


class SftTrain(TrainBase):
    """Supervised fine-tuning on instruction records or plain text."""

    method: Literal["sft"]


class DpoLoss(Model):
    """Direct preference optimisation (Rafailov et al. 2023) and its published variants."""

    type: Literal["sigmoid", "hinge", "ipo", "robust"] = Field(
        "sigmoid", description="Form of the loss."
    )
    beta: Rate = Field(0.1, description="How firmly the model is held to the reference.")
    label_smoothing: Annotated[float, Field(ge=0.0, lt=0.5)] = Field(
        0.0, description="Share of the pairs assumed to be labelled the wrong way round."
    )


class DpoTrain(TrainBase):
    """Preference optimisation against the start (or the base) as reference."""

    method: Literal["dpo"]
    loss: DpoLoss = Field(DpoLoss(), description="The loss and its parameters.")


Train = Annotated[SftTrain | DpoTrain, Field(discriminator="method")]
