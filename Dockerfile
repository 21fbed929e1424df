# The one image of gateway, indexer and command; what runs is the container's command. Nothing of training is in it.
#   docker build -t visual-search:0.1.0 .
FROM python:3.13.14-slim-trixie@sha256:6771159cd4fa5d9bba1258caf0b82e6b73458c694d178ad97c5e925c2d0e1a91 AS build
# heic: the same packages and the decoder of HEIC pictures.
ARG LOCK=serving
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /venv
COPY requirements/serving.lock /app/requirements/serving.lock
COPY requirements/heic.lock /app/requirements/heic.lock
# Wheels alone: nothing is compiled, so no compiler is needed and what runs is what was hashed.
RUN /venv/bin/pip install --require-hashes --only-binary=:all: -r /app/requirements/${LOCK}.lock
COPY cli /app/cli
COPY visualsearch /app/visualsearch
COPY gateway /app/gateway
COPY indexer /app/indexer
RUN printf '#!/venv/bin/python\nfrom cli.main import main\nmain()\n' > /venv/bin/visualsearch \
 && chmod 755 /venv/bin/visualsearch \
 && /venv/bin/python -m compileall -q /app \
 && /venv/bin/pip uninstall -q -y pip

FROM python:3.13.14-slim-trixie@sha256:6771159cd4fa5d9bba1258caf0b82e6b73458c694d178ad97c5e925c2d0e1a91
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin visualsearch \
 && install -d -o visualsearch -g visualsearch /var/lib/visualsearch
COPY --from=build /venv /venv
COPY --from=build /app /app
COPY LICENSE /app/LICENSE
COPY milvus /app/milvus
# What releases are judged by, until VISUALSEARCH_EVALUATION_SET names pictures of your own.
COPY demo/pictures /app/demo/pictures
# For Triton's pods, which take their models out of this image too.
COPY compose/triton/infer.py /app/compose/triton/infer.py
# Triton serves the same files: gateway and indexer read the card that says which vectors fit together.
COPY model_repository /app/model_repository
ENV PATH=/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MALLOC_ARENA_MAX=2 \
    VISUALSEARCH_HOME=/var/lib/visualsearch \
    VISUALSEARCH_GATEWAY_HOST=0.0.0.0 \
    VISUALSEARCH_REQUIRE_KEYS=true \
    VISUALSEARCH_INDEXER_METRICS_HOST=0.0.0.0 \
    VISUALSEARCH_LOG_FORMAT=json
WORKDIR /app
USER 10001:10001
# All that is ever written: the indexer's heartbeat and what the gateway's processes tell each other. A tmpfs will do.
VOLUME /var/lib/visualsearch
EXPOSE 8080 8081 8082
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health', timeout=4).read()"]
CMD ["python", "-m", "gateway"]
