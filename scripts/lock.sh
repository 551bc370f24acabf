#!/bin/sh
# Remakes requirements/*.txt (pinned, with hashes, for Python 3.11 to 3.13 on every platform) from
# requirements/*.in, and package-lock.json from package.json. Pins that still fit are kept;
# `scripts/lock.sh --upgrade` takes the newest of what *.in leaves open.
set -eu
cd -- "$(dirname -- "$0")/.."

tools=.setup/uv
[ -x "$tools/bin/python" ] || .venv/bin/python -m venv "$tools"
"$tools/bin/python" -m pip install --quiet --require-hashes --only-binary :all: --requirement requirements/lock.txt

for name in lock build runtime dev bench; do
    printf 'lock: requirements/%s.txt\n' "$name"
    "$tools/bin/uv" pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --custom-compile-command 'make lock' "$@" \
        --output-file "requirements/$name.txt" "requirements/$name.in"
done

printf 'lock: package-lock.json\n'
npm install --package-lock-only --ignore-scripts
