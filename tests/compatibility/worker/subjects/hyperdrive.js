export default ({ env }) => {
  const { HYPERDRIVE: db } = env;
  return {
    "user": () => db.user,
    "password": () => db.password,
    "database": () => db.database,
    "the type of port": () => typeof db.port,
    "host": () => db.host,
    "the scheme of connectionString": () => new URL(db.connectionString).protocol,
    "its user and password": () => {
      const { username, password } = new URL(db.connectionString);
      return [username, password];
    },
    "its database": () => new URL(db.connectionString).pathname,
    "its host is `host`": () => new URL(db.connectionString).hostname === db.host,
    "connect": () => typeof db.connect,
  };
};
