"""Accounts, functions, versions and deployments as plain values."""

import enum
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import attrs

from workerd_faas.domain.permissions import EVERYTHING, Permissions

JSON = Any
"""Any value that JSON can express, as `json.loads` gives it."""


def timestamp(moment: datetime) -> str:
    """
    ISO 8601 in UTC with microseconds, always of one length, so that strings sort as times do.
    """
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def new_version_id() -> str:
    """
    A random UUID (RFC 9562 version 4): its 122 random bits are all that keeps a draft private.
    """
    return str(uuid.uuid4())


@attrs.frozen(kw_only=True)
class Account:
    """
    Who owns functions. `id` is 32 hex digits; `name` is for people and need not be unique.
    """

    id: str
    name: str


@attrs.frozen(kw_only=True)
class Principal:
    """
    Who makes a request, once the credential has been checked.

    Attributes:
        accounts: The accounts it may act for.
        subject: A stable id of the user or machine, for logs and authorship.
        credential: The id of the session or API token that was used.
        email: The verified e-mail address, for display only; never an identity.
        permissions: What it may do for its accounts; routes of the API hold it to them.
    """

    accounts: tuple[Account, ...]
    subject: str
    credential: str
    email: str | None = None
    by_token: bool = False
    permissions: Permissions = EVERYTHING

    @property
    def author(self) -> str:
        """
        What a version or deployment says about its author.
        """
        return self.email or self.accounts[0].name


class ModuleKind(enum.Enum):
    """
    What a module is to workerd; `wire.content_types` maps the upload's content types to it.
    """

    ESM = "esm"
    COMMONJS = "cjs"
    TEXT = "text"
    DATA = "data"
    JSON = "json"
    WASM = "wasm"
    PYTHON = "py"
    PYTHON_REQUIREMENT = "pyreq"
    SOURCE_MAP = "map"


@attrs.frozen(kw_only=True)
class Module:
    """
    One file of an upload. `name` is normalised (see `domain.modules`); `content` is untouched.
    """

    name: str
    kind: ModuleKind
    content: bytes = attrs.field(repr=lambda content: f"<{len(content)} bytes>")


class BindingKind(enum.Enum):
    """
    Bindings that a function can be given in `env`.
    """

    PLAIN_TEXT = "plain_text"
    JSON = "json"
    SECRET_TEXT = "secret_text"  # noqa: S105 — a type
    VERSION_METADATA = "version_metadata"
    WASM_MODULE = "wasm_module"
    TEXT_BLOB = "text_blob"
    DATA_BLOB = "data_blob"
    RATELIMIT = "ratelimit"
    HYPERDRIVE = "hyperdrive"
    ANALYTICS_ENGINE = "analytics_engine"
    SERVICE = "service"
    ASSETS = "assets"
    KV_NAMESPACE = "kv_namespace"
    D1 = "d1"
    QUEUE = "queue"

    @property
    def is_value(self) -> bool:
        """
        Whether the binding is a plain value in `env`; others are objects that the router makes.
        """
        return self in {BindingKind.PLAIN_TEXT, BindingKind.JSON, BindingKind.SECRET_TEXT}


PARTS: Final[Mapping[BindingKind, ModuleKind]] = {
    BindingKind.WASM_MODULE: ModuleKind.WASM,
    BindingKind.TEXT_BLOB: ModuleKind.TEXT,
    BindingKind.DATA_BLOB: ModuleKind.DATA,
}
"""Bindings whose value is a module of the upload, and which kind of module."""


@attrs.frozen(kw_only=True)
class Binding:
    """
    One entry of `env`. `value` is a string for `plain_text`, any JSON value for `json`, and for
    the others a JSON object: the fields of the upload beside name and type.

    A `secret_text` has its text only while it is uploaded, checked or loaded; that of a stored
    version has `{"secret": id}`, which `usecases.secrets` turns into the text.
    """

    name: str
    kind: BindingKind
    value: JSON = attrs.field(repr=False)


def plain_values(bindings: Iterable[Binding]) -> Mapping[str, JSON]:
    """
    The bindings that are plain values, by name.
    """
    return {binding.name: binding.value for binding in bindings if binding.kind.is_value}


