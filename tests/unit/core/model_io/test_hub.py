"""A bundle goes to a Hub and comes back, whatever goes wrong on the way."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from genomeformer_cli.core.errors import CorruptError, NetworkError, RefusedError, UsageError
from genomeformer_cli.core.model_io.hub_client import Address, read_address
from genomeformer_cli.core.model_io.hub_download import fetch_bundle
from genomeformer_cli.core.model_io.hub_upload import push_bundle
from genomeformer_cli.core.store.layout import Store
from tests.bundles import make_bundle
from tests.files import everything_in
from tests.mini_hub import TOKEN, Fault, Hub

REPOSITORY = "org/gf-by-hand"
# The Hub's own client uploads by an argument that its transport has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


def push(bundle: Path, *, public: bool = False) -> Address:
    pushed = push_bundle(bundle, REPOSITORY, public=public)
    assert pushed.address is not None
    return read_address(pushed.address)


def test_what_comes_back_is_what_was_sent(hub: Hub, bundle: Path, store: Store) -> None:
    address = push(bundle)
    assert hub.repositories[REPOSITORY].private
    assert {**hub.files(REPOSITORY)}.keys() == {*everything_in(bundle), ".gitattributes"}
    fetched = fetch_bundle(address, store)
    assert everything_in(fetched.folder) == everything_in(bundle)
    assert read_address(fetched.address) == address


def test_files_of_a_known_commit_are_not_requested_again(
    hub: Hub, bundle: Path, store: Store
) -> None:
    address = push(bundle)
    fetch_bundle(address, store)
    before = len(hub.asked)
    fetch_bundle(address, store)
    assert hub.asked[before:] == []


def test_a_branch_moves_and_a_commit_does_not(
    hub: Hub, bundle: Path, store: Store, tmp_path: Path
) -> None:
    first = push(bundle)
    other = make_bundle(tmp_path / "other", name="gf-other").folder
    second = push(other)
    assert first.revision != second.revision
    assert everything_in(fetch_bundle(first, store).folder) == everything_in(bundle)
    branch = fetch_bundle(Address(repository=REPOSITORY), store)
    assert read_address(branch.address) == second
    with pytest.raises(CorruptError, match="has the checksum"):
        fetch_bundle(Address(repository=REPOSITORY, seal=first.seal), store)


def test_code_beside_a_bundle_is_never_fetched(hub: Hub, bundle: Path, store: Store) -> None:
    push(bundle)
    repository = hub.repositories[REPOSITORY]
    repository.commit({**hub.files(REPOSITORY), "modeling.py": b"1/0", "model.bin": b"x"})
    folder = fetch_bundle(Address(repository=REPOSITORY), store).folder
    assert everything_in(folder) == everything_in(bundle)
    assert not [line for line in hub.asked if "modeling.py" in line or "model.bin" in line]


def test_a_bundle_is_found_among_what_others_fetched(hub: Hub, bundle: Path, store: Store) -> None:
    push(bundle)
    huggingface_hub.snapshot_download(REPOSITORY)
    folder = fetch_bundle(Address(repository=REPOSITORY), store).folder
    assert everything_in(folder) == everything_in(bundle)


def test_a_later_release_takes_the_place_of_the_files_of_an_earlier(
    hub: Hub, bundle: Path, tmp_path: Path
) -> None:
    push(make_bundle(tmp_path / "cut", max_shard_bytes=4_000).folder)
    push(bundle)
    assert {**hub.files(REPOSITORY)}.keys() == {*everything_in(bundle), ".gitattributes"}


@pytest.mark.parametrize("path", ["/commit/", "/api/repos/create"])
def test_a_push_that_was_interrupted_resumes(hub: Hub, bundle: Path, path: str) -> None:
    hub.faults.append(Fault(method="POST", path=path, kind="503"))
    with pytest.raises(NetworkError, match="503"):
        push_bundle(bundle, REPOSITORY)
    sent = [line for line in hub.asked if line.startswith("PUT")]
    push(bundle)
    again = [line for line in hub.asked if line.startswith("PUT")]
    assert len(again) == len(set(again))
    assert set(sent) <= set(again)


def test_a_store_that_stumbles_is_tried_again(hub: Hub, bundle: Path, store: Store) -> None:
    hub.faults.append(Fault(method="PUT", path="/store/", kind="503"))
    hub.faults.append(Fault(method="GET", path="/store/", kind="cut"))
    fetched = fetch_bundle(push(bundle), store)
    assert everything_in(fetched.folder) == everything_in(bundle)


def test_a_hub_that_is_down_is_a_network_error(hub: Hub, bundle: Path, store: Store) -> None:
    push(bundle)
    hub.faults.append(Fault(method="GET", path="/resolve/.*/config.json", kind="503"))
    with pytest.raises(NetworkError) as failure:
        fetch_bundle(Address(repository=REPOSITORY), store)
    assert "again" in (failure.value.hint or "")
    fetched = fetch_bundle(Address(repository=REPOSITORY), store)
    assert everything_in(fetched.folder) == everything_in(bundle)


@pytest.mark.parametrize("path", ["/store/", "/resolve/.*/config.json", "/resolve/.*/SHA256SUMS"])
def test_wrong_bytes_are_found_and_not_kept(
    hub: Hub, bundle: Path, store: Store, path: str
) -> None:
    address = push(bundle)
    hub.faults.append(Fault(method="GET", path=path, kind="wrong"))
    with pytest.raises(CorruptError):
        fetch_bundle(address, store)
    assert everything_in(fetch_bundle(address, store).folder) == everything_in(bundle)


def test_wrong_bytes_on_the_hub_are_found_after_a_push(hub: Hub, bundle: Path) -> None:
    hub.faults.append(Fault(method="POST", path="/commit/", kind="spoil"))
    with pytest.raises(CorruptError, match=r"README\.md"):
        push_bundle(bundle, REPOSITORY)


@pytest.mark.parametrize("token", [None, "hf_wrong"])
def test_without_the_right_token_nothing_is_sent(
    hub: Hub, bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, token: str | None
) -> None:
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setenv("HF_TOKEN", token or "")
    with pytest.raises(RefusedError) as failure:
        push_bundle(bundle, REPOSITORY)
    assert "hf auth login" in (failure.value.hint or "")
    assert (token or "hf_wrong") not in f"{failure.value.message} {failure.value.hint}"
    assert REPOSITORY not in hub.repositories


def test_a_private_bundle_is_not_for_others(
    hub: Hub, bundle: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(bundle)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(RefusedError, match="401"):
        fetch_bundle(Address(repository=REPOSITORY), store)


def test_what_is_private_stays_so_and_what_is_public_is_not_sent_to_unasked(
    hub: Hub, bundle: Path
) -> None:
    push(bundle)
    with pytest.raises(UsageError, match="is private"):
        push_bundle(bundle, REPOSITORY, public=True)
    hub.repositories.clear()
    push(bundle, public=True)
    assert not hub.repositories[REPOSITORY].private
    with pytest.raises(UsageError, match="is public"):
        push_bundle(bundle, REPOSITORY)


def test_a_rehearsal_sends_no_request(hub: Hub, bundle: Path) -> None:
    pushed = push_bundle(bundle, REPOSITORY, rehearse=True)
    assert pushed.address is None
    assert pushed.files.keys() == everything_in(bundle).keys()
    assert hub.asked == []


@pytest.mark.parametrize(
    "text", ["hf://", "hf://org", "hf://a/b/c", "hf://a/../b", "hf://a/b@", "hf://a/b@x#12"]
)
def test_invalid_addresses_are_refused(text: str) -> None:
    if text.endswith("@"):
        assert read_address(text).revision == "main"
        return
    with pytest.raises(UsageError, match="invalid Hub address"):
        read_address(text)


@pytest.mark.parametrize("path", ["/api/models/.*/revision/", "/api/models/.*/tree/", "/resolve/"])
@pytest.mark.parametrize(("token", "status"), [(TOKEN, 403), ("", 401)])
def test_a_gated_repository_names_the_terms_to_accept(
    path: str,
    token: str,
    status: int,
    hub: Hub,
    bundle: Path,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    push(bundle, public=True)
    monkeypatch.setenv("HF_TOKEN", token)
    hub.faults += [Fault(method=m, path=path, kind="gated", times=99) for m in ("GET", "HEAD")]
    with pytest.raises(RefusedError, match="is gated") as failure:
        fetch_bundle(Address(repository=REPOSITORY), store)
    assert failure.value.status == status
    assert f"accept its terms at {hub.url}/{REPOSITORY}" in str(failure.value.hint)
    assert ("HF_TOKEN" in str(failure.value.hint)) == (not token)
    hub.faults.clear()
    assert everything_in(fetch_bundle(Address(repository=REPOSITORY), store).folder)
