#!/bin/sh
# Makes the virtual environment: make_environment.sh UV PYTHON FOLDER. It is made anew where another Python is asked for.
set -u
uv=$1 python=$2 folder=$3

if [ "$(cat "$folder/.python" 2>/dev/null)" = "$python" ]; then
    exit 0
fi
clear=
if [ -e "$folder/.installed" ]; then # ours, not somebody else's environment
    clear=--clear
fi
find="$uv python find --system --no-python-downloads"
# One that is there; of pyenv's also those that are not switched on; else uv fetches one, and says so.
found=$($find "$python" 2>/dev/null) ||
    found=$(PYENV_VERSION=$(pyenv versions --bare 2>/dev/null | paste -sd: -) $find "$python" 2>/dev/null) ||
    found=$python
if ! "$uv" venv $clear --python "$found" "$folder"; then
    if [ "$found" = "$python" ]; then
        echo "error: no Python $python was found or could be fetched; install python3.11 or python3.12 (with your" \
            "system's packages, or pyenv), then: make PYTHON=/its/path ..." >&2
    fi
    exit 1
fi
echo "$python" >"$folder/.python"
