"""Near-duplicates against plain Python: every pair, every witness, every cluster."""

import random
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tuneforge_datastore.dedup import columns, kernels, room
from tuneforge_datastore.dedup.bands import choose, most_unlike
from tuneforge_datastore.dedup.near import clusters, near_duplicates
from tuneforge_datastore.dedup.shingles import jaccard, shingles, words


def corpus(rows: int, seed: int = 0) -> list[str]:
    """Texts of 40 to 120 words, a third of them edited copies of earlier ones."""
    rng = random.Random(seed)
    vocabulary = [f"w{i}" for i in range(3000)]
    made: list[str] = []
    for row in range(rows):
        if row and rng.random() < 0.35:
            text = rng.choice(made).split()
            for _ in range(rng.randrange(0, 6)):
                text[rng.randrange(len(text))] = rng.choice(vocabulary)
            made.append(" ".join(text))
        else:
            made.append(" ".join(rng.choices(vocabulary, k=rng.randrange(40, 120))))
    return made


def brute_force(texts: list[str], threshold: float, ngram: int) -> set[tuple[int, int]]:
    """Every pair at or above the threshold."""
    sets = [shingles(text, ngram) for text in texts]
    return {
        (one, other)
        for one, other in combinations(range(len(texts)), 2)
        if jaccard(sets[one], sets[other]) >= threshold
    }


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.95])
def test_what_is_dropped_is_what_comparing_all_pairs_drops(threshold: float) -> None:
    texts = corpus(600)
    pairs = brute_force(texts, threshold, 5)
    kept: list[int] = []
    dropped = []
    for row in range(len(texts)):
        if any((earlier, row) in pairs for earlier in kept):
            dropped.append(row)
        else:
            kept.append(row)
    found = near_duplicates(pa.array(texts), threshold=threshold)
    assert found.dropped.tolist() == dropped
    assert len(dropped) > 30
    assert found.bounded == 0


def test_each_dropped_row_names_a_kept_row_that_is_truly_similar() -> None:
    texts = corpus(2000, seed=1)
    found = near_duplicates(pa.array(texts), threshold=0.7)
    dropped = set(found.dropped.tolist())
    assert dropped
    for row, witness, score in zip(
        found.dropped.tolist(), found.kept.tolist(), found.jaccard.tolist(), strict=True
    ):
        assert witness < row
        assert witness not in dropped
        true = jaccard(shingles(texts[row], 5), shingles(texts[witness], 5))
        assert score == pytest.approx(true, abs=1e-12)
        assert score >= 0.7


def test_a_chain_of_similar_texts_is_not_followed() -> None:
    base = [f"w{i}" for i in range(200)]

    def edited(count: int) -> str:
        return " ".join([*[f"x{i}" for i in range(count)], *base[count:]])

    # Each is 0.8 similar to its neighbours, the ends are not to each other.
    found = near_duplicates(pa.array([edited(0), edited(18), edited(36)]), threshold=0.8)
    assert found.dropped.tolist() == [1]


def test_rows_added_behind_change_nothing_before_them() -> None:
    texts = corpus(1500, seed=2)
    whole = near_duplicates(pa.array(texts))
    part = near_duplicates(pa.array(texts[:900]))
    assert part.dropped.tolist() == [row for row in whole.dropped.tolist() if row < 900]
    assert part.kept.tolist() == whole.kept.tolist()[: len(part.kept)]


def test_the_result_is_the_same_for_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuneforge_datastore.dedup.near.CHUNK", 97)
    texts = pa.array(corpus(1500, seed=3))
    one, many = (near_duplicates(texts, threads=threads) for threads in (1, 7))
    for name in ("dropped", "kept", "jaccard"):
        assert np.array_equal(getattr(one, name), getattr(many, name))
    assert np.array_equal(clusters(texts, threads=1), clusters(texts, threads=7))


def test_recall_at_the_threshold_is_what_the_bands_promise() -> None:
    rng = random.Random(4)
    texts = []
    for pair in range(3000):
        one = [f"p{pair}w{i}" for i in range(120)]
        other = list(one)
        cut = 12  # 116 shingles, 12 of each replaced at one end: J = 104 / 128 = 0.8125
        start = rng.choice((0, 108))
        other[start : start + cut] = [f"p{pair}x{i}" for i in range(cut)]
        texts += [" ".join(one), " ".join(other)]
    found = near_duplicates(pa.array(texts), threshold=0.8)
    assert found.jaccard.min() == pytest.approx(104 / 128)
    assert len(found.dropped) / 3000 >= 0.999


