// `scheduled()` of a function, called by the daemon when it is time.
//
// Each run has an isolate of its own, which ends with it: so one that takes too long is really
// ended, and takes nothing else with it.

import { launch } from "launch.js";
import { release } from "versions.js";

export function runScheduled(asked, env, ctx) {
  const run = outcomeOf(asked, env, ctx);
  // The isolate is let go of even when the daemon does not wait any more.
  ctx.waitUntil(run);
  return run.then((outcome) => Response.json(outcome));
}

async function outcomeOf({ version, cron, time, milliseconds }, env, ctx) {
  const { entry, error, reason } = await launch(version, 0, env, ctx);
  if (error !== undefined) {
    return { outcome: "not_started", detail: reason?.message ?? error.message };
  }
  if (entry.key === undefined) {
    return { outcome: "not_started", detail: "This version has assets and no code." };
  }
  let timer;
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, milliseconds, {
      outcome: "timed_out",
      detail: `It was ended after ${milliseconds / 1000} s.`,
    });
  });
  try {
    const isolate = env.LOADER.get(entry.key, entry.reload);
    const run = isolate.getEntrypoint().scheduled({ scheduledTime: new Date(time), cron });
    const { outcome, detail } = await Promise.race([run, late]);
    return { outcome, detail };
  } catch (error) {
    return { outcome: "exception", detail: String(error?.message ?? error) };
  } finally {
    clearTimeout(timer);
    await release(entry, env);
  }
}
