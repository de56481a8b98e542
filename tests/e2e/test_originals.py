"""Projects that were written for the original of this server."""

import http.client
import json
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.daemon import PATIENCE, ROOT, Daemon
from tests.e2e.developer import Developer

OF_THE_ORIGINALS_SHAPE = {
    "name": "wrkst-d1",
    "version": "0.1.0",
    "main": "dist/index.js",
    "exports": {".": {"types": "./dist/index.d.ts", "default": "./dist/index.js"}},
}
ANY_DATABASE = """
export function getD1(env) {
  if (!env.D1) throw new Error("no D1");
  if (typeof env.D1 === "string") throw new Error(`only the host ${env.D1}`);
  return env.D1;
}
export default getD1;
"""
NO_ID = '[[d1_databases]]\nbinding = "D1"\ndatabase_name = "of-{name}"\n'


@pytest.mark.parametrize(
    ("name", "bindings", "program"),
    [
        ("as-it-is", "", "wrkst"),
        ("as-it-is-too", "", "wrangler"),
        ("with-vars", '[vars]\nAPI_KEY = "your-api-key"\n', "wrkst"),
        ("with-a-binding", NO_ID, "wrkst"),
        ("with-a-binding-too", NO_ID, "wrangler"),
    ],
)
def test_projects_of_the_original_run_unchanged(
    tmp_path: Path, dev: Daemon, name: str, bindings: str, program: str
) -> None:
    """
    A project written for the original, with its package as it was published: without bindings,
    with variables, and with the binding that it has for Cloudflare; deployed by wrkst and Wrangler.
    """
    bindings = bindings.format(name=name)
    developer = Developer(tmp_path, dev)
    project = tmp_path / "project"
    package = project / "node_modules" / "wrkst-d1"
    (package / "dist").mkdir(parents=True)
    (package / "package.json").write_text(json.dumps(OF_THE_ORIGINALS_SHAPE))
    (package / "dist" / "index.js").write_text(ANY_DATABASE)
    (project / "wrangler.toml").write_text(
        f'name = "{name}"\nmain = "src/index.ts"\ncompatibility_date = "2025-09-01"\n{bindings}'
    )
    (project / "src").mkdir()
    (project / "src" / "index.ts").write_text(
        """
        import { getD1 } from 'wrkst-d1';

        export default {
          async fetch(request: Request, env: any) {
            const db = getD1(env);
            await db.exec(`
              CREATE TABLE IF NOT EXISTS users (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                name TEXT NOT NULL,
                email TEXT UNIQUE NOT NULL
              )
            `);
            const first = () => db.prepare('SELECT * FROM users WHERE id = ?').bind(1).first();
            const before = await first();
            const { meta } = await db
              .prepare('INSERT INTO users (name, email) VALUES (?, ?)')
              .bind('Ada', 'ada@example.com')
              .run();
            return Response.json({
              before, after: await first(), key: env.API_KEY,
              changes: meta.changes, row: meta.last_row_id,
            });
          }
        }
        """
    )
    deploy = ["deploy"] if program == "wrkst" else ["wrangler", "deploy"]
    (tmp_path / "node_modules").symlink_to(ROOT / "node_modules")
    developer.run(*deploy, cwd=project)
    assert dev.function(name).document == {
        "before": None,
        "after": {"id": 1, "name": "Ada", "email": "ada@example.com"},
        **({"key": "your-api-key"} if "API_KEY" in bindings else {}),
        "changes": 1,
        "row": 1,
    }
    # A foreign database is no reason to get another one, and the way out is said.
    foreign = NO_ID.format(name=name) + 'database_id = "0f6bf5e5-2d9e-4f2c-9bd5-4c7d5e1f4a11"\n'
    head = (project / "wrangler.toml").read_text().removesuffix(bindings)
    (project / "wrangler.toml").write_text(head + foreign)
    said = developer.run(*deploy, cwd=project, expect=1)
    assert "without an id" in " ".join(said.split())


def test_cookies_redirects_and_bodies_pass_untouched(daemon: Daemon) -> None:
    """
    Each cookie is a header of its own in both directions, a redirect is the client's to follow, and
    100 kB go there and back.
    """
    code = """
    export default {
      async fetch(request) {
        if (request.method === "POST") return new Response(await request.arrayBuffer());
        const { pathname, origin } = new URL(request.url);
        if (pathname === "/go") return Response.redirect(`${origin}/there?a=b`, 307);
        const response = new Response(request.headers.get("cookie"));
        response.headers.append("set-cookie", "a=1; Path=/; HttpOnly");
        response.headers.append("set-cookie", "b=2; Expires=Wed, 01 Jan 2031 00:00:00 GMT");
        return response;
      },
    };
    """
    assert daemon.upload("kept-whole", code).status == 200
    host = f"kept-whole.{daemon.base_domain}"
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=PATIENCE)
    with closing(connection):
        connection.request("GET", "/", headers={"Host": host, "Cookie": "x=1; y=2"})
        response = connection.getresponse()
        assert response.headers.get_all("set-cookie") == [
            "a=1; Path=/; HttpOnly",
            "b=2; Expires=Wed, 01 Jan 2031 00:00:00 GMT",
        ]
        assert response.read() == b"x=1; y=2"
    gone = daemon.function("kept-whole", "/go")
    assert (gone.status, gone.headers["location"]) == (307, f"http://{host}/there?a=b")
    body = bytes(range(250)) * 400
    assert daemon.function("kept-whole", method="POST", body=body).body == body
