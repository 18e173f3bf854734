#!/usr/bin/env bash
# Replaces the running container of the service, and brings it back if the new one fails: see usage().
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
    cat <<'TEXT'
Usage: deploy-llm.sh [OPTIONS] [-- OPTIONS OF `docker run`]

Builds or pulls the image, stops the container that runs (its answers get their time to finish), starts a new one, waits
until it is ready, and asks it for a chat answer, whole and streamed. Where any of this fails, the new container is removed
and the previous one is started again; the exit status is 1 then.

  --build              build the image from this checkout
  --pull               pull the image; without either it must be there
  --image IMAGE        default: llmcore:latest
  --base IMAGE         base image for --build
  --name NAME          of the container; default: llm
  --bind ADDRESS       where to listen; default: 127.0.0.1
  --port PORT          default: 8001
  --network NETWORK    `host`, or a network of the engine
  --models VOLUME      volume or folder with the models; default: NAME-models
  --state VOLUME       volume for what was measured; default: NAME-state
  --model-path PATH    file to serve, as the container sees it (/models/…); default: the default model
  --pull-model NAME    let the container fetch this known model first (`default`: the default one)
  --cpus N             default: 4, or as many as there are
  --memory SIZE        default: 16g
  --env NAME=VALUE     a setting of the service (docs/CONFIGURATION.md); may be repeated
  --ready-s SECONDS    time to become ready; default: 900
  -h, --help           this text

Environment:
  ENGINE       docker or podman; default: whichever is there, docker first
  LLM_API_KEY  a key, for the questions that are asked, where the service wants one
TEXT
}

say() { echo "deploy-llm.sh: $*"; }
fail() { echo "deploy-llm.sh: $*" >&2; exit 1; }

image=llmcore:latest base="" name=llm bind=127.0.0.1 port=8001 network="" models="" state="" obtain=""
model_path="" pull_model="" memory=16g ready_s=900
cpus="$(nproc)"
[ "$cpus" -le 4 ] || cpus=4
settings=() extra=()

parse() {
    while [ $# -gt 0 ]; do
        case "$1" in
            -h | --help) usage; exit 0 ;;
            --build | --pull) obtain="${1#--}"; shift; continue ;;
            --) shift; extra=("$@"); return ;;
            --*) [ $# -ge 2 ] || { usage >&2; exit 2; } ;;
        esac
        case "$1" in
            --image) image="$2" ;;
            --base) base="$2" ;;
            --name) name="$2" ;;
            --bind) bind="$2" ;;
            --port) port="$2" ;;
            --network) network="$2" ;;
            --models) models="$2" ;;
            --state) state="$2" ;;
            --model-path) model_path="$2" ;;
            --pull-model) pull_model="$2" ;;
            --cpus) cpus="$2" ;;
            --memory) memory="$2" ;;
            --env) settings+=(--env "$2") ;;
            --ready-s) ready_s="$2" ;;
            *) echo "deploy-llm.sh: unknown: $1" >&2; usage >&2; exit 2 ;;
        esac
        shift 2
    done
}

exists() { "$engine" container inspect "$1" > /dev/null 2>&1; }
# True if the container runs and has not been restarted: one that exits and that its restart policy starts again does not count.
is_running() { [ "$("$engine" container inspect --format '{{.State.Running}} {{.RestartCount}}' "$1" 2> /dev/null)" = "true 0" ]; }

obtain_image() {
    local -a arguments=(build --tag "$image" --build-arg "REVISION=$(git rev-parse HEAD 2> /dev/null || echo unknown)")
    case "$obtain" in
        build)
            [ -z "$base" ] || arguments+=(--build-arg "BASE=$base")
            # An image in podman's own format has no health check.
            [ "$(basename "$engine")" != podman ] || arguments+=(--format docker)
            "$engine" "${arguments[@]}" .
            ;;
        pull) "$engine" pull "$image" ;;
        *) "$engine" image inspect "$image" > /dev/null 2>&1 || fail "there is no image $image: --build or --pull" ;;
    esac
}

create() {
    local -a arguments=(
        create --name "$name-next" --restart unless-stopped --read-only --tmpfs /tmp
        --cap-drop ALL --security-opt no-new-privileges --cpus "$cpus" --memory "$memory"
        --volume "${models:-$name-models}:/models" --volume "${state:-$name-state}:/var/lib/llmcore"
    )
    if [ "$network" = host ]; then
        arguments+=(--network host --env "HOST=$bind" --env "PORT=$port")
    else
        arguments+=(--publish "$bind:$port:8001")
        [ -z "$network" ] || arguments+=(--network "$network")
    fi
    [ -z "$model_path" ] || arguments+=(--env "MODEL_PATH=$model_path")
    [ -z "$pull_model" ] || arguments+=(--env "PULL_MODEL=$pull_model")
    # From the shell only where it is set: an empty one makes the OpenMP runtime complain.
    [ -z "${OMP_NUM_THREADS:-}" ] || arguments+=(--env OMP_NUM_THREADS)
    "$engine" rm --force "$name-next" > /dev/null 2>&1 || true
    "$engine" "${arguments[@]}" ${settings[@]+"${settings[@]}"} ${extra[@]+"${extra[@]}"} "$image" > /dev/null
}

