"""The token of the Hub stays with the Hub's host and port."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from genomeformer_cli.core.errors import GenomeformerError
from genomeformer_cli.core.model_io.hub_client import read_address
from genomeformer_cli.core.model_io.hub_download import fetch_bundle
from genomeformer_cli.core.model_io.hub_upload import push_bundle
from genomeformer_cli.core.store.layout import Store
from tests.files import everything_in
from tests.mini_hub import Hub, running_hub

REPOSITORY = "org/gf-by-hand"
# The Hub's own client uploads by an argument that its transport has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def elsewhere() -> Iterator[Hub]:
    """Another server: same host, another port."""
    with running_hub() as server:
        yield server


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_store_of_large_files_gets_no_token(
    hub: Hub, elsewhere: Hub, bundle: Path, tmp_path: Path, name: str
) -> None:
    address = push_bundle(bundle, REPOSITORY).address
    assert address is not None
    elsewhere.objects = hub.objects
    hub.store = elsewhere.url.replace("127.0.0.1", name)
    fetched = fetch_bundle(read_address(address), Store(tmp_path / "cache"))
    assert everything_in(fetched.folder) == everything_in(bundle)
    assert hub.authorised
    assert [one for one in elsewhere.asked if one.startswith("GET /store/")]
    assert elsewhere.authorised == []


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_hub_that_sends_elsewhere_does_not_send_the_token(
    hub: Hub, elsewhere: Hub, bundle: Path, tmp_path: Path, name: str
) -> None:
    hub.moved_to = elsewhere.url.replace("127.0.0.1", name)
    with pytest.raises(GenomeformerError):
        fetch_bundle(read_address(f"hf://{REPOSITORY}"), Store(tmp_path / "cache"))
    with pytest.raises(GenomeformerError):
        push_bundle(bundle, REPOSITORY)
    assert hub.authorised
    assert elsewhere.asked
    assert elsewhere.authorised == []
