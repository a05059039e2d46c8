#!/usr/bin/env bash
# Runs a command under LeakSanitizer. LeakSanitizer itself crashes now and then in programs with Open MPI's threads
# ("Tracer caught signal 11"): such a run says nothing about leaks, and is made again.
set -u
for attempt in 1 2 3; do
  output=$("$@" 2>&1)
  code=$?
  printf '%s\n' "$output"
  [[ $output == *"LeakSanitizer has encountered a fatal error"* ]] || exit "$code"
  echo "note: attempt $attempt: LeakSanitizer crashed"
done
exit "$code"
