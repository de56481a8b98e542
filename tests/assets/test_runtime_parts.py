"""What a cell is given to serve sites, without starting one."""

from pathlib import Path

from workerd_faas.runtime.config import FunctionCell, render_function_cell
from workerd_faas.runtime.egress import NOTHING
from workerd_faas.runtime.site_files import SOURCE, SiteFiles, find_asset_worker

ACCOUNT = "a" * 32


def rendered(files: Path | None, *, of_all: bool = False) -> str:
    """
    The configuration of a cell.
    """
    cell = FunctionCell(
        listen=Path("/run/h"),
        daemon=Path("/run/d"),
        modules=(("router.js", "export default {}"),),
        egress=NOTHING,
        loaded_versions=1,
        files=files,
        files_of_all=of_all,
    )
    return render_function_cell(cell)


def test_a_cell_reads_one_directory() -> None:
    """
    The disk service has the account's directory, cannot write, and is not there without one.
    """
    text = rendered(Path("/data/assets") / ACCOUNT)
    assert f'disk = (path = "/data/assets/{ACCOUNT}")' in text
    assert 'name = "FILES_OF_ALL", json = "false"' in text
    assert "writable" not in text
    assert "FILES" not in rendered(None)
    assert 'name = "FILES_OF_ALL", json = "true"' in rendered(Path("/data/assets"), of_all=True)


def test_the_directory_is_made_for_cells_to_read(tmp_path: Path) -> None:
    """
    An account's directory is there before its cell starts, which may be another user; who may go
    through `DATA_DIR` is decided there.
    """
    files = SiteFiles(directory=tmp_path / "assets", worker="")
    own = files.of(ACCOUNT)
    assert own == files.of(ACCOUNT) == tmp_path / "assets" / ACCOUNT
    assert own.stat().st_mode & 0o777 == 0o755
    assert files.of(None) == tmp_path / "assets"


def test_the_asset_worker_is_found_where_npm_puts_it(tmp_path: Path) -> None:
    """
    The first installation that has the file counts; without one there is none.
    """
    assert find_asset_worker([tmp_path]) is None
    file = tmp_path / "there" / SOURCE
    file.parent.mkdir(parents=True)
    file.write_text("export {}")
    assert find_asset_worker([tmp_path, tmp_path / "there"]) == "export {}"


def test_the_installed_asset_worker_is_the_one_we_know() -> None:
    """
    The project's own installation has it, with the class that the router extends and nothing to
    import but workerd's own modules.
    """
    source = find_asset_worker()
    assert source is not None
    assert "AssetWorkerInner" in source
    imported = [line for line in source.splitlines() if line.startswith("import ")]
    assert imported == ['import { WorkerEntrypoint } from "cloudflare:workers";']