@attrs.frozen(kw_only=True)
class Code:
    """
    All that decides how a version behaves: what is checked, loaded and run.
    """

    main_module: str
    modules: tuple[Module, ...]
    compatibility_date: str
    compatibility_flags: tuple[str, ...] = ()
    bindings: tuple[Binding, ...] = ()

    @property
    def env(self) -> Mapping[str, JSON]:
        """
        The plain values that the function sees in `env`.
        """
        return plain_values(self.bindings)


@attrs.frozen(kw_only=True)
class Version:
    """
    One immutable upload of a function, without its modules (those are in the bundle).

    Attributes:
        bundle: SHA-256 (64 hex digits) of the stored bundle.
        main_module: Empty for a version that is a site only.
        handlers: Event handlers and entrypoints found when the upload was checked.
        startup_ms: Milliseconds that loading took in the check.
        assets: SHA-256 of the site document (`wire.site.document`), stored like a bundle.
        triggered_by: `upload`, `secret`, `rollback` or `promotion`, as Wrangler shows it.
    """

    id: str
    function: str
    account_id: str
    number: int
    created_at: datetime
    author: str
    source: str
    bundle: str
    size: int
    main_module: str
    compatibility_date: str
    compatibility_flags: tuple[str, ...] = ()
    bindings: tuple[Binding, ...] = ()
    handlers: tuple[str, ...] = ()
    startup_ms: int = 0
    assets: str | None = None
    message: str | None = None
    tag: str | None = None
    triggered_by: str = "upload"


@attrs.frozen(kw_only=True)
class Split:
    """
    A version's share of a deployment, in per cent (fractions allowed).
    """

    version_id: str
    percentage: float


@attrs.frozen(kw_only=True)
class Deployment:
    """
    Which version or versions serve a function from `created_at` on.
    """

    id: str
    function: str
    created_at: datetime
    author: str
    source: str
    splits: tuple[Split, ...]
    message: str | None = None
    triggered_by: str = "upload"


@attrs.frozen(kw_only=True)
class Alias:
    """
    A name for a version, a host label below the function's.
    """

    name: str
    version_id: str
    created_at: datetime
    modified_at: datetime


@attrs.frozen(kw_only=True)
class Reach:
    """
    Which requests from outside a function gets. Other functions, schedules and queues reach it
    always.

    Attributes:
        enabled: Those to `<function>.<BASE_DOMAIN>`.
        previews: Those to hosts of single versions and aliases.
    """

    enabled: bool = True
    previews: bool = True


OPEN: Final = Reach()


@attrs.frozen(kw_only=True)
class Function:
    """
    A named Worker; the name is unique on the installation and owned by `account_id`.
    """

    name: str
    account_id: str
    tag: str
    created_at: datetime
    modified_at: datetime
    reach: Reach = OPEN


@attrs.frozen(kw_only=True)
class CheckReport:
    """
    What the upload check found out about code that loads.
    """

    handlers: tuple[str, ...]
    startup_ms: int


@attrs.frozen(kw_only=True)
class PublicUrls:
    """
    Where the outside reaches the platform: scheme, base domain and port.
    """

    scheme: str
    base_domain: str
    port: int | None = None

    @property
    def _authority_end(self) -> str:
        default: Final = {"http": 80, "https": 443}[self.scheme]
        return self.base_domain + (f":{self.port}" if self.port not in (None, default) else "")

    @property
    def api(self) -> str:
        """
        The management API, without a trailing slash.
        """
        return f"{self.scheme}://{self._authority_end}"

    def function(self, name: str) -> str:
        """
        Where the function's deployment answers.
        """
        return f"{self.scheme}://{name}.{self._authority_end}"

    def selected(self, name: str, selector: str) -> str:
        """
        Where a version prefix or an alias of the function answers.
        """
        return f"{self.scheme}://{selector}.{name}.{self._authority_end}"

    def version(self, name: str, version_id: str) -> str:
        """
        Where one version answers.
        """
        return self.selected(name, version_id[:8])
