# One image for every role: docker-compose.yml says which process a container runs.
FROM python:3.11-slim

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# A new volume for the edge's spool takes the owner over from this directory.
RUN useradd --system --user-group --no-create-home quotastack \
    && install --directory --owner=quotastack --group=quotastack --mode=700 /var/lib/quotastack/spool
WORKDIR /srv/quotastack

# What is locked changes seldom, so it is a layer of its own.
COPY requirements.lock ./
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock

COPY pyproject.toml LICENSE ./
COPY README.md ARCHITECTURE.md STYLE.md CHANGELOG.md ./
COPY docs docs
COPY sdks/typescript/README.md sdks/typescript/README.md
COPY sdks/python/README.md sdks/python/README.md
COPY migrations migrations
COPY app app
COPY edge edge
RUN pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation -e . \
    && python -m compileall -q app edge migrations

# The files stay root's: a process reads its code and cannot change it.
USER quotastack
