# shellcheck shell=bash disable=SC2154 # sourced by deploy/verify.sh, whose variables these are
# Step kube: what of the small overlay one machine can run. Service, autoscaler and policies need a cluster.

pod_manifest() {
    local keys="$1"
    render small > "$work/small.yaml" && "$work/tools/bin/python" deploy/verify/manifests.py \
        pod "$work/small.yaml" "$built" "$name" "$keys" > "$work/pod.yaml"
}

# As fsGroup would have it, which podman does not know.
claim() {
    podman volume create "$name-models"
    local folder
    folder="$(podman volume inspect --format '{{.Mountpoint}}' "$name-models")"
    cp -r "$work/models/." "$folder" && mkdir -p "$folder/.state" && chown -R 10001:10001 "$folder"
}

step_kube() {
    has podman || { report skip "no podman"; return; }
    [ -d deploy/k8s ] || { report skip "there is no deploy/k8s"; return; }
    { has kustomize || has kubectl; } || { report skip "neither kustomize nor kubectl: overlays cannot be rendered"; return; }
    podman image exists "$built" || { report skip "there is no image $built: step image makes it"; return; }
    local key=verify-key pod="$name-pod" address
    check "tools of the package index" tools && check "model" models || return 1
    check "the pod of overlay small" pod_manifest "{\"name\": \"verify\", \"sha256\": \"$(printf %s "$key" | sha256sum | cut -c-64)\"}" || return 1
    check "its claim, with the model" claim
    if check "podman play kube: init-container, then the service" podman play kube "$work/pod.yaml" \
        && check "it is ready" wait_until 600 podman exec "$pod-llm" healthcheck.py; then
        address="$(podman inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$(podman pod inspect --format '{{.InfraContainerID}}' "$pod")")"
        check "liveness as the probe asks" curl -sS --fail "http://$address:8001/livez"
        check "metrics on their own port" curl -sS --fail "http://$address:8002/metrics"
        check "chat, with a key of the Secret" chat "http://$address:8001" -H "Authorization: Bearer $key"
        check "stream" stream "http://$address:8001" 16 -H "Authorization: Bearer $key"
    fi
    podman logs "$pod-llm" >> "$log" 2>&1 || true
    check "podman play kube --down" podman play kube --down "$work/pod.yaml"
}
