"""Settings that contradict each other (errors) or that change nothing (warnings)."""

from collections.abc import Iterator

from tuneforge_specs.findings import Finding
from tuneforge_specs.keypath import KeyPath
from tuneforge_specs.merge import (
    AdapterMerge,
    LoraExtractMerge,
    MergedInput,
    MergeInput,
    ModelInput,
    TrainInput,
)
from tuneforge_specs.model import Model
from tuneforge_specs.spec import Spec
from tuneforge_specs.train import Adapter, FullAdapter, Train

# What of an adapter may change between a train step and the one that continues it.
_FREE_TO_CHANGE = frozenset({"dropout"})
_TRIMMING = frozenset(
    {"ties", "dare_linear", "dare_ties", "della", "della_linear", "breadcrumbs", "breadcrumbs_ties"}
)
_OF_ADAPTERS = frozenset({"lora", "lora_cat", "lora_svd"})
_UNWEIGHTED = frozenset(
    {
        "greedy_soup",
        "slerp",
        "karcher",
        "model_stock",
        "sce",
        "nearswap",
        "arcee_fusion",
        "passthrough",
        "lora_extract",
    }
)


def continue_adapters(spec: Spec) -> Spec:
    """Give each train step that continues another and declares no adapter its start's adapter."""
    steps = {}
    for name, step in spec.train.items():
        adapter = _continued(spec, name)
        steps[name] = step if adapter is None else step.model_copy(update={"adapter": adapter})
    return spec.model_copy(update={"train": steps})


def _continued(spec: Spec, name: str) -> Adapter | None:
    seen = set()
    step = spec.train[name]
    while "adapter" not in step.model_fields_set and step.start in spec.train:
        if step.start in seen:
            return None
        seen.add(step.start)
        step = spec.train[step.start]
    return step.adapter if seen else None


def contradictions(spec: Spec) -> Iterator[Finding]:
    """Give what cannot be built as it is written. Adapters have been continued before."""
    for name, step in spec.train.items():
        path: KeyPath = ("train", name)
        if spec.base.quantize == "nf4" and isinstance(step.adapter, FullAdapter):
            message = "full training cannot change a base held in nf4"
            yield Finding(
                (*path, "adapter"), message, 'train a "lora" adapter, or quantize = "none"'
            )
        if spec.base.dtype == "float16" and isinstance(step.adapter, FullAdapter):
            message = "full training needs weights that small updates change, not float16"
            fix = 'train a "lora" adapter, or set base.dtype = "bfloat16" or "float32"'
            yield Finding((*path, "adapter"), message, fix)
        if step.start in spec.train and step.start != name:
            yield from _other_adapter(path, step, spec.train[step.start])
    yield from _lengths(spec)
    yield from _overflow(spec)
    yield from _scratch(spec)
    yield from _merge_inputs(spec)
    yield from _exported_adapters(spec)
    yield from _without_rows(spec)


def _other_adapter(path: KeyPath, step: Train, start: Train) -> Iterator[Finding]:
    here, fix = (*path, "adapter"), f"remove `adapter`: it is continued from `{step.start}`"
    if step.adapter.kind != start.adapter.kind:
        message = f"is {step.adapter.kind}, but `{step.start}` trains {start.adapter.kind}"
        yield Finding((*here, "kind"), message, fix)
        return
    for key in type(step.adapter).model_fields:
        mine, its = getattr(step.adapter, key), getattr(start.adapter, key)
        if mine != its and key not in _FREE_TO_CHANGE:
            message = (
                f"is {_shown(mine)}, but `{step.start}`, which it continues, has {_shown(its)}"
            )
            yield Finding((*here, key), message, fix)


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _lengths(spec: Spec) -> Iterator[Finding]:
    for name, dataset in spec.datasets.items():
        for index, rule in enumerate(dataset.filters):
            low, high = getattr(rule, "min", None), getattr(rule, "max", None)
            if low is not None and high is not None and low > high:
                here = ("datasets", name, "filters", index, "min")
                message = f"min {low} is above max {high}: no record can pass"
                yield Finding(here, message, "swap them")


def _overflow(spec: Spec) -> Iterator[Finding]:
    for name, dataset in spec.datasets.items():
        template = dataset.template
        if template.overflow == "split" and template.train_on == "last":
            here = ("datasets", name, "template", "overflow")
            message = 'every part of a split record has a last turn, and train_on is "last"'
            yield Finding(
                here, message, 'set train_on = "assistant", or overflow = "truncate-left"'
            )


