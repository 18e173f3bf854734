# shellcheck shell=bash disable=SC2154 # sourced by deploy/verify.sh, whose variables these are
# Step kube: the parts of the small overlay that one machine can run. Service, autoscaler and policies need a cluster.

pod_manifest() {
    mkdir -p "$work/keys"
    echo "{\"name\": \"verify\", \"sha256\": \"$(printf %s "$key" | sha256sum | cut -c-64)\"}" > "$work/keys/api-keys"
    chmod -R a+rX "$work/keys"
    render small > "$work/small.yaml" \
        && "$work/tools/bin/python" deploy/k8s/podman.py "$built" "$work/keys" < "$work/small.yaml" \
        | sed -E "s/claimName: .*/claimName: $name-models/" > "$work/pod.yaml"
}

# Sets the volume's owner as fsGroup does, which podman does not support.
claim() {
    podman volume create "$name-models"
    local folder
    folder="$(podman volume inspect --format '{{.Mountpoint}}' "$name-models")"
    cp -r "$work/models/." "$folder" && mkdir -p "$folder/.state" && chown -R 10001:10001 "$folder"
}

# Podman calls it llm-pod or llm-pod-0, as its version goes.
pod_name() { podman pod ps --format '{{.Name}}' | grep -m 1 '^llm-pod' || true; }

nameless_volumes() { podman volume ls --quiet | grep -E '^[0-9a-f]{64}$' | sort; }

step_kube() {
    has podman || { report skip "no podman"; return; }
    [ -d deploy/k8s ] || { report skip "there is no deploy/k8s"; return; }
    { has kustomize || has kubectl; } || { report skip "neither kustomize nor kubectl: overlays cannot be rendered"; return; }
    podman image exists "$built" || { report skip "there is no image $built: step image makes it"; return; }
    local key=verify-key pod address volumes
    check "tools of the package index" tools && check "model" models || return 1
    pod="$(pod_name)"
    [ -z "$pod" ] || { report skip "there is a pod $pod already, perhaps somebody's"; return; }
    volumes="$(nameless_volumes)"
    check "the Deployment of overlay small, for podman" pod_manifest || return 1
    check "its claim, with the model" claim
    if check "podman play kube: init-container, then the service" podman play kube "$work/pod.yaml" && pod="$(pod_name)" \
        && check "it is ready" wait_until 600 podman exec "$pod-llm" healthcheck.py; then
        address="$(podman inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$(podman pod inspect --format '{{.InfraContainerID}}' "$pod")")"
        check "liveness as the probe asks" curl -sS --fail "http://$address:8001/livez"
        check "metrics on their own port" curl -sS --fail "http://$address:8002/metrics"
        check "chat, with a key of the Secret" chat "http://$address:8001" -H "Authorization: Bearer $key"
        check "stream" stream "http://$address:8001" 16 -H "Authorization: Bearer $key"
    fi
    podman logs "$pod-llm" >> "$log" 2>&1 || true
    check "podman play kube --down" podman play kube --down "$work/pod.yaml" && rm "$work/pod.yaml"
    # The init container, which podman leaves behind.
    comm -13 <(echo "$volumes") <(nameless_volumes) | xargs -r podman volume rm >> "$log" 2>&1 || true
}
