// `env.ASSETS`: the site of the version that the caller runs.

import { WorkerEntrypoint } from "cloudflare:workers";
import { UNAVAILABLE, errorPage } from "errors.js";
import { load, siteOf } from "versions.js";

export class Assets extends WorkerEntrypoint {
  async fetch(request) {
    const { version } = this.ctx.props;
    // Not there only if the version was let go of while it still ran.
    const site = siteOf(version) ?? (await load(version, 0, this.env, this.ctx)).entry?.site;
    return site === undefined ? errorPage(request, UNAVAILABLE) : site.respond(request, this.ctx);
  }
}
