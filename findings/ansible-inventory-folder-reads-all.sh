#!/usr/bin/env bash
# ansible-core 2.19.14: an inventory that is a folder is made of every file in it, but those of a
# few endings. The words of a note become hosts, and a copy of the inventory that was put aside
# brings back a host that was taken out. Neither gives an error or a warning.
#
# Runs ansible-core==2.19.14 in a temporary folder, without this project; fails if the behaviour has changed.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check ansible-core==2.19.14 2>/dev/null

mkdir "$work/inventory"
cd "$work/inventory"
export HOME=$work ANSIBLE_NOCOLOR=1
printf '[mesh]\nkitchen\ncellar\n' > hosts.before
printf '[mesh]\nkitchen\n' > hosts
cp hosts.before hosts.bak
printf 'Ask\nPeter\n' > README
cp README README.md

hosts() { "$work/venv/bin/ansible" -i "$1" all --list-hosts 2>&1 | tail -n +2 | tr -d ' ' | sort | tr '\n' ' '; }
seen=$(
    echo "the file: $(hosts hosts)"
    echo "the folder: $(hosts .)"
    rm hosts.before
    echo "without the copy: $(hosts .)"
    rm README
    echo "without the note: $(hosts .)"
)
expected=$(cat <<'EXPECTED'
the file: kitchen 
the folder: Ask Peter cellar kitchen 
without the copy: Ask Peter kitchen 
without the note: kitchen 
EXPECTED
)

echo "$seen"
if [[ "$seen" != "$expected" ]]; then
    echo "changed; it was:" >&2
    echo "$expected" >&2
    exit 1
fi
