# shellcheck shell=bash disable=SC2154 # sourced by deploy/verify.sh, whose variables these are
# Step scripts: deploy-llm.sh with its rollback, backup.sh and restore.sh.

deploy() {
    ENGINE=podman deploy/deploy-llm.sh --image "$built" --name "$name-llm" --network host --port "$port" \
        --models "$work/models" --memory 2g "$@"
}

id_of() { podman container inspect --format '{{.Id}}' "$name-llm"; }

# With a setting that the service refuses, the previous container is restored and answers.
rolls_back() {
    local before
    before="$(id_of)"
    ! deploy --env LLMCORE_N_CTX=nonsense || return 1
    [ "$(id_of)" = "$before" ] && chat "http://127.0.0.1:$port"
}

replaces() {
    local before
    before="$(id_of)"
    deploy && [ "$(id_of)" != "$before" ] && ! podman container exists "$name-llm-previous"
}

# Restores a backup of a folder into a new volume. A damaged archive changes nothing.
backs_up_and_restores() {
    local archive="$work/models.tar" volume
    rm -f "$archive"
    deploy/backup.sh "$work/models" "$archive" && ENGINE=podman deploy/restore.sh "$archive" "$name-restored" || return 1
    volume="$(podman volume inspect --format '{{.Mountpoint}}' "$name-restored")"
    diff -r "$work/models" "$volume"
}

refuses_damage() {
    local archive="$work/damaged.tar" volume before
    volume="$(podman volume inspect --format '{{.Mountpoint}}' "$name-restored")"
    before="$(cd "$volume" && find . -type f -exec sha256sum {} +)"
    cp "$work/models.tar" "$archive"
    printf 'damage' | dd of="$archive" bs=1 seek=50000000 conv=notrunc status=none
    ! ENGINE=podman deploy/restore.sh --replace "$archive" "$name-restored" || return 1
    [ "$before" = "$(cd "$volume" && find . -type f -exec sha256sum {} +)" ]
}

step_scripts() {
    has podman || { report skip "no podman"; return; }
    podman image exists "$built" || { report skip "there is no image $built: step image makes it"; return; }
    check "model" models || return 1
    check "deploy-llm.sh starts, waits, asks" deploy || return 1
    check "deploy-llm.sh rolls back a container that cannot start" rolls_back
    check "deploy-llm.sh replaces a container that runs" replaces
    podman rm --force --time 30 "$name-llm" >> "$log" 2>&1
    check "backup.sh and restore.sh, by way of an archive" backs_up_and_restores
    check "restore.sh refuses a damaged archive and changes nothing" refuses_damage
    rm -f "$work/models.tar" "$work/damaged.tar"
}
