"""Settings from options, environment and file, and the report of everything that is wrong."""

import secrets
from pathlib import Path

import pytest

from workerd_faas.domain.policies import Isolation
from workerd_faas.settings.load import SettingsError, load
from workerd_faas.settings.table import BY_NAME, SETTINGS
from workerd_faas.settings.values import networks

SECRET = secrets.token_urlsafe(48)
CLIENT_SECRET = secrets.token_urlsafe(24)
GOOD = {
    "BASE_DOMAIN": "faas.example.com",
    "JWT_SECRET": SECRET,
    "OIDC_ISSUER": "https://login.example.com",
    "OIDC_CLIENT_ID": "us",
    "OIDC_CLIENT_SECRET": CLIENT_SECRET,
}


def problems(environ: dict[str, str], *, dev: bool = False) -> dict[str, str]:
    """
    What `load` complains about.
    """
    with pytest.raises(SettingsError) as caught:
        load(environ, dev=dev)
    return dict(caught.value.problems)


def test_five_names_are_enough() -> None:
    """A production configuration needs no more than a domain, a key and a provider."""
    settings = load(GOOD)
    assert settings.base_domain == "faas.example.com"
    assert settings.public.api == "https://faas.example.com"
    assert settings.redirect_uri == "https://faas.example.com/auth/callback"
    assert settings.jwt_secret == SECRET
    assert settings.provider is not None
    assert settings.provider.issuer == "https://login.example.com"
    assert settings.provider.token_endpoint is None
    assert [endpoint.text for endpoint in settings.listen] == ["tcp:8080:interface=127.0.0.1"]
    assert settings.data_dir == Path("/var/lib/workerd-faas")
    assert settings.isolation is Isolation.ACCOUNT
    assert settings.trusted_proxies == ()
    assert not settings.dev


def test_dev_needs_nothing() -> None:
    """`--dev` alone is a whole configuration on loopback, with secrets to be made."""
    settings = load({}, dev=True)
    assert settings.base_domain == "localhost"
    assert settings.public.function("hello") == "http://hello.localhost:8080"
    assert settings.data_dir == Path.cwd() / ".data"
    assert settings.jwt_secret is None
    assert settings.provider is None
    assert all(endpoint.loopback for endpoint in settings.listen)
    assert settings.warnings == ()


def test_all_problems_come_at_once() -> None:
    """Every wrong or missing setting is in one report, by its name, with what would be right."""
    found = problems(
        {
            "BASE_DOMAIN": "https://example.com/",
            "LISTEN": "8080",
            "USE_FORWARDED_HOST": "perhaps",
            "TRUSTED_PROXIES": "10.0.0.1/8",
            "EGRESS_ALLOW": "internal",
            "EGRESS_DENY": "198.51.100.0/24",
            "ISOLATION": "none",
            "DRAIN_TIMEOUT": "soon",
            "CELL_MEMORY": "lots",
            "MAX_CELLS": "0",
            "OIDC_TOKEN_ENDPOINT": "http://login.example.com/token",
            "JWT_SECRET": "change-me-in-production",
            "WORKERD": "/nowhere/workerd",
            "LOGIN_ALLOW": "everyone",
        }
    )
    assert found.keys() == {
        "BASE_DOMAIN",
        "LISTEN",
        "USE_FORWARDED_HOST",
        "TRUSTED_PROXIES",
        "EGRESS_ALLOW",
        "EGRESS_DENY",
        "ISOLATION",
        "DRAIN_TIMEOUT",
        "CELL_MEMORY",
        "MAX_CELLS",
        "OIDC_TOKEN_ENDPOINT",
        "JWT_SECRET",
        "WORKERD",
        "LOGIN_ALLOW",
        "OIDC_ISSUER",
        "OIDC_CLIENT_ID",
        "OIDC_CLIENT_SECRET",
    }
    assert all(": " in message for message in found.values())


