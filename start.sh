#!/bin/bash
# Starts Noslate and the gateway in one container, and keeps them together: whichever ends first ends all.
#
#   start.sh [start]
#
# variable             default                     meaning
# NOSLATE_PATH         /usr/local/noslate          Noslate's folder
# NOSLATE_BIN          $NOSLATE_PATH/bin           its programs: node, turf, data_plane, control_plane
# NOSLATE_WORKDIR      /.noslate                   writable folder, above those that follow
# NOSLATED_WORKDIR     $NOSLATE_WORKDIR/noslated   the planes' sockets, bundles and caches
# TURF_WORKDIR         $NOSLATE_WORKDIR/turf       turfd's socket and sandboxes
# NOSLATE_LOGDIR       $NOSLATE_WORKDIR/logs       logs of the planes and of workers
# SERVER_PATH          folder of this script       folder of server.js (or dist/server.js) and noslate.json
# SERVER_NODE          $SERVER_PATH/node, if there is one, else $NOSLATE_BIN/node
#                                                  Node.js that runs the server
# SERVER_DATA_PLANES   1                           data planes; auto is one per 2 vCPU
# SERVER_PLANES        one, if SERVER_PATH/warm    one: data plane and control plane in one process; two: each in its own,
#                      can and it is one plane     as Noslate ships them
# SERVER_PLANE_LOG     off                         stdout: what Noslate logs, too, with its writer in front
# SERVER_WARM          1                           0: Noslate's programs start as shipped, without what the image has
#                                                  in SERVER_PATH/warm to start them sooner
# SERVER_STOP_TIMEOUT  SERVER_DRAIN_TIMEOUT + 5    seconds a stop may take until what is left is killed
#
# Everything else is passed on: the server's own settings, and Noslate's. For a read-only root, NOSLATE_WORKDIR
# is all that must be writable. Root is not needed: of turf's realms only the one without privileges is in use.
# It separates nothing, so that functions run as our user, root or not, and can do what that user can.
#
# Exit codes: 0 after a stop that was asked for; 64 usage; 78 a setting that cannot be used; else that of
# whichever ended first, or 1.
set -Eeuo pipefail

# no here-documents and no here-strings in this file: bash 5.0 makes a file in /tmp for each

# longest waits, seconds: for the server's port, before Noslate is started all the same; for turf.sock; and for the last
# lines to come through when SERVER_PLANE_LOG is stdout
readonly PORT_SECONDS=2 TURF_SECONDS=10 FLUSH_SECONDS=1

# MB for the server, the control plane, turfd and a data plane, and for each data plane more
readonly OWN_MB=256 PLANE_MB=96

# MB of the smallest pool: four workers of Noslate's default, 512 MiB. It admits workers by their limits, of
# which they use a part, and where the pool ends it refuses all that waits for the function.
readonly POOL_MB=2048

# pids of what was started, by name
declare -A pids=()
# pid of what copies logs to stdout
follower=''
# non-empty once we were told to end, and once the server was
stopping=''
told=''

# say MESSAGE  prints one line to stderr
say() {
  printf 'noslate-fc: %s\n' "$1" >&2
}

# refuse MESSAGE  ends the start for a setting that cannot be used
refuse() {
  say "$1"
  exit 78
}