def components(rows: int, pairs: set[tuple[int, int]]) -> list[int]:
    """The first row of each row's connected component."""
    parents = list(range(rows))

    def root(row: int) -> int:
        while parents[row] != row:
            row = parents[row]
        return row

    for one, other in sorted(pairs):
        low, high = sorted((root(one), root(other)))
        parents[high] = low
    return [root(row) for row in range(rows)]


def test_clusters_are_the_connected_components() -> None:
    texts = corpus(700, seed=5)
    expected = components(len(texts), brute_force(texts, 0.6, 5))
    assert clusters(pa.array(texts), threshold=0.6).tolist() == expected


def test_case_form_and_punctuation_do_not_count() -> None:
    text = "Ünïcode-Fälle: der Straßenname IST lang, aber WAHR und schön zu lesen."
    decomposed = "ünïcode fälle der strassenname ist lang aber wahr und schön zu lesen"
    fullwidth = text.replace("WAHR", "WAHR")
    found = near_duplicates(pa.array([text, decomposed, fullwidth]), threshold=1.0)
    assert found.dropped.tolist() == [1, 2]


def test_scripts_without_spaces_are_compared_by_characters() -> None:
    chinese = "今天天气很好我们一起去公园散步然后去图书馆看书晚上再回家吃饭"
    edited = chinese.replace("公园", "河边")
    other = "机器学习模型需要大量高质量的数据才能在各种任务上取得好的结果"
    thai = "วันนี้อากาศดีมากเราไปเดินเล่นที่สวนสาธารณะด้วยกันไหม"
    texts = pa.array([chinese, edited, other, thai, thai + "ครับ"])
    found = near_duplicates(texts, threshold=0.5)
    assert found.dropped.tolist() == [1, 4]
    assert found.kept.tolist() == [0, 3]


def test_short_empty_and_null_texts() -> None:
    texts = pa.array(["", None, "!!!", "yes", "Yes.", "no", "yes yes", "a b c d", "A, b; c d!"])
    found = near_duplicates(texts)
    assert list(zip(found.dropped.tolist(), found.kept.tolist(), strict=True)) == [(4, 3), (8, 7)]
    assert clusters(texts).tolist() == [0, 1, 2, 3, 3, 5, 6, 7, 7]
    assert near_duplicates(pa.array([], pa.string())).dropped.tolist() == []
    assert near_duplicates(pa.array(["", ""])).dropped.tolist() == []


def test_slices_chunks_and_wide_offsets_read_the_same() -> None:
    texts = corpus(300, seed=6)
    expected = near_duplicates(pa.array(texts)).dropped.tolist()
    padded = pa.array(["pad é", *texts, "pad"])
    for column in (
        padded.slice(1, 300),
        padded.cast(pa.large_string()).slice(1, 300),
        pa.chunked_array([texts[:100], texts[100:]]),
    ):
        assert near_duplicates(column).dropped.tolist() == expected


@given(
    st.lists(
        st.text(st.sampled_from("abAB éßÉ今天日.,ก'\u0301\U00020000😀"), max_size=30), max_size=8
    ),
    st.integers(1, 4),
)
@settings(max_examples=300, deadline=None)
def test_the_kernel_reads_texts_as_plain_python_does(texts: list[str], ngram: int) -> None:
    texts = [text for text in texts if words(text)]
    read = columns.read(pa.array(texts, pa.string()))
    sets = kernels.Sets.holding(read.longest())
    for one, other in combinations(range(len(texts)), 2):
        expected = jaccard(shingles(texts[one], ngram), shingles(texts[other], ngram))
        assert kernels.similarity(read, one, other, ngram, 0.0, sets) == pytest.approx(expected)


