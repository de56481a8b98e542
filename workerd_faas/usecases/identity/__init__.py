"""Who is it, and what may they do: logins, grants, access tokens, tokens for machines."""
