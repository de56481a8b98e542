"""What an upload shows: sizes, progress, and in the end the addresses."""

import gzip
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from workerd_faas.cli.assets.site import Site
from workerd_faas.cli.bundle.worker import Worker
from workerd_faas.cli.client.address import function_url
from workerd_faas.cli.client.multipart import Form
from workerd_faas.cli.client.scripts import Record, ScriptsApi
from workerd_faas.cli.commands.deploy_triggers import TriggersSet
from workerd_faas.cli.terminal import (
    error_console,
    note,
    say,
    show_json,
    size_text,
    working,
)

_PROGRESS_FROM: Final = 256 * 1024
"""Bytes from which on a bar is worth it."""


@attrs.frozen
class Sizes:
    """
    Bytes of code, as they are and compressed.
    """

    raw: int
    gzip: int


def sizes_of(worker: Worker | None) -> Sizes:
    """
    Measure it.
    """
    code = [] if worker is None else worker.code()
    compressed = gzip.compress(b"".join(code), compresslevel=6)
    return Sizes(sum(map(len, code)), len(compressed))


def show_build(worker: Worker | None, site: Site | None, sizes: Sizes) -> None:
    """
    What was built, for people.
    """
    if site is not None:
        count = len(site.files)
        note(f"Assets: {count} file{'s' if count != 1 else ''}, {size_text(site.size)}")
    if worker is None:
        return
    count = 1 + len(worker.modules)
    note(
        f"Built with {worker.bundler}: {count} module{'s' if count > 1 else ''}, "
        f"{size_text(sizes.raw)} / gzip: {size_text(sizes.gzip)}"
    )
    for module in worker.modules:
        note(f"  {module.name} ({module.kind.value}, {size_text(len(module.content))})")


def built(name: str, worker: Worker | None, site: Site | None, sizes: Sizes) -> dict[str, Any]:
    """
    What was built, for programs.
    """
    document: dict[str, Any] = {"name": name, "size": sizes.raw, "gzip": sizes.gzip}
    if worker is not None:
        document |= {
            "bundler": worker.bundler,
            "main_module": worker.main.name,
            "modules": [
                {"name": module.name, "type": module.kind.value, "size": len(module.content)}
                for module in worker.uploaded()
            ],
        }
    if site is not None:
        document["assets"] = {"files": len(site.files), "size": site.size}
    return document


def send_site(scripts: ScriptsApi, name: str, site: Site) -> dict[str, Any]:
    """
    Upload the files that the server lacks, with a bar; `metadata.assets` for the upload.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    bar = Progress(
        TextColumn("uploading assets"),
        BarColumn(),
        MofNCompleteColumn(),
        console=error_console(),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task("uploading", total=None)

        def sent(count: int, total: int) -> None:
            bar.update(task, completed=count, total=total)

        uploaded = scripts.upload_site(name, site, sent)
    known = len({file.hash for file in site.files.values()}) - uploaded.files
    note(f"Assets: {uploaded.files} uploaded, {known} already there")
    return {"jwt": uploaded.token, "config": site.config}


def send(
    call: Callable[[str, Form, Callable[[int], None] | None], Record], name: str, form: Form
) -> Record:
    """
    Upload, with a bar if it is long enough for one; then the server checks the code.
    """
    if not sys.stderr.isatty() or form.length < _PROGRESS_FROM:
        with working("uploading and checking"):
            return call(name, form, None)
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TransferSpeedColumn,
    )

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=error_console(),
        transient=True,
    )
    with bar:
        total = form.length
        task = bar.add_task("uploading", total=total)

        def sent(count: int) -> None:
            description = "uploading" if count < total else "checking"
            bar.update(task, completed=count, description=description)

        return call(name, form, sent)


def show_result(
    base_url: str,
    name: str,
    result: Record,
    sizes: Sizes,
    *,
    deploys: bool,
    as_json: bool,
    triggers: TriggersSet | None = None,
) -> None:
    """
    What the server made of it: the version, where it answers, when it runs by the clock.
    """
    version_id = str((result.get("deployment_id") if deploys else None) or result.get("id"))
    found = result.get("urls")
    urls: Mapping[str, Any] = found if isinstance(found, dict) else {}
    function = str(urls.get("function") or function_url(base_url, name))
    version = str(urls.get("version") or function_url(base_url, name, version_id[:8]))
    aliases = urls.get("aliases")
    alias_urls: Mapping[str, Any] = aliases if isinstance(aliases, dict) else {}
    startup = result.get("startup_time_ms")
    if as_json:
        show_json(
            {
                **({} if triggers is None else triggers.document()),
                "name": name,
                "version_id": version_id,
                "deployed": deploys,
                "startup_time_ms": startup,
                "size": sizes.raw,
                "gzip": sizes.gzip,
                "urls": {"function": function, "version": version, "aliases": alias_urls},
            }
        )
        return
    checked = f" (started in {startup} ms)" if isinstance(startup, int) else ""
    note(f"{'Deployed' if deploys else 'Uploaded'} {name}, version {version_id}{checked}")
    if deploys:
        say(function)
    say(f"{version}  (this version)")
    for alias, url in sorted(alias_urls.items()):
        say(f"{url}  (alias {alias})")
    if triggers is not None:
        triggers.show()
    if not deploys:
        note(f"put it in service with: wrkst versions deploy {version_id[:8]} --name {name}")
