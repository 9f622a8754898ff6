# The agent's image. Needs nothing of BuildKit, so docker, podman, buildah and kaniko all build it:
#   docker build --tag cloudoptim/client-agent:0.1.0 .
# For both architectures, from one base by its digest:
#   docker buildx build --platform linux/amd64,linux/arm64 --build-arg BASE_IMAGE=python:3.12-slim-bookworm@sha256:... .
#
# The base image holds Python 3.11 or newer as `python3` with venv, and a CA bundle. Its digest gives the same bytes each
# time; your company's own base will do as well.
ARG BASE_IMAGE=python:3.12-slim-bookworm

FROM ${BASE_IMAGE} AS build
# The base image's authorities, so that a company's own among them is good for pip too.
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PATH=/opt/cloudoptim/bin:$PATH
WORKDIR /src
COPY constraints.txt ./
RUN python3 -m venv /opt/cloudoptim \
    && pip install --no-compile --require-hashes --only-binary :all: --requirement constraints.txt
COPY setup.cfg setup.py LICENSE ./
COPY shared shared
COPY workers workers
# Of what pip installs, most is what nobody uses: the Kubernetes client's asyncio twin with all that only it imports, and
# its typed models and API classes. A root file system that is read-only keeps no cache: what is not compiled here, each
# start compiles into memory. The hash makes that hold whatever becomes of the files' times on their way into the image.
RUN pip install --no-compile --no-build-isolation --no-deps . \
    && pip check \
    && pip uninstall --yes setuptools pip \
        aiohttp aiohttp-retry aiohappyeyeballs aiosignal attrs frozenlist multidict propcache yarl pycparser \
    && rm -r /opt/cloudoptim/include /opt/cloudoptim/lib/python3.*/site-packages/kubernetes/aio \
    && find /opt/cloudoptim/lib/python3.*/site-packages/kubernetes/client/api \
        /opt/cloudoptim/lib/python3.*/site-packages/kubernetes/client/models -name "*.py" ! -name __init__.py -delete \
    && python3 -m compileall -q -j 0 -o 2 --invalidation-mode unchecked-hash /opt/cloudoptim/lib
# The bill of materials, of what is left.
COPY scripts/container/sbom.txt ./
RUN python3 -m venv /sbom \
    && /sbom/bin/pip install --require-hashes --only-binary :all: --requirement sbom.txt \
    && /sbom/bin/cyclonedx-py environment --output-reproducible --output-file /opt/cloudoptim/sbom.cdx.json \
        /opt/cloudoptim
COPY supervisord.conf /opt/cloudoptim/

FROM ${BASE_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="CloudOptim client agent" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"
# The interpreter's own library likewise, and without what installs packages. The run directory is for those who mount
# nothing over it.
RUN lib="$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && rm -rf "$lib/ensurepip" "$lib/site-packages" /usr/local/bin/pip* \
        /usr/bin/pip* /usr/lib/python3/dist-packages/* /usr/share/python-wheels \
    && python3 -m compileall -q -j 0 -o 2 --invalidation-mode unchecked-hash \
        -x '/(test|idlelib|lib2to3|tkinter|turtledemo)/' "$lib" \
    && install --directory --owner 10001 --group 10001 --mode 0700 /run/cloudoptim
COPY --from=build /opt/cloudoptim /opt/cloudoptim
# Optimised twice, docstrings are not loaded: a tenth of the memory that code takes, in every worker. One arena, as
# one thread at a time runs Python anyway, and free memory given back at once: 7 MiB less in all.
ENV PATH=/opt/cloudoptim/bin:$PATH \
    PYTHONOPTIMIZE=2 \
    MALLOC_ARENA_MAX=1 \
    MALLOC_TRIM_THRESHOLD_=65536 \
    AGENT_RUN_DIR=/run/cloudoptim
# supervisorctl finds supervisord.conf here without being told.
WORKDIR /opt/cloudoptim
USER 10001:10001
EXPOSE 8080
# For plain `docker run`; Kubernetes has probes of its own (k8s/base/deployment.yaml). It goes through no proxy.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["python", "-c", "import http.client, os, sys; asked = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('HEALTH_CHECK_PORT') or 8080), timeout=5); asked.request('GET', '/health'); sys.exit(asked.getresponse().status != 200)"]
# The agent is PID 1: supervisord in it reaps orphans and stops the workers in order on SIGTERM, which takes up to 90 s
# (`docker stop --time 120`).
ENTRYPOINT ["cloudoptim-agent"]
CMD ["run"]