@given(
    st.lists(st.text(st.sampled_from("abcXYZ019  .-ßéÖжѣ—’\u00a0"), max_size=200), max_size=6),
    st.integers(1, 4),
)
@settings(max_examples=300, deadline=None)
def test_long_texts_of_spaced_scripts_are_read_alike(texts: list[str], ngram: int) -> None:
    texts = [text for text in texts if words(text)]
    read = columns.read(pa.array(texts, pa.string()))
    reader = kernels.Reader.of(read.longest())
    for row, text in enumerate(texts):
        count = kernels._spaced_words(*_row(read, row), read.classes, reader)
        assert count == len(words(text))
        assert count == kernels._any_words(*_row(read, row), read.classes, one := reader_of(read))
        assert reader.words[:count].tolist() == one.words[:count].tolist()
        runs = {int(value) for value in reader.runs[: kernels.row_runs(read, row, ngram, reader)]}
        assert len(runs) == len(shingles(text, ngram))


def _row(read: Any, row: int) -> tuple[Any, int, int]:
    at = read.place[row]
    if at >= 0:
        return read.folded, read.folded_offsets[at], read.folded_offsets[at + 1]
    return read.data, read.offsets[row], read.offsets[row + 1]


def reader_of(read: Any) -> Any:
    """Give a reader that has read nothing."""
    return kernels.Reader.of(read.longest())


def boilerplate(rows: int, seed: int = 7) -> list[str]:
    """Texts of 120 words that begin with the same 90: any two are 0.59 similar."""
    rng = random.Random(seed)
    prefix = " ".join(f"p{i}" for i in range(90))
    return [
        f"{prefix} {' '.join(f'u{rng.randrange(10**9)}' for _ in range(30))}" for _ in range(rows)
    ]


def edited_ends(texts: list[str], words: int) -> list[str]:
    """The texts with their last ``words`` words replaced."""
    return [
        " ".join([*text.split()[:-words], *(f"e{row}x{i}" for i in range(words))])
        for row, text in enumerate(texts)
    ]


def test_boilerplate_that_all_rows_share_hides_no_duplicate() -> None:
    texts = boilerplate(6000)
    # 116 shingles, the last 10 replaced: J = 106 / 126 = 0.84, found by what is rare in them alone.
    texts += [*texts[:500], *edited_ends(texts[500:1000], 10)]
    found = near_duplicates(pa.array(texts), threshold=0.8)
    assert found.dropped.tolist() == list(range(6000, 7000))
    assert found.kept.tolist() == list(range(1000))
    assert found.jaccard[500:] == pytest.approx(106 / 126)
    assert found.bounded == 0


def test_the_work_on_boilerplate_grows_with_the_rows() -> None:
    texts = boilerplate(12_000)
    few, many = (near_duplicates(pa.array(texts[:rows])) for rows in (3000, 12_000))
    assert few.bounded == many.bounded == 0
    # Three in ten of all pairs share a band: four times the rows have sixteen times the pairs.
    assert many.proposed / 12_000 < 1.2 * few.proposed / 3000
    assert many.proposed / 12_000 < 60
    assert many.compared / 12_000 < 1


def test_rare_shingles_spread_over_their_table() -> None:
    crowd = kernels.Crowd.holding(2048, None)
    random_shingles = np.random.default_rng(0)
    for row in range(2000):
        shingles = random_shingles.integers(2**64, size=126, dtype=np.uint64)
        chosen = kernels._choose_rarest(crowd, shingles, 0.8)
        kernels._join_crowd(crowd, row, shingles, chosen)
    taken = np.flatnonzero(crowd.heads)
    assert len(taken) == crowd.state[1] > 50_000
    ends = np.flatnonzero(np.diff(taken, append=-1) != 1)
    assert np.diff(ends, prepend=-1).max() < 200


def test_sentences_that_many_rows_share_behind_boilerplate() -> None:
    rng = random.Random(8)
    prefix = " ".join(f"p{i}" for i in range(70))
    sentences = [" ".join(f"s{n}w{i}" for i in range(16)) for n in range(400)]
    texts = [f"{prefix} {' '.join(rng.choices(sentences, k=3))}" for _ in range(12_000)]
    few = near_duplicates(pa.array(texts[:6000]))
    many = near_duplicates(pa.array([*texts, *edited_ends(texts[:1000], 5)]))
    # Their sentences are in more rows than are listed for a shingle, how they follow is not.
    assert many.bounded > 0
    assert {*range(12_000, 13_000)} <= {*many.dropped.tolist()}
    assert many.proposed / 13_000 < 1.5 * few.proposed / 6000
    # Little but the duplicates has its text read.
    assert many.compared < 1.5 * len(many.dropped)


