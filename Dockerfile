# The labeling site: `heed label` without what only training needs (PyTorch and its friends), as a user without rights.
#
#   docker build -t heedful-label .
#   docker run -p 127.0.0.1:8400:8400 -v labels:/data heedful-label       then read the link in `docker logs`
#
# For a team, with PostgreSQL and TLS: compose.yaml, and docs/how-to/operate.md.
FROM python:3.13-slim-bookworm AS build
WORKDIR /build
RUN python -m venv /site
COPY pyproject.toml README.md LICENSE ./
COPY deploy/requirements.py deploy/requirements.py
# What the site needs comes first: this layer is made again only when a dependency changes.
RUN python deploy/requirements.py > requirements.txt && /site/bin/pip install --no-cache-dir -r requirements.txt
COPY src src
RUN /site/bin/pip install --no-cache-dir --no-deps . && /site/bin/python -m compileall -q /site/lib

FROM python:3.13-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /data --create-home heedful
COPY --from=build /site /site
ENV PATH=/site/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
USER heedful
WORKDIR /data
VOLUME /data
EXPOSE 8400
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=4 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8400/healthz', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["heed"]
# Inside the container every address is its own; who may reach it is decided by what is published, and that should be a TLS proxy.
CMD ["label", "--database", "/data/labels.sqlite", "--host", "0.0.0.0", "--behind-tls"]