def _without_rows(spec: Spec) -> Iterator[Finding]:
    for name, evaluation in spec.evaluate.items():
        dataset = spec.datasets.get(evaluation.dataset)
        if dataset is not None and dataset.split.eval == 0:
            message = f"`{evaluation.dataset}` holds nothing out to measure on"
            fix = f"set datasets.{evaluation.dataset}.split.eval"
            yield Finding(("evaluate", name, "dataset"), message, fix)


def _scratch(spec: Spec) -> Iterator[Finding]:
    scratch = getattr(spec.base, "scratch", None)
    if scratch is None:
        return
    path: KeyPath = ("base", "scratch")
    if scratch.hidden % (2 * scratch.heads):
        message = f"{scratch.hidden} does not divide into {scratch.heads} heads of even size"
        fix = f"make it a multiple of {2 * scratch.heads}"
        yield Finding((*path, "hidden"), message, fix)
    if scratch.heads % scratch.kv_heads:
        message = f"{scratch.kv_heads} does not divide the {scratch.heads} heads"
        yield Finding((*path, "kv_heads"), message, "use a divisor of `heads`")
    if scratch.sequence > scratch.context:
        message = f"{scratch.sequence} is longer than the context of {scratch.context}"
        yield Finding((*path, "sequence"), message, "raise `context` or shorten it")


def _merge_inputs(spec: Spec) -> Iterator[Finding]:
    for name, merge in spec.merge.items():
        for index, item in enumerate(merge.inputs):
            here = ("merge", name, "inputs", index)
            full = _has_full_weights(spec, item)
            if merge.method in _OF_ADAPTERS and full:
                fix = 'use another method, such as "task_arithmetic"'
                if merge.method != "lora":
                    fix = 'take it back to an adapter first: method = "lora_extract"'
                message = f"the method `{merge.method}` takes adapters, not full weights"
                yield Finding(here, message, fix)
            if isinstance(merge, LoraExtractMerge) and not full:
                message = "the method `lora_extract` takes full weights, not an adapter"
                yield Finding(here, message, 'use "lora_svd" to change the rank of an adapter')


def _has_full_weights(spec: Spec, item: MergeInput) -> bool:
    if isinstance(item, MergedInput):
        return item.merge in spec.merge and not isinstance(spec.merge[item.merge], AdapterMerge)
    return isinstance(item, ModelInput) or (
        isinstance(item, TrainInput) and _is_full(spec, item.train)
    )


def _is_full(spec: Spec, name: str) -> bool:
    return name in spec.train and isinstance(spec.train[name].adapter, FullAdapter)


def _is_adapter(spec: Spec, name: str) -> bool:
    """Whether a step's result is an adapter; a name that is no step is another finding."""
    if name in spec.train:
        return not _is_full(spec, name)
    return name not in spec.merge or isinstance(spec.merge[name], AdapterMerge)


def _exported_adapters(spec: Spec) -> Iterator[Finding]:
    for name, export in spec.export.items():
        step = spec.train.get(export.model)
        adapter = isinstance(spec.merge.get(export.model), AdapterMerge)
        if step is not None:
            adapter = not isinstance(step.adapter, FullAdapter)
        if export.format == "adapter":
            if not adapter and (step is not None or export.model in spec.merge):
                message = f"`{export.model}` is a whole model, not an adapter"
                fix = "name a step whose result is an adapter, or export it as safetensors"
                yield Finding(("export", name, "model"), message, fix)
            for index, beside in enumerate(export.beside):
                if not _is_adapter(spec, beside):
                    here: KeyPath = ("export", name, "beside", index)
                    message = f"`{beside}` is a whole model, not an adapter"
                    yield Finding(here, message, "name steps whose result is an adapter")
            continue
        if not adapter:
            continue
        inputs = f'[{{ {"merge" if export.model in spec.merge else "train"} = "{export.model}" }}]'
        fix = f'merge it first: [merge.NAME] method = "lora", inputs = {inputs}'
        message = f"`{export.model}` is an adapter, not a model"
        yield Finding(("export", name, "model"), message, fix)


def without_effect(spec: Spec) -> Iterator[Finding]:
    """Give each setting that changes nothing, or promises more than the base can hold."""
    yield from _idle_data(spec)
    yield from _beyond_context(spec)
    for name, step in spec.train.items():
        yield from _idle_training(spec, name, step)
    yield from _idle_merge(spec)
    for name, evaluation in spec.evaluate.items():
        generates = any(metric != "loss" for metric in evaluation.metrics)
        if _written(evaluation, "max_new_tokens") and not generates:
            here: KeyPath = ("evaluate", name, "max_new_tokens")
            yield Finding(here, "has no effect: `loss` generates nothing", "remove it")
    for name, export in spec.export.items():
        for index, gating in enumerate(() if isinstance(export.after, str) else export.after):
            if gating in spec.evaluate and not spec.evaluate[gating].gate:
                message = f"`{gating}` has no gate, so it cannot stop this export"
                fix = f'give it one: [evaluate.{gating}] gate = ["..."]'
                yield Finding(("export", name, "after", index), message, fix)