def test_the_report_has_one_line_for_each_problem() -> None:
    """The text of the error counts its problems and gives each a line of its own."""
    with pytest.raises(SettingsError) as caught:
        load({**GOOD, "LISTEN": "x", "ISOLATION": "y"})
    lines = str(caught.value).splitlines()
    assert lines[0] == "2 settings are wrong:"
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["LISTEN", "ISOLATION"]


@pytest.mark.parametrize(
    "weak",
    [
        "change-me-in-production",
        "change-me-in-production-change-me-in-production",
        "CHANGEME" * 8,
        "tiny-key",
        "x" * 31,
        "a" * 64,
        "ab" * 32,
        "$(openssl rand -base64 48 | tr -d '\\n')",
        "\udcff\udcfe" + "0123456789abcdefghij" * 2,
        "${WORKERD_FAAS_SIGNING_SECRET_OF_PRODUCTION}",
    ],
)
def test_a_weak_key_is_refused_without_being_shown(weak: str) -> None:
    """Placeholders, short and repetitive keys end the start; the message does not quote them."""
    found = problems({**GOOD, "JWT_SECRET": weak})
    assert found.keys() == {"JWT_SECRET"}
    assert "openssl rand" in found["JWT_SECRET"]
    assert weak not in found["JWT_SECRET"]


def test_no_secret_is_in_the_settings_as_text() -> None:
    """The representation of settings, which may end in a log, masks both secrets."""
    settings = load(GOOD)
    assert SECRET not in repr(settings)
    assert CLIENT_SECRET not in repr(settings)


def test_no_secret_is_in_the_report() -> None:
    """A report of other problems has none of the secrets in it."""
    with pytest.raises(SettingsError) as caught:
        load({**GOOD, "LISTEN": "x"})
    assert SECRET not in str(caught.value) + repr(caught.value)
    assert CLIENT_SECRET not in str(caught.value) + repr(caught.value)


def test_options_count_before_the_environment_before_the_file(tmp_path: Path) -> None:
    """The option wins over the environment, and that over the file."""
    file = tmp_path / "env"
    file.write_text("MAX_CELLS=1\nISOLATION=shared\nLOG_FORMAT=json\n")
    file.chmod(0o600)
    settings = load(
        {**GOOD, "MAX_CELLS": "2", "ISOLATION": "function"},
        env_file=file,
        overrides={"MAX_CELLS": "3"},
    )
    assert settings.max_cells == 3
    assert settings.isolation is Isolation.FUNCTION
    assert settings.log_format == "json"


@pytest.mark.parametrize("upper", ["JWT_SECRET", "JWT_SECRET_FILE"])
def test_a_secret_is_decided_by_the_first_that_gives_it(tmp_path: Path, upper: str) -> None:
    """The environment counts before the file, whichever name of a secret each of them uses."""
    (tmp_path / "lower").write_text("l" * 40 + "0123456789")
    (tmp_path / "upper").write_text(SECRET)
    file = tmp_path / "env"
    below = {"JWT_SECRET": "JWT_SECRET_FILE", "JWT_SECRET_FILE": "JWT_SECRET"}[upper]
    file.write_text(f"{below}={tmp_path}/lower\n")
    file.chmod(0o600)
    others = {name: value for name, value in GOOD.items() if name != "JWT_SECRET"}
    given = SECRET if upper == "JWT_SECRET" else f"{tmp_path}/upper"
    assert load({**others, upper: given}, env_file=file).jwt_secret == SECRET
    assert load({**others, below: "", upper: given}, env_file=file).jwt_secret == SECRET


def test_an_empty_value_means_the_default_and_hides_the_file(tmp_path: Path) -> None:
    """`NAME=` in the environment gives the default, also when the file has a value."""
    file = tmp_path / "env"
    file.write_text("ISOLATION=shared\n")
    assert load({**GOOD, "ISOLATION": ""}, env_file=file).isolation is Isolation.ACCOUNT