def test_boilerplate_is_compared_as_if_with_all_pairs() -> None:
    rng = random.Random(9)
    texts = boilerplate(180)
    for row in range(180):
        words = texts[row].split()
        for _ in range(rng.randrange(6)):
            words[rng.randrange(len(words))] = f"e{rng.randrange(100)}"
        texts.append(" ".join(words))
    pairs = brute_force(texts, 0.8, 5)
    kept: list[int] = []
    for row in range(len(texts)):
        if not any((earlier, row) in pairs for earlier in kept):
            kept.append(row)
    found = near_duplicates(pa.array(texts))
    assert sorted({*range(360)} - {*found.dropped.tolist()}) == kept
    assert len(kept) < 300
    assert clusters(pa.array(texts)).tolist() == components(len(texts), pairs)


def test_boilerplate_is_found_alike_whatever_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = boilerplate(700)
    column = pa.array([*texts, *edited_ends(texts[:300], 5)])
    expected = near_duplicates(column), clusters(column)
    monkeypatch.setattr("tuneforge_datastore.dedup.near.CHUNK", 97)
    found = near_duplicates(column, threads=3)
    for name in ("dropped", "kept", "jaccard", "bounded", "proposed", "compared"):
        assert np.array_equal(getattr(found, name), getattr(expected[0], name))
    assert np.array_equal(clusters(column, threads=3), expected[1])


def test_an_index_in_files_finds_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = boilerplate(700)
    column = pa.array([*texts, *edited_ends(texts[:300], 5)])
    expected = near_duplicates(column), clusters(column)
    monkeypatch.setattr(room, "IN_MEMORY", 1000)
    with pytest.raises(FileNotFoundError):
        near_duplicates(column, folder=tmp_path / "none")
    found = near_duplicates(column, folder=tmp_path)
    for name in ("dropped", "kept", "jaccard", "bounded", "proposed", "compared"):
        assert np.array_equal(getattr(found, name), getattr(expected[0], name))
    assert np.array_equal(clusters(column, folder=tmp_path), expected[1])
    assert list(tmp_path.iterdir()) == []


def test_a_file_for_the_index_is_refused_before_it_is_needed(tmp_path: Path) -> None:
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from tuneforge_datastore.dedup import room\n"
        "room.IN_MEMORY = 0\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        "assert room.zeros((4, 5), 'uint64', Path(sys.argv[1])).sum() == 0\n"
        "try: room.zeros(1 << 20, 'uint64', Path(sys.argv[1]))\n"
        "except OSError: sys.exit(7)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert done.returncode == 7


def test_bands_follow_threshold_and_permutations() -> None:
    assert choose(0.8, 128) == (25, 5)
    assert choose(0.3, 16) == (16, 1)
    for threshold in (0.4, 0.6, 0.8, 0.9, 0.99):
        bands = choose(threshold, 256)
        assert bands.miss(threshold) <= 5e-4
        assert bands.number * bands.rows <= 256
    assert choose(0.95, 128).rows > choose(0.6, 128).rows


@pytest.mark.parametrize("similarity", [0.6, 0.8, 0.95])
def test_sketches_of_similar_rows_differ_at_few_places(similarity: float) -> None:
    rng = random.Random(10)
    most = most_unlike(similarity, 125)
    chance = similarity + (1 - similarity) / 16
    draws = [sum(rng.random() >= chance for _ in range(125)) for _ in range(3000)]
    assert sum(unlike > most for unlike in draws) <= 2
    assert most < 125 * (1 - chance) * 4
    assert most_unlike(1.0, 125) == 0


def test_importing_the_package_does_not_load_numba() -> None:
    code = (
        "import sys, tuneforge_datastore.dedup.near, tuneforge_datastore.decontaminate, "
        "tuneforge_datastore.split; sys.exit(any(m in sys.modules for m in "
        "('numba', 'pyarrow', 'duckdb', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