# configure  reads the settings: our own stay here, Noslate's and the server's are exported
configure() {
  export NOSLATE_PATH=${NOSLATE_PATH:-/usr/local/noslate}
  export NOSLATE_BIN=${NOSLATE_BIN:-$NOSLATE_PATH/bin}
  export NOSLATE_WORKDIR=${NOSLATE_WORKDIR:-/.noslate}
  local name
  # Noslate's image sets all four: those below its own folder go with that
  for name in NOSLATED_WORKDIR TURF_WORKDIR NOSLATE_LOGDIR; do
    [[ ${!name:-} != /.noslate/* || $NOSLATE_WORKDIR == /.noslate ]] || unset "$name"
  done
  export NOSLATED_WORKDIR=${NOSLATED_WORKDIR:-$NOSLATE_WORKDIR/noslated}
  export TURF_WORKDIR=${TURF_WORKDIR:-$NOSLATE_WORKDIR/turf}
  export NOSLATE_LOGDIR=${NOSLATE_LOGDIR:-$NOSLATE_WORKDIR/logs}
  for name in NOSLATE_PATH NOSLATE_BIN NOSLATED_WORKDIR TURF_WORKDIR NOSLATE_LOGDIR; do
    # it would be another folder for a process that runs elsewhere
    [[ ${!name} == /* ]] || refuse "$name: expected an absolute path, got \"${!name}\""
  done
  [[ -d $NOSLATE_PATH ]] || refuse "NOSLATE_PATH: expected Noslate's folder, got \"$NOSLATE_PATH\""
  for name in turf data_plane control_plane; do
    [[ -f $NOSLATE_BIN/$name ]] || refuse "NOSLATE_BIN: no $name in $NOSLATE_BIN"
  done
  # without it the control plane crashes
  [[ -x $NOSLATE_BIN/turf ]] || refuse "NOSLATE_BIN: $NOSLATE_BIN/turf is not executable"
  plane_node=$NOSLATE_BIN/node
  if [[ ! -x $plane_node ]]; then
    plane_node=$(type -P node) || refuse "NOSLATE_BIN: no node in $NOSLATE_BIN, and none on PATH"
  fi

  # a bare name has no folder in front
  local own=./${BASH_SOURCE[0]}
  [[ $own != .//* ]] || own=${own#./}
  SERVER_PATH=${SERVER_PATH:-${own%/*}}
  # the server looks for noslate.json here
  CDPATH='' cd -- "$SERVER_PATH" 2>/dev/null || refuse "SERVER_PATH: expected a folder, got \"$SERVER_PATH\""
  SERVER_PATH=$PWD
  # brought by the image, else the planes' own, whose pages are in memory
  [[ -n ${SERVER_NODE:-} || ! -f $SERVER_PATH/node ]] || SERVER_NODE=$SERVER_PATH/node
  SERVER_NODE=${SERVER_NODE:-$plane_node}
  [[ -f $SERVER_NODE && -x $SERVER_NODE ]] || refuse "SERVER_NODE: expected a binary of Node.js, got \"$SERVER_NODE\""
  server_file=$SERVER_PATH/server.js
  [[ -f $server_file ]] || server_file=$SERVER_PATH/dist/server.js
  [[ -f $server_file ]] || refuse "SERVER_PATH: no server.js in $SERVER_PATH"

  SERVER_DATA_PLANES=${SERVER_DATA_PLANES:-1}
  if [[ $SERVER_DATA_PLANES == auto ]]; then
    count_cpus /sys/fs/cgroup
    data_planes=$((cpus < 4 ? 1 : cpus / 2))
  else
    [[ $SERVER_DATA_PLANES =~ ^([1-9]|[1-5][0-9]|6[0-4])$ ]] ||
      refuse "SERVER_DATA_PLANES: expected auto or a whole number from 1 to 64, got \"$SERVER_DATA_PLANES\""
    data_planes=$SERVER_DATA_PLANES
  fi
  SERVER_PLANE_LOG=${SERVER_PLANE_LOG:-off}
  [[ $SERVER_PLANE_LOG =~ ^(off|stdout)$ ]] ||
    refuse "SERVER_PLANE_LOG: expected off, stdout, got \"$SERVER_PLANE_LOG\""
  SERVER_WARM=${SERVER_WARM:-1}
  # make: for the program that makes what there is to be warmed with
  [[ $SERVER_WARM =~ ^(0|1|make)$ ]] || refuse "SERVER_WARM: expected 0, 1, got \"$SERVER_WARM\""
  # of several data planes each is a process, and what is to start as shipped is two
  local planes_file=$SERVER_PATH/warm/planes.js
  if [[ -z ${SERVER_PLANES:-} ]]; then
    SERVER_PLANES=two
    [[ $data_planes != 1 || $SERVER_WARM == 0 || ! -f $planes_file ]] || SERVER_PLANES=one
  fi
  [[ $SERVER_PLANES =~ ^(one|two)$ ]] || refuse "SERVER_PLANES: expected one, two, got \"$SERVER_PLANES\""
  if [[ $SERVER_PLANES == one ]]; then
    [[ $data_planes == 1 ]] || refuse "SERVER_PLANES: expected two with $data_planes data planes, got \"one\""
    [[ -f $planes_file ]] || refuse "SERVER_PLANES: expected two where there is no $planes_file, got \"one\""
  fi
  # one that is no number is the server's to refuse
  local drain=10
  [[ ! ${SERVER_DRAIN_TIMEOUT:-} =~ ^[0-9]{1,7}$ ]] || drain=$((10#$SERVER_DRAIN_TIMEOUT))
  SERVER_STOP_TIMEOUT=${SERVER_STOP_TIMEOUT:-$((drain + 5))}
  [[ $SERVER_STOP_TIMEOUT =~ ^[0-9]{1,7}$ ]] ||
    refuse "SERVER_STOP_TIMEOUT: expected a whole number of seconds, got \"$SERVER_STOP_TIMEOUT\""
  # the server warns of variables of this kind that it does not know
  export -n SERVER_PATH SERVER_NODE SERVER_DATA_PLANES SERVER_PLANES SERVER_PLANE_LOG SERVER_WARM SERVER_STOP_TIMEOUT

  # else each data plane opens a debugger on port 9229 of all interfaces, and crashes when it is taken
  export DISABLE_INSPECTOR=${DISABLE_INSPECTOR:-true}
  # else the control plane gives its workers the zone "undefined"
  export TZ=${TZ:-UTC}
  # the library that forks an aworker from a seed; turf's own default is in TURF_WORKDIR
  [[ ! -f $NOSLATE_BIN/libturf.so ]] || export LIBTURF_PATH=${LIBTURF_PATH:-$NOSLATE_BIN/libturf.so}
  # either of them makes the planes and the SDK throw as they are loaded
  for name in NOSLATED_DATA_PLANE_COUNT NOSLATED_CONTROL_PLANE_COUNT; do
    [[ -n ${!name:-} ]] || continue
    say "$name: ignored, Noslate fails to start with it; SERVER_DATA_PLANES sets the number of data planes"
    unset "$name"
  done
}

# read_limit FILE...  sets limit to the words of the first of these files that there is
read_limit() {
  limit=()
  local file
  for file; do
    [[ -r $file ]] || continue
    read -ra limit <"$file" || :
    return
  done
}

# count_cpus CGROUPS  sets cpus to the whole vCPUs that we may use
count_cpus() {
  cpus=$(nproc)
  read_limit "$1/cpu.max" "$1/cpu/cpu.cfs_quota_us"
  local quota=${limit[0]:-} period=${limit[1]:-}
  if [[ -z $period ]]; then
    read_limit "$1/cpu/cpu.cfs_period_us"
    period=${limit[0]:-}
  fi
  # "max", or -1 before version 2, is no limit
  [[ $quota =~ ^[0-9]+$ && $period =~ ^[1-9][0-9]*$ ]] || return 0
  ((quota / period >= cpus)) || cpus=$((quota / period))
}

# measure_memory CGROUPS  sets memory to the MB that we may use, 0 when nothing says
measure_memory() {
  memory=0
  if [[ ${FC_FUNCTION_MEMORY_SIZE:-} =~ ^[0-9]{1,9}$ ]]; then
    memory=$((10#$FC_FUNCTION_MEMORY_SIZE))
    return
  fi
  read_limit "$1/memory.max" "$1/memory/memory.limit_in_bytes"
  # "max", or a number of 19 digits before version 2, is no limit
  [[ ! ${limit[0]:-} =~ ^[0-9]{1,15}$ ]] || memory=$((limit[0] / 1024 / 1024))
}

# prepare_folders  makes what is missing of Noslate's folders, and removes sockets of an earlier start
prepare_folders() {
  local folders=("$NOSLATED_WORKDIR/socks" "$NOSLATE_LOGDIR" "$TURF_WORKDIR/sandbox" "$TURF_WORKDIR/overlay"
    "$TURF_WORKDIR/runtime/nodejs/bin" "$TURF_WORKDIR/runtime/aworker/bin")
  local folder variable
  for folder in "${folders[@]}"; do
    [[ -d $folder ]] && continue
    # in one process, and in none for an image that has them all: the port is not open yet
    mkdir -p -- "${folders[@]}" 2>/dev/null || :
    break
  done
  for variable in NOSLATED_WORKDIR/socks NOSLATE_LOGDIR TURF_WORKDIR/sandbox TURF_WORKDIR; do
    folder=${variable%%/*}
    folder=${!folder}${variable#"${variable%%/*}"}
    [[ -d $folder && -w $folder ]] || refuse "${variable%%/*}: $folder is not a folder that we can write to"
  done

  # a volume in place of the image's folder has none of the links that turf and the control plane look for
  local worker_node=$SERVER_PATH/warm/node runtime=$TURF_WORKDIR/runtime
  [[ $SERVER_WARM != 0 && -x $worker_node ]] || worker_node=$plane_node
  link "$worker_node" "$runtime/nodejs/bin/node"
  [[ -e $runtime/aworker/bin/aworker ]] || link "$NOSLATE_BIN/aworker" "$runtime/aworker/bin/aworker"

  # a container that is started again has its files of before; whoever connects must not meet a dead socket
  local socket
  for socket in "$TURF_WORKDIR/turf.sock" "$NOSLATED_WORKDIR"/socks/*.sock; do
    [[ ! -S $socket ]] || rm -f -- "$socket"
  done
}

# link FILE PLACE  has a place lead to a file, if there is one
link() {
  if [[ ! -e $1 || $1 -ef $2 ]] || ln -sf -- "$1" "$2" 2>/dev/null; then return 0; fi
  [[ -e $2 ]] || refuse "TURF_WORKDIR: $2 cannot be made"
  say "TURF_WORKDIR: $2 cannot be made anew: workers start as it has them"
}

# write_config  writes Noslate's platform configuration, over which NOSLATED_CONFIG_PATH and variables win
write_config() {
  if [[ -n ${NOSLATED_PLATFORM_CONFIG_PATH:-} ]]; then
    # there is nothing below it that could be ours
    ((data_planes == 1)) || say "SERVER_DATA_PLANES: NOSLATED_PLATFORM_CONFIG_PATH must say \"dataPlaneCount\": $data_planes, too"
    return 0
  fi
  measure_memory /sys/fs/cgroup
  local pool=$((memory - OWN_MB - PLANE_MB * (data_planes - 1)))
  ((pool > POOL_MB)) || pool=$POOL_MB
  export NOSLATED_PLATFORM_CONFIG_PATH=$NOSLATED_WORKDIR/platform.config.json
  # plane: what its variables would say if Noslate could bear them
  # virtualMemoryPoolSize: Noslate's default is 1gb, whatever the container has: two workers
  # systemLoad1Limit: at Noslate's 10 a data plane refuses all calls for the load of the host, which has many tenants
  printf '{
  "plane": { "dataPlaneCount": %d, "controlPlaneCount": 1 },
  "virtualMemoryPoolSize": "%dmb",
  "systemCircuitBreaker": { "systemLoad1Limit": 100000 }
}
' "$data_planes" "$pool" >"$NOSLATED_PLATFORM_CONFIG_PATH" ||
    refuse "NOSLATED_WORKDIR: $NOSLATED_PLATFORM_CONFIG_PATH cannot be written"
}

# launch NAME COMMAND...  starts a process whose output goes to a file in NOSLATE_LOGDIR
launch() {
  local name=$1
  shift
  "$@" </dev/null >"$NOSLATE_LOGDIR/${name}_out.log" 2>&1 9>&- &
  pids[$name]=$!
}

# follow  copies what turfd and the planes log to stdout, each line with the name of its file in front
follow() {
  local id files=("$NOSLATE_LOGDIR"/{turfd,planes,data_plane,control_plane}_out.log "$NOSLATE_LOGDIR"/{data,control}_plane.log)
  for ((id = 1; id < data_planes; id++)); do files+=("$NOSLATE_LOGDIR/data_plane-${id}_out.log"); done
  # it is ended as the last, and tail looks once more then, so that no last words are lost
  sleep infinity &
  # by name, again and again: a plane's log is a link to a file of the day, made with the first line and made anew each
  # day, which tail gives up where it waits for inotify's word. It names a file where its lines begin.
  sed -un -e '/^==> .*\/\([^/]*\)\.log <==$/{s//\1/;s/_out$//;s/.*/[&] /;h;d}' -e '/./{G;s/\(.*\)\n\(.*\)/\2\1/p}' \
    < <(exec tail -n +1 -F ---disable-inotify -s 0.1 --pid=$! -- "${files[@]}" 2>/dev/null) &
  follower=$!
}

# runs PID  whether a child of ours has not ended yet
runs() {
  kill -0 "$1" 2>/dev/null
}

# has_ended  whether one of those has that must not, and which: in ended
has_ended() {
  for ended in "${!pids[@]}"; do
    runs "${pids[$ended]}" || return 0
  done
  ended=''
  return 1
}

# is_over  whether it is time to end
is_over() {
  [[ -n $stopping ]] || has_ended
}

# await SECONDS PID...  waits until these have ended; fails when the time has passed before
await() {
  local pid timer
  sleep "$1" &
  timer=$!
  shift
  for pid; do
    while runs "$pid"; do
      runs "$timer" || return 1
      # it does not matter which one it was: we look again
      wait -n || :
    done
  done
  # with TERM, the one end of a child by a signal of which bash says nothing
  kill "$timer" || :
} 2>/dev/null

# tell_server SIGNAL  sends a signal to the server, if there is one
tell_server() {
  [[ -z ${pids[server]:-} ]] || kill -"$1" "${pids[server]}" 2>/dev/null || :
}

# on_end  hands on that we shall end: the server takes no more and finishes what it has; told again, it ends at once
on_end() {
  stopping=yes
  [[ -z ${pids[server]:-} ]] || told=yes
  tell_server TERM
}

# await_port  waits until the server takes connections; on one vCPU the planes would triple the time to that
await_port() {
  local host=${SERVER_HOST:-0.0.0.0} port=${SERVER_PORT:-${FC_SERVER_PORT:-${FC_CUSTOM_LISTEN_PORT:-9000}}}
  # any free one: nobody but the server knows which
  [[ $port == 0 ]] || await_that "$PORT_SECONDS" is_open "$host" "$port" || :
}

# is_open HOST PORT  whether something takes connections there
is_open() {
  : <>"/dev/tcp/$1/$2"
} 2>/dev/null

# await_that SECONDS COMMAND...  waits until a command succeeds, or it is time to end; fails when the time has passed
await_that() {
  local last=$((SECONDS + $1))
  shift
  until "$@"; do
    if is_over; then return 0; fi
    ((SECONDS <= last)) || return 1
    # nothing comes there; a process that sleeps would take its time from those that are waited for
    { read -rt 0.01 -u 9 || (($? > 128)) || sleep 0.01; } 2>/dev/null
  done
}

# launch_plane NAME FILE  starts a plane, or both, with the pack of its modules if the image has one
launch_plane() {
  local program=${2##*/} pack=$SERVER_PATH/warm/planes.pack options=()
  # that of both has all that each of them loads
  [[ $SERVER_WARM != make && -f $pack ]] || pack=$SERVER_PATH/warm/${program%.js}.pack
  if [[ $SERVER_WARM == make || ($SERVER_WARM == 1 && -f $pack) ]]; then
    # ours does what the other is told to
    [[ $program == planes.js ]] || options=(-r "$SERVER_PATH/warm/preload.js")
    # no collecting of garbage while it starts
    NOSLATE_FC_WARM=${SERVER_WARM/1/use}:$pack launch "$1" "$plane_node" "${options[@]}" --min-semi-space-size=8 "$2"
  else
    launch "$1" "$plane_node" "$2"
  fi
}

# start_noslate  starts turfd and the planes; fails when turfd does not get ready
start_noslate() {
  if is_over; then return 0; fi
  [[ $SERVER_PLANE_LOG == off ]] || follow
  # not with setsid: turfd makes a process group of its own, which the leader of a session cannot
  launch turfd "$NOSLATE_BIN/turf" -D -f
  if ! await_that "$TURF_SECONDS" test -S "$TURF_WORKDIR/turf.sock"; then
    say "turfd has not opened $TURF_WORKDIR/turf.sock within $TURF_SECONDS seconds: the container ends"
    last_words turfd
    return 1
  fi
  if is_over; then return 0; fi
  # a control plane not before: as long as there is no turf.sock it tries without a pause, and fills its log
  if [[ $SERVER_PLANES == one ]]; then
    NOSLATED_PLANE_ID=0 launch_plane planes "$SERVER_PATH/warm/planes.js"
    return
  fi
  local id
  NOSLATED_PLANE_ID=0 launch_plane data_plane "$NOSLATE_BIN/data_plane"
  for ((id = 1; id < data_planes; id++)); do
    NOSLATED_PLANE_ID=$id launch_plane "data_plane-$id" "$NOSLATE_BIN/data_plane"
  done
  NOSLATED_PLANE_ID=0 launch_plane control_plane "$NOSLATE_BIN/control_plane"
}

# report NAME STATUS  says which process has ended, and how
report() {
  local how="with status $2"
  (($2 <= 128 || $2 > 160)) || how="by SIG$(kill -l "$2")"
  say "$1 ended $how: the container ends"
  [[ $1 == server ]] || last_words "$1"
}

# last_words NAME  prints the end of a process's logs to stderr: of its output, and of what a plane writes itself
last_words() {
  # of which there are some
  local logs=("$NOSLATE_LOGDIR/$1"{_out,}.log)
  [[ $1 != planes ]] || logs+=("$NOSLATE_LOGDIR"/{data,control}_plane.log)
  { tail -q -n 10 -- "${logs[@]}" 2>/dev/null || :; } | sed "s/^/[$1] /" >&2
}

# stop SIGNAL  ends the server with this signal unless it was told already, then the planes, then all that is left
stop() {
  local name planes=() last=$((SECONDS + SERVER_STOP_TIMEOUT))
  for name in "${!pids[@]}"; do
    [[ $name != *plane* ]] || planes+=("${pids[$name]}")
  done
  stopping=yes
  [[ -n $told ]] || tell_server "$1"
  # the others stay as long as it has invocations in flight
  await $((last - SECONDS)) "${pids[server]}" || tell_server KILL
  ((${#planes[@]} == 0)) || kill -TERM "${planes[@]}" 2>/dev/null || :
  await $((last - SECONDS)) "${planes[@]}" || :
  sweep
  [[ -z $follower ]] || await "$FLUSH_SECONDS" "$follower" || :
}

# sweep  kills all processes below us, but for those that still bring log lines; says nothing, as bash would
#
# turfd takes no SIGTERM, and its workers are in sessions of their own. Who has lost its parent is below us when
# we are PID 1, as in a container; elsewhere it is not found.
sweep() {
  local file line rest pid i below=("$$") children=()
  for file in /proc/[0-9]*/stat; do
    # it may have ended just now
    read -r line <"$file" || continue
    # PID (NAME) STATE PARENT ..., where NAME can hold anything
    rest=${line##*) ? }
    children[${rest%% *}]+=" ${line%% *}"
  done
  for ((i = 0; i < ${#below[@]}; i++)); do
    for pid in ${children[${below[i]}]:-}; do
      [[ $pid != "$follower" ]] || continue
      kill -KILL "$pid" || :
      below+=("$pid")
    done
  done
  for pid in "${pids[@]}"; do
    wait "$pid" || :
  done
} 2>/dev/null

main() {
  [[ $# == 0 || "$*" == start ]] || { printf 'Usage: %s [start]\n' "${0##*/}" >&2 && exit 64; }
  # as PID 1 we would not hear what we have no trap for
  trap on_end TERM INT
  trap 'tell_server HUP' HUP
  configure
  prepare_folders
  write_config
  [[ -z $stopping ]] || exit 0

  # whatever goes wrong from here, nothing is left behind
  trap 'follower=; sweep' EXIT
  local code=0 ended=''
  "$SERVER_NODE" "$server_file" </dev/null &
  pids[server]=$!
  # what the role may do is the server's to hand on, to the functions that have asked for it
  unset ALIBABA_CLOUD_{ACCESS_KEY_ID,ACCESS_KEY_SECRET,SECURITY_TOKEN} accessKey{ID,Secret} securityToken
  [[ ! -d /dev/fd ]] || exec 9<> <(:)
  await_port
  if start_noslate; then
    until is_over; do
      wait -n 2>/dev/null || :
    done
  else
    code=1
  fi
  if [[ -n $ended ]]; then
    wait "${pids[$ended]}" 2>/dev/null || code=$?
    # the server has said itself what it did not like
    [[ $ended == server && $code =~ ^(0|1|78)$ ]] || report "$ended" "$code"
    [[ $ended == server || $code != 0 ]] || code=1
  fi

  # until the control plane has opened its socket, no invocation can be answered, and there is none to wait for
  if [[ -S $NOSLATED_WORKDIR/socks/cp-0.sock ]]; then stop TERM; else stop INT; fi
  if [[ -n $told && -z $ended ]]; then
    wait "${pids[server]}" 2>/dev/null || code=$?
    # told before it could listen for it
    ((code != 143)) || code=0
  fi
  exit "$code"
}

# a test may take single functions
[[ ${BASH_SOURCE[0]} != "$0" ]] || main "$@"