def test_what_is_wrong_in_the_file_is_reported_with_its_line(tmp_path: Path) -> None:
    """A mistake in the env file joins the report with file and line."""
    file = tmp_path / "env"
    file.write_text("ISOLATION=shared\nLISTEN 8080\n")
    with pytest.raises(SettingsError) as caught:
        load(GOOD, env_file=file)
    assert caught.value.problems[0][0] == f"{file}, line 2"


def test_a_misspelt_name_is_pointed_out_beside_the_problems(tmp_path: Path) -> None:
    """A name that is no setting is told together with what is missing for want of it."""
    file = tmp_path / "env"
    file.write_text("BASE_DOMIAN=faas.example.com\n")
    others = {name: value for name, value in GOOD.items() if name != "BASE_DOMAIN"}
    with pytest.raises(SettingsError, match="did you mean BASE_DOMAIN") as caught:
        load(others, env_file=file)
    assert [name for name, _ in caught.value.problems] == ["BASE_DOMAIN"]
    assert len(caught.value.warnings) == 1


def test_keys_and_certificates_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    """Every file of a TLS endpoint that is not there is named with its argument."""
    key = tmp_path / "key.pem"
    key.touch()
    listen = f"ssl:443:privateKey={key}:certKey={tmp_path}/c.pem:extraCertChain={tmp_path}"
    with pytest.raises(SettingsError) as caught:
        load({**GOOD, "LISTEN": listen})
    assert [message for _, message in caught.value.problems] == [
        f"'{tmp_path}/c.pem' (certKey) cannot be read: No such file or directory",
        f"'{tmp_path}' (extraCertChain) cannot be read: Is a directory",
    ]


@pytest.mark.parametrize("value", ["256", "1MiB"])
@pytest.mark.parametrize("name", ["CELL_MEMORY", "CELLS_MEMORY"])
def test_memory_that_is_too_little_for_any_function(name: str, value: str) -> None:
    """A bound of memory in which nothing could run, such as one without its unit, is refused."""
    assert "use 16MiB or more" in problems({**GOOD, name: value})[name]


def test_a_named_file_that_is_missing_is_a_problem(tmp_path: Path) -> None:
    """An env file that was asked for must be there."""
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        load(GOOD, env_file=tmp_path / "missing")


def test_a_misspelt_name_in_the_file_is_pointed_out(tmp_path: Path) -> None:
    """A name in the env file that is no setting's is a warning, which says what may be meant."""
    file = tmp_path / "env"
    file.write_text("EGRES_ALLOW=10.0.0.0/8\nSOMETHING_ELSE=1\n")
    warnings = load(GOOD, env_file=file).warnings
    assert any("did you mean EGRESS_ALLOW" in warning for warning in warnings)
    (other,) = (warning for warning in warnings if "SOMETHING_ELSE" in warning)
    assert other.endswith("SOMETHING_ELSE is no setting")


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\n\n"])
def test_a_secret_comes_from_its_file_without_the_line_end(tmp_path: Path, ending: str) -> None:
    """The line end that an editor adds to a secret's file is no part of the secret."""
    file = tmp_path / "secret"
    file.write_bytes(f"{SECRET}{ending}".encode())
    file.chmod(0o600)
    environ = {name: value for name, value in GOOD.items() if name != "JWT_SECRET"}
    settings = load({**environ, "JWT_SECRET_FILE": str(file), "LOGIN_ALLOW": "@example.com"})
    assert settings.jwt_secret == SECRET
    assert settings.warnings == ()


