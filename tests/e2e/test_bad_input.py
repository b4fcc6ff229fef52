"""Bad input through the real command line: the exit code, the place, the fix, and nothing left.

Every case ends with a build of the same project as it should have been, in the same workspace.
"""

import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from light_model import write_adapter, write_base
from light_project import SPEC, TRAIN, LightProject, write_rows

Break = Callable[[LightProject], None]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> LightProject:
    """A good project, built."""
    made = LightProject.make(tmp_path_factory.mktemp("bad") / "project")
    made.builds_well()
    return made


@pytest.fixture
def project(built: LightProject) -> Iterator[LightProject]:
    """The good project; whatever a test does to its files, the workspace is as good after it."""
    yield built
    write_rows(built.folder / "data.jsonl", 40)
    built.restore("base")
    built.restore("adapter")
    (built.folder / "spec.toml").write_text(SPEC)
    assert "nothing to do" in built.good("build").out
    built.is_sound()


@pytest.fixture
def fresh(tmp_path: Path) -> LightProject:
    """A project that was never built."""
    return LightProject.make(tmp_path / "project")


def spec_file(content: bytes) -> Break:
    return lambda project: (project.folder / "spec.toml").write_bytes(content)  # type: ignore[func-returns-value]


def edited(old: str, new: str) -> Break:
    return lambda project: project.edit(old, new)


def line_of(text: str, within: str) -> int:
    return within[: within.index(text)].count("\n") + 1


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        pytest.param(
            edited("max_tokens", "max_token"),
            (f"spec.toml:{line_of('template', SPEC)}", "max_token", "max_tokens"),
            id="unknown key",
        ),
        pytest.param(
            edited("eval = 0.2", 'eval = "a fifth"'),
            (f"spec.toml:{line_of('split', SPEC)}", "datasets.d.split.eval"),
            id="wrong type",
        ),
        pytest.param(
            edited('source = "data"', 'source = "dota"'),
            (f"spec.toml:{line_of('from', SPEC)}", "dota", "data"),
            id="no such source",
        ),
        pytest.param(
            edited('path = "data.jsonl"', 'path = "data\\u0000.jsonl"'),
            ("sources.data.path", "NUL"),
            id="nul in a path",
        ),
        pytest.param(
            spec_file(SPEC.replace("light", "li\0ght").encode()), ("spec.toml:4",), id="nul bytes"
        ),
        pytest.param(
            spec_file(SPEC.encode().replace(b"light", b"li\xffght")),
            ("spec.toml:4", "UTF-8"),
            id="invalid utf-8",
        ),
        pytest.param(
            spec_file(SPEC.replace("[base]", "[base").encode()),
            (f"spec.toml:{line_of('[base]', SPEC)}", "']'"),
            id="broken toml",
        ),
        pytest.param(spec_file(b""), ("spec.toml",), id="empty"),
    ],
)
def test_a_bad_spec_is_refused_before_a_workspace_is_made(
    fresh: LightProject, harm: Break, said: tuple[str, ...]
) -> None:
    harm(fresh)
    fresh.bad(2, *said)
    assert not fresh.workspace.exists()


@pytest.mark.parametrize("command", ["build", "plan", "validate", "status"])
def test_a_spec_that_is_a_folder_or_missing(tmp_path: Path, command: str) -> None:
    here = LightProject(tmp_path)
    here.bad(2, str(tmp_path), words=[command, str(tmp_path)])
    here.bad(2, "nowhere.toml", words=[command, "nowhere.toml"])
    assert not list(tmp_path.iterdir())


def data_file(content: bytes | None) -> Break:
    def write(project: LightProject) -> None:
        file = project.folder / "data.jsonl"
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content)

    return write


