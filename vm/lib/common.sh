# What all steps of the build share: messages, the clock of the steps, names of partitions. Sourced, never run.
# shellcheck shell=bash

# shellcheck disable=SC2034  # used by the files that source this one
{
# Fixed, so that the same inputs give the same disk, and so that a root finds its data after an update.
UUID_DISK=6c6f6f70-7065-4572-8d73-6d616c6c0000
UUID_BIOS=6c6f6f70-7065-4572-8d73-6d616c6c0001
UUID_ESP=6c6f6f70-7065-4572-8d73-6d616c6c0002
UUID_ROOT_A=6c6f6f70-7065-4572-8d73-6d616c6c000a
UUID_ROOT_B=6c6f6f70-7065-4572-8d73-6d616c6c000b
UUID_DATA=6c6f6f70-7065-4572-8d73-6d616c6c000d
UUID_DATA_FS=6c6f6f70-7065-4572-8d73-6d616c6c00df
ESP_SERIAL=10095ee7
ESP_LABEL=LOOP-PEER

# MiB.
BIOS_MIB=1
ESP_MIB=64
# Two of them: the second is where an update will go. Room for a root with a web server and a database.
ROOT_MIB=128
}

say() { printf 'vm: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

mib() { awk -v bytes="$1" 'BEGIN { printf "%.1f MB", bytes / 1000000 }'; }
size_of() { stat --format=%s "$1"; }
on_disk() { du --block-size=1 "$1" | cut -f1; }

# step NUMBER OF TITLE COMMAND…: runs it with what it says in the log, shows that time passes, and the end of the log if it
# fails. A step is a function, run in a shell of its own, in which `set -e` holds.
step() {
    local number=$1 of=$2 title=$3 began=$SECONDS pid code=0
    shift 3
    printf '[%s/%s] %-34s' "$number" "$of" "$title" >&2
    ( set -euo pipefail; "$@" ) >>"$LOG" 2>&1 &
    pid=$!
    while kill -0 "$pid" 2>/dev/null; do
        if [ -t 2 ]; then printf '\r[%s/%s] %-34s %4d s' "$number" "$of" "$title" $((SECONDS - began)) >&2; fi
        sleep 0.5
    done
    wait "$pid" || code=$?
    if [ -t 2 ]; then printf '\r[%s/%s] %-34s' "$number" "$of" "$title" >&2; fi
    if [ "$code" -ne 0 ]; then
        printf ' failed after %d s\n\n' $((SECONDS - began)) >&2
        tail -n 25 "$LOG" >&2
        fail "'$title' failed; everything it said is in $LOG"
    fi
    printf ' %4d s   %s\n' $((SECONDS - began)) "$(cat "$WORK/result" 2>/dev/null)" >&2
    rm -f "$WORK/result"
}

# What a step has made, shown at the end of its line.
result() { printf '%s' "$*" >"$WORK/result"; }