def test_a_relative_path_is_below_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative paths of data and secrets become absolute where the program was started."""
    (tmp_path / "key").write_text(SECRET)
    monkeypatch.chdir(tmp_path)
    environ = {name: value for name, value in GOOD.items() if name != "JWT_SECRET"}
    settings = load({**environ, "JWT_SECRET_FILE": "key", "DATA_DIR": "a/../data"})
    assert settings.jwt_secret == SECRET
    assert settings.data_dir == tmp_path / "data"


def test_a_secret_given_twice_is_refused(tmp_path: Path) -> None:
    """A secret and its file at once are one problem: nobody can know which was meant."""
    file = tmp_path / "key"
    file.write_text(SECRET)
    assert problems({**GOOD, "JWT_SECRET_FILE": str(file)}).keys() == {"JWT_SECRET"}


def test_a_secret_file_that_cannot_be_read_is_one_problem(tmp_path: Path) -> None:
    """A missing or empty secret file is reported once, under the name that was given."""
    environ = {name: value for name, value in GOOD.items() if name != "JWT_SECRET"}
    assert problems({**environ, "JWT_SECRET_FILE": str(tmp_path / "x")}).keys() == {
        "JWT_SECRET_FILE"
    }
    (tmp_path / "empty").write_text("\n")
    assert problems({**environ, "JWT_SECRET_FILE": str(tmp_path / "empty")}).keys() == {
        "JWT_SECRET_FILE"
    }


def test_a_secret_file_that_is_no_text_is_not_quoted(tmp_path: Path) -> None:
    """Bytes of a secret that is not UTF-8 do not reach the report."""
    file = tmp_path / "key"
    file.write_bytes(b"\xff\xfeSECRETBYTES")
    environ = {name: value for name, value in GOOD.items() if name != "JWT_SECRET"}
    found = problems({**environ, "JWT_SECRET_FILE": str(file)})
    assert "not UTF-8" in found["JWT_SECRET_FILE"]
    assert "SECRETBYTES" not in str(found)


def test_a_secret_that_everybody_can_read_is_a_warning(tmp_path: Path) -> None:
    """The mode of a secret's file is looked at, and 644 is worth a line."""
    file = tmp_path / "key"
    file.write_text(SECRET)
    file.chmod(0o644)
    environ = {name: value for name, value in GOOD.items() if name != "JWT_SECRET"}
    settings = load({**environ, "JWT_SECRET_FILE": str(file)})
    assert any("chmod 600" in warning for warning in settings.warnings)


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        ({"BASE_DOMAIN": "faas.example.com"}, {"BASE_DOMAIN"}),
        ({"BASE_DOMAIN": "localhost.example.com"}, {"BASE_DOMAIN"}),
        ({"BASE_DOMAIN": "notlocalhost"}, {"BASE_DOMAIN"}),
        ({"LISTEN": "tcp:8080"}, {"LISTEN"}),
        ({"LISTEN": "tcp:8080:interface=0.0.0.0"}, {"LISTEN"}),
        ({"LISTEN": r"tcp6:8080"}, {"LISTEN"}),
        ({"LISTEN": "tcp:8080:interface=127.0.0.1 tcp:8081"}, {"LISTEN"}),
        ({"LISTEN": "systemd:domain=INET:index=0"}, {"LISTEN"}),
        ({"BASE_DOMAIN": "example.com", "LISTEN": "tcp:80"}, {"BASE_DOMAIN", "LISTEN"}),
        ({"OIDC_CLIENT_ID": "us"}, {"OIDC_ISSUER", "OIDC_CLIENT_SECRET"}),
    ],
)
def test_dev_refuses_what_others_could_reach(environ: dict[str, str], names: set[str]) -> None:
    """`--dev` lets anyone log in, so a domain or address that is not local ends the start."""
    assert problems(environ, dev=True).keys() == names


@pytest.mark.parametrize(
    "environ",
    [
        {"LISTEN": "tcp:9000:interface=127.0.0.1", "BASE_DOMAIN": "faas.localhost"},
        {"LISTEN": r"tcp6:9000:interface=\:\:1"},
        {"LISTEN": "unix:/run/user/1000/faas.sock"},
        {"JWT_SECRET": "weak"},
    ],
)
def test_dev_takes_what_is_local(environ: dict[str, str]) -> None:
    """`--dev` works with every loopback address, every .localhost name and a weak key."""
    assert load(environ, dev=True).dev


