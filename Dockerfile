# The newest CPython that every locked dependency has a wheel for.
ARG PYTHON=3.14
# Of that image, where it shall be the one that was looked at: --build-arg DIGEST=@sha256:… (docs/security.md).
ARG DIGEST=

FROM python:${PYTHON}-slim-trixie${DIGEST} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# What is installed does not change with the code, so it lies in a layer of its own. /app gets no pip: nothing is
# installed into a running service. aiomysql's wheel drops its docs/ and examples/ among the packages.
COPY requirements.lock requirements-build.lock ./
RUN python -m venv /build \
    && python -m venv --without-pip /app \
    && /build/bin/python -m pip install --require-hashes --only-binary :all: -r requirements-build.lock \
    && /build/bin/python -m pip --python /app/bin/python install --require-hashes --only-binary :all: -r requirements.lock \
    && rm -rf /app/lib/python3.*/site-packages/docs /app/lib/python3.*/site-packages/examples
COPY pyproject.toml README.md LICENSE ./
COPY mailculator mailculator
COPY sql sql
RUN /build/bin/hatchling build -t wheel -d /wheels \
    && /build/bin/python -m pip --python /app/bin/python install --no-deps --no-index /wheels/*.whl

FROM python:${PYTHON}-slim-trixie${DIGEST}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mailculator" \
      org.opencontainers.image.description="A queue-based email pipeline: rows become delivered mail and acknowledged callbacks." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.vendor="the mailculator authors" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN groupadd --gid 10001 mailculator \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin mailculator \
    && install --directory --owner=10001 --group=10001 --mode=0750 /data
COPY --from=build /app /app
# The root file system may be read-only: the byte code is compiled already, and /data is all that is written to.
ENV PATH=/app/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    SQLITE_PATH=/data/mailculator.db
VOLUME /data
# Settings that begin with ./data then lie in the volume.
WORKDIR /
USER 10001:10001
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 CMD ["mailculator", "healthcheck"]
ENTRYPOINT ["mailculator"]
CMD ["run"]
