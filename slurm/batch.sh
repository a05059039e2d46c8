# shellcheck shell=bash
# What the batch scripts share: they set `site` (a file like site.conf) and `program`, then source this.

say() { printf 'batch: %s\n' "$*" >&2; }

set +u # modules are not written for it
# shellcheck source=slurm/site.conf
. "${site:?}"
set -u

ranks=''      # the process that started the ranks
warned=''     # SLURM said that the time limit is near
terminated='' # SLURM said that this is the end: the limit itself, or scancel
# The ranks that srun started get SIGTERM from SLURM themselves. Without a trap this script would die of it, and they too.
trap 'warned+=1; [ -z "$ranks" ] || kill -USR1 "$ranks" 2>/dev/null || true' USR1
trap 'terminated+=1' TERM

# stripe_outputs FILE...: on Lustre, makes new files in the directory of each of them get the site's stripes.
stripe_outputs() {
  local file directory stripes options
  command -v lfs >/dev/null || return 0
  options=(${STRIPE_COUNT:+--stripe-count "$STRIPE_COUNT"} ${STRIPE_SIZE:+--stripe-size "$STRIPE_SIZE"})
  for file in "$@"; do
    directory=$(dirname -- "$file")
    stripes=$(lfs getstripe --directory --stripe-count "$directory" 2>/dev/null) || continue # not on Lustre
    if [ ${#options[@]} -gt 0 ]; then
      lfs setstripe "${options[@]}" "$directory" || say "$directory: keeps the stripes that it had"
    elif [[ $stripes =~ ^[01]$ ]]; then
      say "$directory: files there lie on one target of Lustre; STRIPE_COUNT in $site makes writing faster"
    fi
  done
}

# ranks_find_each_other SRUN...: whether two ranks, on two nodes if there are two, are started as ranks of one job. Then one
# of them prints the version; ranks that take themselves for the only one both do, and those that fail do not.
ranks_find_each_other() {
  local nodes=$((SLURM_JOB_NUM_NODES > 1 ? 2 : 1)) lines
  lines=$(timeout 60 "$@" --nodes="$nodes" --ntasks=2 --ntasks-per-node=$((2 / nodes)) --overcommit \
    "${program:?}" --version 2>/dev/null | wc -l) || return 1
  [ "$lines" -eq 1 ]
}

# choose_launcher: sets launcher to the words that start a rank per task of the allocation.
choose_launcher() {
  local start
  if [ "$LAUNCHER" = auto ]; then
    launcher=(mpirun)
    for start in srun 'srun --mpi=pmix' 'srun --mpi=pmi2'; do
      # shellcheck disable=SC2086  # words
      if ranks_find_each_other $start; then
        read -ra launcher <<<"$start"
        break
      fi
    done
  else
    read -ra launcher <<<"$LAUNCHER"
  fi
  case ${launcher[0]} in
    # Without it, ranks whose neighbour was killed wait for ever.
    srun) launcher+=(--kill-on-bad-exit=1) ;;
    mpirun | mpiexec) launcher+=(-n "$SLURM_NTASKS") ;;
  esac
}

# wait_for_ranks: sets code. Every signal ends the `wait`, so that its trap can run; the ranks are waited for again.
wait_for_ranks() {
  local signals
  while true; do
    signals=$warned$terminated
    wait "$ranks" && code=0 || code=$?
    [ "$signals" != "$warned$terminated" ] || return 0
  done
}

# requeue: gives an unfinished job back to SLURM, and ends this script.
requeue() {
  local restarts=${SLURM_RESTART_COUNT:-0} way_on="the same slurm/submit goes on from here"
  if [ -n "$terminated" ] && ! scontrol --oneliner show job "$SLURM_JOB_ID" | grep -q ' Reason=TimeLimit '; then
    say "ended from outside: not queued again; $way_on"
  elif [ "$restarts" -ge "$MAX_REQUEUES" ]; then
    say "not finished, and queued again $restarts times, which is MAX_REQUEUES in $site: not once more; $way_on"
    exit 1 # not 75: there are sites where SLURM itself queues that again
  elif scontrol requeue "$SLURM_JOB_ID"; then
    say "not finished: queued again"
  else
    say "not finished, and cannot be queued again: $way_on"
  fi
  exit 75
}

# run_to_the_end ARGUMENT...: runs the program on all ranks, and ends this script with its exit code. Exit 75 means that it was
# stopped and can go on.
run_to_the_end() {
  choose_launcher
  say "job $SLURM_JOB_ID on $SLURM_JOB_NUM_NODES nodes, $SLURM_NTASKS ranks by ${launcher[*]}, restart ${SLURM_RESTART_COUNT:-0}"
  if [ -z "$warned$terminated" ]; then
    "${launcher[@]}" "$program" "$@" &
    ranks=$!
    wait_for_ranks
  else
    code=75
  fi
  [ "$code" -ne 75 ] || requeue
  exit "$code"
}