@pytest.mark.parametrize(
    ("environ", "api"),
    [
        ({}, "https://faas.example.com"),
        ({"PUBLIC_URL": "https://faas.example.com/"}, "https://faas.example.com"),
        ({"PUBLIC_URL": "https://FAAS.example.com:8443"}, "https://faas.example.com:8443"),
        (
            {"OIDC_REDIRECT_URI": "http://faas.example.com:8080/auth/callback"},
            "http://faas.example.com:8080",
        ),
        (
            {
                "PUBLIC_URL": "https://faas.example.com",
                "OIDC_REDIRECT_URI": "https://faas.example.com/client/v4/auth/callback",
            },
            "https://faas.example.com",
        ),
        ({"BASE_DOMAIN": "localhost", "LISTEN": "tcp:9000"}, "http://localhost:9000"),
        ({"BASE_DOMAIN": "localhost", "LISTEN": "tcp:80"}, "http://localhost"),
        (
            {
                "BASE_DOMAIN": "localhost",
                "LISTEN": f"ssl:8443:privateKey={__file__}:certKey={__file__}",
            },
            "https://localhost:8443",
        ),
        ({"BASE_DOMAIN": "FaaS.Example.COM."}, "https://faas.example.com"),
    ],
)
def test_the_public_url_is_what_browsers_see(environ: dict[str, str], api: str) -> None:
    """The public URL is given, follows the redirect URI, or is https on the domain."""
    assert load({**GOOD, **environ}).public.api == api


@pytest.mark.parametrize(
    "environ",
    [
        {"PUBLIC_URL": "https://other.example.com"},
        {"PUBLIC_URL": "https://faas.example.com/path"},
        {"PUBLIC_URL": "ftp://faas.example.com"},
        {"PUBLIC_URL": "faas.example.com"},
        {"OIDC_REDIRECT_URI": "https://other.example.com/auth/callback"},
        {"OIDC_REDIRECT_URI": "https://faas.example.com/elsewhere"},
        {"OIDC_REDIRECT_URI": "javascript:alert(1)"},
    ],
)
def test_urls_that_do_not_lead_to_us_are_refused(environ: dict[str, str]) -> None:
    """A public URL or redirect URI on another host or path is a problem of its own name."""
    assert problems({**GOOD, **environ}).keys() == environ.keys()


def test_trusting_a_proxy_is_explicit() -> None:
    """Forwarding headers are believed from loopback only when the host is to come from them."""
    loopback = networks("127.0.0.0/8 ::1/128")
    assert load({**GOOD, "USE_FORWARDED_HOST": "true"}).trusted_proxies == loopback
    given = {"USE_FORWARDED_HOST": "true", "TRUSTED_PROXIES": "10.1.2.3, 10.2.0.0/16"}
    assert load({**GOOD, **given}).trusted_proxies == networks("10.1.2.3/32 10.2.0.0/16")


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({}, "LOGIN_ALLOW"),
        ({"PUBLIC_URL": "http://faas.example.com"}, "PUBLIC_URL"),
        ({"TRUSTED_PROXIES": "0.0.0.0/0"}, "TRUSTED_PROXIES"),
        ({"EGRESS_ALLOW": "::/0"}, "EGRESS_ALLOW"),
    ],
)
def test_what_is_allowed_but_risky_is_a_warning(environ: dict[str, str], says: str) -> None:
    """Settings that open the door wide work, with a line that names them."""
    warnings = load({**GOOD, **environ}).warnings
    assert any(warning.startswith(f"{says}: ") for warning in warnings)


@pytest.mark.parametrize("setting", [s for s in SETTINGS if not s.secret], ids=lambda s: s.name)
def test_every_example_is_right(setting: object) -> None:
    """The example of every setting is accepted, except for programs that are not there."""
    assert isinstance(setting, type(BY_NAME["LISTEN"]))
    if setting.name != "WORKERD":
        setting.read(setting.example)
    for dev in (False, True):
        default = setting.default_for(dev)
        if default is not None:
            setting.read(default)
