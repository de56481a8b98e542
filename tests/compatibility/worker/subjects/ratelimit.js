export default ({ env }) => {
  // A window begins on the minute in `wrangler dev`: not across one.
  const steady = async () => {
    const left = 60_000 - (Date.now() % 60_000);
    if (left < 10_000) await scheduler.wait(left + 100);
  };
  const limit = (key) => env.LIMITER.limit({ key });
  return {
    "up to the limit": async () => {
      await steady();
      return [await limit("a"), await limit("a"), await limit("a")];
    },
    "beyond it": () => limit("a"),
    "another key": () => limit("b"),
    "an empty key": () => limit(""),
    "a long key": () => limit("x".repeat(500)),
    "a number as key": () => limit(7),
    "no key": () => env.LIMITER.limit({}),
    "nothing": () => env.LIMITER.limit(),
    "a field that is unknown": () => env.LIMITER.limit({ key: "c", more: 1 }),
    "its methods": () => typeof env.LIMITER.limit,
  };
};
