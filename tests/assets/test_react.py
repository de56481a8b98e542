"""The example made with Vite and React, in a real browser."""

import re
from pathlib import Path

from playwright.sync_api import expect

from tests.e2e.daemon import running
from tests.e2e.developer import Developer
from tests.oidc.chromium import page


def test_the_react_example_works_in_a_browser(tmp_path: Path) -> None:
    """
    wrkst builds it with Vite and deploys it; the page renders at any path, calls its API, and its
    scripts are cached for a year.
    """
    with running(dev=True) as daemon:
        developer = Developer(tmp_path, daemon)
        project = developer.example("react")
        first = developer.run("deploy", cwd=project)
        assert "4 uploaded, 0 already there" in first
        html = daemon.function("react", "/some/route")
        (script,) = re.findall(r'src="(/assets/[^"]+\.js)"', html.text)
        assert daemon.function("react", script).headers["cache-control"].endswith("immutable")
        assert daemon.function("react", "/robots.txt").text.startswith("User-agent")
        assert daemon.function("react", "/api/quote?count=2").document == {"count": 2, "cents": 900}
        assert daemon.function("react", "/api/none").status == 404
        with page(scripts=True) as tab:
            tab.goto(f"http://react.localhost:{daemon.port}/some/route")
            expect(tab.get_by_role("heading")).to_have_text("A shop at /some/route")
            expect(tab.get_by_text("1 for 450 cents")).to_be_visible()
            tab.get_by_role("button").click()
            expect(tab.get_by_text("2 for 900 cents")).to_be_visible()
        source = project / "src" / "app.jsx"
        source.write_text(source.read_text().replace("A shop at", "The shop at"))
        # The script changes and so does its name, and with it the page.
        assert "2 uploaded, 2 already there" in developer.run("deploy", cwd=project)
        assert daemon.function("react", "/some/route").text != html.text
