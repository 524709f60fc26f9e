#!/bin/sh
# train of digits_1
# Written by Runyard. Starting it by hand runs the job once more, as an attempt of its own.
set -u
mask=$(umask); umask 077
job=/job
claim=${RUNYARD_CLAIM:-}; unset RUNYARD_CLAIM
attempt=${claim:-manual-$$}
A="$job/attempts/$attempt"
mkdir "$A" 2>/dev/null || {
  [ -n "$claim" ] && [ -d "$A" ] && exit 113
  mkdir -p "$A" || { echo "runyard: cannot make $A (disk full? no permission?)" >&2; exit 112; }
}
mkdir "$A/output" || exit 112
stat=; boot=; host=
{ IFS= read -r stat < /proc/$$/stat; IFS= read -r boot < /proc/sys/kernel/random/boot_id; IFS= read -r host < /proc/sys/kernel/hostname; } 2>/dev/null
[ -n "$host" ] || host=$(uname -n)
printf 'pid=%s\nhost=%s\nboot=%s\nstat=%s\nend\n' "$$" "$host" "$boot" "$stat" > "$A/started"
export RUNYARD_ATTEMPT="$attempt" RUNYARD_JOB_DIR="$job" RUNYARD_OUTPUT_DIR="$A/output"
export RUNYARD_EXPERIMENT_ID=digits_1
export RUNYARD_TASK=train
run_0() {
  (
    trap - TERM INT HUP; umask $mask
    cd /work || exit 111
    exec python3 train.py --lr 0.1
  ) > "$A"/log 2>&1 <&0 & pid=$!
  collect
  return $rc
}
collect() { caught=; wait $pid; rc=$?; [ -z "$caught" ] || { wait $pid; rc=$?; }; }
pid=; rc=0
trap '' TERM INT HUP
run_0
rc=$?
printf '%s\n' $rc > "$A/.rc" && mv "$A/.rc" "$A/rc"
exit $rc
