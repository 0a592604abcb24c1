# Boltwork in a container: built in one stage, served from another without a compiler, a shell
# script or a root user. All that it writes is in /data; the rest may be read-only.
#     docker build -t boltwork .
#     docker run --read-only --tmpfs /tmp -v boltwork:/data -p 127.0.0.1:8402:8402 boltwork
FROM python:3.12-slim AS built
WORKDIR /src
COPY scripts/install scripts/install
COPY scripts/lock scripts/lock
COPY pyproject.toml README.md ./
RUN python -m venv /opt/boltwork
# "app tools" sells the tools with networks, too.
ARG LOCKS=app
RUN scripts/install /opt/boltwork/bin/python \
    $(printf 'scripts/lock/%s.txt ' $LOCKS) scripts/lock/weights.txt
COPY openapi.yaml ./
COPY app app
COPY db db
COPY payments payments
COPY pricing pricing
COPY statemachine statemachine
RUN /opt/boltwork/bin/python -m pip install --no-deps --no-build-isolation --no-index .

FROM python:3.12-slim
COPY --from=built /opt/boltwork /opt/boltwork
# What the painter's Skia loads: libegl1, libgl1, libexpat1.
# libnss-wrapper lends a name to whatever number it is run as (`--user 54321`, OpenShift), whose group
# is 0: hence the owners and the mode of /data.
RUN apt-get update && apt-get install -y --no-install-recommends libnss-wrapper \
        libegl1 libgl1 libexpat1 \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 8402 --home-dir /data boltwork \
    && install -d -o boltwork -g 0 -m 0770 /data
USER boltwork
WORKDIR /data
VOLUME /data
ENV PATH=/opt/boltwork/bin:$PATH HOME=/data BOLTWORK_DATA=/data HOST=0.0.0.0 \
    PYTHONDONTWRITEBYTECODE=1
EXPOSE 8402
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as u; \
u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:8402/api/healthz')"]
CMD ["boltwork", "serve"]
