// The Worker that runs here and in `wrangler dev`. `/try/<subject>` tries everything of a subject
// and answers `[[what, outcome], …]`; what the other paths answer is looked at from outside.

import { exchange } from "./exchanges.js";
import { remembered, told } from "./events.js";
import { tried } from "./outcomes.js";
import assets from "./subjects/assets.js";
import analytics from "./subjects/analytics.js";
import hyperdrive from "./subjects/hyperdrive.js";
import modules from "./subjects/modules.js";
import ratelimit from "./subjects/ratelimit.js";
import runtime from "./subjects/runtime.js";
import secret from "./subjects/secret.js";
import service from "./subjects/service.js";
import vars from "./subjects/vars.js";
import version from "./subjects/version.js";
import d1 from "../../state/same/d1.js";
import kv from "../../state/same/kv.js";
import queue from "../../state/same/queue.js";

const subjects = {
  assets, analytics, hyperdrive, modules, ratelimit, runtime, secret, service, vars, version,
};
// These are whole Workers, which are held to workerd's own bindings too.
const whole = { d1, kv, queue };

export default {
  async fetch(request, env, ctx) {
    const [, first, second] = new URL(request.url).pathname.split("/");
    if (first === "try" && second in whole) return whole[second].fetch(request, env, ctx);
    if (first === "try") return Response.json(await tried(subjects[second]({ request, env, ctx })));
    if (first === "told") return Response.json(await told(env, second));
    return exchange(first, { request, env, ctx });
  },

  async queue(batch, env) {
    await remembered(env, batch);
  },

  async scheduled(controller, env, ctx) {
    const note = {
      cron: controller.cron,
      type: controller.type,
      "on the minute": controller.scheduledTime % 60_000 === 0,
      noRetry: typeof controller.noRetry,
      waitUntil: typeof ctx.waitUntil,
      class: controller.constructor.name,
    };
    await env.TOLD.put("told:scheduled", JSON.stringify(Object.entries(note)));
  },
};
