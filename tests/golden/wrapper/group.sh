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
secrets="${RUNYARD_SECRETS_FILE:-$job/.secrets}"; unset RUNYARD_SECRETS_FILE
run_0() {
  mkdir "$A"/server || return 112
  mkfifo "$A"/server/.pipe || return 112
  (trap '' TERM INT HUP; exec r "$secrets" < "$A"/server/.pipe > "$A"/server/log 2>&1) & filter=$!
  exec 3> "$A"/server/.pipe; rm -f "$A"/server/.pipe
  (
    trap - TERM INT HUP; umask $mask
    cd /work || exit 111
    exec python3 train.py --lr 0.1
  ) >&3 2>&1 3>&- <&0 & pid=$!
  exec 3>&-
  collect
  wait $filter
  printf '%s\n' $rc > "$A"/server/.rc && mv "$A"/server/.rc "$A"/server/rc
  return $rc
}
run_1() {
  mkdir "$A"/client || return 112
  mkfifo "$A"/client/.pipe || return 112
  (trap '' TERM INT HUP; exec r "$secrets" < "$A"/client/.pipe > "$A"/client/log 2>&1) & filter=$!
  exec 3> "$A"/client/.pipe; rm -f "$A"/client/.pipe
  (
    trap - TERM INT HUP; umask $mask
    cd /work || exit 111
    [ -r "$secrets" ] || { echo "runyard: the secrets file is gone: $secrets" >&2; exit 110; }
    . "$secrets"
    exec python3 train.py --lr 0.1
  ) >&3 2>&1 3>&- <&0 & pid=$!
  exec 3>&-
  collect
  wait $filter
  printf '%s\n' $rc > "$A"/client/.rc && mv "$A"/client/.rc "$A"/client/rc
  return $rc
}
collect() { caught=; wait $pid; rc=$?; [ -z "$caught" ] || { wait $pid; rc=$?; }; }
pid=; rc=0
trap '' TERM INT HUP
fail() {
  (set -C; printf '%s\n' "$1" > "$A/.first") 2>/dev/null || return 0
  kill -TERM 0
  (
    i=0
    while [ $i -lt 10 ]; do sleep 1; i=$((i+1)); done
    cp "$A/.first" "$A/.rc" && mv "$A/.rc" "$A/rc"; kill -KILL 0
  ) & printf '%s\n' $! > "$A/.watchdog"
}
( trap '' TERM INT HUP; run_0; rc=$?; [ $rc -eq 0 ] || fail $rc; exit $rc ) & pid_0=$!
( trap '' TERM INT HUP; run_1; rc=$?; [ $rc -eq 0 ] || fail $rc; exit $rc ) & pid_1=$!
pid=$pid_0; collect
pid=$pid_1; collect
rc=0; [ ! -f "$A/.first" ] || read -r rc < "$A/.first"
[ ! -f "$A/.watchdog" ] || { read -r pid < "$A/.watchdog"; kill -KILL $pid 2>/dev/null; }
printf '%s\n' $rc > "$A/.rc" && mv "$A/.rc" "$A/rc"
exit $rc
