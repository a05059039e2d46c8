# shellcheck shell=bash
# slurm/submit --wait: what becomes of the jobs.

# field NAME RECORD: prints a field of a line of `scontrol --oneliner show job`.
field() {
  [[ $2 =~ (^| )"$1"=([^ ]*) ]] && printf '%s' "${BASH_REMATCH[2]}"
}

# describe RECORD: prints what the job is doing.
describe() {
  local state
  state=$(field JobState "$1")
  case $state in
    PENDING) printf 'waits: %s' "$(field Reason "$1")" ;;
    RUNNING) printf 'runs on %s' "$(field NodeList "$1")" ;;
    *) printf '%s, exit %s' "${state,,}" "$(field ExitCode "$1")" ;;
  esac
}

# code_of RECORD: prints the exit code of a job that has ended; nothing for others.
code_of() {
  local code
  case $(field JobState "$1") in
    COMPLETED) echo 0 ;;
    PENDING | CONFIGURING | RUNNING | COMPLETING | SUSPENDED | STOPPED | STAGE_OUT | SIGNALING | RE*) ;;
    *)
      code=$(field ExitCode "$1")
      if [ "${code%:*}" -gt 0 ]; then echo "${code%:*}"; else echo 1; fi
      ;;
  esac
}

# log_of ID: prints where the log of a job is.
log_of() {
  scontrol show job "$1" | sed -n 's/^ *StdOut=//p' | head -n 1
}

# follow ID...: prints every change, and what is new in the logs, until all have ended. Returns their largest exit code.
# The logs of an array, many jobs at once, are not printed.
follow() {
  local id records record task now code worst pause=1 running news log size
  local -A said=() printed=()
  while true; do
    running='' news='' worst=0
    for id in "$@"; do
      if ! records=$(scontrol --oneliner show job "$id" 2>&1); then
        if [[ $records == *'Invalid job id'* ]]; then worst=1; else running=1; fi
        continue
      fi
      while IFS= read -r record; do
        task=$(field ArrayTaskId "$record") || task=''
        now=$(describe "$record")
        if [ "${said[$id.$task]:-}" != "$now" ] && [[ $now != completing* ]]; then
          printf 'job %s: %s\n' "$id${task:+_$task}" "$now"
          said[$id.$task]=$now
          news=1
        fi
        code=$(code_of "$record")
        if [ -z "$code" ]; then
          running=1
        elif [ "$code" -gt "$worst" ]; then
          worst=$code
        fi
      done <<<"$records"
      log=$(log_of "$id")
      if [ -z "$task" ] && [ -f "$log" ]; then
        size=$(stat -c %s "$log")
        if [ "$size" -gt "${printed[$id]:-0}" ]; then
          tail -c +$((${printed[$id]:-0} + 1)) "$log" | head -c $((size - ${printed[$id]:-0}))
          printed[$id]=$size
          news=1
        fi
      fi
    done
    [ -n "$running" ] || return "$worst"
    # Gentle with SLURM where little happens.
    if [ -n "$news" ]; then pause=1; elif [ "$pause" -lt 15 ]; then pause=$((pause + 1)); fi
    sleep "$pause"
  done
}
