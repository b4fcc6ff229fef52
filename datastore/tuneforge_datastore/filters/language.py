"""The language of a text, by the n-gram models of lingua (an optional dependency)."""

import re
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pyarrow as pa
from tuneforge_specs.errors import EnvironmentMissing, UsageError
from tuneforge_specs.filters import LanguageFilter

from tuneforge_datastore.filters import PARTS, Check, Setting
from tuneforge_datastore.functions import add

# A text's language shows in its beginning; the cost of looking grows with the length.
_LOOKED_AT = 1000
_ANSWER = pa.struct(
    [("language", pa.string()), ("confidence", pa.float64()), ("kept", pa.float64())]
)


def check(spec: LanguageFilter) -> Check:
    """Drop what is likely in none of the languages; the score is their summed confidence."""
    # Two filters of one dataset may keep different languages: each has its own function.
    name = "language_in_" + "_".join([*sorted(spec.keep), "of", *sorted(spec.among)])
    text = PARTS[spec.of]
    letters = rf"length(regexp_replace({text}, '[^\p{{L}}]+', '', 'g'))"
    answer = f"{name}(left({text}, {_LOOKED_AT}))"
    wanted = " or ".join(spec.keep)
    return Check(
        rule="language",
        keep=f"CASE WHEN {letters} < {spec.shortest} THEN true "
        f"ELSE {answer}.kept >= {spec.min} END",
        score=f"{answer}.kept",
        reason=f"'the {spec.of} is likely ' || {answer}.language || ' (' || "
        f"round(100 * {answer}.confidence) || '%), not {wanted}'",
        evidence=f"left({text}, 80)",
        prepare=lambda setting: _register(setting, spec, name),
    )


def _register(setting: Setting, spec: LanguageFilter, name: str) -> None:
    answers = _detector(spec, setting.place)
    kind = "STRUCT(language VARCHAR, confidence DOUBLE, kept DOUBLE)"
    add(setting.connection, name, answers, ["VARCHAR"], kind)


def _detector(spec: LanguageFilter, place: str) -> Callable[[Any], pa.Array]:
    if find_spec("lingua") is None:
        raise EnvironmentMissing(
            f"{place}: the language filter needs the package lingua-language-detector",
            "pip install 'tuneforge[language]'",
        )
    from lingua import IsoCode639_1, Language, LanguageDetectorBuilder

    codes = {language.iso_code_639_1.name.lower() for language in Language.all()}
    for key, named in (("keep", spec.keep), ("among", spec.among)):
        if unknown := sorted(set(named) - codes):
            raise UsageError(
                f"{place}.{key}: {', '.join(unknown)}: no language that lingua knows",
                f"the codes are {', '.join(sorted(codes))}",
            )
    among = {*spec.among, *spec.keep} if spec.among else codes
    if len(among) < 2:
        raise UsageError(
            f"{place}.among: one language alone is no choice", "name the languages it may be, too"
        )
    chosen = [getattr(IsoCode639_1, code.upper()) for code in sorted(among)]
    detector = LanguageDetectorBuilder.from_iso_codes_639_1(*chosen).build()

    def answers(texts: Any) -> pa.Array:
        rows = []
        for text in texts.to_pylist():
            # Addresses and code marks are in no language.
            plain = re.sub(r"https?://\S+|[`{}<>\[\]=;_]+", " ", text or "")
            ranked = detector.compute_language_confidence_values(plain)
            found = {one.language.iso_code_639_1.name.lower(): one.value for one in ranked}
            best = max(found, key=lambda code: (found[code], code))
            kept = sum(found.get(code, 0.0) for code in spec.keep)
            rows.append({"language": best, "confidence": found[best], "kept": kept})
        return pa.array(rows, _ANSWER)

    return answers