# From here until all checks have passed, the exit of this script restores the previous container.
swap() {
    if exists "$name"; then
        ! exists "$name-previous" || "$engine" rm --force "$name-previous" > /dev/null
        say "stopping the container that runs (its answers get their time)"
        is_swapped=yes
        "$engine" stop --time 40 "$name" > /dev/null
        "$engine" rename "$name" "$name-previous"
    fi
    is_swapped=yes
    "$engine" rename "$name-next" "$name"
    "$engine" start "$name" > /dev/null
}

# shellcheck disable=SC2317 # called by the trap
roll_back() {
    local status=$?
    [ -n "${is_swapped:-}" ] || { "$engine" rm --force "$name-next" > /dev/null 2>&1 || true; exit "$status"; }
    trap - EXIT
    set +e
    if ! exists "$name-next"; then # it was renamed to $name
        echo "deploy-llm.sh: the new container failed; the end of its log:" >&2
        "$engine" logs --tail 30 "$name" >&2
        "$engine" rm --force "$name" > /dev/null
    fi
    "$engine" rm --force "$name-next" > /dev/null 2>&1
    if exists "$name-previous"; then "$engine" rename "$name-previous" "$name"; fi
    if exists "$name"; then
        "$engine" start "$name" > /dev/null
        wait_ready && echo "deploy-llm.sh: rolled back: the previous container is ready again" >&2
    else
        echo "deploy-llm.sh: there was no container before that could be brought back" >&2
    fi
    exit 1
}

wait_ready() {
    local began=$SECONDS
    while ! "$engine" exec "$name" healthcheck.py > /dev/null 2>&1; do
        is_running "$name" || { echo "deploy-llm.sh: the container has ended" >&2; return 1; }
        [ $((SECONDS - began)) -lt "$ready_s" ] || { echo "deploy-llm.sh: not ready after $ready_s s" >&2; return 1; }
        sleep 1
    done
    took_s=$((SECONDS - began))
}

# ask JSON: the body of the reply to a chat request, from outside of the container.
ask() {
    local host="$bind" key=""
    [ "$host" != 0.0.0.0 ] || host=127.0.0.1
    [ -z "${LLM_API_KEY:-}" ] || key="header = \"Authorization: Bearer $LLM_API_KEY\""
    # The key goes through a pipe, because every user can read a process's arguments.
    curl --silent --show-error --fail-with-body --no-buffer --max-time 300 --config <(echo "$key") \
        --header "Content-Type: application/json" --data "$1" "http://$host:$port/v1/chat/completions"
}

smoke_test() {
    local question='"messages":[{"role":"user","content":"Say hello."}],"max_tokens":16,"temperature":0' reply n_events
    reply="$(ask "{$question}")" || fail "no chat answer: $reply"
    answer="$("$engine" exec --interactive "$name" python3 -c '
import json, sys
print(json.load(sys.stdin)["choices"][0]["message"]["content"])' <<< "$reply")" || fail "not a chat answer: $reply"
    [ -n "$answer" ] || fail "the chat answer is empty: $reply"
    reply="$(ask "{$question,\"stream\":true}")" || fail "no stream: $reply"
    n_events="$(grep -c '^data: {' <<< "$reply")" || fail "a stream without events: $reply"
    [ "$n_events" -ge 3 ] || fail "a stream of $n_events events: $reply"
    grep -q '^data: \[DONE\]' <<< "$reply" || fail "a stream without an end: $reply"
    say "chat answered: $answer"
    say "streamed: $n_events events"
}

main() {
    parse "$@"
    engine="${ENGINE:-$(command -v docker || command -v podman || true)}"
    [ -n "$engine" ] || fail "neither docker nor podman is here"
    command -v curl > /dev/null || fail "curl is not here"
    obtain_image
    trap roll_back EXIT
    trap 'exit 130' INT TERM
    create
    swap
    wait_ready
    smoke_test
    trap - EXIT
    "$engine" rm --force "$name-previous" > /dev/null 2>&1 || true
    say "ready after $took_s s: $("$engine" container inspect --format '{{.Config.Image}} {{.Image}}' "$name")"
    "$engine" logs "$name" 2>&1 | grep -m 1 'threads' || true
    say "http://$bind:$port (container $name)"
}

main "$@"
