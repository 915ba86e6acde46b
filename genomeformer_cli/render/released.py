"""A released, published or checked bundle, for people and for machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType

from genomeformer_cli.render.console import to_json
from genomeformer_cli.render.results import plain_table, scores_table, size

if TYPE_CHECKING:
    from rich.table import Table

    from genomeformer_cli.core.workflows.publish import CheckedBundle, PublishResult
    from genomeformer_cli.core.workflows.release import ReleaseResult


def plain(made: ReleaseResult | None, published: PublishResult | None) -> dict[str, Any]:
    """Both results as one JSON object."""
    found: dict[str, Any] = {} if made is None else to_json(made)
    if published is not None:
        more = to_json(published)
        found |= {key: value for key, value in more.items() if value is not None}
    return found


def view(made: ReleaseResult | None, published: PublishResult | None) -> RenderableType:
    """Both as one table."""
    if made is None:
        assert published is not None
        table = plain_table("bundle", str(published.bundle))
        _published_rows(table, published)
        return table
    table = plain_table("released", made.name)
    _made_rows(table, made)
    if published is not None:
        _published_rows(table, published)
    return Group(table, scores_table(made.summary))


def _made_rows(table: Table, made: ReleaseResult) -> None:
    table.add_row("folder", str(made.folder))
    table.add_row("size", size(made.num_bytes))
    table.add_row("weights", f"{made.weights}, stored as {made.stored_as}")
    if made.cost is not None:
        table.add_row(
            "storing costs",
            f"{made.cost.lost:+.5f} bits per base on held-out bases, "
            f"{made.cost.mean_change:.5f} in the mean of a question",
        )
    table.add_row(
        "verified",
        f"read back by a fresh process, largest difference of a vector "
        f"{made.verified.vectors:g}, of a logit {made.verified.logits:g}",
    )
    if made.signed_by is not None:
        table.add_row("signed by", made.signed_by)


def _published_rows(table: Table, published: PublishResult) -> None:
    if published.signed_by is not None:
        table.add_row("signed by", published.signed_by)
    if published.archive is not None:
        table.add_row("archive", str(published.archive))
        table.add_row("its SHA-256", str(published.archive_sha256))
    pushed = published.pushed
    if pushed is None:
        return
    seen = "public" if pushed.public else "private"
    total = size(sum(pushed.files.values()))
    what = f"{len(pushed.files)} files, {total}, {seen}"
    if pushed.address is None:
        table.add_row("would send", f"{what}, to {pushed.repository}")
        for name, num_bytes in pushed.files.items():
            table.add_row("", f"{name}  {size(num_bytes)}")
        return
    table.add_row("sent", what)
    table.add_row("address", pushed.address)


def checked_table(checked: CheckedBundle) -> RenderableType:
    """A bundle that was checked."""
    table = plain_table("checked", checked.name)
    table.add_row("folder", str(checked.folder))
    table.add_row("files", f"{checked.num_files} checksums hold, none too many, it loads")
    table.add_row("seal", checked.seal)
    if checked.signed_by is not None:
        table.add_row("signed by", checked.signed_by)
    elif checked.signed:
        table.add_row("signature", "there is one; `--key` says whose it must be")
    else:
        table.add_row("signature", "none")
    return table
