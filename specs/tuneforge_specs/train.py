"""Train steps: method x adapter x dataset."""

from typing import Annotated, Literal

from pydantic import Field

from tuneforge_specs.model import Count, Fraction, Many, Model, Name, Positive, Rate


class LoraAdapter(Model):
    """Low-rank adaptation (Hu et al. 2021), with rank-stabilised scaling and DoRA as options."""

    kind: Literal["lora"]
    r: Positive = 16
    alpha: Rate = 32.0
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    target_modules: str | Many[str] = "all-linear"
    rslora: bool = False
    dora: bool = False


class FullAdapter(Model):
    """No adapter: every weight trains."""

    kind: Literal["full"]


Adapter = Annotated[LoraAdapter | FullAdapter, Field(discriminator="kind")]


class Args(Model):
    """How a train step runs. One optimizer step sees ``micro_batch * accumulate`` rows."""

    epochs: Rate = 1.0
    max_steps: Count = Field(0, description="Stop after this many steps; 0: `epochs` decides.")
    learning_rate: Rate = 2e-4
    scheduler: Literal["constant", "linear", "cosine"] = "cosine"
    warmup: Annotated[Fraction, Field(description="Share of the steps that warm up.")] = 0.03
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    max_grad_norm: Rate = 1.0
    micro_batch: Positive = 4
    accumulate: Positive = 1
    packing: bool = False
    optimizer: Literal["adamw", "adamw_8bit", "paged_adamw_8bit"] = "adamw"
    gradient_checkpointing: bool = True
    eval_every: Count = Field(0, description="Steps between evaluations; 0: at the end only.")
    checkpoint_every: Count = Field(0, description="Steps between checkpoints; 0: at the end only.")
    keep_checkpoints: Positive = 2


class TrainBase(Model):
    """What every method declares."""

    dataset: Name
    start: str = Field("", description="Train step to continue from; empty: the base.")
    adapter: Adapter = LoraAdapter(kind="lora")
    args: Args = Args()
    backend: Literal["auto", "unsloth", "trl"] = "auto"


class SftTrain(TrainBase):
    """Supervised fine-tuning on instruction records or plain text."""

    method: Literal["sft"]


class DpoLoss(Model):
    """Direct preference optimisation (Rafailov et al. 2023) and its published variants."""

    type: Literal["sigmoid", "hinge", "ipo", "robust"] = "sigmoid"
    beta: Rate = 0.1
    label_smoothing: Annotated[float, Field(ge=0.0, lt=0.5)] = 0.0


class DpoTrain(TrainBase):
    """Preference optimisation against the start (or the base) as reference."""

    method: Literal["dpo"]
    loss: DpoLoss = DpoLoss()


Train = Annotated[SftTrain | DpoTrain, Field(discriminator="method")]