GOOD = b'{"prompt": "a b", "completion": "c d"}\n'


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        pytest.param(data_file(None), ("source data", "data.jsonl"), id="missing file"),
        pytest.param(data_file(b""), ("data.jsonl", "no rows"), id="empty file"),
        pytest.param(
            data_file(GOOD * 6 + b'{"prompt": "a b", "comple\n' + GOOD),
            ("data.jsonl:7", "on_error"),
            id="broken json at line 7",
        ),
        pytest.param(
            data_file(GOOD * 2 + b'{"prompt": "a \xff b", "completion": "c d"}\n'),
            ("data.jsonl:3", "UTF-8"),
            id="invalid utf-8",
        ),
        pytest.param(
            data_file(GOOD + b'{"prompt": "a \0 b", "completion": "c d"}\n'),
            ("data.jsonl:2",),
            id="nul byte",
        ),
        pytest.param(data_file(b"\0" * 5000), ("data.jsonl:1",), id="nothing but nul bytes"),
        pytest.param(data_file(b'{"a": 1, "b": 2}\n' * 9), ("data.jsonl", "a, b"), id="no format"),
        pytest.param(
            edited(
                'path = "data.jsonl"',
                'path = "data.jsonl"\ncolumns = { prompt = "question", completion = "completion" }',
            ),
            ("question", "completion, prompt"),
            id="column missing",
        ),
        pytest.param(edited("min = 2", "min = 2000"), ("datasets.d", "length"), id="zero rows"),
    ],
)
def test_data_that_cannot_be_used(
    project: LightProject, harm: Break, said: tuple[str, ...]
) -> None:
    harm(project)
    project.bad(3, *said, unmade=["dataset"])


def test_a_bad_line_may_be_skipped_and_is_counted(project: LightProject) -> None:
    good = (project.folder / "data.jsonl").read_bytes().splitlines(keepends=True)
    bad = [b'{"prompt": "a", "comp\n', b"\xff\n", b"[1, 2]\n"]
    (project.folder / "data.jsonl").write_bytes(b"".join([*good[:6], *bad, *good[6:]]))
    project.edit('path = "data.jsonl"', 'path = "data.jsonl"\non_error = "skip"')
    done = project.good("build")
    assert "3 rows could not be read" in done.out
    assert project.sql("SELECT count(*) FROM ledger WHERE stage = 'read'") == [["3"]]
    assert project.sql("SELECT count(*) FROM ledger WHERE verdict = 'kept'") == [["40"]]


def test_a_template_that_trains_on_nothing(project: LightProject) -> None:
    (project.folder / "mute.jinja").write_text(
        "{% for m in messages %}{% if m.role == 'user' %}<|im_start|>{{ m.content }}<|im_end|>"
        "{% endif %}{% endfor %}"
    )
    project.edit('chat = "chatml"', 'chat = "mute.jinja"')
    with (project.folder / "spec.toml").open("a") as spec:
        spec.write(TRAIN)
    project.bad(3, "mute.jinja", words=["build", "--only", "render.d"], unmade=["render"])


def header(text: str, body: bytes = b"") -> bytes:
    return struct.pack("<Q", len(text)) + text.encode() + body


def tensor(start: int, end: int) -> str:
    return json.dumps({"dtype": "F32", "shape": [4, 4], "data_offsets": [start, end]})


HOSTILE = {
    "truncated": lambda whole: whole[: len(whole) // 2],
    "cut in the header": lambda whole: whole[:100],
    "empty": lambda _: b"",
    "huge header": lambda whole: struct.pack("<Q", 2**62) + whole[8:],
    "no json": lambda _: header("{not json"),
    "overlapping": lambda _: header(f'{{"a": {tensor(0, 64)}, "b": {tensor(32, 96)}}}', b"\0" * 96),
    "negative": lambda _: header(f'{{"a": {tensor(-64, 0)}}}', b"\0" * 64),
    "beyond the end": lambda _: header(f'{{"a": {tensor(0, 2**60)}}}', b"\0" * 64),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_a_hostile_base_is_refused_before_anything_is_written(
    project: LightProject, how: str
) -> None:
    weights = project.folder / "base" / "model.safetensors"
    weights.write_bytes(HOSTILE[how](weights.read_bytes()))
    project.bad(3, "base/model.safetensors", unmade=["base", "merge"])
    if how in ("truncated", "overlapping"):
        project.bad(3, "model.safetensors", words=["merge", "spec.toml", "-o", "merged"])
        project.bad(3, "model.safetensors", words=["export", "base", "-o", "exported"])
        assert not (project.folder / "merged").exists()
        assert not (project.folder / "exported").exists()


@pytest.mark.parametrize("name", ["./models/none", "nobody/no-such-model"])
def test_a_model_that_is_not_there(project: LightProject, name: str) -> None:
    project.edit('model = "base"', f'model = "{name}"')
    project.bad(6, name.removeprefix("./"), unmade=["base"])
    project.bad(6, name.removeprefix("./"), words=["merge", "spec.toml", "-o", "merged"])
    assert not (project.folder / "merged").exists()


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("model.safetensors", "no *.safetensors"),
        ("config.json", "config.json"),
        ("tokenizer.json", "tokenizer.json"),
    ],
)
def test_a_model_folder_that_lacks_a_file(project: LightProject, file: str, said: str) -> None:
    (project.folder / "base" / file).unlink()
    project.bad(6, "base.model", said, unmade=["base"])