def _written(table: Model, key: str) -> bool:
    return key in table.model_fields_set


def _idle_data(spec: Spec) -> Iterator[Finding]:
    for name, source in spec.sources.items():
        if (
            _written(source, "columns")
            and source.columns.model_fields_set
            and source.format != "auto"
        ):
            here: KeyPath = ("sources", name, "format")
            yield Finding(here, "has no effect: `columns` says how rows are read", "remove one")
    for name, dataset in spec.datasets.items():
        if dataset.split.eval == 0 and _written(dataset.split, "by"):
            here = ("datasets", name, "split", "by")
            yield Finding(here, "has no effect: nothing is held out", "remove it, or raise `eval`")


def _beyond_context(spec: Spec) -> Iterator[Finding]:
    scratch = getattr(spec.base, "scratch", None)
    if scratch is None:
        return
    used = {step.dataset for step in (*spec.train.values(), *spec.evaluate.values())}
    for name, dataset in spec.datasets.items():
        tokens = dataset.template.max_tokens
        if name in used and tokens > scratch.context:
            here: KeyPath = ("datasets", name, "template", "max_tokens")
            message = (
                f"lets rows of {tokens} tokens through, and the base takes {scratch.context}: "
                "one that long would end the training"
            )
            fix = f"set it to {scratch.context}, or base.scratch.context to {tokens}"
            yield Finding(here, message, fix)


def _idle_training(spec: Spec, name: str, step: Train) -> Iterator[Finding]:
    args = step.args
    path: KeyPath = ("train", name, "args")
    if args.packing and step.method != "sft":
        yield Finding((*path, "packing"), f"has no effect with {step.method}", "remove it")
    start = spec.train.get(step.start)
    continued = start is not None and start.adapter == step.adapter
    if step.method == "dpo" and _dropout(step.adapter) and not continued:
        message = "has no effect with dpo: policy and reference are compared without dropout"
        yield Finding(("train", name, "adapter", "dropout"), message, "set it to 0")
    if args.max_steps and _written(args, "epochs"):
        fix = "keep one of the two"
        yield Finding((*path, "epochs"), "has no effect: `max_steps` decides", fix)
    if args.checkpoint_every == 0 and _written(args, "keep_checkpoints"):
        fix = "set `checkpoint_every`"
        yield Finding((*path, "keep_checkpoints"), "has no effect: none is made", fix)
    dataset = spec.datasets.get(step.dataset)
    if args.eval_every and dataset is not None and dataset.split.eval == 0:
        message = f"has no effect: the dataset `{step.dataset}` holds nothing out"
        yield Finding((*path, "eval_every"), message, f"set datasets.{step.dataset}.split.eval")
    loss, below = getattr(step, "loss", None), ("train", name, "loss")
    if loss is not None and loss.type in ("hinge", "ipo") and loss.label_smoothing:
        message = f"has no effect on the {loss.type} loss"
        yield Finding((*below, "label_smoothing"), message, "remove it")
    if loss is not None and loss.type == "robust" and not loss.label_smoothing:
        message = "without `label_smoothing` this is the sigmoid loss"
        yield Finding((*below, "type"), message, "set `label_smoothing`")


def _dropout(adapter: Adapter) -> float:
    return 0.0 if isinstance(adapter, FullAdapter) else adapter.dropout


def _idle_merge(spec: Spec) -> Iterator[Finding]:
    for name, merge in spec.merge.items():
        path: KeyPath = ("merge", name)
        adapters = [item for item in merge.inputs if not _has_full_weights(spec, item)]
        if isinstance(merge, LoraExtractMerge):
            adapters = list(merge.inputs)  # `onto` says what the new one belongs on
        if _written(merge, "onto") and not adapters:
            yield Finding((*path, "onto"), "has no effect: no input is an adapter", "remove it")
        elif merge.onto != "auto" and spec.base.quantize == "none":
            message = "has no effect: the base is not quantised"
            yield Finding((*path, "onto"), message, "remove it")
        for index, item in enumerate(merge.inputs):
            if _written(item, "density") and merge.method not in _TRIMMING:
                message = f"has no effect: {merge.method} trims nothing"
                yield Finding((*path, "inputs", index, "density"), message, "remove it")
            if _written(item, "weight") and merge.method in _UNWEIGHTED:
                message = f"has no effect: {merge.method} has no weights"
                yield Finding((*path, "inputs", index, "weight"), message, "remove it")
