"""Uploading, against a hub that runs in this process."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tuneforge.cli import main

SECRET = "hf_secretsecretsecret"


class Hub(BaseHTTPRequestHandler):
    """Takes what huggingface_hub sends: a new repository, then one commit of regular files."""

    seen: list[tuple[str, str, bytes]]
    tokens: list[str | None]
    refuse = False

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        self.seen.append(("POST", self.path, body))
        self.tokens.append(self.headers.get("Authorization"))
        if self.refuse:
            given = self.headers.get("Authorization", "")
            return self._answer(401, {"error": f"Invalid credentials {given}"})
        if "/preupload/" in self.path:
            files = json.loads(body)["files"]
            modes = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files
            ]
            return self._answer(200, {"files": modes})
        if "/commit/" in self.path:
            url = f"http://{self.headers['Host']}/acme/triage/commit/abc"
            done = {"commitUrl": url, "commitOid": "abc", "success": True}
            return self._answer(200, done)
        return self._answer(200, {"url": f"http://{self.headers['Host']}/acme/triage"})

    def do_GET(self):
        self.seen.append(("GET", self.path, b""))
        found = {"id": "acme/triage", "sha": "0", "siblings": []}
        self._answer(401 if self.refuse else 200, found)

    def _answer(self, status, values):
        body = json.dumps(values).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args):
        pass


@pytest.fixture
def hub(monkeypatch):
    pytest.importorskip("huggingface_hub")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_stub")
    handler = type("OneHub", (Hub,), {"seen": [], "tokens": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    handler.address = f"http://127.0.0.1:{server.server_port}"
    yield handler
    server.shutdown()
    server.server_close()


@pytest.fixture
def exported(tmp_path):
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "verification.json").write_text('{"passed": true}')
    (folder / "README.md").write_text("---\ntags: []\n---\n# triage\n")
    (folder / "triage-q8_0.gguf").write_bytes(b"GGUF" + bytes(100))
    return folder


def test_nothing_is_sent_by_default(hub, exported, capsys):
    assert main(["push", str(exported), "acme/triage", "--endpoint", hub.address]) == 0
    said = capsys.readouterr().out
    assert "nothing was sent; add --upload" in said
    assert "triage-q8_0.gguf" in said
    assert "(private)" in said
    assert hub.seen == []


def test_upload_is_one_commit_of_every_file(hub, exported, capsys):
    arguments = ["push", str(exported), "acme/triage", "--endpoint", hub.address, "--upload"]
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["commit"].endswith("/commit/abc")
    created = next(body for _, path, body in hub.seen if path == "/api/repos/create")
    assert json.loads(created)["visibility"] == "private"
    (commit,) = [body for _, path, body in hub.seen if "/commit/" in path]
    lines = [json.loads(line) for line in commit.splitlines()]
    assert {line["value"]["path"] for line in lines if line["key"] == "file"} == {
        "README.md",
        "triage-q8_0.gguf",
        "verification.json",
    }


def test_a_hub_that_refuses_exits_6(hub, exported, capsys):
    hub.refuse = True
    arguments = ["push", str(exported), "acme/triage", "--endpoint", hub.address, "--upload"]
    assert main(arguments) == 6
    assert "hf auth login" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["triage", "a/b/c", "/b"])
def test_wrong_names_exit_2(exported, name):
    assert main(["push", str(exported), name]) == 2


def test_only_exports_are_pushed(tmp_path):
    assert main(["push", str(tmp_path), "acme/triage"]) == 2


def test_a_damaged_export_exits_3(exported):
    from tuneforge.manifest import content_digest, describe_files, write_manifest

    files = describe_files(exported)
    manifest = {"v": 1, "step": "export.x", "key": "k", "files": files}
    write_manifest(exported, manifest | {"digest": content_digest(files)})
    assert main(["push", str(exported), "acme/triage"]) == 0
    (exported / "triage-q8_0.gguf").write_bytes(b"other")
    assert main(["push", str(exported), "acme/triage"]) == 3


@pytest.mark.parametrize("refuse", [False, True])
def test_the_token_is_sent_and_nowhere_else(hub, exported, tmp_path, monkeypatch, capsys, refuse):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_TOKEN", SECRET)
    hub.refuse = refuse
    arguments = ["push", str(exported), "acme/triage", "--endpoint", hub.address]
    for option in ((), ("--json",), ("--upload",), ("--upload", "--json")):
        main([*arguments, *option])
        said = capsys.readouterr()
        assert SECRET not in said.out + said.err
    assert f"Bearer {SECRET}" in hub.tokens
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert written
    assert not [data for data in written if SECRET.encode() in data]
    assert not [body for _, path, body in hub.seen if SECRET.encode() in body + path.encode()]


def test_a_hub_that_repeats_the_token_is_not_quoted(exported, monkeypatch):
    from huggingface_hub import HfApi
    from tuneforge_specs.errors import EnvironmentMissing

    from tuneforge.export.push import plan_upload, upload

    def answer(*_given, **_named):
        raise OSError(f"no such user: {SECRET}")

    monkeypatch.setattr(HfApi, "create_repo", answer)
    with pytest.raises(EnvironmentMissing, match=r"no such user: \*\*\*") as caught:
        upload(plan_upload(exported, "acme/triage"), token=SECRET)
    assert SECRET not in str(caught.value)


def test_a_hub_that_is_not_there_exits_6(exported, capsys):
    arguments = ["push", str(exported), "acme/triage", "--endpoint", "http://127.0.0.1:9"]
    assert main([*arguments, "--upload"]) == 6
    assert "did not take acme/triage" in capsys.readouterr().err
