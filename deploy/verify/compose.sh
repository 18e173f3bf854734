# shellcheck shell=bash disable=SC2154 # sourced by deploy/verify.sh, whose variables these are
# Step compose: the service, nginx and Prometheus by podman-compose, load through TLS, and the dashboard's queries.

# debian_image NAME PACKAGE [LINE...]: builds an image of docker-compose.yml from Debian's package, with the same configuration, for
# machines that cannot reach its registry.
debian_image() {
    local tag="localhost/$name-$1" folder="$work/$1" package="$2"
    shift 2
    base_image || return 1
    mkdir -p "$folder"
    printf '%s\n' "FROM $base" "RUN apt-get update && apt-get install -y --no-install-recommends $package" "$@" > "$folder/Dockerfile"
    buildah bud --layers --format docker --isolation chroot --network host --tag "$tag" "$folder"
}

nginx_image() {
    timeout 60 podman pull docker.io/library/nginx:1.28-alpine && return 0
    debian_image nginx nginx-light || return 1
    export NGINX_IMAGE="localhost/$name-nginx"
}

prometheus_image() {
    timeout 60 podman pull docker.io/prom/prometheus:v3.5.0 && return 0
    debian_image prometheus prometheus 'RUN install -d -o nobody -g nogroup /prometheus' 'USER nobody' \
        'ENTRYPOINT ["/usr/bin/prometheus"]' || return 1
    export PROMETHEUS_IMAGE="localhost/$name-prometheus"
}

certificate() {
    mkdir -p "$work/tls"
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
        -keyout "$work/tls/key.pem" -out "$work/tls/cert.pem"
    chown -R 101:101 "$work/tls"
}

compose() { "$work/tools/bin/podman-compose" --project-name "$name" --profile tls --profile monitoring "$@"; }

# Fetches the model into compose's volume by download_model.py.
model_volume() {
    rm -f "$work/models.tar"
    deploy/backup.sh "$work/models" "$work/models.tar" && ENGINE=podman deploy/restore.sh "$work/models.tar" "${name}_models" \
        && chown -R 10001:10001 "$(podman volume inspect --format '{{.Mountpoint}}' "${name}_models")"
    rm -f "$work/models.tar"
}

status_of() { curl -s -o "$work/body.txt" -w '%{http_code}' --cacert "$work/tls/cert.pem" "$@"; }
refuses() { # STATUS URL...
    local wanted="$1" got
    shift
    got="$(status_of "$@")"
    echo "$got $(head -c 300 "$work/body.txt")"
    [ "$got" = "$wanted" ]
}

too_large() {
    head -c 5000000 /dev/zero > "$work/large"
    refuses 413 --data-binary "@$work/large" "$url/v1/chat/completions" && grep -q request_too_large "$work/body.txt"
}

rate_headers() {
    chat "$url" "${secure[@]}" -D "$work/headers.txt" && cat "$work/headers.txt" \
        && grep -qi '^x-ratelimit-remaining-requests:' "$work/headers.txt" && grep -qi '^x-request-id:' "$work/headers.txt"
}

# Tokens arrive one by one, not all at the end. (On a busy machine several arrive at once.)
comes_in_pieces() {
    curl -sS -N "${secure[@]}" -H 'Content-Type: application/json' -d "{$QUESTION,\"max_tokens\":24,\"stream\":true}" \
        "$url/v1/chat/completions" | python3 -c '
import os, sys, time
times = []
while os.read(0, 65536):
    times.append(time.monotonic())
print(len(times), "pieces over", round(times[-1] - times[0], 3), "s")
sys.exit(len(times) < 4)'
}

load() {
    local said
    said="$(hey -n 32 -c 8 -t 120 -m POST -T application/json -H "Authorization: Bearer $key" \
        -d "{$QUESTION,\"max_tokens\":8}" "$url/v1/chat/completions")"
    echo "$said"
    grep -Eq '\[200\][[:space:]]+32 responses' <<< "$said"
}

through_nginx() {
    local -a secure=(--cacert "$work/tls/cert.pem" -H "Authorization: Bearer $key")
    check "TLS: chat" chat "$url" "${secure[@]}"
    check "TLS: stream" stream "$url" 16 "${secure[@]}"
    check "TLS: a stream comes in pieces" comes_in_pieces
    check "TLS: headers of limits pass" rate_headers
    check "TLS: no key, 401" refuses 401 -d '{}' "$url/v1/chat/completions"
    check "TLS: /metrics is not there" refuses 404 "$url/metrics"
    check "TLS: a body that is too large, 413" too_large
    if has hey; then
        check "TLS: load, 32 requests by 8 callers" load
        report pass "$(grep -E 'Requests/sec' "$log" | tr -s ' \t' ' ' | tail -1) (other work on the machine counted)"
    else
        report skip "TLS: no hey to make load"
    fi
}

