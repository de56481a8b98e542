"""
The one table of settings: the loader, `--help`, `config/env.example` and the table in
`docs/operators.md` are all made from it.
"""

from typing import Final

from workerd_faas.settings import endpoints, values
from workerd_faas.settings.limits import LIMIT_SETTINGS
from workerd_faas.settings.setting import Setting

_ADDRESS: Final = "Address"
_LOGIN: Final = "Login"
_FUNCTIONS: Final = "Functions"
_OPERATION: Final = "Operation"

SETTINGS: Final = (
    Setting(
        group=_ADDRESS,
        name="BASE_DOMAIN",
        meaning="The host of the management API; functions answer on names below it",
        read=values.domain,
        required=True,
        dev_default="localhost",
        example="faas.example.com",
    ),
    Setting(
        group=_ADDRESS,
        name="PUBLIC_URL",
        meaning="Scheme, BASE_DOMAIN and port as browsers see them",
        read=values.origin,
        default_words="the origin of OIDC_REDIRECT_URI, else https://BASE_DOMAIN; "
        "on localhost http with the port of LISTEN",
        example="https://faas.example.com",
    ),
    Setting(
        group=_ADDRESS,
        name="LISTEN",
        meaning="Where to listen: one or several Twisted endpoint strings, separated by spaces",
        read=endpoints.endpoints,
        default="tcp:8080:interface=127.0.0.1",
        example="tcp:8080:interface=127.0.0.1",
    ),
    Setting(
        group=_ADDRESS,
        name="USE_FORWARDED_HOST",
        meaning="Take the host from X-Forwarded-Host when a trusted proxy sends it",
        read=values.flag,
        default="false",
        example="true",
    ),
    Setting(
        group=_ADDRESS,
        name="TRUSTED_PROXIES",
        meaning="Address blocks of the reverse proxies whose forwarding headers are believed",
        read=values.networks,
        default_words="none; with USE_FORWARDED_HOST=true: 127.0.0.0/8 ::1/128",
        example="10.0.0.0/24",
    ),
    Setting(
        group=_ADDRESS,
        name="DATA_DIR",
        meaning="The directory of the database and the uploaded code",
        read=values.path,
        default="/var/lib/workerd-faas",
        dev_default=".data",
        example="/var/lib/workerd-faas",
    ),
    Setting(
        group=_LOGIN,
        name="JWT_SECRET",
        meaning="The key that signs access tokens: at least 32 random bytes",
        read=values.signing_secret,
        required=True,
        secret=True,
        default_words="required; with --dev: made and kept in DATA_DIR",
        example="the output of: openssl rand -base64 48",
    ),
    Setting(
        group=_LOGIN,
        name="OIDC_ISSUER",
        meaning="The OpenID Connect provider; its endpoints are found by discovery",
        read=values.issuer,
        required=True,
        default_words="required; with --dev: a built-in provider",
        example="https://login.example.com",
    ),
    Setting(
        group=_LOGIN,
        name="OIDC_CLIENT_ID",
        meaning="Our client id at the provider",
        read=values.text,
        required=True,
        default_words="required with OIDC_ISSUER",
        example="workerd-faas",
    ),
    Setting(
        group=_LOGIN,
        name="OIDC_CLIENT_SECRET",
        meaning="Our client secret at the provider",
        read=values.given_secret,
        required=True,
        secret=True,
        default_words="required with OIDC_ISSUER",
        example="what the provider shows for this client",
    ),
    Setting(
        group=_LOGIN,
        name="OIDC_REDIRECT_URI",
        meaning="Where the provider sends browsers back to, as registered there",
        read=values.any_url,
        default_words="PUBLIC_URL/auth/callback",
        example="https://faas.example.com/auth/callback",
    ),
    Setting(
        group=_LOGIN,
        name="OIDC_AUTHORIZATION_ENDPOINT",
        meaning="Replaces the authorization endpoint that discovery gives",
        read=values.url,
        default_words="by discovery",
        example="https://login.example.com/authorize",
    ),
    Setting(
        group=_LOGIN,
        name="OIDC_TOKEN_ENDPOINT",
        meaning="Replaces the token endpoint that discovery gives",
        read=values.url,
        default_words="by discovery",
        example="https://login.example.com/token",
    ),
    Setting(
        group=_LOGIN,
        name="OIDC_USERINFO_ENDPOINT",
        meaning="Replaces the userinfo endpoint that discovery gives",
        read=values.url,
        default_words="by discovery",
        example="https://login.example.com/userinfo",
    ),
    Setting(
        group=_LOGIN,
        name="LOGIN_ALLOW",
        meaning="Who may log in: verified e-mail addresses, @domain, or sub:SUBJECT",
        read=values.login_rules,
        default_words="everyone whom the provider lets in",
        example="@example.com alice@partner.example",
    ),
    Setting(
        group=_FUNCTIONS,
        name="SECRETS_KEY",
        meaning="The key that encrypts the secrets of functions in the database: the base64 of 32 "
        "random bytes; several, the newest first, while a key is replaced",
        read=values.secrets_keys,
        secret=True,
        default_words="made and kept in DATA_DIR",
        example="the output of: openssl rand -base64 32",
    ),
    Setting(
        group=_FUNCTIONS,
        name="WORKERD",
        meaning="The workerd program",
        read=values.program,
        default_words="found in the installation's node_modules or in PATH",
        example="/opt/workerd-faas/node_modules/workerd/bin/workerd",
    ),
    Setting(
        group=_FUNCTIONS,
        name="ISOLATION",
        meaning="What shares a workerd process: the functions of an account, one function, or all",
        read=values.choice("account", "function", "shared"),
        default="account",
        example="function",
    ),
    Setting(
        group=_FUNCTIONS,
        name="SANDBOX",
        meaning="What holds workerd processes besides limits: landlock; bwrap, which is bubblewrap "
        "and Landlock; auto, which is Landlock where the kernel has it; or none",
        read=values.choice("auto", "landlock", "bwrap", "none"),
        default="auto",
        example="bwrap",
    ),
    Setting(
        group=_FUNCTIONS,
        name="CELL_UIDS",
        meaning="User ids that nobody else has, first and last: each workerd process becomes one "
        "of them; auto: ids that no system gives away, if the daemon may switch users; or none",
        read=values.users,
        default="auto",
        example="200000-265535",
    ),
    Setting(
        group=_FUNCTIONS,
        name="EGRESS_ALLOW",
        meaning="Private address blocks that functions may reach, besides all public addresses",
        read=values.networks,
        default_words="none",
        example="10.0.5.0/24",
    ),
    Setting(
        group=_FUNCTIONS,
        name="HYPERDRIVE_ALLOW",
        meaning="Private address blocks of databases that a Hyperdrive configuration may name; "
        "they are open to accounts with a deployed function that binds one",
        read=values.networks,
        default_words="none",
        example="10.0.7.0/24",
    ),
    Setting(
        group=_FUNCTIONS,
        name="EGRESS_DENY",
        meaning="Public addresses that lead to this machine without being its own, such as that "
        "of a router or load balancer before it: functions must not reach them",
        read=values.addresses,
        default_words="none; the addresses of this machine's interfaces are always denied",
        example="198.51.100.7",
    ),
    Setting(
        group=_FUNCTIONS,
        name="MAX_CELLS",
        meaning="How many workerd processes may run functions at a time",
        read=values.count,
        default="64",
        example="200",
    ),
    Setting(
        group=_FUNCTIONS,
        name="CELLS_PER_ACCOUNT",
        meaning="How many of them may run the functions of one account (or what else shares one) "
        "when one has too much to do: each has a memory of its own",
        read=values.count,
        default="1",
        example="4",
    ),
    Setting(
        group=_FUNCTIONS,
        name="PROMOTED_FUNCTIONS",
        meaning="How many functions of an account may have a process of their own besides, while "
        "they are called more than a hundred times a second and say nothing: it takes half of the "
        "time for a request; none for no such process",
        read=values.or_none(values.count),
        default="1",
        example="none",
    ),
    Setting(
        group=_FUNCTIONS,
        name="CELL_MEMORY",
        meaning="How much memory the functions of one workerd process may use, 16MiB at least",
        read=values.cell_memory,
        default="256MiB",
        example="512MiB",
    ),
    Setting(
        group=_FUNCTIONS,
        name="CELLS_MEMORY",
        meaning="How much memory all workerd processes that run functions may have together; from "
        "there on the one that has not been used for longest is stopped for a new one",
        read=values.cell_memory,
        default_words="three quarters of what the machine or container has",
        example="6GiB",
    ),
    Setting(
        group=_FUNCTIONS,
        name="CELL_IDLE_TIMEOUT",
        meaning="How long a workerd process without requests is kept",
        read=values.duration,
        default="5m",
        example="1h",
    ),
    Setting(
        group=_FUNCTIONS,
        name="CHECK_TIMEOUT",
        meaning="How long an uploaded function may take to load",
        read=values.duration,
        default="1s",
        example="3s",
    ),
    Setting(
        group=_FUNCTIONS,
        name="MAX_CODE_SIZE",
        meaning="How large the modules of one upload may be together, 64MiB at most",
        read=values.code_size,
        default="64MiB",
        example="16MiB",
    ),
    *LIMIT_SETTINGS,
    Setting(
        group=_OPERATION,
        name="DRAIN_TIMEOUT",
        meaning="How long a stop waits for requests that are being answered",
        read=values.duration,
        default="30s",
        example="10s",
    ),
    Setting(
        group=_OPERATION,
        name="FUNCTION_LOG_TIME",
        meaning="How long what functions print and throw is kept",
        read=values.duration,
        default="7d",
        example="30d",
    ),
    Setting(
        group=_OPERATION,
        name="FUNCTION_LOG_SIZE",
        meaning="How much of that is kept of each account",
        read=values.size,
        default="32MiB",
        example="256MiB",
    ),
    Setting(
        group=_OPERATION,
        name="LOG_FORMAT",
        meaning="How the log is written: text for people, json for machines",
        read=values.choice("text", "json"),
        default="text",
        example="json",
    ),
    Setting(
        group=_OPERATION,
        name="ACCESS_LOG",
        meaning="Log a line for each request",
        read=values.flag,
        default="false",
        example="true",
    ),
)

BY_NAME: Final = {setting.name: setting for setting in SETTINGS}

VARIABLES: Final = frozenset(
    {setting.name for setting in SETTINGS}
    | {setting.file_name for setting in SETTINGS if setting.secret}
)
"""Every environment variable that is read."""
