"""Versions as people name them, and putting them in service."""

import re
from collections.abc import Sequence
from typing import Final

from workerd_faas.cli.app import App, Target
from workerd_faas.cli.client.address import function_url
from workerd_faas.cli.client.api import SECRETS_CHANGED, ApiError
from workerd_faas.cli.client.scripts import Record
from workerd_faas.cli.failure import Failure, usage
from workerd_faas.cli.terminal import confirm, note, say, show_json, warn, working

_SHARE: Final = re.compile(r"([0-9a-f-]+)(?:@(\d{1,3}(?:\.\d{1,6})?)%?)?")
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def resolve_version(which: Target, given: str) -> str:
    """
    The full id of the version that `given`, the beginning of an id, means.

    Raises:
        Failure: none begins so, or several do.
    """
    given = given.lower()
    if _UUID.fullmatch(given):
        return given
    if len(given) < 4 or not re.fullmatch(r"[0-9a-f-]+", given):
        raise usage(
            f"{given!r} is no version id.", hint="give at least 4 of its characters: hex and dashes"
        )
    ids = [str(each.get("id")) for each in which.scripts.versions(which.name)]
    found = [each for each in ids if each.startswith(given)]
    if len(found) == 1:
        return found[0]
    raise Failure(
        f"{'Several versions' if found else 'No version'} of {which.name} "
        f"{'begin' if found else 'begins'} with {given!r}.",
        details=found,
        hint="give more characters" if found else "`wrkst versions list` shows them",
    )


def parse_shares(given: Sequence[str]) -> list[tuple[str, float]]:
    """
    `ID` alone, or `ID@PERCENT%` for each version; what is not said is shared out evenly.

    Raises:
        Failure: no such thing, or the sum is not 100.
    """
    parsed: list[tuple[str, float | None]] = []
    for text in given:
        match = _SHARE.fullmatch(text.lower())
        if match is None:
            raise usage(f"{text!r}: write a version as ID or ID@PERCENT%, such as 1a2b3c4d@90%.")
        parsed.append((match[1], None if match[2] is None else float(match[2])))
    open_ends = sum(share is None for _, share in parsed)
    said = sum(share for _, share in parsed if share is not None)
    if said > 100 or (not open_ends and abs(said - 100) > 1e-6):
        raise usage(f"The percentages add up to {said:g}, not to 100.")
    rest = (100 - said) / open_ends if open_ends else 0.0
    return [(version, rest if share is None else share) for version, share in parsed]


def shares_text(deployment: Record) -> str:
    """
    `1a2b3c4d 90 %, 5e6f7a8b 10 %`
    """
    versions = deployment.get("versions") or []
    return ", ".join(
        f"{str(each.get('version_id'))[:8]} {each.get('percentage'):g} %" for each in versions
    )


def annotation(record: Record, name: str) -> str:
    """
    A note of a version or deployment.
    """
    annotations = record.get("annotations")
    value = annotations.get(f"workers/{name}") if isinstance(annotations, dict) else None
    return str(value) if value else "-"


def made(record: Record) -> Record:
    """
    When and by whom it was made.
    """
    metadata = record.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def put_in_service(
    app: App,
    which: Target,
    shares: Sequence[tuple[str, float]],
    message: str | None,
    *,
    yes: bool,
    as_json: bool,
    verb: str,
) -> None:
    """
    Deploy versions with their shares, after a question on a terminal.
    """
    text = ", ".join(f"{version} at {share:g} %" for version, share in shares)
    confirm(f"{verb} {which.name}: {text}. Go on?", assume_yes=yes)
    try:
        with working("deploying"):
            result = which.scripts.create_deployment(which.name, shares, message)
    except ApiError as error:
        if error.code != SECRETS_CHANGED:
            raise
        warn(_secrets_then(which, shares, error))
        confirm("Go on all the same?", assume_yes=yes)
        with working("deploying"):
            result = which.scripts.create_deployment(which.name, shares, message, force=True)
    if as_json:
        show_json(result)
        return
    note(f"{which.name} is served by {text}.")
    urls = result.get("urls")
    found = urls.get("function") if isinstance(urls, dict) else None
    say(str(found or function_url(app.settings.require_url(), which.name)))


def _secrets_then(which: Target, shares: Sequence[tuple[str, float]], error: ApiError) -> str:
    """
    What becomes of the secrets that the server names, when an earlier version serves.
    """
    # As Wrangler reads it.
    changed = error.errors[0][1].partition("have changed: ")[2].split(", ")
    earlier = max(shares, key=lambda share: share[1])[0]
    resources = which.scripts.version(which.name, earlier).get("resources")
    bindings = resources.get("bindings") if isinstance(resources, dict) else None
    had = {
        str(each.get("name"))
        for each in (bindings if isinstance(bindings, list) else [])
        if isinstance(each, dict) and each.get("type") == "secret_text"
    }
    texts = [name for name in changed if name in had]
    none = [name for name in changed if name not in had]
    said = []
    if texts:
        said.append(f"an earlier text of {', '.join(texts)}")
    if none:
        said.append(f"no {', '.join(none)}")
    return (
        f"secrets belong to a version, and {earlier[:8]} has {' and '.join(said)}: "
        "its code will run with that"
    )
