"""Fix everything about a merge before any weight is read: each tensor, its inputs, its bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tuneforge_specs.errors import DataError
from tuneforge_specs.merge import LoraMerge, ModelMerge, PassthroughMerge
from tuneforge_specs.vocabulary import MergeTokenizer

from tuneforge.merge.base import Onto, check_dequantisable, is_quantised
from tuneforge.merge.blocks import BLOCK, matrix_shape
from tuneforge.merge.checks import check_numbers, check_same
from tuneforge.merge.lora import Fold, Replace
from tuneforge.merge.method import Method
from tuneforge.merge.methods import method_named
from tuneforge.merge.model import Model
from tuneforge.merge.place import Place, places
from tuneforge.merge.sources import Source
from tuneforge.merge.vocabulary.align import Alignment
from tuneforge.merge.vocabulary.read import conflict
from tuneforge.weights import Entry
from tuneforge.weights.dtypes import FROM_TORCH, MERGEABLE

# Interpreter, numpy and numba with compiled loops, measured.
_PROGRAM = 180 << 20
# The same with torch, transformers and PEFT.
_TORCH = 900 << 20


@dataclass(frozen=True)
class TensorPlan:
    """One tensor of the result. ``action``: copy, cast, lora, peft, replace, stack or the method.

    A stacked tensor is ``scale`` times the tensor ``origin`` of its one source.
    """

    entry: Entry
    action: str
    sources: tuple[Source, ...]
    quantised: bool = False
    origin: str = ""
    scale: float = 1.0
    depth: float = 0.0

    @property
    def place(self) -> Place:
        """Where the tensor lies, for the numbers that differ by layer and name."""
        return Place(self.name, self.depth)

    @property
    def name(self) -> str:
        """Name of the tensor in the result."""
        return self.entry.name

    @property
    def bytes_in(self) -> int:
        """Bytes of the inputs' rows that one pass reads, the base's included."""
        return self.entry.nbytes * (1 + sum(1 for s in self.sources if s.model is not None))


@dataclass(frozen=True)
class MergePlan:
    """A merge that can be run, printed or refused. ``config``: what changes in config.json."""

    spec: ModelMerge
    base: Model
    onto: Onto
    sources: tuple[Source, ...]
    tensors: tuple[TensorPlan, ...]
    seed: int
    config: Mapping[str, Any] = field(default_factory=dict)
    alignment: Alignment | None = None

    @property
    def untied(self) -> bool:
        """Whether the output head becomes a tensor apart from the embedding."""
        return self.config.get("tie_word_embeddings") is False

    @property
    def warnings(self) -> list[str]:
        """What a user should know before the merge is used."""
        wide = [
            tensor.name
            for tensor in self.tensors
            if tensor.action != "copy" and "F64" in _dtypes(self.base, tensor)
        ]
        if not wide:
            return []
        more = f" and {len(wide) - 1:,} more" if len(wide) > 1 else ""
        return [f"{wide[0]}{more}: float64, merged in float32: about 7 digits are right"]

    @property
    def bytes_in(self) -> int:
        """Bytes one pass over everything reads."""
        return sum(tensor.bytes_in for tensor in self.tensors)

    @property
    def bytes_out(self) -> int:
        """Bytes written."""
        return sum(tensor.entry.nbytes for tensor in self.tensors)

    def peak_memory(self, threads: int) -> int:
        """Estimate the peak resident bytes with so many threads."""
        working = max((_working_set(tensor) for tensor in self.tensors), default=0)
        streamed = _PROGRAM + threads * working
        # PEFT holds the whole base in the worker, and what it changed when that is written.
        return max(streamed, _TORCH + 2 * self.base.weights.nbytes) if self.kinds else streamed

    @property
    def kinds(self) -> dict[str, str]:
        """Kinds of the adapters that PEFT folds, by label."""
        return {source.label: source.kind for source in self.sources if source.by_peft}


def _dtypes(base: Model, tensor: TensorPlan) -> set[str]:
    """Return the dtypes of what a tensor is made from."""
    name = tensor.origin or tensor.name
    models = [source.model for source in tensor.sources if source.model is not None]
    found = {model.weights[stored].dtype for model in models if (stored := model.find(name))}
    return found | ({base.weights[name].dtype} if name in base.weights else set())


def _working_set(tensor: TensorPlan) -> int:
    if tensor.action == "copy":
        return 8 << 20
    rows, columns = matrix_shape(tensor.entry.shape)
    block = 4 * max(BLOCK, columns) * (2 * len(tensor.sources) + 5)
    maxima = 2 * 4 * rows * columns // 64 if tensor.quantised else 0
    ranks = [
        piece.factors.rank
        for source in tensor.sources
        for piece in source.pieces.get(tensor.name, ())
        if isinstance(piece, Fold)
    ]
    return block + maxima + 8 * sum(ranks) * (rows + columns)


def plan_merge(
    base: Model, sources: Sequence[Source], spec: ModelMerge, onto: Onto, seed: int
) -> MergePlan:
    """Check that base and inputs belong together and decide what happens to each tensor.

    Raises DataError naming the tensor where shapes, names, vocabularies or dtypes do not fit.
    """
    if base.config.get("quantization_config"):
        raise DataError(
            f"{base.folder}: its weights are stored quantised", "merge into the unquantised model"
        )
    if onto.dtype:
        check_dequantisable(base)
    if isinstance(spec, PassthroughMerge):
        from tuneforge.merge.stack import stacked

        if spec.tokenizer not in ("auto", "base"):
            raise DataError(
                "tokenizer: stacked layers keep the base's embeddings", 'write tokenizer = "base"'
            )
        stack, depths = stacked(base, sources, spec)
        return MergePlan(spec, base, onto, tuple(sources), tuple(stack), seed, depths)
    alignment = _alignment(base, sources, spec)
    for source in sources:
        if source.model is not None:
            check_same(base, source.model, alignment.tensors if alignment else frozenset())
    if alignment is not None:
        sources = [replace(source, alignment=alignment) for source in sources]
    tensors = [
        _aligned(
            replace(_tensor(base, place.name, sources, spec, onto), depth=place.depth), alignment
        )
        for place in places(base.weights).values()
    ]
    check_numbers(tensors, spec)
    extra = _separate_heads(base, sources, spec)
    config: dict[str, Any] = {"tie_word_embeddings": False} if extra else {}
    if alignment is not None:
        config |= alignment.config(base)
    return MergePlan(
        spec, base, onto, tuple(sources), tuple(tensors + extra), seed, config, alignment
    )


def _alignment(base: Model, sources: Sequence[Source], spec: ModelMerge) -> Alignment | None:
    """Return how vocabularies are brought together, None where they have to be the same."""
    if spec.tokenizer == "auto":
        for source in sources:
            clash = conflict(base.folder, source.model.folder) if source.model is not None else ""
            if clash:
                raise DataError(
                    f"{source.label}: another vocabulary: {clash}",
                    'align the tokens: tokenizer = "union", "base", or the label of an input',
                )
        return None
    from tuneforge.merge.vocabulary.plan import align

    wanted = spec.tokenizer
    if isinstance(wanted, str):
        wanted = MergeTokenizer(source=wanted)
    return align(base, sources, wanted)


def _aligned(tensor: TensorPlan, alignment: Alignment | None) -> TensorPlan:
    """Give a vocabulary tensor its new number of rows."""
    if alignment is None or tensor.name not in alignment.tensors:
        return tensor
    entry = replace(tensor.entry, shape=(alignment.rows, *tensor.entry.shape[1:]))
    return replace(tensor, entry=entry, action="cast" if tensor.action == "copy" else tensor.action)


def _tensor(
    base: Model, name: str, sources: Sequence[Source], spec: ModelMerge, onto: Onto
) -> TensorPlan:
    info = base.weights[name]
    dtype = info.dtype
    if spec.dtype != "auto" and dtype in MERGEABLE:
        dtype = FROM_TORCH[spec.dtype]
    touching = tuple(source for source in sources if source.touches(name))
    entry = Entry(name, dtype, info.shape)
    quantised = bool(onto.dtype) and is_quantised(name, info.shape)
    if info.dtype not in MERGEABLE or not info.size:
        if any(name in source.pieces for source in touching):
            raise DataError(
                f"{base.folder}: {name} is {info.dtype}, an adapter cannot be folded into it",
                "convert the base to float32, bfloat16 or float16",
            )
        return TensorPlan(entry, "copy", ())
    if isinstance(spec, LoraMerge):
        action = "lora" if touching else "cast"
        if any(source.by_peft for source in touching):
            action = "peft"
    else:
        method = method_named(spec.method)
        touching = tuple(sources) if touching or _always(method) else ()
        action = spec.method if touching else "cast"
    if action == "cast" and entry.dtype == info.dtype and not quantised:
        action = "copy"
    return TensorPlan(entry, action, touching, quantised)


def _always(method: Method) -> bool:
    # Weights that all inputs share may still change: an average need not be normalised.
    return method.reads == "weights"


def _separate_heads(base: Model, sources: Sequence[Source], spec: ModelMerge) -> list[TensorPlan]:
    """Give an output head that an adapter trained apart from the tied embedding its own tensor."""
    extra: dict[str, TensorPlan] = {}
    for source in sources:
        for name, pieces in source.pieces.items():
            if name in base.weights:
                continue
            piece = pieces[-1]
            assert isinstance(piece, Replace)
            info: Any = piece.adapter.weights[piece.key]
            dtype = base.weights[base.embedding].dtype
            if spec.dtype != "auto":
                dtype = FROM_TORCH[spec.dtype]
            extra[name] = TensorPlan(Entry(name, dtype, info.shape), "replace", (source,))
    if extra and not isinstance(spec, LoraMerge):
        raise DataError(
            f"{next(iter(extra))}: trained apart from the tied input embedding; methods other than "
            "lora cannot mix it",
            'merge the adapter into its base with method = "lora" first',
        )
    return list(extra.values())
