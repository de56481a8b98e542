"""Storage that a deploy needs and that is not there yet."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from workerd_faas.cli.client.api import SCRIPT_NOT_FOUND, ApiError
from workerd_faas.cli.client.d1 import D1Api
from workerd_faas.cli.client.kv import KVApi
from workerd_faas.cli.client.scripts import ScriptsApi
from workerd_faas.cli.config.storage import Storage
from workerd_faas.cli.terminal import note

Binding = Mapping[str, Any]

_ID: Final = {"kv_namespace": "namespace_id", "d1": "id"}


def provisioned(
    scripts: ScriptsApi, name: str, bindings: Sequence[Binding], storage: Storage
) -> Sequence[Binding]:
    """
    The bindings with what they lack: a namespace or a database without an id is the one that the
    function has already, or one that is made for it, as Wrangler does.

    Raises:
        ApiError: it cannot be made.
    """
    without = [each for each in bindings if each["type"] in _ID and not each.get(_ID[each["type"]])]
    if not without:
        return bindings
    present = _present(scripts, name)
    made = {}
    for binding in without:
        if (binding["name"], binding["type"]) in present:
            made[binding["name"]] = {"name": binding["name"], "type": "inherit"}
        elif binding["type"] == "d1":
            made[binding["name"]] = {**binding, "id": _database(scripts, name, binding, storage)}
        else:
            found = _namespace(scripts, _proposed(name, binding))
            made[binding["name"]] = {**binding, "namespace_id": found}
    return [made.get(each["name"], each) for each in bindings]


def _present(scripts: ScriptsApi, name: str) -> set[tuple[str, str]]:
    at = ("accounts", scripts.account.id, "workers", "scripts", name, "settings")
    try:
        found = scripts.api.get(*at)
    except ApiError as error:
        if error.code != SCRIPT_NOT_FOUND:
            raise
        return set()
    return {(each["name"], each["type"]) for each in found.get("bindings") or []}


def _proposed(name: str, binding: Binding) -> str:
    return f"{name}-{binding['name'].lower().replace('_', '-')}"


def _namespace(scripts: ScriptsApi, title: str) -> str:
    kv = KVApi(scripts.api, scripts.account.id)
    for each in kv.all():
        if each.get("title") == title:
            return str(each["id"])
    note(f"making the KV namespace {title}")
    return str(kv.create(title)["id"])


def _database(scripts: ScriptsApi, name: str, binding: Binding, storage: Storage) -> str:
    d1 = D1Api(scripts.api, scripts.account.id)
    configured = storage.database(binding["name"])
    wanted = (configured and configured.name) or _proposed(name, binding)
    found = d1.id_of(wanted)
    if found is None:
        note(f"making the D1 database {wanted}")
        found = str(d1.create(wanted)["uuid"])
    return found
