// The static assets of a version: which requests they answer, and with what.
//
// What a path stands for is decided by Cloudflare's own asset worker, as npm's package miniflare
// brings it. It is made for bytes that come over RPC; here it only ever says which file answers and
// how, and the bytes are put under its answer afterwards, from the account's directory. So HEAD and
// 304 open no file, and a range is asked of the file itself.

import { errorPage } from "errors.js";

const FILE_LOST = { status: 500, code: 1110, message: "A file of this site is damaged or missing" };

/** The version of the rules' form that the asset worker takes. */
const REDIRECTS = 1;
const HEADERS = 2;

const ONE_RANGE = /^bytes=(?:\d+-\d*|-\d+)$/;

let Asked;

/** One question to the asset worker; `file` is the one that it chose. */
async function asker() {
  const { AssetWorkerInner } = await import("asset_worker.js");
  return class extends AssetWorkerInner {
    file = undefined;

    async unstable_exists(path) {
      return this.env.files.get(path)?.hash ?? null;
    }

    async unstable_getByETag(hash) {
      this.file = this.env.byHash.get(hash);
      return { readableStream: null, contentType: this.file.type, cacheStatus: "" };
    }
  };
}

/** Make the site of a load document's header. */
export async function openSite(header, env) {
  Asked ??= await asker();
  return new Site(header, env);
}

export class Site {
  #env;
  #directory;
  #storage;
  #always;
  #assets;
  #worker;

  constructor({ site, account, compatibility_date, compatibility_flags }, env) {
    const files = new Map();
    const byHash = new Map();
    for (const [path, [hash, name, type, size]] of Object.entries(site.files)) {
      const file = { hash, name, type: type ?? undefined, size };
      files.set(path, file);
      byHash.set(hash, file);
    }
    const { static: staticRules, dynamic } = site.redirects;
    const { always, assets, worker } = site.run_worker_first;
    this.#always = always;
    this.#assets = assets.map(pattern);
    this.#worker = worker.map(pattern);
    this.#storage = env.FILES;
    this.#directory = "http://files/" + (env.FILES_OF_ALL ? account + "/" : "");
    this.#env = {
      files,
      byHash,
      CONFIG: {
        compatibility_date,
        compatibility_flags: [...compatibility_flags],
        html_handling: site.html_handling,
        not_found_handling: site.not_found_handling,
        base_path: site.base_path,
        redirects: { version: REDIRECTS, staticRules, rules: dynamic },
        headers: { version: HEADERS, rules: site.headers },
        has_static_routing: worker.length > 0,
      },
    };
  }

  /** Answer a request, by `worker` if there is one and the request is its. */
  async serve(request, ctx, worker) {
    if (worker !== undefined && (await this.#isForWorker(request, ctx))) return worker(request);
    return this.respond(request, ctx);
  }

  async #isForWorker(request, ctx) {
    if (this.#worker.length > 0) {
      const { pathname } = new URL(request.url);
      if (this.#assets.some((rule) => rule.test(pathname))) return false;
      if (this.#worker.some((rule) => rule.test(pathname))) return true;
    }
    return this.#always || !(await new Asked(ctx, this.#env).unstable_canFetch(request));
  }

  /** Answer a request by a file, a redirect, or that there is none. */
  async respond(request, ctx) {
    const asked = new Asked(ctx, this.#env);
    const { status, headers } = await asked.fetch(request);
    // Nothing is cached on the way.
    headers.delete("cf-cache-status");
    if (status === 500) return errorPage(request, FILE_LOST);
    const { file } = asked;
    if (file === undefined || (status !== 200 && status !== 404)) {
      return new Response(null, { status, headers });
    }
    if (request.method === "HEAD") {
      headers.set("content-length", file.size);
      return new Response(null, { status, headers });
    }
    return this.#withBytes(request, file, status, headers);
  }

  async #withBytes(request, { hash, name }, status, headers) {
    const range = status === 200 ? rangeOf(request, hash) : null;
    const asking = range === null ? undefined : { headers: { range } };
    const stored = await this.#storage.fetch(this.#directory + name, asking);
    if (stored.status === 200) return new Response(stored.body, { status, headers });
    if (range !== null && (stored.status === 206 || stored.status === 416)) {
      headers.set("content-range", stored.headers.get("content-range"));
      const body = stored.status === 206 ? stored.body : null;
      return new Response(body, { status: stored.status, headers });
    }
    await stored.body?.cancel();
    console.error(`the file ${name} is gone: ${stored.status}`);
    return errorPage(request, FILE_LOST);
  }
}

/** The one range of bytes that is asked for, null for everything (RFC 9110, 13.1.5 and 14.2). */
function rangeOf(request, hash) {
  const range = request.headers.get("range");
  if (range === null || !ONE_RANGE.test(range)) return null;
  const unchanged = request.headers.get("if-range");
  return unchanged === null || unchanged === `"${hash}"` ? range : null;
}

/** `run_worker_first`: the whole path, with * for anything. */
function pattern(rule) {
  const parts = rule.split("*").map((part) => part.replace(/[-/\\^$*+?.()|[\]{}]/g, "\\$&"));
  return new RegExp("^" + parts.join(".*") + "$");
}
