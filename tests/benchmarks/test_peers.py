"""Each peer is built once, in its own environment, and a failure gives the reason."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from benching import TOOLS, call

from freelight.benchmarks import peers
from freelight.benchmarks.peers import PEERS, STAMP, Peer, find_peer, make_peer
from freelight.shards import FreelightError


class Builder:
    """A fake builder: notes the commands, and fails at the one that contains `fails`."""

    def __init__(self, fails: str = "nothing") -> None:
        self.fails = fails
        self.commands: list[str] = []

    def __call__(self, command: Sequence[str], log: Path) -> int:
        self.commands.append(" ".join(command))
        if self.fails not in self.commands[-1]:
            (log.parent / "toy").mkdir(exist_ok=True)
            return 0
        log.write_text("Collecting ffcv\nERROR: no compiler\nnotice: a new pip\n")
        return 1


TOY = Peer(name="toy", installs=("a==1 b", "--no-deps c"), imports=("a", "c"))


def test_a_peer_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PEERS, "toy", TOY)
    builder = Builder()
    assert find_peer("toy", tmp_path) is None
    assert make_peer(TOY, tmp_path, run=builder) == tmp_path / "toy"
    venv, first, second, proof = builder.commands
    assert venv.endswith(f"-m venv --clear {tmp_path}/toy")
    assert first.endswith("pip --disable-pip-version-check install a==1 b")
    assert second.endswith("install --no-deps c")
    assert proof.endswith("-c import a; import c")
    assert find_peer("toy", tmp_path) == tmp_path / "toy" / "bin" / "python"
    make_peer(TOY, tmp_path, run=builder)
    assert len(builder.commands) == 4, "it was there"
    monkeypatch.setitem(PEERS, "toy", Peer(name="toy", installs=("a==2 b",), imports=("a",)))
    assert find_peer("toy", tmp_path) is None, "another recipe makes another environment"


@pytest.mark.parametrize("fails", ["venv", "install --no-deps", "import a"])
def test_a_failed_build_leaves_no_stamp_and_says_why(
    fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PEERS, "toy", TOY)
    with pytest.raises(FreelightError, match=rf"{fails}.* failed: ERROR: no compiler \(log: {tmp_path}/toy.log"):
        make_peer(TOY, tmp_path, run=Builder(fails))
    assert find_peer("toy", tmp_path) is None
    assert not list(tmp_path.rglob(STAMP))
    builder = Builder()
    make_peer(TOY, tmp_path, run=builder)
    assert len(builder.commands) == 4, "it starts again"


def test_a_peer_whose_libraries_are_missing_names_the_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    builder = Builder()
    with pytest.raises(
        FreelightError, match=r"needs a C\+\+ compiler, pkg-config; .*apt-get install libopencv-dev libturbojpeg0-dev"
    ):
        make_peer(PEERS["ffcv"], tmp_path, run=builder)
    assert builder.commands == []


def test_peers_makes_the_others_when_one_fails_and_exits_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(peer: Peer, home: Path) -> Path:
        if peer.name == "ffcv":
            raise FreelightError("its build needs a C++ compiler")
        return home / peer.name

    monkeypatch.setattr(peers, "make_peer", make)
    result = call(peers.command, "--peers", tmp_path)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        f"{name}: installed in {tmp_path / name}" for name in ("torchvision", "streaming", "img2dataset")
    ]
    assert "ffcv: not installed: its build needs a C++ compiler" in result.stderr
    assert call(peers.command, "img2dataset", "--peers", tmp_path).exit_code == 0


def test_no_peer_is_an_extra_of_ours() -> None:
    """Peers have their own environments; installing Freelight installs none of them."""
    configured = (TOOLS.parent / "setup.cfg").read_text()
    for name in PEERS:
        assert not re.search(rf"^\s*{name}\b", configured, re.MULTILINE)
