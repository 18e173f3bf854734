# The service as an image: docs/DEPLOYMENT.md, "As a container".
#
#   docker build -t llmcore .            (podman build, buildah bud --format docker: HEALTHCHECK needs that format)
#   docker run -v models:/models llmcore pull
#   docker run -v models:/models -p 8001:8001 --read-only --tmpfs /tmp llmcore
#
# Both stages use the same base (Debian or a derivative), so that they have the same Python and C++ runtime. Python and certificates
# that the base has already, or that are mounted, are not installed again.
ARG BASE=debian:bookworm-slim

# --- build: compiler, wheel, and the environment that the run stage copies ---------------------------------------------
# hadolint ignore=DL3006
FROM ${BASE} AS build
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ccache g++ \
    && { [ -s /etc/ssl/certs/ca-certificates.crt ] || apt-get install -y --no-install-recommends ca-certificates; } \
    && { command -v python3 >/dev/null || apt-get install -y --no-install-recommends python3; } \
    && { python3 -c 'import ensurepip' 2>/dev/null || apt-get install -y --no-install-recommends python3-venv; } \
    && python3 -m venv /build \
    && python3 -m venv --without-pip /opt/llmcore

# The cache keeps llama.cpp's source, compiled objects and packages between builds, and is not part of a layer. Packages are wheels
# pinned by hash (`make lock`): neither the build nor the service fetches anything else.
WORKDIR /source
COPY deploy/image/*.lock deploy/image/
ENV XDG_CACHE_HOME=/cache
RUN --mount=type=cache,target=/cache \
    /build/bin/pip install --require-hashes --only-binary :all: -r deploy/image/build-requirements.lock \
    && /build/bin/pip --python /opt/llmcore/bin/python install --require-hashes --only-binary :all: \
        -r deploy/image/requirements.lock
COPY . .
RUN --mount=type=cache,target=/cache \
    CMAKE_BUILD_PARALLEL_LEVEL="$(nproc)" PATH="/build/bin:${PATH}" /build/bin/pip wheel --no-deps --no-build-isolation \
        --wheel-dir /wheels --config-settings=cmake.define.LLMCORE_CPU=all . \
    && /build/bin/pip --python /opt/llmcore/bin/python install --no-deps --no-index /wheels/*.whl \
    && /build/bin/pip --python /opt/llmcore/bin/python check
# Removes the packages' own tests, a tenth of the environment.
RUN find /opt/llmcore -type d -name tests -path '*/site-packages/*' -prune -exec rm -rf {} + \
    && install -m 755 deploy/image/entry.py deploy/image/healthcheck.py deploy/download_model.py /opt/llmcore/bin/

# --- run ---------------------------------------------------------------------------------------------------------------
# hadolint ignore=DL3006
FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="llmcore" \
      org.opencontainers.image.description="An LLM service for CPUs that speaks the OpenAI API" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libstdc++6 \
    && { [ -s /etc/ssl/certs/ca-certificates.crt ] || apt-get install -y --no-install-recommends ca-certificates; } \
    && { command -v python3 >/dev/null || apt-get install -y --no-install-recommends python3; } \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/apt /var/log/dpkg.log \
    && useradd --uid 10001 --user-group --home-dir /var/lib/llmcore --shell /usr/sbin/nologin llmcore \
    && install -d -o llmcore -g llmcore /models /var/lib/llmcore
COPY --from=build /opt/llmcore /opt/llmcore

# The service writes only to these two folders and to /tmp, so the root file system may be read-only. A new volume takes the
# owner of its folder.
VOLUME ["/models", "/var/lib/llmcore"]
ENV PATH="/opt/llmcore/bin:${PATH}" \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOST=0.0.0.0 \
    MODEL_DIR=/models \
    XDG_CACHE_HOME=/var/lib/llmcore/cache \
    LLMCORE_PROFILE_DIR=/var/lib/llmcore/profiles
# A number, because Kubernetes cannot verify that a user name is not root.
USER 10001:10001
WORKDIR /var/lib/llmcore
EXPOSE 8001
# On SIGTERM, running answers get 25 seconds (LLMCORE_DRAIN_S): `docker stop --time` must be longer.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10m --retries=6 CMD ["healthcheck.py"]
ENTRYPOINT ["entry.py"]
CMD ["serve"]
