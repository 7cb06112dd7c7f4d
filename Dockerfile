# One image for the service and for its workers: `docker run cuecheck serve`, `docker run cuecheck worker`.
#
#   docker build --target cpu  -t cuecheck:cpu  --build-arg TORCH_INDEX=<index of torch's CPU wheels> .
#   docker build --target cuda -t cuecheck:cuda .
#
# docs/deployment.md says what it needs at run time: a volume at /data, a writable /tmp, and nothing else.

# Any Debian with Python 3.11 or newer will do: a hardened or a mirrored one, or one with the CUDA tools.
ARG BASE=python:3.11-slim-bookworm


# The dependencies that pyproject.toml names, at the versions the lock has tested (the lock's tools for developers
# stay out).
# hadolint ignore=DL3006
FROM ${BASE} AS requirements
WORKDIR /build
COPY pyproject.toml requirements.lock ./
RUN python3 -m venv /opt/cuecheck \
 && python3 -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
    > requirements.txt
ENV PATH=/opt/cuecheck/bin:$PATH \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

# STORE_DRIVERS: fsspec drivers for a store that is not a folder, such as "s3fs".
# TORCH_INDEX: where the CPU wheels of torch and torchvision lie. Without it pip takes the CUDA wheels, which run on a
# CPU too and are several GB larger.
FROM requirements AS packages-cpu
ARG STORE_DRIVERS=
ARG TORCH_INDEX=
RUN pip install ${TORCH_INDEX:+--extra-index-url "${TORCH_INDEX}"} \
    -c requirements.lock -r requirements.txt ${STORE_DRIVERS}

FROM requirements AS packages-cuda
ARG STORE_DRIVERS=
RUN pip install -c requirements.lock -r requirements.txt ${STORE_DRIVERS}


# Our own code, as a wheel.
FROM requirements AS wheel
COPY LICENSE README.md ./
COPY models models
COPY jobs jobs
COPY service service
RUN pip wheel --no-deps --wheel-dir /wheels .


# What both images share. tini is process 1: it hands SIGTERM on and reaps what a killed classifier leaves behind.
# hadolint ignore=DL3006
FROM ${BASE} AS runtime
# The base decides which version of tini there is: to pin it here would break the build at its next release.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends tini \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin cuecheck \
 && install -d -o cuecheck -g cuecheck /data
LABEL org.opencontainers.image.title="Cuecheck" \
      org.opencontainers.image.description="Masks of core and spurious features over HTTP; audits as jobs" \
      org.opencontainers.image.licenses="Apache-2.0"
# The root may be read-only: what libraries cache goes to /tmp, what Cuecheck keeps goes to /data.
ENV PATH=/opt/cuecheck/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    CUECHECK_HOST=0.0.0.0 \
    CUECHECK_PORT=8765 \
    CUECHECK_DATA_DIR=/data
VOLUME /data
EXPOSE 8765
# The service's; a worker answers no HTTP: start it with --no-healthcheck.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python3", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ['CUECHECK_PORT']}/livez\", timeout=4)"]
ENTRYPOINT ["tini", "--", "cuecheck"]
CMD ["serve"]


FROM runtime AS cuda
ENV CUECHECK_DEVICE=cuda \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=packages-cuda /opt/cuecheck /opt/cuecheck
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels pip install --no-cache-dir --no-deps /wheels/*.whl
USER 10001:10001


FROM runtime AS cpu
ENV CUECHECK_DEVICE=cpu
COPY --from=packages-cpu /opt/cuecheck /opt/cuecheck
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels pip install --no-cache-dir --no-deps /wheels/*.whl
USER 10001:10001
