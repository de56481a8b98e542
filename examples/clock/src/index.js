// Every minute `scheduled` notes the time; `fetch` tells what it noted last.

export default {
  async scheduled(controller, env) {
    const runs = Number(await env.STATE.get("runs")) + 1;
    await env.STATE.put("runs", String(runs));
    await env.STATE.put("last", new Date(controller.scheduledTime).toISOString());
    console.log(`run ${runs} of ${controller.cron}`);
  },

  async fetch(request, env) {
    const [runs, last] = await Promise.all([env.STATE.get("runs"), env.STATE.get("last")]);
    return Response.json({ runs: Number(runs), last });
  },
};
