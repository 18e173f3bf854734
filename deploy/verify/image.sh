# shellcheck shell=bash disable=SC2154,SC2016 # sourced by deploy/verify.sh, which sets the
# variables; text in single quotes is for the container's shell
# Steps image and run: buildah builds the image, podman runs it.

IMAGE_BYTES_MAX=350000000

# Gets the Dockerfile's default base image, or builds the same from Debian's packages if no registry can be reached.
base_image() {
    [ -z "$base" ] || return 0
    base=debian:bookworm-slim
    podman image exists "$base" && return 0
    timeout 60 podman pull "docker.io/library/$base" && return 0
    has debootstrap || { echo "no registry, and no debootstrap"; return 1; }
    local root="$work/root"
    rm -rf "$root"
    debootstrap --variant=minbase --include=ca-certificates bookworm "$root" || return 1
    cp /etc/apt/sources.list.d/debian.sources "$root/etc/apt/sources.list.d/" 2> /dev/null || true
    # Like Debian's slim images.
    rm -rf "$root"/usr/share/{doc,man,locale,info}/* "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*
    tar -C "$root" -c . | podman import - "localhost/$base" && rm -rf "$root"
    base="localhost/$base"
}

build() {
    buildah bud --layers --format docker --isolation chroot --network host --build-arg "BASE=$base" \
        ${certs:+--volume "$certs:/etc/ssl/certs:ro"} --tag "$built" .
}

inspect() { podman image inspect --format "$1" "$built"; }
inside_as() { podman run --rm --no-healthcheck --network none --user "$1" --entrypoint sh "$built" -c "$2"; }
inside() { inside_as 10001:10001 "$1"; }

step_image() {
    if ! has buildah || ! has podman; then report skip "no podman and buildah"; return; fi
    if [ -z "$image" ]; then
        check "base image" base_image || return 1
        check "buildah builds $built on $base" build || return 1
    fi
    local size_bytes
    size_bytes="$(inspect '{{.Size}}')" || { report FAIL "there is no image $built"; return 1; }
    check "$((size_bytes / 1000000)) MB with its base, at most $((IMAGE_BYTES_MAX / 1000000))" test "$size_bytes" -le "$IMAGE_BYTES_MAX"
    check "it runs as $(inspect '{{.User}}'), in numbers" grep -Eq '^[1-9][0-9]*:[1-9][0-9]*$' <(inspect '{{.User}}')
    check "port 8001, an exec-form entry, a health check, labels" grep -Eq '8001/tcp.*\[entry.py\].*healthcheck.py.*llmcore' \
        <(inspect '{{.Config.ExposedPorts}} {{.Config.Entrypoint}} {{.HealthCheck}} {{.Labels}}')
    check "no compiler, no pip, no cache of either" inside_as 0 \
        '! command -v cc gcc g++ c++ ld as pip pip3 && ! ls /cache/* /var/lib/apt/lists/*_Packages 2> /dev/null && ! find / -xdev -name .cache | grep .'
    check "$(inside 'ls /opt/llmcore/lib/python3*/site-packages/llmcore/lib/libggml-cpu-*.so | wc -l') variants for CPUs" inside \
        '[ "$(ls /opt/llmcore/lib/python3*/site-packages/llmcore/lib/libggml-cpu-*.so | wc -l)" -ge 8 ]'
    check "llmcore --version loads one of them" podman run --rm --no-healthcheck --network none --read-only "$built" --version
    check "download_model.py is llmcore pull" podman run --rm --no-healthcheck --network none --entrypoint download_model.py "$built" --help
}

# Not grep -q, which exits before podman has written everything; with pipefail that is a failure.
logged() { podman logs "$1" 2>&1 | grep "$2" > /dev/null; }

# With AVX2 the log must name the kernels; without, it must say that there are none.
kernels_run() {
    if grep -qw avx2 /proc/cpuinfo; then
        logged "$name-run" 'kernels instructions="a.* own=.*products of packed weights'
    else
        logged "$name-run" 'kernels instructions='
    fi
}

no_model() {
    local said
    said="$(podman run --rm --no-healthcheck --network none --read-only --cap-drop all "$built" 2>&1)" && return 1
    echo "$said"
    grep -q 'there is no model in /models' <<< "$said" && grep -q 'PULL_MODEL' <<< "$said"
}

# Stops the container during a streamed answer: the answer is completed, and the exit status is 0. The answer must be long enough to
# be still running.
drains() {
    local n_before streaming
    curl -sS -N --fail-with-body --max-time 300 -H 'Content-Type: application/json' \
        -d "{$QUESTION,\"max_tokens\":1024,\"ignore_eos\":true,\"stream\":true}" "http://127.0.0.1:$port/v1/chat/completions" \
        > "$work/drain.txt" 2>&1 &
    streaming=$!
    sleep 2
    n_before="$(grep -c '^data: {' "$work/drain.txt")"
    grep -q '^data: \[DONE\]' "$work/drain.txt" && { echo "the answer was over before the signal"; return 1; }
    podman stop --time 40 "$name-run" || return 1
    wait "$streaming" || { tail -4 "$work/drain.txt"; return 1; }
    echo "$n_before events before the signal, $(grep -c '^data: {' "$work/drain.txt") in all"
    grep -q '"finish_reason":"length"' "$work/drain.txt" && grep -q '^data: \[DONE\]' "$work/drain.txt" || return 1
    [ "$(podman inspect --format '{{.State.ExitCode}}' "$name-run")" = 0 ]
}

step_run() {
    has podman || { report skip "no podman"; return; }
    podman image exists "$built" || { report skip "there is no image $built: step image makes it"; return; }
    check "model" models || return 1
    check "without a model: an error that says what to do" no_model
    check "podman runs it: 1 CPU, 2 GB, read-only, no capabilities" podman run --detach --name "$name-run" \
        --cpus 1 --memory 2g --read-only --cap-drop all --security-opt no-new-privileges --pids-limit 200 \
        --network host --env HOST=127.0.0.1 --env "PORT=$port" --volume "$work/models:/models:ro" "$built" || return 1
    check "its health check passes" wait_until 600 podman healthcheck run "$name-run" || { podman logs "$name-run" >> "$log" 2>&1; return 1; }
    check "one thread for one CPU: $(podman logs "$name-run" 2>&1 | grep -o 'threads n=.*')" logged "$name-run" 'threads n=1 .*CPU quota 1"'
    check "which operations our kernels run: $(podman logs "$name-run" 2>&1 | grep -o 'kernels instructions=.*')" kernels_run
    check "process 1 is the service, of user 10001" podman exec "$name-run" \
        sh -c '[ "$(id -u)" = 10001 ] && grep -aq llmcore /proc/1/cmdline && ! grep -aq entry.py /proc/1/cmdline'
    check "no capabilities are left" podman exec "$name-run" grep -Eq '^CapEff:\s0+$' /proc/1/status
    check "the root cannot be written to" podman exec "$name-run" sh -c '! touch /opt/llmcore/x /x'
    check "chat" chat "http://127.0.0.1:$port"
    check "stream" stream "http://127.0.0.1:$port" 16
    check "SIGTERM: a running stream ends whole, exit status 0" drains
    podman logs "$name-run" >> "$log" 2>&1
}