@pytest.mark.parametrize("how", ["digest", "shape", "layers", "not an adapter"])
def test_an_adapter_of_another_base(project: LightProject, how: str) -> None:
    adapter = project.folder / "adapter"
    code = 3
    if how == "digest":  # what a train step leaves beside its adapter
        facts = {"base": {"id": "another", "digest": "ab" * 32, "quantize": "none"}}
        (project.folder / "training.json").write_text(json.dumps(facts))
    else:
        for file in adapter.iterdir():
            file.unlink()
        adapter.rmdir()
    if how == "shape":
        write_adapter(adapter, hidden=48)
    elif how == "layers":
        write_adapter(adapter, layers=5)
    elif how == "not an adapter":
        write_base(adapter)
        code = 6
    project.bad(code, "adapter", unmade=["merge"])
    project.bad(code, "adapter", words=["merge", "spec.toml", "-o", "merged"])
    assert not (project.folder / "merged").exists()
    (project.folder / "training.json").unlink(missing_ok=True)


ABSENT = """
import importlib.machinery
import os

_found = importlib.machinery.PathFinder.find_spec
_absent = set(os.environ["ABSENT"].split())


def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in _absent else _found(name, path, target)


importlib.machinery.PathFinder.find_spec = find_spec
"""


@pytest.mark.parametrize("absent", ["torch", "peft", "torch transformers trl peft accelerate"])
def test_a_missing_extra_names_the_command_that_installs_it(
    project: LightProject, tmp_path: Path, absent: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(ABSENT)
    env = {"PYTHONPATH": str(tmp_path), "ABSENT": absent}
    with (project.folder / "spec.toml").open("a") as spec:
        spec.write(TRAIN)
    said = (f"train.t needs packages that are not installed: {absent.replace(' ', ', ')}",)
    project.bad(6, *said, "pip install", "tuneforge[train]", env=env, unmade=["render", "train"])


def test_what_needs_no_torch_builds_without_it(fresh: LightProject, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(ABSENT)
    env = {"PYTHONPATH": str(tmp_path), "ABSENT": "torch transformers trl peft accelerate"}
    fresh.good("build", env=env)
    fresh.is_sound()


def test_a_workspace_that_is_a_file(fresh: LightProject) -> None:
    fresh.workspace.touch()
    fresh.bad(6, str(fresh.workspace), "--workspace")
    assert fresh.workspace.read_bytes() == b""


@pytest.mark.parametrize("case", ["curation", "merge", "export", "standalone", "read-only"])
def test_a_disk_that_is_full_or_read_only(fresh: LightProject, case: str) -> None:
    apart = ["unshare", "--map-root-user", "--mount"]
    if shutil.which("unshare") is None or subprocess.run([*apart, "true"], check=False).returncode:
        pytest.skip("this machine lets us mount nothing: full and read-only disks are not tested")
    script = Path(__file__).parent / "light" / "small_disk.py"
    done = subprocess.run(
        [*apart, sys.executable, str(script), str(fresh.folder), case],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_file_size_limit_is_no_bug_of_ours(fresh: LightProject) -> None:
    """Some batch systems limit the size of a file instead of the disk."""
    limited = ["prlimit", "--fsize=40000"]
    fresh.good("build", "--only", "dataset.d")
    fresh.bad(6, "merge.m", "File too large", before=limited, unmade=["merge"])
    words = ["export", "base", "-o", "exported", "--format", "safetensors"]
    fresh.bad(6, "ulimit -f", words=words, before=limited)
    assert not (fresh.folder / "exported").exists()
    fresh.builds_well()
