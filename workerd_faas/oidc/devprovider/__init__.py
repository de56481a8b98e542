"""The OpenID provider of `--dev`: anybody may sign in under any name, on this machine only."""