scrapes() { curl -s "http://127.0.0.1:$PROMETHEUS_PORT/api/v1/query?query=up%7Bjob=%22llm%22%7D==1" | grep '"instance":"llm:8001"' > /dev/null; }

# Prints the JSON of a new question of some hundred tokens, which no cache has.
new_question() {
    local first="$RANDOM"
    printf '"messages":[{"role":"user","content":"Add up %s"}]' "$(seq -s ', ' "$first" "$((first + 80))")"
}

# Makes load for the dashboard: more clients than the key allows, then a minute of clients that repeat one question, and one that asks
# new questions and disconnects.
busy() {
    local end n_gone=0 load
    local -a hey=(hey -t 120 -m POST -T application/json -H "Authorization: Bearer $key")
    "${hey[@]}" -n 64 -c 16 -d "{$QUESTION,\"max_tokens\":32}" "$url/v1/chat/completions" || return 1
    "${hey[@]}" -z 60s -c 8 -q 1 -d "{$QUESTION,\"max_tokens\":32}" "$url/v1/chat/completions" &
    load=$!
    end=$((SECONDS + 60))
    while [ "$SECONDS" -lt "$end" ]; do
        curl -sS -N -o /dev/null --max-time 1.5 "${secure[@]}" -H 'Content-Type: application/json' \
            -d "{$(new_question),\"max_tokens\":256,\"ignore_eos\":true,\"stream\":true}" "$url/v1/chat/completions" \
            || n_gone=$((n_gone + 1))
    done
    wait "$load" && echo "$n_gone hung up"
}

drawn() {
    "$work/tools/bin/python" -m pip install -q matplotlib && "$work/tools/bin/python" deploy/verify/dashboard.py "$prometheus" "$work/dashboard.png"
}

monitored() {
    local -a secure=(--cacert "$work/tls/cert.pem" -H "Authorization: Bearer $key")
    local prometheus="http://127.0.0.1:$PROMETHEUS_PORT"
    if has hey; then check "a busy minute" busy; fi
    check "Prometheus: every rule is well, every panel's query has data" python3 deploy/monitoring/query.py "$prometheus"
    check "the dashboard, drawn for a look: build/verify/dashboard.png" drawn
    if ! timeout 60 podman pull docker.io/grafana/grafana:12.1.0 >> "$log" 2>&1; then
        report skip "Grafana: its image cannot be pulled"
        return
    fi
    check "compose up: grafana" compose up --detach --no-build --no-deps grafana \
        && check "Grafana has the dashboard" wait_until 60 curl -sS --fail -u "admin:$GRAFANA_PASSWORD" \
            "http://127.0.0.1:$GRAFANA_PORT/api/dashboards/uid/llmcore"
}

step_compose() {
    has podman || { report skip "no podman"; return; }
    podman image exists "$built" || { report skip "there is no image $built: step image makes it"; return; }
    local url="https://127.0.0.1:$((port + 1))" key=verify-key
    export LLM_IMAGE="$built" LLM_PORT="$port" TLS_BIND=127.0.0.1 TLS_PORT="$((port + 1))" TLS_DIR="$work/tls" LLM_MEMORY=4G
    LLMCORE_API_KEYS="verify:$(printf %s "$key" | sha256sum | cut -c-64)"
    export LLMCORE_API_KEYS LLMCORE_KEY_REQUESTS_PER_MINUTE=6000 LLMCORE_KEY_CONCURRENT=12 PROMETHEUS_PORT="$((port + 2))"
    export GRAFANA_PORT="$((port + 3))" GRAFANA_PASSWORD="$key"
    check "tools of the package index" tools && check "model" models && check "certificate" certificate \
        && check "nginx's image" nginx_image && check "Prometheus' image" prometheus_image && check "the model's volume" model_volume || return 1
    # Podman before 4.4 cannot wait for health, so nginx is started after the check here.
    if check "compose up: llm" compose up --detach --no-build llm \
        && check "llm is healthy" wait_until 600 podman exec "${name}_llm_1" healthcheck.py \
        && check "compose up: nginx" compose up --detach --no-build --no-deps nginx \
        && check "nginx listens" wait_until 30 curl -sk "$url/livez"; then
        echo "limits: $(podman inspect --format '{{.HostConfig.NanoCpus}} {{.HostConfig.CpuQuota}} {{.HostConfig.Memory}}' "${name}_llm_1")" >> "$log"
        check "compose up: prometheus" compose up --detach --no-build --no-deps prometheus \
            && check "it scrapes the service" wait_until 60 scrapes
        through_nginx
        monitored
    fi
    compose logs >> "$log" 2>&1 || true
    check "compose down" compose down --timeout 40
}
