export default ({ env }) => ({
  "names": () => Object.keys(env.VERSION).sort(),
  "types": () => ["id", "tag", "timestamp"].map((name) => typeof env.VERSION[name]),
  "its form": () => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(env.VERSION.id),
  "the tag of a version without one": () => env.VERSION.tag,
  "the timestamp is a time": () => !Number.isNaN(Date.parse(env.VERSION.timestamp)),
});
